//! The live state of one model.

use super::renewed;
use crate::{
    machine::{
        Nanos,
        breaker::{Breaker, Changed, Outcome, State, Ticket, Transition, Wait},
        calls::{Calls, Place, Stripe},
        explore::Turns,
        gate::Gate,
        nanos,
        quantile::Quantiles,
        ramp::Ramp,
        score::{Score, Tier},
    },
    model::Model,
    models::{catalogue::Seed, history::Record},
    sync::{AtomicU64, Ordering},
};
use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

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
#[derive(Debug, Clone)]
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
    pub(crate) calls: Calls,
    pub(crate) gate: Gate,
    pub(crate) score: Score,
    quantiles: Quantiles,
    /// Before then it cannot be suspect, whatever happens.
    unsuspected_until: AtomicU64,
    trouble: OnceLock<Box<Trouble>>,
}

/// What is known of a model's trouble, beside its history: of a key made when there is some, as most never have any.
#[derive(Debug)]
struct Trouble {
    record: Record,
    ramp: OnceLock<Ramp>,
    /// When it was last asked as a last resort, plus one; 0 for never.
    last_resort: AtomicU64,
    turns: Turns,
    /// How long a call under way must be waited for to be evidence, when that was last known; 0 before.
    long: AtomicU64,
}

impl Trouble {
    fn new() -> Self {
        Self {
            record: Record::new(),
            ramp: OnceLock::new(),
            last_resort: AtomicU64::new(0),
            turns: Turns::new(),
            long: AtomicU64::new(0),
        }
    }
}

impl Deref for LiveModel {
    type Target = ModelState;

    fn deref(&self) -> &ModelState {
        &self.state
    }
}

impl ModelState {
    #[cold]
    fn trouble(&self) -> &Trouble {
        self.trouble.get_or_init(|| Box::new(Trouble::new()))
    }

    /// What was of it.
    pub(crate) fn record(&self) -> &Record {
        &self.trouble().record
    }

    /// The same, if there is anything.
    #[inline]
    pub(in crate::models) fn known_record(&self) -> Option<&Record> {
        self.trouble.get().map(|trouble| &trouble.record)
    }

    pub(crate) fn asked_as_last_resort(&self, now: Nanos) {
        self.trouble().last_resort.store(now.saturating_add(1), Ordering::Relaxed);
    }

    /// When it was last asked as a last resort, plus one; 0 for never.
    pub(crate) fn last_resort(&self) -> Nanos {
        self.trouble.get().map_or(0, |trouble| trouble.last_resort.load(Ordering::Relaxed))
    }
}

impl LiveModel {
    pub(in crate::models) fn new(model: Arc<Model>, provider: usize, stripes: usize, seed: Seed) -> Self {
        let breaker = Arc::new(Breaker::new(Arc::clone(model.get_breaker()), 0, stripes, seed.seed));
        let state = Arc::new(ModelState {
            number: seed.number,
            calls: Calls::new(stripes),
            gate: Gate::new(model.get_max_in_flight()),
            score: Score::new(),
            quantiles: Quantiles::new(),
            unsuspected_until: AtomicU64::new(0),
            trouble: OnceLock::new(),
        });
        if !seed.of_key {
            state.trouble();
        }
        state.score.set_latency_counts(model.get_latency_counts());
        Self { model, provider, breaker, state }
    }

    /// The same as it is configured from now on.
    pub(in crate::models) fn succeeded_by(&self, model: Arc<Model>, provider: usize) -> Self {
        self.gate.set(model.get_max_in_flight());
        self.score.set_latency_counts(model.get_latency_counts());
        if self.model.get_breaker().ramp != model.get_breaker().ramp {
            // One who has still the model of before must not be the one to make it, later.
            self.ramp().set(model.get_breaker().ramp);
        }
        let breaker = renewed(&self.breaker, model.get_breaker());
        Self { model, provider, breaker, state: Arc::clone(&self.state) }
    }

    /// What so large a share of its successes takes at the most, where that is known.
    pub(crate) fn quantile(&self, share: f64, now: Nanos) -> Option<Nanos> {
        self.quantiles.quantile(share, SUSPECT_SUCCESSES, now)
    }

    /// Notes that a call begun at `started` has been answered now, by a success or not.
    #[inline]
    pub(crate) fn answered(&self, started: Nanos, success: bool, now: Nanos) {
        self.answered_in(self.calls.mine(), started, success, now);
    }

