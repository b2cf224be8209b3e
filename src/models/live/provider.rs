//! The live state of one provider.

use super::renewed;
use crate::{
    machine::{
        Nanos,
        breaker::{Breaker, Transition},
        budget::{Bucket, Withdrawal},
        cooldown::Limited,
        gate::Gate,
        ramp::Ramp,
    },
    model::Provider,
    models::{catalogue::Seed, history::Record},
    sync::{AtomicU64, Mutex, Ordering, lock},
};
use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// So many refusals of our credential in a row blame its provider: 2.
pub const UNAUTHORIZED_IN_A_ROW: u32 = 2;

/// How often one request for each provider goes through as a last resort: once a second.
pub const LAST_RESORT_EVERY: Duration = Duration::from_secs(1);

/// A provider in one registry, as [`LiveModel`].
#[derive(Debug, Clone)]
pub(crate) struct LiveProvider {
    pub(crate) provider: Arc<Provider>,
    pub(crate) breaker: Arc<Breaker>,
    state: Arc<ProviderState>,
}

#[derive(Debug)]
pub(crate) struct ProviderState {
    pub(crate) gate: Gate,
    slate: OnceLock<Box<Slate>>,
}

/// How a provider has come through trouble so far: made when there is some.
#[derive(Debug)]
struct Slate {
    record: Record,
    ramp: Ramp,
    /// From when the next last resort may go through.
    last_resort_at: AtomicU64,
    bucket: Mutex<Bucket>,
    marks: Mutex<Marks>,
    /// Whether there are marks: spares successes the lock.
    marked: AtomicU64,
}

impl Slate {
    fn new(provider: &Provider) -> Self {
        Self {
            record: Record::new(),
            ramp: Ramp::new(provider.get_breaker().ramp),
            last_resort_at: AtomicU64::new(0),
            bucket: Mutex::new(Bucket::new(provider.get_budget().clone())),
            marks: Mutex::default(),
            marked: AtomicU64::new(0),
        }
    }
}

/// What a provider has against it that is no failure yet.
#[derive(Debug, Default, PartialEq)]
struct Marks {
    unauthorized: u32,
    limited: Limited,
}

impl Deref for LiveProvider {
    type Target = ProviderState;

    fn deref(&self) -> &ProviderState {
        &self.state
    }
}

impl LiveProvider {
    pub(in crate::models) fn new(provider: Arc<Provider>, models: usize, stripes: usize, seed: Seed) -> Self {
        let breaker = Arc::new(Breaker::new(Arc::clone(provider.get_breaker()), models, stripes, seed.seed));
        let state = Arc::new(ProviderState { gate: Gate::new(provider.get_max_in_flight()), slate: OnceLock::new() });
        Self { provider, breaker, state }
    }

    /// The same as it is configured from now on, with so many models.
    pub(in crate::models) fn succeeded_by(&self, provider: Arc<Provider>, models: usize) -> Self {
        self.gate.set(provider.get_max_in_flight());
        let of = |provider: &Provider| (provider.get_breaker().ramp, provider.get_budget().clone());
        if of(&self.provider) != of(&provider) {
            // One who has still the provider of before must not be the one to make it, later.
            let slate = self.slate();
            slate.ramp.set(provider.get_breaker().ramp);
            lock(&slate.bucket).set(provider.get_budget().clone());
        }
        let breaker = renewed(&self.breaker, provider.get_breaker());
        breaker.set_members(models);
        Self { provider, breaker, state: Arc::clone(&self.state) }
    }

    pub(in crate::models) fn withdraw(&self, calls: u64, now: Nanos) -> Withdrawal {
        lock(&self.slate().bucket).withdraw(calls, now)
    }

    #[cold]
    fn slate(&self) -> &Slate {
        self.slate.get_or_init(|| Box::new(Slate::new(&self.provider)))
    }

    /// What was of it.
    pub(crate) fn record(&self) -> &Record {
        &self.slate().record
    }

