//! Which requests a degraded model still sees, so that its recovery is noticed.

use super::{Nanos, nanos};
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// A degraded model still sees every fiftieth request, 2 %.
pub const EXPLORE_EVERY: u32 = 50;
/// And one in each 30 s,
pub const EXPLORE_WITHIN: Duration = Duration::from_secs(30);
/// but at the most every tenth, 10 %.
pub const EXPLORE_AT_MOST: u32 = 10;

/// The turns of one degraded model.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Requests since its last turn, and when that was: 16 bits, and 48 of milliseconds.
    word: AtomicU64,
}

const COUNT_BITS: u32 = 16;

impl Turns {
    pub(crate) fn new() -> Self {
        Self { word: AtomicU64::new(0) }
    }

    /// A request comes by. Whether it is this model's turn to see it.
    pub(crate) fn take(&self, now: Nanos) -> bool {
        let now = (now / 1_000_000) & (u64::MAX >> COUNT_BITS);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let (count, last) = ((word & ((1 << COUNT_BITS) - 1)) + 1, word >> COUNT_BITS);
            let overdue = now.saturating_sub(last) >= nanos(EXPLORE_WITHIN) / 1_000_000;
            let turn = count >= u64::from(EXPLORE_EVERY) || (overdue && count >= u64::from(EXPLORE_AT_MOST));
            let next = if turn { now << COUNT_BITS } else { (last << COUNT_BITS) | count };
            match self.word.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return turn,
                Err(found) => word = found,
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    /// Which of so many requests, this far apart, it sees.
    fn turns(requests: u64, apart: Nanos) -> Vec<u64> {
        let turns = Turns::new();
        (1..=requests).filter(|request| turns.take(request * apart)).collect()
    }

    #[test]
    fn a_busy_one_sees_every_fiftieth() {
        let seen = turns(10_000, SECOND / 100);
        assert_eq!(seen.len(), 200);
        assert!(seen.windows(2).all(|turn| turn[1] - turn[0] == 50));
    }

    #[test]
    fn a_quieter_one_sees_one_in_each_thirty_seconds() {
        let seen = turns(1_000, SECOND);
        assert!(seen.windows(2).all(|turn| turn[1] - turn[0] == 30), "{seen:?}");
    }

    #[test]
    fn at_a_request_a_minute_it_sees_every_tenth_and_is_never_starved() {
        let seen = turns(100, 60 * SECOND);
        assert_eq!(seen, (1..=10).map(|tenth| tenth * 10).collect::<Vec<_>>());
    }
}
