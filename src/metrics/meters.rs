//! What is counted of requests, models and providers.

use super::{
    names::*,
    series::{Described, Kept, Series, is_heard},
    words,
};
#[cfg(feature = "http")]
use crate::outcome::BodyEnd;
use crate::{
    classify::Executed,
    log::say,
    machine::{
        Nanos,
        breaker::{State, Transition},
    },
    model::Model,
    outcome::{AttemptEnd, RequestEnd, SkipReason, StatusKind},
};
use metrics::{Counter, Histogram};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// The meters of one family of registries; those of its keys share them.
pub(crate) struct Meters {
    described: Described,
    requests: Arc<RequestMeters>,
    models: Box<[Arc<ModelMeters>]>,
    providers: Box<[Arc<ProviderMeters>]>,
}

struct RequestMeters {
    series: Series,
    ends: [Kept<Counter>; RequestEnd::COUNT],
    durations: [Kept<Histogram>; RequestEnd::COUNT],
}

/// Of a model, at its provider.
pub(crate) struct ModelMeters {
    model: Box<str>,
    provider: Box<str>,
    series: Series,
    attempts: [[Kept<Counter>; StatusKind::COUNT]; AttemptEnd::COUNT],
    durations: [Kept<Histogram>; AttemptEnd::COUNT],
    #[cfg(feature = "http")]
    first_byte: Kept<Histogram>,
    #[cfg(feature = "http")]
    bodies: [Kept<Counter>; BodyEnd::COUNT],
    skips: [Kept<Counter>; SkipReason::COUNT],
    cost: Kept<Counter>,
    cost_at_risk: Kept<Counter>,
    /// Whether its gauges have been set.
    shown: AtomicBool,
}

/// Of a provider.
pub(crate) struct ProviderMeters {
    name: Box<str>,
    series: Series,
    shown: AtomicBool,
}

/// What the gauges of a model show.
#[derive(Debug, Default)]
pub(crate) struct ModelGauges {
    pub(crate) score: f64,
    pub(crate) in_flight: u64,
    pub(crate) cooldown: Duration,
}

/// What the gauges of a provider show.
#[derive(Debug, Default)]
pub(crate) struct ProviderGauges {
    pub(crate) budget_left: f64,
    pub(crate) cooldown: Duration,
}