    /// The same, if there is anything.
    pub(in crate::models) fn known_record(&self) -> Option<&Record> {
        self.slate.get().map(|slate| &slate.record)
    }

    /// Which share of the requests is let through while traffic returns; `None` for all.
    #[inline]
    pub(crate) fn returning(&self, now: Nanos) -> Option<f64> {
        self.slate.get()?.ramp.share(now)
    }

    /// All traffic returns at once.
    pub(in crate::models) fn end_return(&self) {
        if let Some(slate) = self.slate.get() {
            slate.ramp.end();
        }
    }

    pub(crate) fn refund(&self) {
        lock(&self.slate().bucket).refund();
    }

    pub(crate) fn budget_left(&self, calls: u64, now: Nanos) -> f64 {
        match self.slate.get() {
            Some(slate) => lock(&slate.bucket).left(calls, now),
            None => Bucket::new(self.provider.get_budget().clone()).left(calls, now),
        }
    }

    /// Our credential was refused. True from the second time in a row on.
    pub(crate) fn unauthorized(&self) -> bool {
        self.mark(|marks| {
            marks.unauthorized = marks.unauthorized.saturating_add(1);
            marks.unauthorized >= UNAUTHORIZED_IN_A_ROW
        })
    }

    /// Some answer came that was no refusal of our credential.
    pub(crate) fn authorized(&self) {
        if self.is_marked() {
            self.mark(|marks| marks.unauthorized = 0);
        }
    }

    /// One of its models was limited. True when that says something of the provider as a whole.
    pub(crate) fn limited(&self, model: usize, now: Nanos) -> bool {
        self.mark(|marks| marks.limited.note(model, now))
    }

    /// A success wipes the slate.
    #[inline]
    pub(crate) fn succeeded(&self) {
        if self.is_marked() {
            self.mark(|marks| *marks = Marks::default());
        }
    }

    #[inline]
    fn is_marked(&self) -> bool {
        self.slate.get().is_some_and(|slate| slate.marked.load(Ordering::Relaxed) != 0)
    }

    /// Changes the marks. `marked` is written under their lock only, or it would come to lie about them.
    fn mark<T>(&self, change: impl FnOnce(&mut Marks) -> T) -> T {
        let slate = self.slate();
        let mut marks = lock(&slate.marks);
        let result = change(&mut marks);
        slate.marked.store(u64::from(*marks != Marks::default()), Ordering::Relaxed);
        result
    }

    /// Its breaker has changed.
    pub(crate) fn changed(&self, transition: &Transition, now: Nanos) {
        self.slate().ramp.turned(transition, now);
    }

    /// From when on its next last resort may go through.
    pub(crate) fn last_resort_at(&self) -> Nanos {
        self.slate.get().map_or(0, |slate| slate.last_resort_at.load(Ordering::Relaxed))
    }

    /// Whether the last resort that may go through from `at` on is this one; then the next not before that time.
    pub(crate) fn take_last_resort(&self, at: Nanos, next: Nanos) -> bool {
        let last_resort_at = &self.slate().last_resort_at;
        last_resort_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use crate::{machine::budget::Budget, models::live::SEED};

    #[test]
    fn one_who_has_still_the_provider_of_before_does_not_bring_back_its_budget() {
        let provider = |burst| Arc::new(Provider::new("nexa").budget(Budget::default().burst(burst)));
        let before = LiveProvider::new(provider(2.0), 1, 1, SEED);
        assert_eq!(before.budget_left(0, 0), 2.0);
        let more = before.succeeded_by(provider(9.0), 1);
        assert_eq!(more.budget_left(0, 0), 2.0, "what was saved up stays");
        let none = before.succeeded_by(provider(0.0), 1);
        assert_eq!(before.withdraw(0, 0), Withdrawal::Exhausted);
        assert_eq!(none.withdraw(0, 0), Withdrawal::Refused);
    }
}