    #[inline(always)]
    fn answered_in(&self, stripe: Stripe<'_>, started: Nanos, success: bool, now: Nanos) {
        let took = now.saturating_sub(started);
        stripe.answered(started, success.then_some(took));
        if success {
            self.quantiles.record(self.calls.stripes(), stripe.index(), took, now);
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

    /// A call that nothing stood in the way of has succeeded, in the breaker's present generation; `place` is what it got
    /// when it began. Where this says so, [`judge`](Self::judge) is to be asked what has come of it.
    #[inline]
    pub(crate) fn succeeded(
        &self,
        generation: u64,
        place: Option<Place>,
        started: Nanos,
        now: Nanos,
    ) -> (bool, Option<Tier>) {
        let stripe = self.calls.mine();
        self.answered_in(stripe, started, true, now);
        stripe.end();
        if let Some(elsewhere) = place.filter(|place| !stripe.leave(*place)) {
            self.calls.leave(elsewhere);
        }
        let tier = self.count(true, now);
        (self.breaker.succeeded(generation, now.saturating_sub(started), now), tier)
    }

    /// Whether such a success opens the breaker, which only a slow one does.
    #[cold]
    pub(crate) fn judge(&self, generation: u64, took: Nanos, now: Nanos) -> Option<Transition> {
        let transition = self.breaker.judge_slow_success(generation, took, now)?;
        self.turned(&transition, now);
        Some(transition)
    }

    #[cold]
    fn turned(&self, transition: &Transition, now: Nanos) {
        if transition.to == State::Closed {
            self.score.closed(now);
        }
        self.ramp().turned(transition, now);
    }

    #[inline]
    fn known_ramp(&self) -> Option<&Ramp> {
        self.trouble.get()?.ramp.get()
    }

    #[cold]
    fn ramp(&self) -> &Ramp {
        self.trouble().ramp.get_or_init(|| Ramp::new(self.model.get_breaker().ramp))
    }

    /// Which share of the requests is let through while traffic returns; `None` for all.
    #[inline]
    pub(crate) fn returning(&self, now: Nanos) -> Option<f64> {
        self.known_ramp()?.share(now)
    }

    /// A request comes by while traffic returns. Whether it is within this share.
    pub(crate) fn takes(&self, share: f64) -> bool {
        self.ramp().takes(share)
    }

    /// All traffic returns at once.
    pub(in crate::models) fn end_return(&self) {
        if let Some(ramp) = self.known_ramp() {
            ramp.end();
        }
    }

    #[inline(always)]
    fn count(&self, success: bool, now: Nanos) -> Option<Tier> {
        let record = if success { self.known_record() } else { Some(self.record()) };
        if let Some(record) = record {
            record.outcome(success, now);
        }
        self.score.record(success, now)
    }

    /// Whether one request, out of many, sees it although it is degraded.
    pub(crate) fn takes_turn(&self, now: Nanos) -> bool {
        self.trouble().turns.take(now)
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
        let answered = self.calls.latest_answered();
        let unanswered = |for_time: Nanos| match now.checked_sub(for_time) {
            Some(until) if until > answered => self.calls.begun_within(answered, until),
            _ => 0,
        };
        if unanswered(nanos(SUSPECT_FLOOR)) < SUSPECT_CALLS {
            // It takes five that have waited so long: there are not so many yet, or they began after the last one answered.
            let few = self.calls.placed() < SUSPECT_CALLS;
            let until = if few { now } else { answered }.saturating_add(nanos(SUSPECT_FLOOR));
            self.unsuspected_until.store(until, Ordering::Relaxed);
            return false;
        }
        let quantile = |share| self.quantiles.quantile(share, SUSPECT_SUCCESSES, now);
        if let (Some(slowest), Some(usual)) = (quantile(0.99), quantile(0.5)) {
            let long = slowest.max(usual.saturating_mul(SUSPECT_MULTIPLE.into())).max(nanos(SUSPECT_FLOOR));
            self.trouble().long.store(long, Ordering::Relaxed);
        }
        match self.trouble().long.load(Ordering::Relaxed) {
            0 => false,
            long => unanswered(long) >= SUSPECT_CALLS,
        }
    }

    /// Whether a call begun at `started` that has waited for its upstream since `since`, and is dropped now, was hanging.
    pub(crate) fn hung(&self, started: Nanos, since: Nanos, now: Nanos) -> bool {
        self.calls.hung(started, since, now)
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use crate::{
        machine::{
            breaker::{BreakerConfig, Cause},
            stripe,
        },
        models::live::SEED,
    };
    use proptest::prelude::*;

    #[test]
    fn one_who_has_still_the_model_of_before_does_not_bring_back_its_ramp() {
        let model = |ramp| Arc::new(Model::new("sdxl", "nexa").breaker(BreakerConfig::default().ramp(ramp)));
        let before = LiveModel::new(model(Duration::from_secs(10)), 0, 1, SEED);
        let after = before.succeeded_by(model(Duration::ZERO), 0);
        let trip = |to, cause| Transition { from: State::Closed, to, cause, retry_at: None };
        before.turned(&trip(State::Open, Cause::ProbesFailed), 0);
        before.turned(&trip(State::Closed, Cause::ProbesSucceeded), 0);
        assert_eq!(after.returning(0), None);
    }

    #[test]
    fn a_call_that_succeeds_in_another_thread_is_no_longer_under_way() {
        let live = LiveModel::new(Arc::new(Model::new("sdxl", "nexa")), 0, stripe::count(), SEED);
        let begin = || live.calls.mine().begin(1);
        let own = begin();
        let place = std::thread::scope(|scope| scope.spawn(begin).join().expect("no panic"));
        assert_eq!((live.calls.placed(), live.calls.in_flight()), (2, 2));
        assert_eq!(live.succeeded(1, place, 1, 2), (false, None));
        assert_eq!((live.calls.placed(), live.calls.in_flight()), (1, 1));
        live.succeeded(1, own, 1, 3);
        assert_eq!((live.calls.placed(), live.calls.in_flight()), (0, 0));
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
                    Op::Begin => under_way.push((now, both.map(|model| model.calls.mine().begin(now)))),
                    Op::Answer(call) | Op::GiveUp(call) if !under_way.is_empty() => {
                        let (began, places) = under_way.swap_remove(call.index(under_way.len()));
                        for (model, place) in both.into_iter().zip(places) {
                            place.into_iter().for_each(|place| model.calls.leave(place));
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