impl Meters {
    /// For these models, and for the providers of these names, in their order.
    pub(crate) fn new<'a>(models: impl Iterator<Item = &'a Model>, providers: impl Iterator<Item = &'a str>) -> Self {
        let described = Described::default();
        let requests = Arc::new(RequestMeters {
            series: Series::new(&[], &described),
            ends: Default::default(),
            durations: Default::default(),
        });
        let models = models.map(|model| Arc::new(ModelMeters::new(model.name(), model.provider(), &described)));
        let models = models.collect();
        let providers = providers.map(|name| Arc::new(ProviderMeters::new(name, &described))).collect();
        Self { described, requests, models, providers }
    }

    /// Goes on with those of before, for whoever was there before.
    pub(crate) fn follow(&mut self, before: &Self) {
        self.described = before.described.clone();
        self.requests = Arc::clone(&before.requests);
        for meters in &mut self.models {
            if let Some(same) = before.models.iter().find(|other| meters.is_of_same(other)) {
                *meters = Arc::clone(same);
            }
        }
        for meters in &mut self.providers {
            if let Some(same) = before.providers.iter().find(|other| other.name == meters.name) {
                *meters = Arc::clone(same);
            }
        }
    }

    /// Nobody is left to set the gauges of those that are not in `after` any more.
    pub(crate) fn retire(&self, after: &Self) {
        if !is_heard() {
            return;
        }
        let gone = |meters: &&Arc<ModelMeters>| !after.models.iter().any(|other| meters.is_of_same(other));
        for meters in self.models.iter().filter(gone) {
            if meters.shown.load(Ordering::Relaxed) {
                meters.set(&ModelGauges::default());
                meters.set_state(None);
            }
        }
        let gone = |meters: &&Arc<ProviderMeters>| !after.providers.iter().any(|other| other.name == meters.name);
        for meters in self.providers.iter().filter(gone) {
            if meters.shown.load(Ordering::Relaxed) {
                meters.set(&ProviderGauges::default());
                meters.set_state(None);
            }
        }
    }

    pub(crate) fn model(&self, index: usize) -> &ModelMeters {
        &self.models[index]
    }

    pub(crate) fn provider(&self, index: usize) -> &ProviderMeters {
        &self.providers[index]
    }

    /// A request has ended that took so long.
    #[inline]
    pub(crate) fn request(&self, end: RequestEnd, took: Nanos) {
        if is_heard() {
            say(|| self.requests.count(end, took));
        }
    }

    /// A model was not asked.
    #[inline]
    pub(crate) fn skip(&self, model: usize, reason: SkipReason) {
        if is_heard() {
            say(|| self.models[model].count_skip(reason));
        }
    }

    /// A call has ended that took so long to its head or its commit, and costs so much if it was executed.
    #[inline]
    pub(crate) fn attempt(
        &self,
        model: usize,
        end: AttemptEnd,
        status: StatusKind,
        executed: Executed,
        cost: f64,
        took: Nanos,
    ) {
        if is_heard() {
            say(|| self.models[model].count_attempt(end, status, took));
            if cost > 0.0 && executed != Executed::No {
                say(|| self.models[model].count_cost(executed, cost));
            }
        }
    }

    /// The first byte of a body has come so long after the call.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn first_byte(&self, model: usize, took: Nanos) {
        if is_heard() {
            say(|| self.models[model].count_first_byte(took));
        }
    }

    /// A body has ended.
    #[cfg(feature = "http")]
    #[inline]
    pub(crate) fn body(&self, model: usize, end: BodyEnd) {
        if is_heard() {
            say(|| self.models[model].count_body(end));
        }
    }

    /// An answer asks to leave its model alone.
    pub(crate) fn cooldown(&self, model: usize) {
        self.models[model].series.add_one(&COOLDOWNS, &[]);
    }

    /// An answer asks to leave a provider alone.
    pub(crate) fn provider_cooldown(&self, provider: usize) {
        self.providers[provider].series.add_one(&PROVIDER_COOLDOWNS, &[]);
    }

    /// A model's breaker has changed.
    pub(crate) fn changed(&self, model: usize, transition: &Transition) {
        self.models[model].series.add_one(&TRANSITIONS, &words::of(transition));
    }

    /// A provider's breaker has changed.
    pub(crate) fn provider_changed(&self, provider: usize, transition: &Transition) {
        self.providers[provider].series.add_one(&PROVIDER_TRANSITIONS, &words::of(transition));
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl RequestMeters {
    fn count(&self, end: RequestEnd, took: Nanos) {
        let labels = [("outcome", end.word())];
        self.ends[end as usize].add_one(|| self.series.counter(&REQUESTS, &labels));
        self.durations[end as usize].record(took, || self.series.histogram(&REQUEST_DURATION, &labels));
    }
}

impl ModelMeters {
    fn new(model: &str, provider: &str, described: &Described) -> Self {
        Self {
            model: model.into(),
            provider: provider.into(),
            series: Series::new(&[("model", model), ("provider", provider)], described),
            attempts: Default::default(),
            durations: Default::default(),
            #[cfg(feature = "http")]
            first_byte: Kept::default(),
            #[cfg(feature = "http")]
            bodies: Default::default(),
            skips: Default::default(),
            cost: Kept::default(),
            cost_at_risk: Kept::default(),
            shown: AtomicBool::new(false),
        }
    }

    /// Whether the other's series have the same labels.
    fn is_of_same(&self, other: &Self) -> bool {
        (&self.model, &self.provider) == (&other.model, &other.provider)
    }

    fn count_attempt(&self, end: AttemptEnd, status: StatusKind, took: Nanos) {
        let outcome = ("outcome", end.word());
        let of_status = || self.series.counter(&ATTEMPTS, &[outcome, ("status", status.word())]);
        self.attempts[end as usize][status as usize].add_one(of_status);
        self.durations[end as usize].record(took, || self.series.histogram(&ATTEMPT_DURATION, &[outcome]));
    }

    fn count_skip(&self, reason: SkipReason) {
        self.skips[reason as usize].add_one(|| self.series.counter(&SKIPS, &[("reason", reason.word())]));
    }

    fn count_cost(&self, executed: Executed, cost: f64) {
        let (counter, metric) = match executed {
            Executed::Yes => (&self.cost, &COST),
            _ => (&self.cost_at_risk, &COST_AT_RISK),
        };
        // What is too much for it is as much as it holds.
        counter.add((cost * 1e9).round() as u64, || self.series.counter(metric, &[]));
    }

    #[cfg(feature = "http")]
    fn count_first_byte(&self, took: Nanos) {
        self.first_byte.record(took, || self.series.histogram(&FIRST_BYTE, &[]));
    }

    #[cfg(feature = "http")]
    fn count_body(&self, end: BodyEnd) {
        self.bodies[end as usize].add_one(|| self.series.counter(&BODIES, &[("outcome", end.word())]));
    }

    pub(crate) fn set(&self, gauges: &ModelGauges) {
        self.shown.store(true, Ordering::Relaxed);
        self.series.set(&SCORE, &[], gauges.score);
        self.series.set(&IN_FLIGHT, &[], gauges.in_flight as f64);
        self.series.set(&COOLDOWN, &[], gauges.cooldown.as_secs_f64());
    }

    /// `None` once it is gone.
    pub(crate) fn set_state(&self, state: Option<State>) {
        self.shown.store(true, Ordering::Relaxed);
        self.series.set_state(&STATE, state);
    }
}

impl ProviderMeters {
    fn new(name: &str, described: &Described) -> Self {
        let series = Series::new(&[("provider", name)], described);
        Self { name: name.into(), series, shown: AtomicBool::new(false) }
    }

    pub(crate) fn set(&self, gauges: &ProviderGauges) {
        self.shown.store(true, Ordering::Relaxed);
        self.series.set(&BUDGET, &[], gauges.budget_left);
        self.series.set(&PROVIDER_COOLDOWN, &[], gauges.cooldown.as_secs_f64());
    }

    /// `None` once it is gone.
    pub(crate) fn set_state(&self, state: Option<State>) {
        self.shown.store(true, Ordering::Relaxed);
        self.series.set_state(&PROVIDER_STATE, state);
    }
}

/// What happens seldom, or is not waited for by a call, finds its handle each time.
impl Series {
    fn add_one(&self, metric: &Metric, labels: &[(&'static str, &'static str)]) {
        if is_heard() {
            say(|| {
                if let Some(counter) = self.counter(metric, labels) {
                    counter.increment(1);
                }
            });
        }
    }

    fn set(&self, metric: &Metric, labels: &[(&'static str, &'static str)], value: f64) {
        if is_heard() {
            say(|| {
                if let Some(gauge) = self.gauge(metric, labels) {
                    gauge.set(value);
                }
            });
        }
    }

    fn set_state(&self, metric: &Metric, state: Option<State>) {
        for other in words::STATES {
            self.set(metric, &[("state", words::state(other))], f64::from(u8::from(state == Some(other))));
        }
    }
}
