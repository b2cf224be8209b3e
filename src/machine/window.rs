//! A time window of outcomes: a ring of buckets, striped over threads, without a lock.
//!
//! One cell is one `u64`: the breaker's generation (8 bits), the bucket's tick (28) and a count (28)
//! that saturates, so that no field can run into another. Carrying the generation in the cell is what
//! keeps a late result of an earlier generation out of this one's rate even when it races with the
//! transition: it finds a newer tag and is dropped, or leaves an older one that nobody counts.
//!
//! With buckets of 1 ms (the shortest allowed) a tick comes round after three days; with the default
//! of 6 s after fifty years.

use super::{Nanos, divisor::Divisor, nanos, stripe::Words};
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

const COUNT_BITS: u32 = 28;
const TICK_BITS: u32 = 28;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;

/// How many generations can pass, at most, while one thread is between its check and its write.
const LATER: u8 = 64;

/// What a window holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) successes: u64,
    pub(crate) failures: u64,
}

impl Totals {
    pub(crate) fn calls(self) -> u64 {
        self.successes + self.failures
    }
}

/// How long a window is, and into how many buckets it is divided: the same for all of one configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    bucket: Divisor,
    buckets: Divisor,
}

impl Span {
    pub(crate) fn new(length: Duration, buckets: u32) -> Self {
        let buckets = u64::from(buckets.max(1));
        Self { bucket: Divisor::new(nanos(length) / buckets), buckets: Divisor::new(buckets) }
    }

    /// Whether a bucket lies within the window. A thread whose clock reading is a little later than
    /// ours may have begun the next bucket already: that one counts too.
    #[inline]
    fn is_current(&self, tick: u64, now: u64) -> bool {
        let age = now.wrapping_sub(tick) & TICK_MASK;
        age < self.buckets.get() || age > TICK_MASK - self.buckets.get()
    }

    /// Whether a cell has moved on, to a later generation or a later round of the ring. What is not of
    /// about the same time is merely old, whatever its generation has wrapped round to.
    #[inline]
    fn is_newer(&self, held: Cell, fresh: Cell) -> bool {
        let generations = held.generation.wrapping_sub(fresh.generation);
        if generations == 0 {
            let ahead = held.tick.wrapping_sub(fresh.tick) & TICK_MASK;
            return ahead > 0 && ahead <= self.buckets.get();
        }
        generations <= LATER && held.count > 0 && self.is_current(held.tick, fresh.tick)
    }
}

/// A window of one span, which each call names.
#[derive(Debug)]
pub(crate) struct TimeWindow {
    cells: Words,
}

#[derive(Clone, Copy)]
struct Cell {
    generation: u8,
    tick: u64,
    count: u64,
}

impl Cell {
    #[inline]
    fn unpack(word: u64) -> Self {
        Self {
            generation: (word >> (COUNT_BITS + TICK_BITS)) as u8,
            tick: (word >> COUNT_BITS) & TICK_MASK,
            count: word & COUNT_MASK,
        }
    }

    #[inline]
    fn pack(self) -> u64 {
        (u64::from(self.generation) << (COUNT_BITS + TICK_BITS)) | (self.tick << COUNT_BITS) | self.count
    }
}

impl TimeWindow {
    /// After how many generations a window must be cleared, before their numbers come round in a cell.
    pub(crate) const GENERATIONS: u64 = 64;

    pub(crate) fn new(span: &Span, stripes: usize) -> Self {
        let cells = usize::try_from(2 * span.buckets.get()).unwrap_or(usize::MAX);
        Self { cells: Words::new(stripes, cells) }
    }

    /// Counts one outcome of this generation.
    #[inline]
    pub(crate) fn record(&self, span: &Span, generation: u64, now: Nanos, success: bool) {
        let (tick, _) = span.bucket.divide(now);
        let fresh = Cell { generation: generation as u8, tick: tick & TICK_MASK, count: 1 };
        let (mine, first) = (self.cells.mine(), fresh.pack());
        let cell = self.cell(mine.index(), span.buckets.divide(tick).1, success);
        mine.update(cell, |word| {
            if (word ^ first) & !COUNT_MASK == 0 {
                // Of the same generation and tick.
                return (word & COUNT_MASK != COUNT_MASK).then_some(word + 1);
            }
            (!span.is_newer(Cell::unpack(word), fresh)).then_some(first)
        });
    }

    /// The outcomes of this generation in the last `buckets` buckets, the one under way included.
    pub(crate) fn totals(&self, span: &Span, generation: u64, now: Nanos) -> Totals {
        let tick = span.bucket.divide(now).0 & TICK_MASK;
        let sum = |success| {
            let mut sum = 0;
            for stripe in 0..self.cells.stripes() {
                for slot in 0..span.buckets.get() {
                    let held = Cell::unpack(self.cell(stripe, slot, success).load(Ordering::Relaxed));
                    if held.generation == generation as u8 && span.is_current(held.tick, tick) {
                        sum += held.count;
                    }
                }
            }
            sum
        };
        Totals { successes: sum(true), failures: sum(false) }
    }

