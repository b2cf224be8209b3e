//! When another model is asked beside one that is slow to answer.

use crate::{
    machine::{
        Nanos,
        config::{self, ConfigError},
        nanos,
    },
    models::LiveModel,
};
use std::time::Duration;

/// The request that carries a probe is protected after this share of the next model's successes would have come: 95 %.
pub const PROTECT_QUANTILE: f64 = 0.95;
/// But not before 1 s.
pub const PROTECT_FLOOR: Duration = Duration::from_secs(1);

/// When the next model is asked beside one that has not answered yet. The first good answer wins, and the other call is
/// dropped.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::Hedge;
///
/// let fixed = Hedge::after(Duration::from_secs(2));
/// // After what 95 of 100 of its answers take, and 100 ms at the least.
/// let usual = Hedge::quantile(0.95).at_least(Duration::from_millis(100));
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hedge {
    quantile: Option<f64>,
    /// The delay itself, or the least that it is.
    after: Duration,
    /// Whether the least is the delay where the quantile is not known.
    unless_known: bool,
}

impl Hedge {
    /// After a fixed time from when the model was chosen.
    pub const fn after(delay: Duration) -> Self {
        Self { quantile: None, after: delay, unless_known: true }
    }

    /// After what this share of the model's own successes of the last one to two minutes took at the most, in (0, 1). As
    /// long as there were fewer than 20 of them, never.
    pub const fn quantile(share: f64) -> Self {
        Self { quantile: Some(share), after: Duration::ZERO, unless_known: false }
    }

    /// But not before that.
    pub const fn at_least(mut self, delay: Duration) -> Self {
        self.after = delay;
        self
    }

    /// How the request that carries a probe is protected.
    pub(crate) const fn of_probes() -> Self {
        Self { quantile: Some(PROTECT_QUANTILE), after: PROTECT_FLOOR, unless_known: true }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match self.quantile {
            Some(share) if share > 0.0 && share < 1.0 => Ok(()),
            Some(share) => Err(ConfigError::new("quantile", share.to_string(), "must lie between 0 and 1")),
            None => config::positive("after", self.after),
        }
        .map_err(|error| error.within("hedge"))
    }

    /// How long to wait for a model like this one.
    pub(super) fn delay(&self, live: &LiveModel, now: Nanos) -> Option<Nanos> {
        let least = nanos(self.after);
        match self.quantile {
            None => Some(least),
            Some(share) => match live.quantile(share, now) {
                Some(usual) => Some(usual.max(least)),
                None => self.unless_known.then_some(least),
            },
        }
    }
}
