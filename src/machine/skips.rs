//! How often requests went elsewhere. Threads that skip the same upstream do not fight over the count.

use super::stripe::{self, Padded};
use crate::sync::{AtomicU64, Ordering};

/// A stripe passes on so many at once.
const BATCH: u64 = 25;

/// A count that lags behind by less than a batch for each stripe. Where two threads share a stripe it is only about right.
#[derive(Debug)]
pub(crate) struct Skips {
    stripes: Box<[Padded<AtomicU64>]>,
    /// On a cache line of its own as well: those beside it may be read by everybody.
    passed_on: Box<Padded<AtomicU64>>,
}

impl Skips {
    pub(crate) fn new(stripes: usize) -> Self {
        Self { stripes: (0..stripes).map(|_| Padded::default()).collect(), passed_on: Box::default() }
    }

    /// One more. The count, whenever a batch has been passed on.
    #[inline]
    pub(crate) fn add(&self) -> Option<u64> {
        let mine = &self.stripes[stripe::mine(self.stripes.len())].0;
        let count = mine.load(Ordering::Relaxed) + 1;
        if count < BATCH {
            mine.store(count, Ordering::Relaxed);
            return None;
        }
        mine.store(0, Ordering::Relaxed);
        Some(self.passed_on.0.fetch_add(BATCH, Ordering::Relaxed) + BATCH)
    }

    /// Counts anew.
    pub(crate) fn reset(&self) {
        self.stripes.iter().for_each(|stripe| stripe.0.store(0, Ordering::Relaxed));
        self.passed_on.0.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;

    /// The counts that are told while so many are added.
    fn add(skips: &Skips, times: u64) -> Vec<u64> {
        (0..times).filter_map(|_| skips.add()).collect()
    }

    #[test]
    fn every_batch_is_told_and_none_before_a_reset_counts() {
        let skips = Skips::new(4);
        assert_eq!(add(&skips, 99), [25, 50, 75]);
        assert_eq!(add(&skips, 1), [100]);
        add(&skips, 24);
        skips.reset();
        assert!(add(&skips, 24).is_empty());
        assert_eq!(add(&skips, 1), [25]);
    }

    #[test]
    fn it_lags_behind_by_less_than_a_batch_for_each_thread() {
        let skips = Skips::new(16);
        let told = (0..8_u64)
            .flat_map(|_| std::thread::scope(|scope| scope.spawn(|| add(&skips, 1_024)).join().expect("no panic")));
        let count = told.last().expect("many batches");
        assert!(count <= 8 * 1_024 && count > 8 * (1_024 - BATCH), "{count}");
    }
}
