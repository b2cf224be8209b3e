//! The names of all metrics.

use metrics::{KeyName, Recorder, Unit};

/// What kind of metric it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// One metric.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    kind: Kind,
    unit: Unit,
    meaning: &'static str,
}

impl Metric {
    const fn counter(name: &'static str, meaning: &'static str) -> Self {
        Self { name, kind: Kind::Counter, unit: Unit::Count, meaning }
    }

    const fn gauge(name: &'static str, unit: Unit, meaning: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, unit, meaning }
    }

    const fn seconds(name: &'static str, meaning: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, unit: Unit::Seconds, meaning }
    }

    fn describe(&self, recorder: &dyn Recorder) {
        let (name, unit) = (KeyName::from_const_str(self.name), Some(self.unit));
        match self.kind {
            Kind::Counter => recorder.describe_counter(name, unit, self.meaning.into()),
            Kind::Gauge => recorder.describe_gauge(name, unit, self.meaning.into()),
            Kind::Histogram => recorder.describe_histogram(name, unit, self.meaning.into()),
        }
    }
}

pub(super) const REQUESTS: Metric =
    Metric::counter("tower_failover_requests_total", "Requests of the engine that have ended, by how.");
pub(super) const REQUEST_DURATION: Metric = Metric::seconds(
    "tower_failover_request_duration_seconds",
    "From a request's first poll to its end, by how it ended.",
);
pub(super) const ATTEMPTS: Metric = Metric::counter(
    "tower_failover_attempts_total",
    "Calls to a model that have ended, at their head or commit, by how.",
);
pub(super) const ATTEMPT_DURATION: Metric =
    Metric::seconds("tower_failover_attempt_duration_seconds", "From a call to its head or commit, by how it ended.");
pub(super) const FIRST_BYTE: Metric = Metric::seconds(
    "tower_failover_time_to_first_byte_seconds",
    "From a call to the first byte of its body, where that is watched or read ahead.",
);
pub(super) const BODIES: Metric =
    Metric::counter("tower_failover_bodies_total", "Bodies that were watched and have ended, by how.");
pub(super) const SKIPS: Metric =
    Metric::counter("tower_failover_skips_total", "Models that were not asked although it was their turn, by why.");
pub(super) const TRANSITIONS: Metric =
    Metric::counter("tower_failover_breaker_transitions_total", "Changes of state of a model's breaker.");
pub(super) const PROVIDER_TRANSITIONS: Metric =
    Metric::counter("tower_failover_provider_breaker_transitions_total", "Changes of state of a provider's breaker.");
pub(super) const COOLDOWNS: Metric =
    Metric::counter("tower_failover_cooldowns_total", "How often an answer has asked to leave its model alone.");
pub(super) const PROVIDER_COOLDOWNS: Metric = Metric::counter(
    "tower_failover_provider_cooldowns_total",
    "How often answers have asked to leave a provider alone.",
);
pub(super) const COST: Metric = Metric::counter(
    "tower_failover_cost_billionths_total",
    "What the calls that were executed have cost, in billionths of the unit of the model's cost.",
);
pub(super) const COST_AT_RISK: Metric = Metric::counter(
    "tower_failover_cost_at_risk_billionths_total",
    "What the calls may have cost of which nobody knows whether they were executed, in billionths of that unit.",
);
pub(super) const STATE: Metric = Metric::gauge(
    "tower_failover_breaker_state",
    Unit::Count,
    "1 for the state that a model's breaker is in, 0 for every other.",
);
pub(super) const PROVIDER_STATE: Metric = Metric::gauge(
    "tower_failover_provider_breaker_state",
    Unit::Count,
    "1 for the state that a provider's breaker is in, 0 for every other.",
);
pub(super) const COOLDOWN: Metric = Metric::gauge(
    "tower_failover_cooldown_seconds",
    Unit::Seconds,
    "For how long a model is still to be left alone, as it has asked.",
);
pub(super) const PROVIDER_COOLDOWN: Metric = Metric::gauge(
    "tower_failover_provider_cooldown_seconds",
    Unit::Seconds,
    "For how long a provider is still to be left alone, as it has asked.",
);
pub(super) const SCORE: Metric =
    Metric::gauge("tower_failover_health_score", Unit::Count, "The health score of a model, from 0 to 1.");
pub(super) const IN_FLIGHT: Metric = Metric::gauge(
    "tower_failover_calls_in_flight",
    Unit::Count,
    "Calls to a model that are under way, bodies that are watched included.",
);
pub(super) const BUDGET: Metric = Metric::gauge(
    "tower_failover_provider_budget_left_tokens",
    Unit::Count,
    "Tokens that a provider has left for paid failovers.",
);
pub(super) const BUILD_INFO: Metric =
    Metric::gauge("tower_failover_build_info", Unit::Count, "Always 1; the label says which version this is.");

const ALL: [&Metric; 21] = [
    &REQUESTS,
    &REQUEST_DURATION,
    &ATTEMPTS,
    &ATTEMPT_DURATION,
    &FIRST_BYTE,
    &BODIES,
    &SKIPS,
    &TRANSITIONS,
    &PROVIDER_TRANSITIONS,
    &COOLDOWNS,
    &PROVIDER_COOLDOWNS,
    &COST,
    &COST_AT_RISK,
    &STATE,
    &PROVIDER_STATE,
    &COOLDOWN,
    &PROVIDER_COOLDOWN,
    &SCORE,
    &IN_FLIGHT,
    &BUDGET,
    &BUILD_INFO,
];

pub(super) fn describe_all(recorder: &dyn Recorder) {
    ALL.iter().for_each(|metric| metric.describe(recorder));
}
