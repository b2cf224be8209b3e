//! What a log comes to, in figures.

use std::ops::Range;

use serde_json::{Value, json};

use super::{
    scenario::{LENGTH, MODELS, Ms},
    upstream::{Case, Log, Row},
};

/// Traffic has been diverted, or has returned, when so much of it has for so long: the odd request that tries how a model
/// does takes nothing from that.
const LASTING: Ms = 1_000;
const SHARE: f64 = 0.9;

#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Some model answers in time if it is asked, alone, when the request comes: the clairvoyant finds it.
    pub answerable: usize,
    /// Of the answerable ones.
    pub answered: usize,
    /// Latencies are over the answered ones.
    pub p50_ms: Ms,
    pub p99_ms: Ms,
    pub calls_per_request: f64,
    /// Calls that did not become the answer of their request.
    pub wasted_calls: usize,
    pub cost: f64,
    pub divert_ms: Option<Ms>,
    pub return_ms: Option<Ms>,
    pub changes: usize,
}

impl Figures {
    /// `clairvoyant` is its log of the same case.
    pub fn of(case: &Case, log: &Log, clairvoyant: &Log) -> Self {
        let rows = &log.rows;
        let answerable: Vec<&Row> =
            rows.iter().zip(&clairvoyant.rows).filter(|(_, limit)| limit.by.is_some()).map(|(row, _)| row).collect();
        let mut latencies: Vec<Ms> = answerable.iter().filter(|row| row.by.is_some()).map(|row| row.took).collect();
        latencies.sort_unstable();
        let calls: usize = rows.iter().map(|row| usize::from(row.calls)).sum();
        Self {
            answerable: answerable.len(),
            answered: answerable.iter().filter(|row| row.by.is_some()).count(),
            p50_ms: percentile(&latencies, 0.50),
            p99_ms: percentile(&latencies, 0.99),
            calls_per_request: calls as f64 / rows.len() as f64,
            wasted_calls: calls - rows.iter().filter(|row| row.by.is_some()).count(),
            cost: log.cost,
            divert_ms: diverted(case, rows),
            return_ms: returned(case, rows),
            changes: changes(rows),
        }
    }

    pub fn changes_an_hour(&self) -> f64 {
        self.changes as f64 * 3_600_000.0 / f64::from(LENGTH)
    }

    pub fn json(&self) -> Value {
        json!({
            "answered": self.answered,
            "answerable": self.answerable,
            "p50_ms": self.p50_ms,
            "p99_ms": self.p99_ms,
            "calls_per_request": (self.calls_per_request * 10_000.0).round() / 10_000.0,
            "wasted_calls": self.wasted_calls,
            "cost": self.cost,
            "divert_ms": self.divert_ms,
            "return_ms": self.return_ms,
            "changes": self.changes,
        })
    }
}

/// From the first fault to the first request from which on, for [`LASTING`], so many ask a model first that has no fault
/// at that time. `None` if that comes only with the end of the fault.
fn diverted(case: &Case, rows: &[Row]) -> Option<Ms> {
    let Range { start, end } = case.scenario.first_fault();
    let elsewhere = |row: &Row| {
        let first = row.first.map(usize::from);
        first.is_some_and(|model| case.scenario.spell(model, row.arrived).is_none())
    };
    Some(lasting(rows, start..end, elsewhere)? - start)
}

/// From when all models are back to the first request from which on, for [`LASTING`], so many are answered by the first
/// model.
fn returned(case: &Case, rows: &[Row]) -> Option<Ms> {
    let back = case.scenario.back();
    Some(lasting(rows, back..LENGTH, |row| row.by == Some(0))? - back)
}

/// The first arrival within these bounds with which a second begins, still within them, in which it holds for [`SHARE`]
/// of the requests.
fn lasting(rows: &[Row], within: Range<Ms>, holds: impl Fn(&Row) -> bool) -> Option<Ms> {
    let place = |at: Ms| rows.partition_point(|row| row.arrived < at);
    let starts = &rows[place(within.start)..place((within.end + 1).saturating_sub(LASTING))];
    let lasts = |at: &Ms| {
        let second = &rows[place(*at)..place(*at + LASTING)];
        second.iter().filter(|row| holds(row)).count() as f64 >= SHARE * second.len() as f64
    };
    starts.iter().map(|row| row.arrived).find(lasts)
}

/// How often the serving model changes from one second to the next. It is the one that answers most requests of its second:
/// a probe, or a failure that goes to the next model, changes nothing.
fn changes(rows: &[Row]) -> usize {
    let of_second = |rows: &[Row]| {
        let mut answers = [0_usize; MODELS.len()];
        rows.iter().filter_map(|row| row.by).for_each(|by| answers[usize::from(by)] += 1);
        let most = answers.iter().copied().max().filter(|most| *most > 0)?;
        answers.iter().position(|answers| *answers == most)
    };
    let seconds = rows.chunk_by(|one, next| one.arrived / 1_000 == next.arrived / 1_000);
    let serving: Vec<usize> = seconds.filter_map(of_second).collect();
    serving.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// The smallest latency that a share of `rank` does not exceed.
fn percentile(sorted: &[Ms], rank: f64) -> Ms {
    let place = (sorted.len() as f64 * rank).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0)
}
