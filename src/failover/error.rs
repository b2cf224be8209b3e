//! Why there is no answer.

use super::{plan::PlanError, served::Served};
use crate::aim::AimError;
use std::{error::Error as StdError, fmt, time::Duration};

/// Why there is no answer. `E` is the client's own error, which can be had back.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error<E> {
    /// The last model that was asked ended in this error; or nobody was, as the client never became ready.
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
    /// The request could not be aimed at the first model that was to be asked. It was sent to nobody.
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

impl<E> Error<E> {
    /// The same with the client's own error turned into another.
    pub fn map_inner<T>(self, map: impl FnOnce(E) -> T) -> Error<T> {
        match self {
            Self::Upstream { error, served } => Error::Upstream { error: map(error), served },
            Self::TimedOut { served } => Error::TimedOut { served },
            Self::Unavailable { served } => Error::Unavailable { served },
            Self::AllFailed { served } => Error::AllFailed { served },
            Self::Aim { error, served } => Error::Aim { error, served },
            Self::Plan(error) => Error::Plan(error),
        }
    }
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> Error<E> {
    /// This error in a box, for clients whose own error is a box already: such a one is no [`std::error::Error`], which
    /// `?` and many of tower's layers ask for. It can be had back by `downcast::<Error<Boxed>>()`.
    ///
    /// ```
    /// use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
    /// use tower_failover::{Attempt, Error, FailoverLayer, Model, Models, Provider};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build()?;
    /// let client = service_fn(|_: Attempt<&'static str>| async { Err::<String, BoxError>("out of order".into()) });
    /// let client = FailoverLayer::builder(models).build()?.layer(client).map_err(Error::boxed);
    ///
    /// let error: BoxError = client.oneshot("a dashboard").await.unwrap_err();
    /// assert_eq!(error.source().unwrap().to_string(), "out of order");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn boxed(self) -> Box<dyn StdError + Send + Sync> {
        Box::new(self.map_inner(|error| Boxed(error.into())))
    }
}

/// A boxed error that is an error itself.
#[derive(Debug)]
pub struct Boxed(Box<dyn StdError + Send + Sync>);

impl Boxed {
    /// The error in the box.
    pub fn into_inner(self) -> Box<dyn StdError + Send + Sync> {
        self.0
    }
}

impl fmt::Display for Boxed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Boxed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream { served, .. } => write!(f, "no model answered: {served}"),
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

impl<E: StdError + 'static> StdError for Error<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Upstream { error, .. } => Some(error),
            Self::Aim { error, .. } => Some(error),
            Self::Plan(error) => Some(error),
            _ => None,
        }
    }
}
