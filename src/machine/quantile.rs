//! How long a model's successes take at their slowest: quantiles over the last one to two minutes.
//!
//! A histogram with eight buckets to each doubling (as HdrHistogram has it), in two banks that take turns by the minute.
//! A cell is one word, the minute and a count, so that an old one is told from a new one without being cleared. Striped
//! over threads, and made at the first success.

use super::{Nanos, nanos, stripe};
use crate::sync::{AtomicU64, Ordering};
use std::{sync::OnceLock, time::Duration};

/// Each bank counts for so long, and is then read for as long again.
const BANK: Duration = Duration::from_secs(60);

/// Buckets to each doubling.
const STEPS: usize = 8;
/// All below 2¹⁹ ns, half a millisecond, is one bucket.
const FIRST: u32 = 19;
/// All from 2⁴¹ ns on, 37 minutes, is one bucket.
const DOUBLINGS: usize = 22;
const BUCKETS: usize = STEPS * DOUBLINGS + 2;

const COUNT_BITS: u32 = 32;

#[derive(Debug)]
pub(crate) struct Quantiles {
    stripes: OnceLock<Box<[Stripe]>>,
    count: usize,
}

type Stripe = stripe::Padded<[[AtomicU64; BUCKETS]; 2]>;

impl Quantiles {
    pub(crate) fn new(stripes: usize) -> Self {
        Self { stripes: OnceLock::new(), count: stripes }
    }

    /// Notes what a success took.
    #[inline]
    pub(crate) fn record(&self, took: Nanos, now: Nanos) {
        let new = || stripe::Padded(std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))));
        let stripes = self.stripes.get_or_init(|| (0..self.count).map(|_| new()).collect());
        let minute = minute(now);
        let mine = stripe::Mine::of(self.count);
        let cell = &stripes[mine.index()].0[bank(minute)][bucket(took)];
        mine.update(
            cell,
            |word| if word >> COUNT_BITS == minute { Some(word + 1) } else { Some((minute << COUNT_BITS) | 1) },
        );
    }

    /// What so large a share of the successes took at the most, to the upper end of its bucket; `None` with fewer than
    /// `least` of them.
    pub(crate) fn quantile(&self, share: f64, least: u64, now: Nanos) -> Option<Nanos> {
        let stripes = self.stripes.get()?;
        let mut counts = [0_u64; BUCKETS];
        let minute = minute(now);
        for stripe in stripes {
            for minute in [minute, minute.wrapping_sub(1) & u64::from(u32::MAX)] {
                for (count, cell) in counts.iter_mut().zip(&stripe.0[bank(minute)]) {
                    let word = cell.load(Ordering::Relaxed);
                    if word >> COUNT_BITS == minute {
                        *count += word & u64::from(u32::MAX);
                    }
                }
            }
        }
        let total: u64 = counts.iter().sum();
        if total < least.max(1) {
            return None;
        }
        let wanted = (total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let slowest = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        slowest.map(upper_end)
    }
}

/// Counted from 1, so that a fresh cell belongs to none. They come round after eight thousand years.
#[inline]
fn minute(now: Nanos) -> u64 {
    (now / nanos(BANK) + 1) & u64::from(u32::MAX)
}

#[inline]
fn bank(minute: u64) -> usize {
    usize::from(minute % 2 == 1)
}

#[inline]
fn bucket(took: Nanos) -> usize {
    let Some(doubling) = took.max(1).ilog2().checked_sub(FIRST) else { return 0 };
    let step = (took >> (doubling + FIRST - STEPS.ilog2())) as usize % STEPS;
    (1 + doubling as usize * STEPS + step).min(BUCKETS - 1)
}

/// The first time that belongs to the next bucket.
fn upper_end(bucket: usize) -> Nanos {
    let (doubling, step) = (bucket / STEPS, bucket % STEPS);
    ((STEPS + step) as Nanos) << (FIRST + doubling as u32 - STEPS.ilog2())
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Nanos = 1_000_000_000;
    const MILLI: Nanos = 1_000_000;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        assert_eq!((bucket(0), bucket((1 << FIRST) - 1), bucket(1 << FIRST)), (0, 0, 1));
        for index in 0..BUCKETS - 1 {
            let end = upper_end(index);
            assert_eq!((bucket(end - 1), bucket(end)), (index, index + 1), "{index}: {end}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn too_few_are_none() {
        let quantiles = Quantiles::new(1);
        assert_eq!(quantiles.quantile(0.99, 1, 0), None);
        (0..19).for_each(|_| quantiles.record(MILLI, 0));
        assert_eq!(quantiles.quantile(0.99, 20, 0), None);
        quantiles.record(MILLI, 0);
        assert!(quantiles.quantile(0.99, 20, 0).is_some());
    }

    #[test]
    fn what_is_two_minutes_old_is_forgotten() {
        let quantiles = Quantiles::new(1);
        (0..100).for_each(|_| quantiles.record(10 * SECOND, 0));
        (0..100).for_each(|_| quantiles.record(MILLI, 60 * SECOND));
        assert!(quantiles.quantile(0.99, 1, 119 * SECOND) > Some(10 * SECOND));
        assert!(quantiles.quantile(0.99, 1, 120 * SECOND) < Some(2 * MILLI));
        assert_eq!(quantiles.quantile(0.99, 1, 180 * SECOND), None);
        (0..100).for_each(|_| quantiles.record(SECOND, 1_000_000 * SECOND));
        assert!(quantiles.quantile(0.01, 1, 1_000_000 * SECOND) >= Some(SECOND), "nothing of old in a cell");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_at_most_an_eighth_above_the_exact_one(
            mut times in prop::collection::vec(MILLI..600 * SECOND, 1..300),
            share in 0.01..1.0_f64,
        ) {
            let quantiles = Quantiles::new(1);
            times.iter().for_each(|took| quantiles.record(*took, 0));
            times.sort_unstable();
            let exact = times[((times.len() as f64 * share).ceil() as usize).max(1) - 1];
            let found = quantiles.quantile(share, 1, 0).expect("some");
            prop_assert!(found > exact && found <= exact + exact / 8 + 1, "{found} for {exact}");
        }
    }
}
