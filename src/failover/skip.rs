//! Why a candidate was not asked.

use crate::{
    machine::{Nanos, breaker::Refusal},
    outcome::SkipReason,
    permit::Refused,
};
use std::{fmt, time::Duration};

/// Why a candidate was not asked.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    pub(crate) fn reason(&self) -> SkipReason {
        let of = |whose: &Whose, model, provider| if *whose == Whose::Model { model } else { provider };
        match self {
            Self::Open(whose, _) => of(whose, SkipReason::ModelOpen, SkipReason::ProviderOpen),
            Self::Cooldown(whose, _) => of(whose, SkipReason::ModelCooldown, SkipReason::ProviderCooldown),
            Self::ProbesTaken(whose, _) => of(whose, SkipReason::ModelProbesTaken, SkipReason::ProviderProbesTaken),
            Self::ForcedOpen(whose) => of(whose, SkipReason::ModelForcedOpen, SkipReason::ProviderForcedOpen),
            Self::Full(whose) => of(whose, SkipReason::ModelFull, SkipReason::ProviderFull),
            Self::NotReady => SkipReason::NotReady,
            Self::NotAimed => SkipReason::NotAimed,
            Self::Budget => SkipReason::Budget,
            Self::MaxCost => SkipReason::MaxCost,
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

    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Open(..) | Self::Cooldown(..) | Self::ProbesTaken(..) | Self::ForcedOpen(_) | Self::Full(_)
        )
    }

    /// Why one was not asked that was refused; how long until it may be is still to be [told](Self::tell).
    #[inline(always)]
    pub(crate) fn refused(refused: Refused) -> Self {
        let (whose, refusal) = match refused {
            Refused::Model(refusal) => (Whose::Model, refusal),
            Refused::Provider(refusal) => (Whose::Provider, refusal),
            Refused::ModelFull => return Self::Full(Whose::Model),
            Refused::ProviderFull => return Self::Full(Whose::Provider),
        };
        match refusal {
            Refusal::Open { .. } => Self::Open(whose, Duration::ZERO),
            Refusal::Cooldown { .. } => Self::Cooldown(whose, Duration::ZERO),
            Refusal::ProbesTaken { .. } => Self::ProbesTaken(whose, Duration::ZERO),
            Refusal::ForcedOpen => Self::ForcedOpen(whose),
        }
    }

    /// Tells of one that may be asked again from then on how long that is from now.
    #[inline]
    pub(crate) fn tell(&mut self, retry_at: Nanos, now: Nanos) {
        if let Self::Open(_, retry_in) | Self::Cooldown(_, retry_in) | Self::ProbesTaken(_, retry_in) = self {
            *retry_in = Duration::from_nanos(retry_at.saturating_sub(now));
        }
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
    fn a_reason_tells_the_skip() {
        use Whose::{Model, Provider};
        let retry_in = Duration::from_secs(7);
        let of_whom = |whose| {
            let known =
                [Skip::Open(whose, retry_in), Skip::Cooldown(whose, retry_in), Skip::ProbesTaken(whose, retry_in)];
            known.into_iter().chain([Skip::ForcedOpen(whose), Skip::Full(whose)])
        };
        let others = [Skip::NotReady, Skip::NotAimed, Skip::Budget, Skip::MaxCost];
        for skip in of_whom(Model).chain(of_whom(Provider)).chain(others) {
            assert_eq!(Skip::of(skip.reason(), retry_in), skip);
        }
    }
}
