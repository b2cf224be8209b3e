//! What the last minutes looked like, in cells, for people. Nothing decides by it.
//!
//! A cell is one word: its tick, how many calls failed in it, and flags. A success whose cell knows of one already is one
//! load and writes nothing.

use super::{Nanos, nanos};
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a cell of a history lasts: 15 s.
pub const HISTORY_CELL: Duration = Duration::from_secs(15);
/// How many cells it has: 60, which is 15 min.
pub const HISTORY_CELLS: usize = 60;

const SUCCESS: u64 = 1;
const NOT_CLOSED: u64 = 2;
const FLAG_BITS: u32 = 8;
const COUNT_BITS: u32 = 20;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
/// All nanoseconds that there are make fewer ticks than the rest of a word holds.
const TICK: u32 = FLAG_BITS + COUNT_BITS;

/// What happened within 15 s.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistoryCell {
    /// Whether a call succeeded.
    pub succeeded: bool,
    /// How many calls failed.
    pub failures: u32,
    /// Whether the breaker was open, half-open or forced open for some of the time.
    pub not_closed: bool,
}

#[derive(Debug)]
pub(crate) struct Cells {
    cells: [AtomicU64; HISTORY_CELLS],
    /// The end of the latest cell that knows of a success.
    succeeded_until: AtomicU64,
    /// Since when the breaker has not been closed, plus one; 0 while it is.
    not_closed: AtomicU64,
}

impl Cells {
    pub(crate) fn new() -> Self {
        let cells = std::array::from_fn(|_| AtomicU64::new(0));
        Self { cells, succeeded_until: AtomicU64::new(0), not_closed: AtomicU64::new(0) }
    }

    /// A call has come to its end.
    #[inline]
    pub(crate) fn record(&self, success: bool, now: Nanos) {
        if success {
            let left = self.succeeded_until.load(Ordering::Relaxed).wrapping_sub(now);
            if left == 0 || left > nanos(HISTORY_CELL) {
                self.succeeded(tick(now));
            }
        } else {
            self.change(tick(now), |word| {
                let count = (word >> FLAG_BITS) & COUNT_MASK;
                if count == COUNT_MASK { word } else { word + (1 << FLAG_BITS) }
            });
        }
    }

    /// The first success of a cell.
    #[cold]
    fn succeeded(&self, tick: u64) {
        self.change(tick, |word| word | SUCCESS);
        self.succeeded_until.store((tick + 1).saturating_mul(nanos(HISTORY_CELL)), Ordering::Relaxed);
    }

    /// The breaker has changed.
    pub(crate) fn changed(&self, closed: bool, now: Nanos) {
        if !closed {
            let _ = self.not_closed.compare_exchange(0, now.saturating_add(1), Ordering::Relaxed, Ordering::Relaxed);
            return;
        }
        let Some(since) = self.not_closed.swap(0, Ordering::Relaxed).checked_sub(1) else { return };
        for tick in ticks(since, now) {
            self.change(tick, |word| word | NOT_CLOSED);
        }
    }

    /// The cells, the oldest first; the last is under way.
    pub(crate) fn cells(&self, now: Nanos) -> Vec<HistoryCell> {
        let since = self.not_closed.load(Ordering::Relaxed).checked_sub(1);
        let not_closed = since.map(|since| ticks(since, now));
        let cell = |ago: u64| {
            let Some(tick) = tick(now).checked_sub(ago) else { return HistoryCell::default() };
            let word = self.cell(tick).load(Ordering::Relaxed);
            let word = if word >> TICK == tick { word } else { 0 };
            HistoryCell {
                succeeded: word & SUCCESS != 0,
                failures: ((word >> FLAG_BITS) & COUNT_MASK) as u32,
                not_closed: word & NOT_CLOSED != 0 || not_closed.as_ref().is_some_and(|ticks| ticks.contains(&tick)),
            }
        };
        (0..HISTORY_CELLS as u64).rev().map(cell).collect()
    }

