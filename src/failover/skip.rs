//! Why a candidate was not asked.

use crate::{machine::breaker::Refusal, outcome::SkipReason, permit::Refused};
use std::{fmt, time::Duration};

/// Why a candidate was not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Skip {
    /// A breaker is open.
    Open(Whose, Duration),
    /// It asked to be left alone.
    Cooldown(Whose, Duration),
    /// The breaker is half-open and all its probes are taken.
    ProbesTaken(Whose, Duration),
    /// An operator forced the breaker open.
    ForcedOpen(Whose),
    /// As many calls are under way as may be.
    Full(Whose),
    /// Its client did not become ready in time, or said that it never will.
    NotReady,
    /// The request could not be aimed at it.
    NotAimed,
    /// The provider's budget for failovers is used up.
    Budget,
    /// It would have cost more than the request may.
    MaxCost,
}

/// Whose breaker it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Whose {
    /// The model's own.
    Model,
    /// Its provider's.
    Provider,
}

impl Skip {
    /// How long until the candidate may be asked again, where that is known.
    pub fn retry_in(&self) -> Option<Duration> {
        match self {
            Self::Open(_, retry_in) | Self::Cooldown(_, retry_in) | Self::ProbesTaken(_, retry_in) => Some(*retry_in),
            _ => None,
        }
    }

    /// The one of this reason.
    pub(crate) fn of(reason: SkipReason, retry_in: Duration) -> Self {
        match reason {
            SkipReason::ModelOpen => Self::Open(Whose::Model, retry_in),
            SkipReason::ProviderOpen => Self::Open(Whose::Provider, retry_in),
            SkipReason::ModelCooldown => Self::Cooldown(Whose::Model, retry_in),
            SkipReason::ProviderCooldown => Self::Cooldown(Whose::Provider, retry_in),
            SkipReason::ModelProbesTaken => Self::ProbesTaken(Whose::Model, retry_in),
            SkipReason::ProviderProbesTaken => Self::ProbesTaken(Whose::Provider, retry_in),
            SkipReason::ModelForcedOpen => Self::ForcedOpen(Whose::Model),
            SkipReason::ProviderForcedOpen => Self::ForcedOpen(Whose::Provider),
            SkipReason::ModelFull => Self::Full(Whose::Model),
            SkipReason::ProviderFull => Self::Full(Whose::Provider),
            SkipReason::NotReady => Self::NotReady,
            SkipReason::NotAimed => Self::NotAimed,
            SkipReason::Budget => Self::Budget,
            SkipReason::MaxCost => Self::MaxCost,
        }
    }
}

impl SkipReason {
    /// Why one was not asked that was refused.
    #[inline(always)]
    pub(crate) fn refused(refused: Refused) -> Self {
        match refused {
            Refused::Model(Refusal::Open { .. }) => Self::ModelOpen,
            Refused::Model(Refusal::Cooldown { .. }) => Self::ModelCooldown,
            Refused::Model(Refusal::ProbesTaken { .. }) => Self::ModelProbesTaken,
            Refused::Model(Refusal::ForcedOpen) => Self::ModelForcedOpen,
            Refused::Provider(Refusal::Open { .. }) => Self::ProviderOpen,
            Refused::Provider(Refusal::Cooldown { .. }) => Self::ProviderCooldown,
            Refused::Provider(Refusal::ProbesTaken { .. }) => Self::ProviderProbesTaken,
            Refused::Provider(Refusal::ForcedOpen) => Self::ProviderForcedOpen,
            Refused::ModelFull => Self::ModelFull,
            Refused::ProviderFull => Self::ProviderFull,
        }
    }

    /// Whether a breaker or a bound refused it, which later it may not.
    pub(super) fn is_refusal(self) -> bool {
        !matches!(self, Self::NotReady | Self::NotAimed | Self::Budget | Self::MaxCost)
    }
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |retry_in: &Duration| retry_in.as_millis();
        match self {
            Self::Open(whose, retry_in) => write!(f, "{whose} open for {} ms more", ms(retry_in)),
            Self::Cooldown(whose, retry_in) => write!(f, "{whose} cooling down for {} ms more", ms(retry_in)),
            Self::ProbesTaken(whose, _) => write!(f, "{whose} half-open and all its probes taken"),
            Self::ForcedOpen(whose) => write!(f, "{whose} forced open"),
            Self::Full(whose) => write!(f, "{whose} has as many calls under way as it may"),
            Self::NotReady => f.write_str("its client was not ready"),
            Self::NotAimed => f.write_str("request could not be aimed at it"),
            Self::Budget => f.write_str("failover budget used up"),
            Self::MaxCost => f.write_str("would cost too much"),
        }
    }
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Provider => "provider",
        })
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;

    #[test]
    fn who_was_refused_is_told_who_refused_it_and_for_how_long() {
        use Whose::{Model, Provider};
        let (retry_at, retry_in) = (7, Duration::from_secs(7));
        let refusals = [
            (Refusal::Open { retry_at }, Skip::Open as fn(Whose, Duration) -> Skip),
            (Refusal::Cooldown { retry_at }, Skip::Cooldown),
            (Refusal::ProbesTaken { retry_at }, Skip::ProbesTaken),
            (Refusal::ForcedOpen, |whose, _| Skip::ForcedOpen(whose)),
        ];
        let told = |refused| Skip::of(SkipReason::refused(refused), retry_in);
        for (refusal, skip) in refusals {
            assert_eq!(told(Refused::Model(refusal)), skip(Model, retry_in));
            assert_eq!(told(Refused::Provider(refusal)), skip(Provider, retry_in));
        }
        let full = [Refused::ModelFull, Refused::ProviderFull];
        assert_eq!(full.map(told), [Model, Provider].map(Skip::Full));

        let models = refusals.map(|(refusal, _)| Refused::Model(refusal));
        let providers = refusals.map(|(refusal, _)| Refused::Provider(refusal));
        let all = models.into_iter().chain(providers).chain(full);
        assert!({ all }.all(|refused| SkipReason::refused(refused).is_refusal()));
        let others = [SkipReason::NotReady, SkipReason::NotAimed, SkipReason::Budget, SkipReason::MaxCost];
        assert!(!others.into_iter().any(SkipReason::is_refusal));
    }
}
