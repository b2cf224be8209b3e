//! What a log comes to, in figures.

use serde_json::{Value, json};

use super::{
    scenario::{LENGTH, Ms, deadline},
    upstream::{Case, Log, Row},
};

/// Traffic counts as diverted, or as returned, when it is for so long.
const LASTING: Ms = 1_000;
/// Traffic has returned to the first model when it answers so much of it.
const RETURNED: f64 = 0.9;

#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Some model answers in time if it is asked, alone, when the request comes: the clairvoyant finds it.
    pub answerable: usize,
    /// Of the answerable ones.
    pub answered: usize,
    /// Latencies are over the answerable ones; an unanswered one counts as its deadline.
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
        let unanswered = deadline(case.timeout);
        let latency = |row: &&Row| row.by.map_or(unanswered, |_| row.took);
        let mut latencies: Vec<Ms> = answerable.iter().map(latency).collect();
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

/// From the first fault to the first request from which on, for [`LASTING`], the first call of every request is one that
/// is answered in time. `None` if that comes only with the end of the fault. A single request that tries later how the
/// model does undoes nothing.
fn diverted(case: &Case, rows: &[Row]) -> Option<Ms> {
    let fault = case.scenario.first_fault();
    let at = lasting(rows, fault.start, fault.end, |rows| rows.iter().all(|row| row.straight))?;
    Some(at - fault.start)
}

/// From when all models are back to the first request from which on, for [`LASTING`], the first model answers
/// [`RETURNED`] of all.
fn returned(case: &Case, rows: &[Row]) -> Option<Ms> {
    let back = case.scenario.back();
    let by_the_first = |rows: &[Row]| rows.iter().filter(|row| row.by == Some(0)).count();
    let at = lasting(rows, back, LENGTH, |rows| by_the_first(rows) as f64 >= RETURNED * rows.len() as f64)?;
    Some(at - back)
}

/// The first arrival within these bounds with which a second begins, still within them, of which `holds`.
fn lasting(rows: &[Row], from: Ms, to: Ms, holds: impl Fn(&[Row]) -> bool) -> Option<Ms> {
    let place = |at: Ms| rows.partition_point(|row| row.arrived < at);
    let candidates = &rows[place(from)..place((to + 1).saturating_sub(LASTING))];
    let starts = candidates.iter().map(|row| row.arrived);
    starts.into_iter().find(|at| holds(&rows[place(*at)..place(*at + LASTING)]))
}

/// How often an answer comes from another model than the answer to the request before.
fn changes(rows: &[Row]) -> usize {
    let answered: Vec<u8> = rows.iter().filter_map(|row| row.by).collect();
    answered.windows(2).filter(|pair| pair[0] != pair[1]).count()
}

/// The smallest latency that a share of `rank` does not exceed.
fn percentile(sorted: &[Ms], rank: f64) -> Ms {
    let place = (sorted.len() as f64 * rank).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0)
}
