//! Admission to a model and its provider, and settling both by one verdict.

mod closed;
#[cfg(feature = "http")]
mod committed;

pub(crate) use closed::{Admitted, Closed};
#[cfg(feature = "http")]
pub(crate) use committed::Committed;

#[cfg(feature = "http")]
use crate::{classify::Opening, machine::nanos};
use crate::{
    classify::{Charge, Cooldown, Executed, Verdict, Vouches, Why},
    lane::Lane,
    machine::{
        Nanos,
        breaker::{Admission, Breaker, Changed, Evidence, Outcome, Refusal, Ticket, Transition, Wait},
        cooldown::{MAX_COOLDOWN, MIN_COOLDOWN},
        pending::Place,
        score::Tier,
    },
    metrics::is_heard,
    model::Model,
    models::{LiveModel, LiveProvider, Registry},
    outcome::{AttemptEnd, StatusKind},
};
use std::{borrow::Cow, fmt, time::Duration};

/// The right to make one call to a model; held until the outcome is known.
///
/// Dropped undecided it is neutral, and its place is free at once. But a call that has waited for its upstream for at
/// least [`HANG_MULTIPLE`](crate::defaults::HANG_MULTIPLE) times what the model usually takes, and for at least
/// [`HANG_FLOOR`](crate::defaults::HANG_FLOOR), while no call begun later has been answered, was hanging: that is a failure,
/// so that a model which hangs opens its breaker even when only somebody else's timer ends the calls.
pub(crate) struct Permit {
    registry: Lane<Registry>,
    index: usize,
    model: Ticket,
    provider: Ticket,
    started: Nanos,
    /// Among the calls under way.
    place: Option<Place>,
    gates: Entered,
    /// Whether the service inside has been called.
    begun: bool,
    /// Whether the upstream has been asked and has not answered: only then can it hang.
    waiting: bool,
    /// Whether our own call or poll is on the stack: set when a panic unwinds through it.
    entered: bool,
    /// How long the first byte of the body took, where that is known.
    first_byte: Option<Nanos>,
    settled: bool,
    /// Whether another attempt was faster.
    lost: bool,
}

/// Who refused a call, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    Model(Refusal),
    Provider(Refusal),
    /// As many calls are under way as may be.
    ModelFull,
    ProviderFull,
}

impl Refused {
    /// The request goes elsewhere.
    #[inline]
    pub(crate) fn skips(self, live: &LiveModel, provider: &LiveProvider, now: Nanos) {
        match self {
            Self::Model(Refusal::Open { .. }) => live.skipped(now),
            Self::Provider(Refusal::Open { .. }) => provider.skipped(now),
            _ => {}
        }
    }
}

/// What is remembered of calls whose end nobody has told.
const PANICKED: Cow<'static, str> = Cow::Borrowed("it panicked");
const HUNG: Cow<'static, str> = Cow::Borrowed("it hung, and nobody waited any longer");

/// A place below the bounds on calls under way, of a model and of its provider, until it is dropped.
#[derive(Default)]
struct Entered(Option<(Lane<Registry>, usize)>);

impl Entered {
    fn enter(registry: &Lane<Registry>, index: usize) -> Result<Self, Refused> {
        let live = &registry.models[index];
        let provider = &registry.providers[live.provider];
        if !live.gate.is_bounded() && !provider.gate.is_bounded() {
            return Ok(Self(None));
        }
        if !live.gate.enter() {
            return Err(Refused::ModelFull);
        }
        if !provider.gate.enter() {
            live.gate.leave();
            return Err(Refused::ProviderFull);
        }
        Ok(Self(Some((registry.clone(), index))))
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        if let Some((registry, index)) = self.0.take() {
            let live = &registry.models[index];
            live.gate.leave();
            registry.providers[live.provider].gate.leave();
        }
    }
}

/// What an outcome is for one of the two breakers.
type Settlement = (Outcome, Option<Wait>);

impl Permit {
    /// Whether both breakers are closed, which needs no clock to know.
    pub(crate) fn is_closed(registry: &Registry, index: usize) -> bool {
        let live = &registry.models[index];
        live.breaker.is_closed() && registry.providers[live.provider].breaker.is_closed()
    }

    /// Whether a call would be admitted now. If both breakers refuse, it is by the one that will for longer. Changes
    /// nothing.
    pub(crate) fn peek(registry: &Registry, index: usize, now: Nanos) -> Result<(), Refused> {
        let live = &registry.models[index];
        Self::peek_at(live, &registry.providers[live.provider], now)
    }

