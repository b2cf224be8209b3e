//! What there is to see of a registry at one moment.

use super::{LiveProvider, Registry};
use crate::machine::{
    Nanos,
    breaker::{Breaker, Cause, State},
    score::Tier,
};
use std::time::Duration;

/// Everything there is to see of a registry, breaker by breaker.
///
/// Cheap: a short lock for each breaker, one after the other, and a sum over a few counters.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The models, in the caller's order.
    pub models: Vec<ModelSnapshot>,
    /// The providers, in the order in which they were added.
    pub providers: Vec<ProviderSnapshot>,
}

/// One model at one moment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ModelSnapshot {
    /// Its name.
    pub name: String,
    /// Its provider's name.
    pub provider: String,
    /// Its breaker.
    pub breaker: BreakerSnapshot,
    /// Its health score, in [0, 1]: how likely its next call is to succeed, by what came of the last ones, times the
    /// `latency_factor`.
    pub score: f64,
    /// What latency makes of the score: 1 while it is not slow, and where [latency does not
    /// count](crate::Model::latency_counts); 0.5 at the least.
    pub latency_factor: f64,
    /// On how many outcomes that rests: they fade with time, and are 100 at the most.
    pub outcomes: f64,
    /// In which tier that puts it.
    pub tier: Tier,
    /// What a success usually takes to its head: a moving average. `None` before the first.
    pub usual_latency: Option<Duration>,
    /// What the first byte of its body usually takes, where bodies are watched or read ahead. `None` before the first.
    pub usual_first_byte: Option<Duration>,
    /// Calls under way, bodies that are watched included.
    pub in_flight: u64,
    /// Calls begun so far.
    pub calls: u64,
}

/// One provider at one moment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ProviderSnapshot {
    /// Its name.
    pub name: String,
    /// Its breaker.
    pub breaker: BreakerSnapshot,
    /// Tokens left for paid failovers.
    pub budget_left: f64,
    /// Calls under way, of all its models.
    pub in_flight: u64,
    /// Calls begun so far, of all its models.
    pub calls: u64,
}

/// One breaker at one moment.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct BreakerSnapshot {
    /// Its state.
    pub state: State,
    /// Whether it only measures and reports, and refuses nothing.
    pub shadow: bool,
    /// Calls that the shadow let through although it would have refused them.
    pub shadowed: u64,
    /// Why it came to this state; `None` for one that has never changed.
    pub cause: Option<Cause>,
    /// For how long it has been in this state.
    pub for_time: Duration,
    /// While open: how long until a probe may go through.
    pub retry_in: Option<Duration>,
    /// While it was asked to be left alone: for how long still.
    pub cooldown: Option<Duration>,
    /// Failures in a row; for a provider, evidence against it included.
    pub consecutive_failures: u32,
    /// What the window of its first rule on a rate of failures holds, if it has one.
    pub window: Option<WindowSnapshot>,
    /// What the window of its first rule on slow calls holds, if it has one.
    pub slow_calls: Option<SlowCallsSnapshot>,
    /// Probes under way.
    pub probes: usize,
    /// How often its open wait has doubled.
    pub open_wait_doublings: u32,
}

/// What the window of a breaker holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WindowSnapshot {
    /// Successes in the window.
    pub successes: u64,
    /// Failures in the window.
    pub failures: u64,
}

/// What the window of a rule on slow calls holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SlowCallsSnapshot {
    /// Calls in the window that were slower than the rule allows, successes and failures.
    pub slow: u64,
    /// Calls in the window.
    pub calls: u64,
}

impl Snapshot {
    /// The model of this name.
    pub fn model(&self, name: &str) -> Option<&ModelSnapshot> {
        self.models.iter().find(|model| model.name == name)
    }

    /// The provider of this name.
    pub fn provider(&self, name: &str) -> Option<&ProviderSnapshot> {
        self.providers.iter().find(|provider| provider.name == name)
    }

    pub(super) fn take(registry: &Registry) -> Self {
        let now = registry.now();
        Self {
            models: (0..registry.models.len()).map(|index| model(registry, index, now)).collect(),
            providers: registry
                .providers
                .iter()
                .enumerate()
                .map(|(i, live)| provider(registry, i, live, now))
                .collect(),
        }
    }
}

fn model(registry: &Registry, index: usize, now: Nanos) -> ModelSnapshot {
    let live = &registry.models[index];
    ModelSnapshot {
        name: live.model.name().to_owned(),
        provider: live.model.provider().to_owned(),
        breaker: breaker(&live.breaker, now),
        score: live.score.score(now),
        latency_factor: live.score.latency_factor(now),
        outcomes: live.score.outcomes(now),
        tier: registry.tier(index, now),
        usual_latency: live.calls.usual_head().map(Duration::from_nanos),
        usual_first_byte: live.calls.usual_first_byte().map(Duration::from_nanos),
        in_flight: live.calls.in_flight(),
        calls: live.calls.started(),
    }
}

fn provider(registry: &Registry, index: usize, live: &LiveProvider, now: Nanos) -> ProviderSnapshot {
    let (calls, members) = (registry.calls(index), registry.catalogue.models_of(index));
    ProviderSnapshot {
        name: live.provider.name().to_owned(),
        breaker: breaker(&live.breaker, now),
        budget_left: live.budget_left(calls, now),
        in_flight: members.iter().map(|index| registry.models[*index].calls.in_flight()).sum(),
        calls,
    }
}

fn breaker(breaker: &Breaker, now: Nanos) -> BreakerSnapshot {
    let view = breaker.view(now);
    let until = |at: Nanos| Duration::from_nanos(at.saturating_sub(now));
    BreakerSnapshot {
        state: view.state,
        shadow: view.shadow,
        shadowed: view.shadowed,
        cause: view.cause,
        for_time: Duration::from_nanos(now.saturating_sub(view.since)),
        retry_in: view.retry_at.map(until),
        cooldown: view.cooldown_until.map(until),
        consecutive_failures: view.consecutive_failures,
        window: view.window.map(|totals| WindowSnapshot { successes: totals.successes, failures: totals.failures }),
        slow_calls: view.slow_calls.map(|totals| SlowCallsSnapshot { slow: totals.failures, calls: totals.calls() }),
        probes: view.probes,
        open_wait_doublings: view.openings,
    }
}
