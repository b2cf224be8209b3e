//! One registry: every model and provider with its live state, as of one configuration.

use super::{
    UnknownName,
    catalogue::Catalogue,
    events::Channel,
    live::{LAST_RESORT_EVERY, LiveModel, LiveProvider},
};
use crate::{
    machine::{Nanos, nanos, score::Tier},
    metrics::Meters,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Into so many parts a second is divided at the most, for providers to take turns as last resorts.
const MAX_TURNS: Nanos = 8;

/// A clone shares the state.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    pub(crate) models: Box<[LiveModel]>,
    pub(crate) providers: Box<[LiveProvider]>,
    pub(super) catalogue: Arc<Catalogue>,
    /// Whose it is, if not everybody's.
    pub(super) key: Option<Arc<str>>,
    pub(super) common: Arc<Common>,
}

/// What all registries of a family have in common.
#[derive(Debug)]
pub(super) struct Common {
    pub(super) epoch: Instant,
    pub(super) events: Arc<Channel>,
}

impl Registry {
    /// Nanoseconds since the registry was built.
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.at(Instant::now())
    }

    /// Nanoseconds from when the registry was built to this instant.
    #[inline]
    pub(crate) fn at(&self, instant: Instant) -> Nanos {
        nanos(instant.saturating_duration_since(self.common.epoch))
    }

    /// The instant of a time, if the clock reaches so far.
    pub(crate) fn instant(&self, at: Nanos) -> Option<Instant> {
        self.common.epoch.checked_add(Duration::from_nanos(at))
    }

    /// Beyond what the clock can say: about 30 years, as tokio has it.
    pub(crate) fn far_future() -> Instant {
        Instant::now() + Duration::from_secs(86_400 * 365 * 30)
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        self.catalogue.find(name)
    }

    /// Whether all its breakers are closed.
    pub(super) fn is_closed(&self) -> bool {
        let providers = self.providers.iter().map(|live| &live.breaker);
        self.models.iter().map(|live| &live.breaker).chain(providers).all(|breaker| breaker.is_closed())
    }

    pub(crate) fn find_provider(&self, name: &str) -> Result<usize, UnknownName> {
        let found = self.providers.iter().position(|live| live.provider.name() == name);
        found.ok_or_else(|| UnknownName::provider(name))
    }

    /// Whose it is, if not everybody's.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Where everything is counted for a recorder.
    #[inline]
    pub(crate) fn meters(&self) -> &Meters {
        self.catalogue.meters()
    }

    /// All calls to a provider so far.
    pub(crate) fn calls(&self, provider: usize) -> u64 {
        self.catalogue.models_of(provider).iter().map(|index| self.models[*index].calls.started()).sum()
    }

    /// Whether a last resort may go through to this provider now: one a second, and the next a second later at the latest.
    /// The providers take turns, as far as that goes, so that somebody is asked more often than that when all are down:
    /// for that the second after the first of an outage may be cut short.
    pub(crate) fn take_last_resort(&self, provider: usize, now: Nanos) -> bool {
        let at = self.providers[provider].last_resort_at();
        if at > now {
            return false;
        }
        let second = nanos(LAST_RESORT_EVERY);
        let goes_on = at > 0 && now - at < second;
        let next = if goes_on { now.saturating_add(second) } else { self.turn_after(provider, now) };
        self.providers[provider].take_last_resort(at, next)
    }

    /// Within a second from now, the latest time at which no other provider has its turn.
    fn turn_after(&self, provider: usize, now: Nanos) -> Nanos {
        let second = nanos(LAST_RESORT_EVERY);
        let turns = (self.providers.len() as Nanos).clamp(1, MAX_TURNS);
        let apart = second / turns;
        let taken = |at: Nanos| {
            let mut others = self.providers.iter().enumerate().filter(|(other, _)| *other != provider);
            others.any(|(_, other)| other.last_resort_at().abs_diff(at) < apart / 2)
        };
        let latest = now.saturating_add(second);
        (0..turns).map(|turn| latest - turn * apart).find(|at| !taken(*at)).unwrap_or(latest)
    }

    /// In which tier a model is.
    pub(crate) fn tier(&self, index: usize, now: Nanos) -> Tier {
        let (tier, changed) = self.models[index].tier(now);
        self.tier_changed(index, changed, now);
        tier
    }

    /// In which tier it is for one request. Only a closed breaker leaves that to be asked, and a degraded model still sees
    /// some.
    #[inline]
    pub(crate) fn tier_for_one(&self, index: usize, now: Nanos) -> Tier {
        let live = &self.models[index];
        if !live.breaker.is_closed() {
            return Tier::Healthy;
        }
        let tier = self.tier(index, now);
        if tier == Tier::Suspect {
            return tier;
        }
        match (live.returning(now), self.providers[live.provider].returning(now)) {
            (None, None) => {}
            (Some(share), None) | (None, Some(share)) if live.takes(share) => {}
            (Some(share), Some(other)) if live.takes(share.min(other)) => {}
            _ => return Tier::Degraded,
        }
        if tier == Tier::Degraded && live.takes_turn(now) { Tier::Healthy } else { tier }
    }
}