    /// The same of a model and its provider. For a loop over many of them.
    #[inline(always)]
    pub(crate) fn peek_at(live: &LiveModel, provider: &LiveProvider, now: Nanos) -> Result<(), Refused> {
        let of_model = live.breaker.peek(now);
        let of_provider = provider.breaker.peek(now);
        match (of_model, of_provider) {
            (Ok(()), Ok(())) if live.gate.is_full() => Err(Refused::ModelFull),
            (Ok(()), Ok(())) if provider.gate.is_full() => Err(Refused::ProviderFull),
            (Ok(()), Ok(())) => Ok(()),
            (Err(model), Err(provider)) if model.retry_at() < provider.retry_at() => Err(Refused::Provider(provider)),
            (Err(model), _) => Err(Refused::Model(model)),
            (Ok(()), Err(provider)) => Err(Refused::Provider(provider)),
        }
    }

    /// Whether only an open wait stands in the way of a call. Changes nothing.
    pub(crate) fn peek_last_resort(registry: &Registry, index: usize, now: Nanos) -> bool {
        let live = &registry.models[index];
        let full = live.gate.is_full() || registry.providers[live.provider].gate.is_full();
        !full
            && Self::peek(registry, index, now).is_err()
            && live.breaker.peek_last_resort(now)
            && registry.providers[live.provider].breaker.peek_last_resort(now)
    }

    /// Takes a permit from both breakers or from none.
    pub(crate) fn admit(registry: &Lane<Registry>, index: usize, now: Nanos, lease: Duration) -> Result<Self, Refused> {
        Self::take(registry, index, now, |breaker| breaker.admit(now, lease))
    }

    /// The same, although an open wait has not elapsed.
    pub(crate) fn admit_last_resort(
        registry: &Lane<Registry>,
        index: usize,
        now: Nanos,
        lease: Duration,
    ) -> Result<Self, Refused> {
        Self::take(registry, index, now, |breaker| breaker.admit_last_resort(now, lease))
    }

    fn take(
        registry: &Lane<Registry>,
        index: usize,
        now: Nanos,
        admit: impl Fn(&Breaker) -> Admission,
    ) -> Result<Self, Refused> {
        let live = &registry.models[index];
        let entered = Entered::enter(registry, index)?;
        let (model, of_model) = admit(&live.breaker).map_err(Refused::Model)?;
        let (provider, of_provider) = match admit(&registry.providers[live.provider].breaker) {
            Ok((ticket, transition)) => (Ok(ticket), transition),
            Err(refusal) => (Err(refusal), None),
        };
        if provider.is_err() {
            live.breaker.settle(model, Outcome::Neutral, None, now);
        }
        registry.changed((index, of_model.into()), (live.provider, of_provider.into()), now);
        let provider = provider.map_err(Refused::Provider)?;
        Ok(Self {
            registry: registry.clone(),
            index,
            model,
            provider,
            started: now,
            place: None,
            gates: entered,
            begun: false,
            waiting: false,
            entered: false,
            first_byte: None,
            settled: false,
            lost: false,
        })
    }

    /// Runs our own call: only now has it begun.
    #[inline]
    pub(crate) fn call<T>(&mut self, f: impl FnOnce() -> T) -> T {
        self.begun = true;
        self.live().flow.start();
        self.place = self.live().pending.begin(self.started);
        self.enter(f)
    }

    /// Runs our own call or poll. A panic that unwinds through it leaves its mark.
    #[inline]
    pub(crate) fn enter<T>(&mut self, f: impl FnOnce() -> T) -> T {
        self.entered = true;
        let result = f();
        self.entered = false;
        result
    }

    /// Whether it holds a place that has a lease.
    pub(crate) fn is_probe(&self) -> bool {
        [self.model, self.provider].iter().any(|ticket| matches!(ticket, Ticket::Probe { .. }))
    }

    /// The upstream has answered. Most often nobody had to wait for it, and nothing is written.
    #[inline]
    pub(crate) fn waits_no_longer(&mut self) {
        if self.waiting {
            self.waiting = false;
        }
    }

    /// Says whether the upstream is being waited for.
    #[inline]
    pub(crate) fn waiting(&mut self, waiting: bool) {
        self.waiting = waiting;
    }

    /// Notes how long the head and the first byte of a success took, where the attempt lasted until its body had begun.
    #[cfg(feature = "http")]
    pub(crate) fn opened(&mut self, opening: &Opening) {
        if !self.live().breaker.is_live(self.model) {
            return;
        }
        self.live().pace.head(nanos(opening.head));
        if let Some(first_byte) = opening.first_byte {
            self.live().pace.first_byte(nanos(first_byte));
            self.first_byte = Some(nanos(first_byte));
            self.registry.meters().first_byte(self.index, nanos(first_byte));
        }
    }

