//! The policies side by side. The loop and the clairvoyant wait for nothing but calls, so that plain arithmetic does for
//! them; the layers run as they are, on tokio's paused clock.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::{
    layer,
    scenario::{MODELS, Ms},
    upstream::{Case, Log, Upstream},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Written by hand: each model in order, a timeout, nothing remembered.
    Loop,
    /// This crate with its breakers alone.
    BreakersOnly,
    /// This crate as it comes.
    Failover,
    /// Asks the first model in the caller's order that will answer in time, and nobody if none will: the limit.
    Clairvoyant,
}

pub const POLICIES: [Policy; 4] = [Policy::Loop, Policy::BreakersOnly, Policy::Failover, Policy::Clairvoyant];

impl Policy {
    pub fn name(self) -> &'static str {
        match self {
            Self::Loop => "loop",
            Self::BreakersOnly => "breakers_only",
            Self::Failover => "failover",
            Self::Clairvoyant => "clairvoyant",
        }
    }

    pub fn run(self, case: &Case) -> Log {
        match self {
            Self::Loop => by_hand(case),
            Self::BreakersOnly | Self::Failover => layer::run(self, case),
            Self::Clairvoyant => clairvoyant(case),
        }
    }

    /// What there is to see of breakers and tiers, whenever it changes.
    pub fn watch(self, case: &Case) -> Vec<(Ms, String)> {
        match self {
            Self::BreakersOnly | Self::Failover => layer::watch(self, case),
            Self::Loop | Self::Clairvoyant => Vec::new(),
        }
    }
}

/// All its calls in the order of time, as a model may serve only so many.
fn by_hand(case: &Case) -> Log {
    let mut upstream = Upstream::new(case.clone());
    let arrivals = case.chance.arrivals.iter().enumerate();
    let mut calls: BinaryHeap<Reverse<(Ms, usize, usize)>> =
        arrivals.map(|(request, at)| Reverse((*at, request, 0))).collect();
    while let Some(Reverse((at, request, model))) = calls.pop() {
        let reply = upstream.call(request, model, at);
        let over = at + reply.after().map_or(case.timeout, |after| after.min(case.timeout));
        if reply.answers_within(case.timeout) {
            upstream.done(request, Some(model), over);
        } else if model + 1 < MODELS.len() {
            calls.push(Reverse((over, request, model + 1)));
        } else {
            upstream.done(request, None, over);
        }
    }
    upstream.into_log()
}

fn clairvoyant(case: &Case) -> Log {
    let mut upstream = Upstream::new(case.clone());
    for (request, at) in case.chance.arrivals.iter().copied().enumerate() {
        let answers = |model: &usize| upstream.foresee(request, *model, at).answers_within(case.timeout);
        match (0..MODELS.len()).find(answers) {
            Some(model) => {
                let after = upstream.call(request, model, at).after().unwrap_or(0);
                upstream.done(request, Some(model), at + after);
            }
            None => upstream.done(request, None, at),
        }
    }
    upstream.into_log()
}
