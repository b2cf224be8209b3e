//! What a failover layer is told, once.

use super::{hedge::Hedge, order::Order};
use crate::{
    classify::Executed,
    machine::config::{self, ConfigError},
};
use std::{sync::Arc, time::Duration};

/// After which results another model may be asked, judged by whether the request may have been executed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Replay {
    /// Also when it has or may have been executed, as long as nothing of an answer has been handed on: better paid twice
    /// than unanswered. The default.
    #[default]
    Maybe,
    /// Only when it was certainly not executed: for requests that must not happen twice.
    NotExecuted,
}

impl Replay {
    pub(crate) fn allows(self, executed: Executed) -> bool {
        match self {
            Self::Maybe => true,
            Self::NotExecuted => executed == Executed::No,
        }
    }
}

/// What the caller gets when every model that was asked failed and the last one gave a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum AllFailed {
    /// That response, as `Ok`, as a client without this crate would get it; [`Served`](crate::Served) says that all
    /// failed. The default.
    #[default]
    LastResponse,
    /// [`Error::AllFailed`](crate::Error::AllFailed). The response is dropped.
    Error,
}

/// What to do when nobody can be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub enum WhenUnavailable {
    /// [`Error::Unavailable`](crate::Error::Unavailable) at once. The default.
    #[default]
    Fail,
    /// Wait for the first that will be back, if that is within this share, in (0, 1], of the time from the beginning of the
    /// request to its deadline; else fail at once. For one that is being probed, or that has as many calls under way as it
    /// may, wait for so long.
    Wait(f64),
}

impl WhenUnavailable {
    pub(crate) fn check(self) -> Result<(), ConfigError> {
        match self {
            Self::Fail => Ok(()),
            Self::Wait(share) if share > 0.0 && share <= 1.0 => Ok(()),
            Self::Wait(share) => {
                Err(ConfigError::new("when_unavailable", share.to_string(), "must be above 0 and at most 1"))
            }
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) attempt_timeout: Duration,
    pub(crate) deadline: Duration,
    pub(crate) max_attempts: u32,
    pub(crate) replay: Replay,
    pub(crate) all_failed: AllFailed,
    /// Whether degraded and suspect models come after the others.
    pub(crate) tiers: bool,
    /// In place of the caller's order and the tiers.
    pub(crate) order: Option<Arc<dyn Order>>,
    pub(crate) when_unavailable: WhenUnavailable,
    pub(crate) hedge: Option<Hedge>,
    /// The same for a request that carries a probe.
    pub(crate) protect_probes: Option<Hedge>,
}

/// One attempt, to the response's head: 120 s.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(120);
/// Everything together, to the response's head: 300 s.
pub const DEADLINE: Duration = Duration::from_secs(300);
/// Models asked for one request: at most 3. Any number may be skipped.
pub const MAX_ATTEMPTS: u32 = 3;

impl Default for Settings {
    fn default() -> Self {
        Self {
            attempt_timeout: ATTEMPT_TIMEOUT,
            deadline: DEADLINE,
            max_attempts: MAX_ATTEMPTS,
            replay: Replay::default(),
            all_failed: AllFailed::default(),
            tiers: true,
            order: None,
            when_unavailable: WhenUnavailable::default(),
            hedge: None,
            protect_probes: Some(Hedge::of_probes()),
        }
    }
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        config::positive("attempt_timeout", self.attempt_timeout)?;
        config::positive("deadline", self.deadline)?;
        config::at_least_one("max_attempts", self.max_attempts)?;
        self.when_unavailable.check()?;
        self.hedge.as_ref().map_or(Ok(()), Hedge::check)
    }
}
