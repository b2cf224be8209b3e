//! The live state of one model and of one provider.

mod model;
mod provider;

pub(crate) use model::LiveModel;
pub use model::{SUSPECT_CALLS, SUSPECT_FLOOR, SUSPECT_MULTIPLE, SUSPECT_SUCCESSES};
pub(crate) use provider::LiveProvider;
pub use provider::{LAST_RESORT_EVERY, UNAUTHORIZED_IN_A_ROW};

use crate::machine::breaker::{Breaker, BreakerConfig};
use std::sync::Arc;

/// The same breaker, unless it is configured in another way.
fn renewed(breaker: &Arc<Breaker>, config: &Arc<BreakerConfig>) -> Arc<Breaker> {
    if *breaker.config() == **config { Arc::clone(breaker) } else { Arc::new(breaker.renewed(Arc::clone(config))) }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
const SEED: super::catalogue::Seed = super::catalogue::Seed { number: 1, seed: 7, of_key: false };