    /// Settles both breakers. `answered` says whether the upstream gave an answer at all.
    #[inline]
    pub(crate) fn settle(&mut self, verdict: &Verdict, answered: bool, now: Nanos) {
        if !self.settle_closed(verdict, answered, now) {
            self.settle_otherwise(verdict, answered, now);
        }
    }

    fn settle_otherwise(&mut self, verdict: &Verdict, answered: bool, now: Nanos) {
        let wait = verdict.cooldown.map(|cooldown| match cooldown {
            Cooldown::For(wait) => Wait::For(wait.clamp(MIN_COOLDOWN, MAX_COOLDOWN)),
            Cooldown::Growing => Wait::Growing,
        });
        let blames_provider = matches!(verdict.charge, Charge::Provider | Charge::Credential);
        let (model_wait, provider_wait) = if blames_provider { (None, wait) } else { (wait, None) };
        let answered = answered && !verdict.broke_off();
        let counts = self.live().breaker.is_live(self.model);
        let mut tier = None;
        if answered && counts {
            let success = verdict.charge == Charge::Success;
            self.live().answered(self.started, success, now);
            if success {
                let took = self.first_byte.unwrap_or(now.saturating_sub(self.started));
                tier = self.live().began(self.model, took, now);
            }
        }
        let provider_counts = self.live_provider().breaker.is_live(self.provider);
        let provider = if provider_counts { self.provider_outcome(verdict, answered) } else { Outcome::Neutral };
        let model = match verdict.charge {
            Charge::Success => Outcome::Success,
            Charge::Model | Charge::ModelOrRequest => Outcome::Failure(Evidence::Blame),
            Charge::Nobody | Charge::Provider | Charge::Credential => Outcome::Neutral,
        };
        self.remember(verdict, blames_provider, now);
        self.close((model, model_wait), (provider, provider_wait), now);
        if let (Some(wait), true) = (model_wait, counts && provider_counts) {
            self.limited(wait, now);
        }
        self.registry.tier_changed(self.index, tier, now);
        self.count_verdict(verdict, now);
        if model_wait.is_some() {
            self.registry.meters().cooldown(self.index);
        } else if provider_wait.is_some() {
            self.registry.meters().provider_cooldown(self.live().provider);
        }
    }

    /// Counts a call, if it was made.
    fn count(&self, end: AttemptEnd, status: StatusKind, executed: Executed, now: Nanos) {
        if self.begun {
            let (cost, took) = (self.live().model.get_cost(), now.saturating_sub(self.started));
            self.registry.meters().attempt(self.index, end, status, executed, cost, took);
        }
    }

    #[inline]
    fn count_verdict(&self, verdict: &Verdict, now: Nanos) {
        if !is_heard() {
            return;
        }
        self.count(AttemptEnd::of(verdict), StatusKind::of(&verdict.why), verdict.executed, now);
    }

    /// The same of one without a result.
    fn count_without(&self, end: AttemptEnd, now: Nanos) {
        self.count(end, StatusKind::None, Executed::Maybe, now);
    }

    /// Tells what has changed by a success while closed.
    #[cold]
    fn tell_closed(&self, model: Option<Transition>, provider: Option<Transition>, tier: Option<Tier>, now: Nanos) {
        self.registry.changed((self.index, model.into()), (self.live().provider, provider.into()), now);
        self.registry.tier_changed(self.index, tier, now);
    }

    /// Keeps for people what failed or was limited.
    fn remember(&self, verdict: &Verdict, of_provider: bool, now: Nanos) {
        let took = now.saturating_sub(self.started);
        if of_provider {
            self.live_provider().record.outcome(false, now);
            self.live_provider().record.failed(verdict.why.clone(), took, now);
        } else if verdict.cooldown.is_some() || matches!(verdict.charge, Charge::Model | Charge::ModelOrRequest) {
            self.live().record.failed(verdict.why.clone(), took, now);
        }
    }

    /// Another attempt, made to protect the user of this one, was faster. A probe has failed by that; any other call is as
    /// if nobody had waited for it any longer.
    pub(crate) fn lost(mut self, now: Nanos) {
        let neutral = (Outcome::Neutral, None);
        let of = |ticket, evidence| match ticket {
            Ticket::Probe { .. } => (Outcome::Failure(evidence), None),
            _ => neutral,
        };
        if self.is_probe() {
            let model = of(self.model, Evidence::Blame);
            let provider = of(self.provider, Evidence::Member(self.live().number));
            self.live().record.failed(Why::Lost, now.saturating_sub(self.started), now);
            self.close(model, provider, now);
            self.count_without(AttemptEnd::Lost, now);
        }
        self.lost = true;
    }

