//! Why there is no answer.

use super::{plan::PlanError, served::Served};
use crate::aim::AimError;
use std::{fmt, time::Duration};

/// Why there is no answer. `E` is the client's own error, which can be had back.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E> {
    /// The last model that was asked ended in this error.
    #[non_exhaustive]
    Upstream {
        /// The client's own error.
        error: E,
        /// What became of every candidate.
        served: Box<Served>,
    },
    /// The last model that was asked ran out of time, or the deadline passed before anybody could be asked.
    #[non_exhaustive]
    TimedOut {
        /// What became of every candidate.
        served: Box<Served>,
    },
    /// Nobody could be asked.
    #[non_exhaustive]
    Unavailable {
        /// Why each candidate was skipped, and when the soonest will be back.
        served: Box<Served>,
    },
    /// Every model that was asked failed, the last one with a response, and the layer was told to make that an error.
    #[non_exhaustive]
    AllFailed {
        /// What became of every candidate.
        served: Box<Served>,
    },
    /// The request could not be aimed at a model. It was not sent there.
    #[non_exhaustive]
    Aim {
        /// Why it could not.
        error: AimError,
        /// What became of every candidate before.
        served: Box<Served>,
    },
    /// The request's own plan cannot be followed. It was sent to nobody.
    Plan(PlanError),
}

impl<E> Error<E> {
    /// What became of every candidate. `None` if the request had a plan that cannot be followed.
    pub fn served(&self) -> Option<&Served> {
        match self {
            Self::Upstream { served, .. }
            | Self::TimedOut { served }
            | Self::Unavailable { served }
            | Self::AllFailed { served }
            | Self::Aim { served, .. } => Some(served),
            Self::Plan(_) => None,
        }
    }

    /// The client's own error, if there was one.
    pub fn get_ref(&self) -> Option<&E> {
        match self {
            Self::Upstream { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The client's own error, or this one back.
    ///
    /// # Errors
    ///
    /// This error itself, when it holds none of the client's.
    pub fn into_inner(self) -> Result<E, Self> {
        match self {
            Self::Upstream { error, .. } => Ok(error),
            other => Err(other),
        }
    }

    /// How long until the first of the skipped candidates may be asked again, where that is known.
    pub fn retry_in(&self) -> Option<Duration> {
        self.served().and_then(Served::retry_in)
    }
}

impl<E: fmt::Display> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream { served, .. } => write!(f, "all models failed: {served}"),
            Self::TimedOut { served } => write!(f, "out of time: {served}"),
            Self::Unavailable { served } => {
                write!(f, "no model can be asked: {served}")?;
                match served.retry_in() {
                    Some(retry_in) => write!(f, "; the first may be asked again in {} ms", retry_in.as_millis()),
                    None => Ok(()),
                }
            }
            Self::AllFailed { served } => write!(f, "all models failed: {served}"),
            Self::Aim { error, .. } => error.fmt(f),
            Self::Plan(error) => error.fmt(f),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Upstream { error, .. } => Some(error),
            Self::Aim { error, .. } => error.source(),
            Self::Plan(error) => error.source(),
            _ => None,
        }
    }
}
