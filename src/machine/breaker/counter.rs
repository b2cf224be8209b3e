//! What rules on a rate count.

use super::Trip;
use crate::machine::{
    Nanos,
    count_window::CountWindow,
    nanos,
    window::{Span, TimeWindow, Totals},
};
use std::time::Duration;

/// What one rule on a rate has counted in one breaker.
#[derive(Debug)]
pub(super) enum Counter {
    /// Within some time.
    Timed(TimeWindow),
    /// Among so many calls.
    Last(Box<CountWindow>),
}

/// How a rule on a rate counts. All breakers of one configuration share it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rate {
    /// That of a window of time; none where calls are counted.
    span: Span,
    /// Calls that took longer than this stand where failures stand elsewhere.
    slower_than: Option<Nanos>,
}

/// Both together.
#[derive(Clone, Copy)]
pub(super) struct Counted<'a> {
    pub(super) rate: &'a Rate,
    pub(super) counter: &'a Counter,
}

impl Rate {
    /// Nothing for a rule that is not on a rate.
    pub(super) fn of(rule: &Trip) -> Option<Self> {
        match *rule {
            Trip::Consecutive { .. } => None,
            Trip::FailureRate { window, buckets, .. } => {
                Some(Self { span: Span::new(window, buckets), slower_than: None })
            }
            Trip::FailureRateOfLast { .. } => Some(Self { span: Span::new(Duration::ZERO, 1), slower_than: None }),
            Trip::SlowCallRate { slower_than, window, buckets, .. } => {
                Some(Self { span: Span::new(window, buckets), slower_than: Some(nanos(slower_than)) })
            }
        }
    }
}

impl Counter {
    pub(super) fn new(rule: &Trip, rate: &Rate, stripes: usize) -> Self {
        match *rule {
            Trip::FailureRateOfLast { calls, .. } => Self::Last(Box::new(CountWindow::new(calls))),
            _ => Self::Timed(TimeWindow::new(&rate.span, stripes)),
        }
    }

    /// Makes ready for a generation that begins. Asked for under the breaker's lock, before it is published.
    pub(super) fn begin(&self, generation: u64) {
        match self {
            Self::Timed(window) if generation % TimeWindow::GENERATIONS == 0 => window.clear(),
            Self::Timed(_) => {}
            Self::Last(window) => window.begin(generation),
        }
    }
}

impl Counted<'_> {
    /// Counts a call.
    #[inline]
    pub(super) fn record(self, generation: u64, success: bool, took: Nanos, now: Nanos) {
        let good = !self.minds(success, took);
        match self.counter {
            Counter::Timed(window) => window.record(&self.rate.span, generation, now, good),
            Counter::Last(window) => window.record(generation, good),
        }
    }

    /// Whether such a call is what its rule is about: only then is it judged.
    #[inline]
    pub(super) fn minds(self, success: bool, took: Nanos) -> bool {
        match self.rate.slower_than {
            None => !success,
            Some(slower_than) => took > slower_than,
        }
    }

    pub(super) fn totals(self, generation: u64, now: Nanos) -> Totals {
        match self.counter {
            Counter::Timed(window) => window.totals(&self.rate.span, generation, now),
            Counter::Last(window) => window.totals(generation),
        }
    }

    /// What calls have to be slower than for its rule, if that is one on slow calls.
    pub(super) fn slower_than(self) -> Option<Nanos> {
        self.rate.slower_than
    }
}