    #[inline]
    fn cell(&self, tick: u64) -> &AtomicU64 {
        &self.cells[(tick % HISTORY_CELLS as u64) as usize]
    }

    /// Changes a cell, unless it is that of a later time already.
    fn change(&self, tick: u64, change: impl Fn(u64) -> u64) {
        let changed = |word: u64| match (word >> TICK).cmp(&tick) {
            std::cmp::Ordering::Less => Some(change(tick << TICK)),
            std::cmp::Ordering::Equal => Some(change(word)),
            std::cmp::Ordering::Greater => None,
        };
        let _ = self.cell(tick).fetch_update(Ordering::Relaxed, Ordering::Relaxed, changed);
    }
}

#[inline]
fn tick(now: Nanos) -> u64 {
    now / nanos(HISTORY_CELL)
}

/// Those between two times that a history still has.
fn ticks(since: Nanos, now: Nanos) -> std::ops::RangeInclusive<u64> {
    let last = tick(now);
    tick(since).max(last.saturating_sub(HISTORY_CELLS as u64 - 1))..=last
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CELL: Nanos = 15_000_000_000;

    fn shown(history: &Cells, now: Nanos) -> String {
        let cell = |cell: HistoryCell| match (cell.not_closed, cell.failures, cell.succeeded) {
            (true, _, _) => 'o',
            (false, 0, false) => '.',
            (false, 0, true) => '+',
            (false, _, _) => '-',
        };
        history.cells(now).into_iter().map(cell).collect::<String>().trim_start_matches('.').to_owned()
    }

    #[test]
    fn cells_tell_what_happened_when() {
        let history = Cells::new();
        history.record(true, 0);
        history.record(true, CELL);
        history.record(false, 2 * CELL - 1);
        history.record(false, 2 * CELL - 1);
        history.record(true, 4 * CELL);
        assert_eq!(shown(&history, 4 * CELL), "+-..+");
        assert_eq!(history.cells(4 * CELL)[HISTORY_CELLS - 4].failures, 2);
        history.changed(false, 5 * CELL);
        assert_eq!(shown(&history, 7 * CELL), "+-..+ooo", "still open");
        history.changed(false, 7 * CELL);
        history.changed(true, 8 * CELL - 1);
        history.record(true, 9 * CELL);
        assert_eq!(shown(&history, 9 * CELL), "+-..+ooo.+");
    }

    #[test]
    fn what_is_too_long_ago_is_gone() {
        let history = Cells::new();
        history.record(false, 0);
        history.changed(false, CELL);
        let full = "o".repeat(HISTORY_CELLS);
        assert_eq!(shown(&history, 1_000 * CELL), full);
        history.changed(true, 1_000 * CELL);
        assert_eq!(shown(&history, 1_000 * CELL), full);
        assert_eq!(shown(&history, 1_059 * CELL), format!("o{}", ".".repeat(59)));
        assert_eq!(shown(&history, 1_060 * CELL), "");
        history.record(true, CELL);
        assert_eq!(shown(&history, 1_060 * CELL), "", "one that comes far too late");
    }

    #[test]
    fn a_count_stops_at_its_end() {
        let history = Cells::new();
        (0..COUNT_MASK + 5).for_each(|_| history.record(false, 7 * CELL));
        assert_eq!(u64::from(history.cells(7 * CELL)[HISTORY_CELLS - 1].failures), COUNT_MASK);
        assert_eq!(shown(&history, 8 * CELL), "-.");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_panics_whatever_the_time(calls in prop::collection::vec((0..4_u8, any::<u64>()), 0..100)) {
            let history = Cells::new();
            for (what, now) in calls {
                match what {
                    0 | 1 => history.record(what == 0, now),
                    _ => history.changed(what == 2, now),
                }
                prop_assert_eq!(history.cells(now).len(), HISTORY_CELLS);
            }
        }
    }
}
