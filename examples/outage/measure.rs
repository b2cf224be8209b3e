//! What a client's records come to, in figures.

use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::{TOTAL, Try};
use crate::load::Record;
use crate::schedule;

/// After everything was down, a request that is sent within this time may still be lost.
const GRACE: Duration = Duration::from_millis(1500);
/// So long must every request go straight before the traffic counts as diverted.
const STRAIGHT_FOR: Duration = Duration::from_secs(1);

/// The figures of one client.
pub struct Figures {
    pub requests: usize,
    /// Some model was healthy from the sending until a second later.
    pub answerable: usize,
    /// Of the answerable ones.
    pub answered: usize,
    /// Answerable, unanswered, and not sent just after everything was down.
    pub lost_late: usize,
    /// Latencies are over the answerable requests; an unanswered one counts as [`TOTAL`].
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
    pub upstream_calls: usize,
    /// Calls begun when their model was down. One in flight when the fault struck is not one.
    pub wasted_calls: usize,
    /// Dollars.
    pub cost: f64,
    pub divert_ms: Option<f64>,
    pub return_ms: Option<f64>,
}

impl Figures {
    /// `records` in the order of sending.
    pub fn of(records: &[Record]) -> Self {
        let answerable: Vec<_> = records.iter().filter(|record| schedule::answerable(record.sent)).collect();
        let mut latencies: Vec<_> = answerable.iter().map(|record| latency(record)).collect();
        latencies.sort();
        Self {
            requests: records.len(),
            answerable: answerable.len(),
            answered: answerable.iter().filter(|record| answered(record)).count(),
            lost_late: answerable.iter().filter(|record| lost_late(record)).count(),
            p50_ms: percentile(&latencies, 0.50),
            p99_ms: percentile(&latencies, 0.99),
            max_ms: percentile(&latencies, 1.0),
            upstream_calls: calls(records).count(),
            wasted_calls: calls(records).filter(|call| wasted(call)).count(),
            cost: records.iter().map(|record| record.outcome.cost).sum(),
            divert_ms: diverted(records).map(ms),
            return_ms: returned(records).map(ms),
        }
    }

    pub fn json(&self) -> Value {
        json!({
            "requests": self.requests,
            "answerable": self.answerable,
            "answered": self.answered,
            "lost_late": self.lost_late,
            "p50_ms": tenths(self.p50_ms),
            "p99_ms": tenths(self.p99_ms),
            "max_ms": tenths(self.max_ms),
            "upstream_calls": self.upstream_calls,
            "wasted_calls": self.wasted_calls,
            "cost": (self.cost * 1000.0).round() / 1000.0,
            "divert_ms": self.divert_ms.map(tenths),
            "return_ms": self.return_ms.map(tenths),
        })
    }
}

/// The time a request took; one without an answer took all that it was given.
pub fn latency(record: &Record) -> Duration {
    if answered(record) { record.took } else { TOTAL }
}

/// Every call of every request.
pub fn calls(records: &[Record]) -> impl Iterator<Item = &Try> {
    records.iter().flat_map(|record| &record.outcome.attempts)
}

/// The call was begun when its model was down.
pub fn wasted(call: &Try) -> bool {
    !schedule::healthy(call.model, call.at)
}

fn answered(record: &Record) -> bool {
    record.outcome.answered_by.is_some()
}

fn lost_late(record: &Record) -> bool {
    let over = schedule::last_fault_over();
    !answered(record) && !(over..over + GRACE).contains(&record.sent)
}

/// From the first fault to the sending of the first request from which on every request, for
/// [`STRAIGHT_FOR`], asks a healthy model first. What comes later does not undo it: a breaker
/// has to let a single request try a model that was down, or it would never hear of its return.
fn diverted(records: &[Record]) -> Option<Duration> {
    let fault = schedule::first_fault();
    let mut straight_since = None;
    for record in records.iter().filter(|record| record.sent >= fault) {
        if !straight(record) {
            straight_since = None;
            continue;
        }
        let since = *straight_since.get_or_insert(record.sent);
        if record.sent - since >= STRAIGHT_FOR {
            return Some(since - fault);
        }
    }
    None
}

fn straight(record: &Record) -> bool {
    let first = record.outcome.attempts.first();
    first.is_some_and(|call| !wasted(call))
}

/// From the end of the last fault to the first answer to anybody.
fn returned(records: &[Record]) -> Option<Duration> {
    let over = schedule::last_fault_over();
    records
        .iter()
        .filter(|record| answered(record))
        .filter_map(|record| (record.sent + record.took).checked_sub(over))
        .min()
}

/// The smallest latency that a share of `rank` does not exceed, in milliseconds.
fn percentile(sorted: &[Duration], rank: f64) -> f64 {
    let place = (sorted.len() as f64 * rank).ceil() as usize;
    sorted.get(place.saturating_sub(1)).map_or(0.0, |latency| ms(*latency))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}
