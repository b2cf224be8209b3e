//! The client's count of its calls against the servers' logs: two sides that know nothing of
//! each other must tell the same story, or the figures prove nothing.
//!
//! The rule. A call that got no connection is one that no server can have read. Of the others,
//! every request that a server has read is given to the call for the same model that was begun
//! last before it and has none yet. Then
//!
//! - a request without a call is one that the client kept quiet about: never allowed;
//! - a call without a request was lost on the way. Only a cut explains that: it was written to
//!   a connection that was being closed, or waited in the queue of a listener that went away.
//!   Such a call was begun within [`NEAR`] of a moment at which its host cut connections;
//! - a call that the client counts as wasted was not answered, and any other was, except within
//!   [`NEAR`] of such a moment: there, a server changes a little after the schedule does.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clients::Try;
use crate::load::Record;
use crate::measure;
use crate::schedule::{self, MODELS, PHASES};
use crate::servers::{Done, Seen};

/// The time between the beginning of a call and its reading, on a busy machine.
const NEAR: Duration = Duration::from_millis(50);
/// No request is given to a call that was over by then.
const OVER: Duration = Duration::from_secs(1);
/// Clocks are read a little before or after what they are to tell.
const BLUR: Duration = Duration::from_millis(2);

/// The calls of one phase.
#[derive(Clone, Copy, Default)]
pub struct Row {
    pub made: usize,
    pub wasted: usize,
    pub refused: usize,
    pub never_read: usize,
    pub read: usize,
}

/// The comparison for one client.
#[derive(Default)]
pub struct Audit {
    /// By the phase in which the call was begun.
    pub phases: [Row; PHASES.len()],
    /// Why calls came to nothing, as the client tells it, and how many did.
    pub failures: BTreeMap<String, usize>,
    /// Requests that the servers have read and the client does not know of.
    pub unknown: usize,
    /// Calls that were never read, without anything that would explain it.
    pub unexplained: usize,
    /// Calls of which the two sides disagree whether they were wasted.
    pub disputed: usize,
}

impl Audit {
    /// `seen` in the order of reading.
    pub fn of(records: &[Record], seen: &[Seen]) -> Self {
        let mut audit = Self::default();
        for model in 0..MODELS.len() {
            audit.add_model(model, records, seen);
        }
        for reason in measure::calls(records).filter_map(|call| call.error.as_ref()) {
            *audit.failures.entry(reason.clone()).or_default() += 1;
        }
        audit
    }

    pub fn holds(&self) -> bool {
        self.unknown == 0 && self.unexplained == 0 && self.disputed == 0
    }

    fn add_model(&mut self, model: usize, records: &[Record], seen: &[Seen]) {
        let mut calls: Vec<_> = measure::calls(records).filter(|call| call.model == model).collect();
        calls.sort_by_key(|call| call.at);
        for call in &calls {
            let row = self.row(call);
            row.made += 1;
            row.wasted += usize::from(measure::wasted(call));
            row.refused += usize::from(call.connect_error);
        }
        let mut connected = calls.into_iter().filter(|call| !call.connect_error).peekable();
        let mut open: Vec<&Try> = Vec::new();
        for request in seen.iter().filter(|seen| seen.model == model) {
            while let Some(call) = connected.next_if(|call| call.at <= request.at + BLUR) {
                open.push(call);
            }
            match open.pop() {
                Some(call) if request.at <= call.at + OVER => self.add_read(call, request),
                older => {
                    open.extend(older);
                    self.unknown += 1;
                }
            }
        }
        for call in open.into_iter().chain(connected) {
            self.row(call).never_read += 1;
            self.unexplained += usize::from(!near_a_cut(call));
        }
    }

    fn add_read(&mut self, call: &Try, request: &Seen) {
        self.row(call).read += 1;
        let agreed = measure::wasted(call) != (request.done == Done::Answered);
        self.disputed += usize::from(!agreed && !near_a_cut(call));
    }

    fn row(&mut self, call: &Try) -> &mut Row {
        &mut self.phases[schedule::phase_at(call.at)]
    }
}

fn near_a_cut(call: &Try) -> bool {
    schedule::cuts(MODELS[call.model].provider).iter().any(|cut| call.at.abs_diff(*cut) <= NEAR)
}
