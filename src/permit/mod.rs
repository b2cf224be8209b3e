//! Admission to a model and its provider; settling both by one verdict is in [`settle`].

mod closed;
#[cfg(feature = "http")]
mod committed;
mod settle;

pub(crate) use closed::Closed;
#[cfg(feature = "http")]
pub(crate) use committed::Committed;

#[cfg(feature = "http")]
use crate::{classify::Opening, machine::nanos};
use crate::{
    lane::Lane,
    machine::{
        Nanos,
        breaker::{Admission, Breaker, Outcome, Refusal, Ticket},
        calls::Place,
    },
    model::Model,
    models::{LiveModel, LiveProvider, Registry},
};
use std::{fmt, time::Duration};

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
    /// Whether it counts against the bounds on calls under way.
    gated: bool,
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
    /// From when on a call may be admitted, where that is known.
    #[inline]
    pub(crate) fn retry_at(self) -> Nanos {
        match self {
            Self::Model(refusal) | Self::Provider(refusal) => refusal.retry_at(),
            Self::ModelFull | Self::ProviderFull => Nanos::MAX,
        }
    }

    /// The request goes elsewhere.
    #[inline(always)]
    pub(crate) fn goes_elsewhere(self, live: &LiveModel, provider: &LiveProvider, now: Nanos) {
        match self {
            Self::Model(Refusal::Open { .. }) => live.breaker.went_elsewhere(now),
            Self::Provider(Refusal::Open { .. }) => provider.breaker.went_elsewhere(now),
            _ => {}
        }
    }
}

/// Counts against the bounds on calls under way, of a model and of its provider, until it is dropped or kept.
struct Entered<'a> {
    registry: &'a Registry,
    index: usize,
    gated: bool,
}

impl<'a> Entered<'a> {
    fn enter(registry: &'a Registry, index: usize) -> Result<Self, Refused> {
        let live = &registry.models[index];
        let provider = &registry.providers[live.provider];
        let gated = live.gate.is_bounded() || provider.gate.is_bounded();
        if gated && !live.gate.enter() {
            return Err(Refused::ModelFull);
        }
        if gated && !provider.gate.enter() {
            live.gate.leave();
            return Err(Refused::ProviderFull);
        }
        Ok(Self { registry, index, gated })
    }

    /// From now on somebody else sees to it.
    fn keep(mut self) -> bool {
        std::mem::take(&mut self.gated)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if self.gated {
            leave_gates(self.registry, self.index);
        }
    }
}

fn leave_gates(registry: &Registry, index: usize) {
    let live = &registry.models[index];
    live.gate.leave();
    registry.providers[live.provider].gate.leave();
}

impl Permit {
    /// Whether both breakers are closed, which needs no clock to know.
    #[inline]
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

    /// The same of a model and its provider.
    #[inline(always)]
    pub(crate) fn peek_at(live: &LiveModel, provider: &LiveProvider, now: Nanos) -> Result<(), Refused> {
        Self::peek_breakers(live, provider, now)?;
        Self::peek_gates(live, provider)
    }

    /// The half of it that the breakers say. For a loop over many candidates.
    #[inline(always)]
    pub(crate) fn peek_breakers(live: &LiveModel, provider: &LiveProvider, now: Nanos) -> Result<(), Refused> {
        let Err(of_model) = live.breaker.peek(now) else {
            return provider.breaker.peek(now).map_err(Refused::Provider);
        };
        match provider.breaker.peek(now) {
            Err(of_provider) if of_model.retry_at() < of_provider.retry_at() => Err(Refused::Provider(of_provider)),
            _ => Err(Refused::Model(of_model)),
        }
    }

    /// The other half: whether there is room for one more call.
    #[inline]
    pub(crate) fn peek_gates(live: &LiveModel, provider: &LiveProvider) -> Result<(), Refused> {
        if live.gate.is_full() {
            return Err(Refused::ModelFull);
        }
        if provider.gate.is_full() { Err(Refused::ProviderFull) } else { Ok(()) }
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
            gated: entered.keep(),
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
        self.place = self.live().calls.mine().begin(self.started);
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
        self.live().calls.mine().head(nanos(opening.head));
        if let Some(first_byte) = opening.first_byte {
            self.live().calls.mine().first_byte(nanos(first_byte));
            self.first_byte = Some(nanos(first_byte));
            self.registry.meters().first_byte(self.index, nanos(first_byte));
        }
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

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("model", &self.live().model.name()).finish_non_exhaustive()
    }
}
