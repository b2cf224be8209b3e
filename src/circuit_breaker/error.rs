//! Why a guarded call has no response.

use crate::{
    failover::Skip,
    lane::Lane,
    machine::Nanos,
    metrics::is_heard,
    model::Model,
    models::{Registry, UnknownName},
    outcome::SkipReason,
    permit::Refused,
};
use std::{fmt, time::Duration};

/// Why a guarded call has no response. `E` is the service's own error.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E> {
    /// The service's own error.
    Inner(E),
    /// The breaker refused the call; the service was not asked.
    Rejected(Rejected),
    /// The request's key is the name of no model; the service was not asked.
    Unknown(UnknownName),
}

/// A call that a breaker refused.
pub struct Rejected {
    registry: Lane<Registry>,
    index: usize,
    refusal: Refusal,
}

/// What a breaker says to a call. Two words, which go from hand to hand in registers.
#[derive(Clone, Copy)]
pub(super) struct Refusal {
    why: SkipReason,
    /// Where that is known.
    retry_in: Nanos,
}

impl Refusal {
    #[inline(always)]
    pub(super) fn new(refused: Refused, now: Nanos) -> Self {
        Self { why: SkipReason::refused(refused), retry_in: refused.retry_at().saturating_sub(now) }
    }

    /// Counts it, if somebody listens.
    #[inline(always)]
    pub(super) fn count(self, registry: &Registry, index: usize) {
        if is_heard() {
            registry.meters().skip(index, self.why);
        }
    }
}

impl Rejected {
    #[inline(always)]
    pub(super) fn new(registry: Lane<Registry>, index: usize, refusal: Refusal) -> Self {
        Self { registry, index, refusal }
    }

    /// The model that was to be asked.
    pub fn model(&self) -> &Model {
        &self.registry.models[self.index].model
    }

    /// Why it was not.
    pub fn why(&self) -> Skip {
        Skip::of(self.refusal.why, Duration::from_nanos(self.refusal.retry_in))
    }

    /// How long until it may be asked again, where that is known.
    pub fn retry_in(&self) -> Option<Duration> {
        self.why().retry_in()
    }
}

impl fmt::Debug for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("model", &self.model().name()).field("why", &self.why()).finish()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model `{}` was not asked: {}", self.model().name(), self.why())
    }
}

impl std::error::Error for Rejected {}

impl<E> Error<E> {
    /// The service's own error, if it is one.
    pub fn get_ref(&self) -> Option<&E> {
        match self {
            Self::Inner(error) => Some(error),
            _ => None,
        }
    }

    /// The service's own error, or this one back.
    ///
    /// # Errors
    ///
    /// This error itself, when it is not the service's.
    pub fn into_inner(self) -> Result<E, Self> {
        match self {
            Self::Inner(error) => Ok(error),
            other => Err(other),
        }
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inner(error) => error.fmt(f),
            Self::Rejected(rejected) => rejected.fmt(f),
            Self::Unknown(unknown) => unknown.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Inner(error) => Some(error),
            Self::Rejected(rejected) => Some(rejected),
            Self::Unknown(unknown) => Some(unknown),
        }
    }
}
