//! The live state of one model and of one provider.

mod model;
mod provider;

pub(crate) use model::LiveModel;
pub use model::{SUSPECT_CALLS, SUSPECT_FLOOR, SUSPECT_MULTIPLE, SUSPECT_SUCCESSES};
pub(crate) use provider::LiveProvider;
pub use provider::{LAST_RESORT_EVERY, UNAUTHORIZED_IN_A_ROW};

use crate::machine::{
    Nanos,
    breaker::{Breaker, BreakerConfig, State, Transition},
    ramp::Ramp,
    skips::Skips,
};
use std::sync::Arc;

/// An open wait that has doubled ends early, when so many requests have gone elsewhere meanwhile: 1 000, of which one
/// probe is a thousandth. But it is never shorter than the first. They are counted in batches of 25 for each thread.
pub const EARLY_PROBE_AFTER: u64 = 1_000;

/// What is known of the times when a breaker was not closed; made at the first.
#[derive(Debug)]
struct Outage {
    ramp: Ramp,
    /// Requests that went elsewhere since the breaker opened.
    skips: Skips,
}

impl Outage {
    fn new(config: &BreakerConfig, stripes: usize) -> Self {
        Self { ramp: Ramp::new(config.ramp), skips: Skips::new(stripes) }
    }

    fn turned(&self, transition: &Transition, now: Nanos) {
        match transition.to {
            State::Open => {
                self.skips.reset();
                self.ramp.opened(transition.cause);
            }
            State::Closed => self.ramp.closed(now),
            _ => {}
        }
    }
}

/// The same breaker, unless it is configured in another way.
fn renewed(breaker: &Arc<Breaker>, config: &Arc<BreakerConfig>) -> Arc<Breaker> {
    if *breaker.config() == **config { Arc::clone(breaker) } else { Arc::new(breaker.renewed(Arc::clone(config))) }
}

/// A request goes elsewhere because the breaker is open. Ends the wait once there were so many that a probe is hardly one
/// of them.
#[inline(always)]
pub(crate) fn skipped(skips: &Skips, breaker: &Breaker, now: Nanos) {
    if let Some(count) = skips.add() {
        probe_early(count, skips, breaker, now);
    }
}

/// Looks only at every few, as it takes a lock.
#[cold]
#[inline(never)]
fn probe_early(count: u64, skips: &Skips, breaker: &Breaker, now: Nanos) {
    let due = count >= EARLY_PROBE_AFTER && count % (EARLY_PROBE_AFTER / 8) == 0;
    if due && breaker.end_wait(now) {
        skips.reset();
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
const SEED: super::catalogue::Seed = super::catalogue::Seed { number: 1, seed: 7, of_key: false };
