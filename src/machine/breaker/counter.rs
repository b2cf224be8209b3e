//! What a rule on a rate counts.

use super::Trip;
use crate::machine::{
    Nanos,
    count_window::CountWindow,
    nanos,
    window::{TimeWindow, Totals},
};

#[derive(Debug)]
pub(super) enum Counter {
    /// Failures within some time.
    Failures(TimeWindow),
    /// Failures among so many calls.
    LastFailures(Box<CountWindow>),
    /// Calls within some time that took longer than this. Slow ones stand where failures stand elsewhere.
    Slow(Nanos, TimeWindow),
}

impl Counter {
    pub(super) fn new(rule: &Trip, stripes: usize) -> Option<Self> {
        match *rule {
            Trip::Consecutive { .. } => None,
            Trip::FailureRate { window, buckets, .. } => {
                Some(Self::Failures(TimeWindow::new(window, buckets, stripes)))
            }
            Trip::FailureRateOfLast { calls, .. } => Some(Self::LastFailures(Box::new(CountWindow::new(calls)))),
            Trip::SlowCallRate { slower_than, window, buckets, .. } => {
                Some(Self::Slow(nanos(slower_than), TimeWindow::new(window, buckets, stripes)))
            }
        }
    }

    /// Counts a call.
    #[inline]
    pub(super) fn record(&self, generation: u64, success: bool, took: Nanos, now: Nanos) {
        let good = !self.minds(success, took);
        match self {
            Self::Failures(window) | Self::Slow(_, window) => window.record(generation, now, good),
            Self::LastFailures(window) => window.record(generation, good),
        }
    }

    /// Whether such a call is what its rule is about: only then is it judged.
    #[inline]
    pub(super) fn minds(&self, success: bool, took: Nanos) -> bool {
        match self {
            Self::Failures(_) | Self::LastFailures(_) => !success,
            Self::Slow(slower_than, _) => took > *slower_than,
        }
    }

    pub(super) fn totals(&self, generation: u64, now: Nanos) -> Totals {
        match self {
            Self::Failures(window) | Self::Slow(_, window) => window.totals(generation, now),
            Self::LastFailures(window) => window.totals(generation),
        }
    }

    /// Makes ready for a generation that begins. Asked for under the breaker's lock, before it is published.
    pub(super) fn begin(&self, generation: u64) {
        match self {
            Self::Failures(window) | Self::Slow(_, window) if generation % TimeWindow::GENERATIONS == 0 => {
                window.clear();
            }
            Self::Failures(_) | Self::Slow(..) => {}
            Self::LastFailures(window) => window.begin(generation),
        }
    }

    pub(super) fn is_slow(&self) -> bool {
        matches!(self, Self::Slow(..))
    }
}
