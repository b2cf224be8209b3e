//! What can happen.

use crate::machine::{
    breaker::{Cause, Command, State},
    score::Tier,
};
use std::{fmt, sync::Arc, time::Duration};

/// Something that has happened in a registry; see [`Events`](super::Events).
///
/// Cheap to clone: names are shared. Displayed it is one line, with names and keys quoted.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Event {
    /// When: since the registry was built.
    pub at: Duration,
    /// Whose state it is about, if not that of requests without a key; see [`Models::for_key`](crate::Models::for_key).
    pub key: Option<Arc<str>>,
    /// What.
    pub kind: EventKind,
}

/// What has happened. Without a model it is the provider's own breaker.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum EventKind {
    /// A breaker has changed its state. Also that of a shadow, which refuses nothing all the same.
    #[non_exhaustive]
    Transition {
        /// The model, or `None` for the provider's own.
        model: Option<Arc<str>>,
        /// Its provider, or the provider itself.
        provider: Arc<str>,
        /// The state before.
        from: State,
        /// The state after.
        to: State,
        /// Why.
        cause: Cause,
        /// If it opened for a time: how long until a probe may go through.
        retry_in: Option<Duration>,
    },
    /// A model has come into another tier: degraded, or healthy again. [`Tier::Suspect`] is none to come into; see
    /// [`Events`](super::Events).
    #[non_exhaustive]
    Tier {
        /// The model.
        model: Arc<str>,
        /// Its provider.
        provider: Arc<str>,
        /// The tier that it is in now.
        tier: Tier,
    },
    /// A cooldown has begun, or has become longer, at the upstream's word or an operator's.
    #[non_exhaustive]
    Cooldown {
        /// The model, or `None` for the whole provider.
        model: Option<Arc<str>>,
        /// Its provider, or the provider itself.
        provider: Arc<str>,
        /// For how long from now on, jitter included.
        wait: Duration,
    },
    /// A provider's budget for failovers is used up: a token was refused, for the first time since one was granted.
    #[non_exhaustive]
    BudgetExhausted {
        /// The provider.
        provider: Arc<str>,
    },
    /// An operator has commanded something, whether that changed anything or not.
    #[non_exhaustive]
    Command {
        /// The model, or `None` for the provider's own breaker.
        model: Option<Arc<str>>,
        /// Its provider, or the provider itself.
        provider: Arc<str>,
        /// What.
        operation: Operation,
    },
    /// [`Models::apply`](crate::Models::apply): another configuration is in force, for all keys.
    Applied,
}

/// What an operator commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`Models::command`](crate::Models::command) or [`Models::command_provider`](crate::Models::command_provider).
    Command(Command),
    /// [`Models::cool_down`](crate::Models::cool_down) or
    /// [`Models::cool_down_provider`](crate::Models::cool_down_provider), for so long, without the jitter.
    CoolDown(Duration),
}

impl Event {
    /// The model that it is about, if it is about one.
    pub fn model(&self) -> Option<&str> {
        match &self.kind {
            EventKind::Transition { model, .. }
            | EventKind::Cooldown { model, .. }
            | EventKind::Command { model, .. } => model.as_deref(),
            EventKind::Tier { model, .. } => Some(model),
            EventKind::BudgetExhausted { .. } | EventKind::Applied => None,
        }
    }

    /// The provider that it is about, or that of the model.
    pub fn provider(&self) -> Option<&str> {
        match &self.kind {
            EventKind::Transition { provider, .. }
            | EventKind::Tier { provider, .. }
            | EventKind::Cooldown { provider, .. }
            | EventKind::BudgetExhausted { provider }
            | EventKind::Command { provider, .. } => Some(provider),
            EventKind::Applied => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s: ", self.at.as_secs_f64())?;
        if let Some(key) = &self.key {
            write!(f, "key {key:?}: ")?;
        }
        match (self.model(), self.provider()) {
            (Some(model), Some(provider)) => write!(f, "model {model:?} of {provider:?}: ")?,
            (_, Some(provider)) => write!(f, "provider {provider:?}: ")?,
            (_, None) => {}
        }
        self.kind.fmt(f)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Transition { from, to, cause, retry_in, .. } => {
                write!(f, "{from} to {to}, {cause}")?;
                retry_in.map_or(Ok(()), |retry_in| write!(f, ", a probe in {:.3}s", retry_in.as_secs_f64()))
            }
            Self::Tier { tier, .. } => tier.fmt(f),
            Self::Cooldown { wait, .. } => write!(f, "left alone for {:.3}s", wait.as_secs_f64()),
            Self::BudgetExhausted { .. } => f.write_str("failover budget used up"),
            Self::Command { operation, .. } => write!(f, "command: {operation}"),
            Self::Applied => f.write_str("another configuration applied"),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => command.fmt(f),
            Self::CoolDown(wait) => write!(f, "cool down for {wait:?}"),
        }
    }
}