    /// Forgets everything. Asked for under the breaker's lock, each [`Self::GENERATIONS`], so that a cell is never taken
    /// for one of a generation whose number is the same in 8 bits.
    pub(crate) fn clear(&self) {
        self.cells.iter().for_each(|cell| cell.store(0, Ordering::Relaxed));
    }

    #[inline]
    fn cell(&self, stripe: usize, slot: u64, success: bool) -> &AtomicU64 {
        self.cells.get(stripe, 2 * slot as usize + usize::from(success))
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Nanos = 1_000_000_000;

    /// With its span.
    struct Window(Span, TimeWindow);

    impl Window {
        fn new(length: Duration, buckets: u32, stripes: usize) -> Self {
            let span = Span::new(length, buckets);
            Self(span, TimeWindow::new(&span, stripes))
        }

        fn record(&self, generation: u64, now: Nanos, success: bool) {
            self.1.record(&self.0, generation, now, success);
        }

        fn totals(&self, generation: u64, now: Nanos) -> Totals {
            self.1.totals(&self.0, generation, now)
        }
    }

    fn window() -> Window {
        Window::new(Duration::from_secs(60), 10, 2)
    }

    #[test]
    fn an_outcome_leaves_after_the_window_and_not_before() {
        let window = window();
        window.record(0, 5 * SECOND, false);
        assert_eq!(window.totals(0, 5 * SECOND).failures, 1);
        assert_eq!(window.totals(0, 60 * SECOND - 1).failures, 1);
        assert_eq!(window.totals(0, 60 * SECOND).failures, 0);
    }

    #[test]
    fn a_saturated_count_leaves_its_neighbours_alone() {
        let window = window();
        let full = Cell { generation: 3, tick: 7, count: COUNT_MASK }.pack();
        window.1.cell(window.1.cells.mine().index(), 7, true).store(full, Ordering::Relaxed);
        window.record(3, 42 * SECOND, true);
        let held = Cell::unpack(window.1.cell(window.1.cells.mine().index(), 7, true).load(Ordering::Relaxed));
        assert_eq!((held.generation, held.tick, held.count), (3, 7, COUNT_MASK));
    }

    #[test]
    fn a_late_result_of_an_earlier_generation_is_dropped() {
        let window = window();
        window.record(9, SECOND, true);
        window.record(8, SECOND, true);
        assert_eq!(window.totals(9, SECOND), Totals { successes: 1, failures: 0 });
        assert_eq!(window.totals(8, SECOND), Totals::default());
    }

    proptest! {
        /// Against a list of everything that ever happened.
        #[test]
        fn law_10_a_time_window_loses_at_most_one_bucket_a_step(
            events in prop::collection::vec((0_u64..4_000, any::<bool>()), 1..200),
            buckets in 1_u32..20,
            length_ms in 20_u64..10_000,
        ) {
            let window = Window::new(Duration::from_millis(length_ms), buckets, 1);
            let bucket = length_ms * 1_000_000 / u64::from(buckets);
            let mut now = 0;
            let mut log: Vec<(Nanos, bool)> = Vec::new();
            for (step, success) in events {
                now += step * 1_000_000;
                log.push((now, success));
                window.record(0, now, success);
                let inside = |oldest: Nanos, wanted| log.iter()
                    .filter(|(at, ok)| *ok == wanted && *at >= oldest).count() as u64;
                let totals = window.totals(0, now);
                // Exactly the outcomes of the last `buckets` ticks.
                let oldest = (now / bucket).saturating_sub(u64::from(buckets) - 1) * bucket;
                prop_assert_eq!(totals, Totals { successes: inside(oldest, true), failures: inside(oldest, false) });
                // Hence never more than the window's length, and short of it by less than one bucket.
                prop_assert!(now - oldest < bucket * u64::from(buckets));
                prop_assert!(now < bucket * u64::from(buckets) || now - oldest >= bucket * (u64::from(buckets) - 1));
            }
        }
    }

    #[test]
    fn law_10_a_window_does_not_grow_with_traffic() {
        let window = window();
        let size = window.1.cells.iter().count();
        for call in 0..100_000 {
            window.record(0, call * 1_000, call % 2 == 0);
        }
        assert_eq!(window.1.cells.iter().count(), size);
        assert_eq!(window.totals(0, 100_000_000), Totals { successes: 50_000, failures: 50_000 });
    }
}