    /// What the result says of the provider.
    fn provider_outcome(&self, verdict: &Verdict, answered: bool) -> Outcome {
        let provider = self.live_provider();
        let half_open = !matches!(self.provider, Ticket::Counted { .. });
        let evidence = Outcome::Failure(Evidence::Member(self.live().number));
        let outcome = match (verdict.charge, verdict.vouches) {
            (Charge::Provider, _) => Outcome::Failure(Evidence::Blame),
            (Charge::Credential, _) if provider.unauthorized() => Outcome::Failure(Evidence::Blame),
            (Charge::Credential, _) => Outcome::Neutral,
            (_, Some(Vouches::Fully)) => Outcome::Success,
            (_, Some(Vouches::Alive)) if half_open => Outcome::Neutral,
            (_, Some(Vouches::Alive)) => Outcome::Success,
            (_, Some(Vouches::Back)) if half_open => Outcome::Success,
            (_, Some(Vouches::Back)) => Outcome::Neutral,
            // A failed model's answer shows that the provider is back, but not that it is well.
            (Charge::Model | Charge::ModelOrRequest, None) if answered && half_open => Outcome::Success,
            (Charge::Model | Charge::ModelOrRequest, _) => evidence,
            (Charge::Success | Charge::Nobody, None) if answered => Outcome::Success,
            (Charge::Success | Charge::Nobody, _) => Outcome::Neutral,
        };
        if verdict.charge == Charge::Success {
            provider.succeeded();
        } else if answered && verdict.charge != Charge::Credential {
            provider.authorized();
        }
        outcome
    }

    /// The model was limited. Two of one provider within a short time speak of the provider.
    fn limited(&self, wait: Wait, now: Nanos) {
        let provider = self.live_provider();
        if provider.limited(self.live().number, now) {
            let told = provider.breaker.cool_down(wait, now);
            self.registry.changed((self.index, Changed::default()), (self.live().provider, told), now);
        }
    }

    /// It is no longer among the calls under way.
    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            self.live().pending.end(place);
        }
    }

    fn close(&mut self, model: Settlement, provider: Settlement, now: Nanos) {
        self.settled = true;
        self.leave();
        drop(std::mem::take(&mut self.gates));
        let live = self.live();
        if self.begun {
            live.flow.end();
        }
        let took = now.saturating_sub(self.started);
        let (of_model, tier) = live.settle(self.model, model.0, model.1, took, now);
        let of_provider = self.live_provider().breaker.settle_timed(self.provider, provider.0, provider.1, 0, now);
        self.registry.changed((self.index, of_model), (live.provider, of_provider), now);
        self.registry.tier_changed(self.index, tier, now);
    }

    /// The model that it is for.
    #[inline]
    pub(crate) fn of(&self) -> &Model {
        &self.live().model
    }

    /// The time of its registry.
    #[inline]
    pub(crate) fn now(&self) -> Nanos {
        self.registry.now()
    }

    #[inline]
    fn live(&self) -> &LiveModel {
        &self.registry.models[self.index]
    }

    #[inline]
    fn live_provider(&self) -> &LiveProvider {
        &self.registry.providers[self.live().provider]
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if !self.settled {
            self.give_up();
        }
    }
}

impl Permit {
    /// Nobody has said what it came to.
    #[cold]
    fn give_up(&mut self) {
        let now = self.registry.now();
        let failure = (Outcome::Failure(Evidence::Blame), None);
        let neutral = (Outcome::Neutral, None);
        let failed = |why| self.live().record.failed(Why::Other(why), now.saturating_sub(self.started), now);
        let end = if self.entered {
            failed(PANICKED);
            self.close(failure, neutral, now);
            AttemptEnd::Panicked
        } else if self.waiting && self.live().hung(self.started, self.started, now) {
            failed(HUNG);
            self.close(failure, (Outcome::Failure(Evidence::Member(self.live().number)), None), now);
            AttemptEnd::Hung
        } else {
            self.close(neutral, neutral, now);
            AttemptEnd::Dropped
        };
        self.count_without(if self.lost { AttemptEnd::Lost } else { end }, now);
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("model", &self.live().model.name()).finish_non_exhaustive()
    }
}
