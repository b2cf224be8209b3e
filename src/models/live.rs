//! The live state of one model and of one provider.

use super::{catalogue::Seed, history::Record};
use crate::{
    machine::{
        Nanos,
        breaker::{Breaker, BreakerConfig, Changed, Outcome, State, Ticket, Transition, Wait},
        budget::{Bucket, Withdrawal},
        cooldown::Limited,
        ewma::Pace,
        explore::Turns,
        flow::Flow,
        gate::Gate,
        nanos,
        pending::Pending,
        quantile::Quantiles,
        ramp::Ramp,
        score::{Score, Tier},
        skips::Skips,
    },
    model::{Model, Provider},
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

/// An open wait that has doubled ends early, when so many requests have gone elsewhere meanwhile: 1 000, of which one
/// probe is a thousandth. But it is never shorter than the first. They are counted in batches of 25 for each core.
pub const EARLY_PROBE_AFTER: u64 = 1_000;

/// So many calls that should have been answered long ago make a model suspect: 5.
pub const SUSPECT_CALLS: usize = 5;
/// Long ago is twice what its successes usually take (the median), and no less than the slowest of a hundred take (the 99th
/// percentile).
pub const SUSPECT_MULTIPLE: u32 = 2;
/// At the least that is 1 s.
pub const SUSPECT_FLOOR: Duration = Duration::from_secs(1);
/// After so many successes it is known how long they take: 20.
pub const SUSPECT_SUCCESSES: u64 = 20;

/// A model in one registry: its configuration there, and its state, which goes on in the registry that succeeds it.
#[derive(Debug)]
pub(crate) struct LiveModel {
    pub(crate) model: Arc<Model>,
    pub(crate) provider: usize,
    pub(crate) breaker: Arc<Breaker>,
    state: Arc<ModelState>,
}

#[derive(Debug)]
pub(crate) struct ModelState {
    /// Its own among all that a family of registries has had.
    pub(crate) number: usize,
    pub(crate) pace: Pace,
    pub(crate) flow: Flow,
    pub(crate) gate: Gate,
    pub(crate) score: Score,
    pub(crate) pending: Pending,
    quantiles: Quantiles,
    /// How long a call under way must be waited for to be evidence, when that was last known; 0 before.
    long: AtomicU64,
    /// Before then it cannot be suspect, whatever happens.
    unsuspected_until: AtomicU64,
    turns: Turns,
    outage: OnceLock<Box<Outage>>,
    /// When it was last asked as a last resort, plus one; 0 for never.
    pub(crate) last_resort: AtomicU64,
    pub(crate) record: Record,
}

impl Deref for LiveModel {
    type Target = ModelState;

    fn deref(&self) -> &ModelState {
        &self.state
    }
}

impl LiveModel {
    pub(super) fn new(model: Arc<Model>, provider: usize, stripes: usize, seed: Seed) -> Self {
        let breaker = Arc::new(Breaker::new(Arc::clone(model.get_breaker()), 0, stripes, seed.seed));
        let state = Arc::new(ModelState {
            number: seed.number,
            pace: Pace::new(stripes),
            flow: Flow::new(stripes),
            gate: Gate::new(model.get_max_in_flight()),
            score: Score::new(),
            pending: Pending::new(stripes),
            quantiles: Quantiles::new(stripes),
            long: AtomicU64::new(0),
            unsuspected_until: AtomicU64::new(0),
            turns: Turns::new(),
            outage: OnceLock::new(),
            last_resort: AtomicU64::new(0),
            record: Record::new(seed.of_key),
        });
        state.score.set_latency_counts(model.get_latency_counts());
        Self { model, provider, breaker, state }
    }

    /// The same as it is configured from now on.
    pub(super) fn succeeded_by(&self, model: Arc<Model>, provider: usize, stripes: usize) -> Self {
        self.gate.set(model.get_max_in_flight());
        self.score.set_latency_counts(model.get_latency_counts());
        if self.model.get_breaker().ramp != model.get_breaker().ramp {
            // One who has still the model of before must not be the one to make it, later.
            self.outage().ramp.set(model.get_breaker().ramp);
        }
        let breaker = renewed(&self.breaker, model.get_breaker(), stripes);
        Self { model, provider, breaker, state: Arc::clone(&self.state) }
    }

    /// What so large a share of its successes takes at the most, where that is known.
    pub(crate) fn quantile(&self, share: f64, now: Nanos) -> Option<Nanos> {
        self.quantiles.quantile(share, SUSPECT_SUCCESSES, now)
    }

    /// Notes that a call begun at `started` has been answered now, by a success or not.
    #[inline]
    pub(crate) fn answered(&self, started: Nanos, success: bool, now: Nanos) {
        let took = now.saturating_sub(started);
        self.pace.answered(started, success.then_some(took));
        if success {
            self.quantiles.record(took, now);
        }
    }

    /// Notes that a success took so long to its first byte, or as far as is known, which came just now. Says the tier if that
    /// has changed by it.
    pub(crate) fn began(&self, ticket: Ticket, took: Nanos, now: Nanos) -> Option<Tier> {
        if !self.score.counts_latency() || !self.breaker.is_live(ticket) {
            return None;
        }
        self.score.began(took, now)
    }

    /// Settles the model's own breaker, and counts the outcome in its score. A stream `took` no longer than to its head
    /// or its commit.
    pub(crate) fn settle(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        wait: Option<Wait>,
        took: Nanos,
        now: Nanos,
    ) -> (Changed, Option<Tier>) {
        let tier = match outcome {
            Outcome::Neutral => None,
            _ if !self.breaker.is_live(ticket) => None,
            Outcome::Success => self.count(true, now),
            Outcome::Failure(_) => self.count(false, now),
        };
        let changed = self.breaker.settle_timed(ticket, outcome, wait, took, now);
        if let Some(transition) = &changed.transition {
            self.turned(transition, now);
        }
        (changed, tier)
    }

    /// The same for a success of the breaker's present generation, while closed.
    #[inline]
    pub(crate) fn succeeded(&self, generation: u64, took: Nanos, now: Nanos) -> (Option<Transition>, Option<Tier>) {
        let tier = self.count(true, now);
        let transition = self.breaker.succeeded(generation, took, now);
        if let Some(transition) = &transition {
            self.turned(transition, now);
        }
        (transition, tier)
    }

    #[cold]
    fn turned(&self, transition: &Transition, now: Nanos) {
        if transition.to == State::Closed {
            self.score.closed(now);
        }
        self.outage().turned(transition, now);
    }

    #[cold]
    fn outage(&self) -> &Outage {
        self.outage.get_or_init(|| Box::new(Outage::new(self.model.get_breaker(), self.flow.stripes())))
    }

    /// Which share of the requests is let through while traffic returns; `None` for all.
    #[inline]
    pub(crate) fn returning(&self, now: Nanos) -> Option<f64> {
        self.outage.get()?.ramp.share(now)
    }

    /// A request comes by while traffic returns. Whether it is within this share.
    pub(crate) fn takes(&self, share: f64) -> bool {
        self.outage().ramp.takes(share)
    }

    /// All traffic returns at once.
    pub(super) fn end_return(&self) {
        if let Some(outage) = self.outage.get() {
            outage.ramp.end();
        }
    }

    #[inline]
    fn count(&self, success: bool, now: Nanos) -> Option<Tier> {
        self.record.outcome(success, now);
        self.score.record(success, now)
    }

    /// Whether one request, out of many, sees it although it is degraded.
    pub(crate) fn takes_turn(&self, now: Nanos) -> bool {
        self.turns.take(now)
    }

    /// A request goes elsewhere because the breaker is open.
    #[inline]
    pub(crate) fn skipped(&self, now: Nanos) {
        early_probe(&self.outage().skips, &self.breaker, now);
    }

    /// In which tier it is; and the same once more if the time that has passed has changed it.
    #[inline]
    pub(crate) fn tier(&self, now: Nanos) -> (Tier, Option<Tier>) {
        if self.is_suspect(now) {
            return (Tier::Suspect, None);
        }
        self.score.tier(now)
    }

    /// Whether calls are under way that should have been answered long ago, with none begun later that has been.
    #[inline]
    fn is_suspect(&self, now: Nanos) -> bool {
        now >= self.unsuspected_until.load(Ordering::Relaxed) && self.seems_suspect(now)
    }

    #[cold]
    fn seems_suspect(&self, now: Nanos) -> bool {
        let answered = self.pace.latest_answered();
        let unanswered = |for_time: Nanos| match now.checked_sub(for_time) {
            Some(until) if until > answered => self.pending.begun_within(answered, until),
            _ => 0,
        };
        if unanswered(nanos(SUSPECT_FLOOR)) < SUSPECT_CALLS {
            // It takes five that have waited so long: there are not so many yet, or they began after the last one answered.
            let few = self.pending.count() < SUSPECT_CALLS;
            let until = if few { now } else { answered }.saturating_add(nanos(SUSPECT_FLOOR));
            self.unsuspected_until.store(until, Ordering::Relaxed);
            return false;
        }
        let quantile = |share| self.quantiles.quantile(share, SUSPECT_SUCCESSES, now);
        if let (Some(slowest), Some(usual)) = (quantile(0.99), quantile(0.5)) {
            let long = slowest.max(usual.saturating_mul(SUSPECT_MULTIPLE.into())).max(nanos(SUSPECT_FLOOR));
            self.long.store(long, Ordering::Relaxed);
        }
        match self.long.load(Ordering::Relaxed) {
            0 => false,
            long => unanswered(long) >= SUSPECT_CALLS,
        }
    }

    /// Whether a call begun at `started` that has waited for its upstream since `since`, and is dropped now, was hanging.
    pub(crate) fn hung(&self, started: Nanos, since: Nanos, now: Nanos) -> bool {
        self.pace.hung(started, since, now)
    }
}

/// A provider in one registry, as [`LiveModel`].
#[derive(Debug)]
pub(crate) struct LiveProvider {
    pub(crate) provider: Arc<Provider>,
    pub(crate) breaker: Arc<Breaker>,
    state: Arc<ProviderState>,
}

#[derive(Debug)]
pub(crate) struct ProviderState {
    pub(crate) gate: Gate,
    stripes: usize,
    slate: OnceLock<Box<Slate>>,
    /// From when the next last resort may go through.
    last_resort_at: AtomicU64,
    pub(crate) record: Record,
}

/// What is known of the times when a breaker was not closed; made at the first.
#[derive(Debug)]
struct Outage {
    ramp: Ramp,
    /// Requests that went elsewhere since the breaker opened.
    skips: Skips,
}

impl Outage {
    fn new(config: &BreakerConfig, stripes: usize) -> Self {
        Self { ramp: Ramp::new(config.ramp), skips: Skips::new(stripes) }
    }

    fn turned(&self, transition: &Transition, now: Nanos) {
        match transition.to {
            State::Open => {
                self.skips.reset();
                self.ramp.opened(transition.cause);
            }
            State::Closed => self.ramp.closed(now),
            _ => {}
        }
    }
}

/// How a provider has come through trouble so far: made when there is some.
#[derive(Debug)]
struct Slate {
    outage: Outage,
    bucket: Mutex<Bucket>,
    marks: Mutex<Marks>,
    /// Whether there are marks: spares successes the lock.
    marked: AtomicU64,
}

impl Slate {
    fn new(provider: &Provider, stripes: usize) -> Self {
        let outage = Outage::new(provider.get_breaker(), stripes);
        let bucket = Mutex::new(Bucket::new(provider.get_budget().clone()));
        Self { outage, bucket, marks: Mutex::default(), marked: AtomicU64::new(0) }
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
    pub(super) fn new(provider: Arc<Provider>, models: usize, stripes: usize, seed: Seed) -> Self {
        let breaker = Arc::new(Breaker::new(Arc::clone(provider.get_breaker()), models, stripes, seed.seed));
        let state = Arc::new(ProviderState {
            gate: Gate::new(provider.get_max_in_flight()),
            stripes,
            slate: OnceLock::new(),
            last_resort_at: AtomicU64::new(0),
            record: Record::new(seed.of_key),
        });
        Self { provider, breaker, state }
    }

    /// The same as it is configured from now on, with so many models.
    pub(super) fn succeeded_by(&self, provider: Arc<Provider>, models: usize, stripes: usize) -> Self {
        self.gate.set(provider.get_max_in_flight());
        let of = |provider: &Provider| (provider.get_breaker().ramp, provider.get_budget().clone());
        if of(&self.provider) != of(&provider) {
            // One who has still the provider of before must not be the one to make it, later.
            let slate = self.slate();
            slate.outage.ramp.set(provider.get_breaker().ramp);
            lock(&slate.bucket).set(provider.get_budget().clone());
        }
        let breaker = renewed(&self.breaker, provider.get_breaker(), stripes);
        breaker.set_members(models);
        Self { provider, breaker, state: Arc::clone(&self.state) }
    }

    pub(super) fn withdraw(&self, calls: u64, now: Nanos) -> Withdrawal {
        lock(&self.slate().bucket).withdraw(calls, now)
    }

    #[cold]
    fn slate(&self) -> &Slate {
        self.slate.get_or_init(|| Box::new(Slate::new(&self.provider, self.stripes)))
    }

    /// Which share of the requests is let through while traffic returns; `None` for all.
    #[inline]
    pub(crate) fn returning(&self, now: Nanos) -> Option<f64> {
        self.slate.get()?.outage.ramp.share(now)
    }

    /// All traffic returns at once.
    pub(super) fn end_return(&self) {
        if let Some(slate) = self.slate.get() {
            slate.outage.ramp.end();
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

    /// A request goes elsewhere because the breaker is open.
    #[inline]
    pub(crate) fn skipped(&self, now: Nanos) {
        early_probe(&self.slate().outage.skips, &self.breaker, now);
    }

    /// Its breaker has changed.
    pub(crate) fn changed(&self, transition: &Transition, now: Nanos) {
        self.slate().outage.turned(transition, now);
    }

    /// From when on its next last resort may go through.
    pub(crate) fn last_resort_at(&self) -> Nanos {
        self.last_resort_at.load(Ordering::Relaxed)
    }

    /// Whether the last resort that may go through from `at` on is this one; then the next not before that time.
    pub(crate) fn take_last_resort(&self, at: Nanos, next: Nanos) -> bool {
        self.last_resort_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// The same breaker, unless it is configured in another way.
fn renewed(breaker: &Arc<Breaker>, config: &Arc<BreakerConfig>, stripes: usize) -> Arc<Breaker> {
    if *breaker.config() == **config {
        Arc::clone(breaker)
    } else {
        Arc::new(breaker.renewed(Arc::clone(config), stripes))
    }
}

/// Ends the open wait once so many requests have gone elsewhere that a probe is hardly one of them. Looks only at every
/// few, as it takes a lock.
#[inline]
fn early_probe(skips: &Skips, breaker: &Breaker, now: Nanos) {
    let due = |count| count >= EARLY_PROBE_AFTER && count % (EARLY_PROBE_AFTER / 8) == 0;
    if skips.add().is_some_and(due) && breaker.end_wait(now) {
        skips.reset();
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use crate::machine::{breaker::Cause, budget::Budget};
    use proptest::prelude::*;

    const SEED: Seed = Seed { number: 1, seed: 7, of_key: false };

    #[test]
    fn one_who_has_still_the_provider_of_before_does_not_bring_back_its_budget() {
        let provider = |burst| Arc::new(Provider::new("nexa").budget(Budget::default().burst(burst)));
        let before = LiveProvider::new(provider(2.0), 1, 1, SEED);
        assert_eq!(before.budget_left(0, 0), 2.0);
        let more = before.succeeded_by(provider(9.0), 1, 1);
        assert_eq!(more.budget_left(0, 0), 2.0, "what was saved up stays");
        let none = before.succeeded_by(provider(0.0), 1, 1);
        assert_eq!(before.withdraw(0, 0), Withdrawal::Exhausted);
        assert_eq!(none.withdraw(0, 0), Withdrawal::Refused);
    }

    #[test]
    fn one_who_has_still_the_model_of_before_does_not_bring_back_its_ramp() {
        let model = |ramp| Arc::new(Model::new("sdxl", "nexa").breaker(BreakerConfig::default().ramp(ramp)));
        let before = LiveModel::new(model(Duration::from_secs(10)), 0, 1, SEED);
        let after = before.succeeded_by(model(Duration::ZERO), 0, 1);
        let trip = |to, cause| Transition { from: State::Closed, to, cause, retry_at: None };
        before.turned(&trip(State::Open, Cause::ProbesFailed), 0);
        before.turned(&trip(State::Closed, Cause::ProbesSucceeded), 0);
        assert_eq!(after.returning(0), None);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Begin,
        Answer(prop::sample::Index),
        GiveUp(prop::sample::Index),
        /// So many half seconds pass: instants often meet exactly.
        Pass(u64),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => Just(Op::Begin),
            1 => any::<prop::sample::Index>().prop_map(Op::Answer),
            1 => any::<prop::sample::Index>().prop_map(Op::GiveUp),
            2 => (1_u64..3).prop_map(Op::Pass),
        ]
    }

    proptest! {
        #[test]
        fn a_model_is_suspect_exactly_when_it_is_to_one_who_always_looks(ops in prop::collection::vec(op(), 0..60)) {
            let live = || {
                LiveModel::new(Arc::new(Model::new("sdxl", "nexa")), 0, 2, SEED)
            };
            let [model, always] = [live(), live()];
            let both = [&model, &always];
            for _ in 0..SUSPECT_SUCCESSES {
                both.into_iter().for_each(|model| model.answered(0, true, 0));
            }
            let (mut now, mut under_way) = (nanos(SUSPECT_FLOOR), Vec::new());
            for op in ops {
                match &op {
                    Op::Begin => under_way.push((now, both.map(|model| model.pending.begin(now)))),
                    Op::Answer(call) | Op::GiveUp(call) if !under_way.is_empty() => {
                        let (began, places) = under_way.swap_remove(call.index(under_way.len()));
                        for (model, place) in both.into_iter().zip(places) {
                            place.into_iter().for_each(|place| model.pending.end(place));
                            if matches!(op, Op::Answer(_)) {
                                model.answered(began, true, now);
                            }
                        }
                    }
                    Op::Pass(halves) => now += halves * 500_000_000,
                    _ => {}
                }
                prop_assert_eq!(model.is_suspect(now), always.seems_suspect(now), "after {:?} at {}", op, now);
            }
        }
    }
}
