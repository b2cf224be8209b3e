//! The way of nearly every call: both breakers are closed when it comes, and still the same when it has succeeded. It
//! takes no lock and changes no state. Whatever else a call may come to is the permit's own business.

use super::Permit;
use crate::{
    classify::{Charge, Verdict, Vouches},
    lane::Lane,
    machine::{Nanos, breaker::Ticket, calls::Place},
    metrics::is_heard,
    models::Registry,
    outcome::{AttemptEnd, StatusKind},
};

/// That both breakers are closed, in these generations of the model's and the provider's, and that nothing bounds the calls
/// under way. It holds nothing: whoever makes no call lets it be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closed([u64; 2]);

impl Closed {
    #[inline]
    pub(crate) fn find(registry: &Registry, index: usize) -> Option<Self> {
        let live = &registry.models[index];
        let provider = &registry.providers[live.provider];
        if live.gate.is_bounded() || provider.gate.is_bounded() {
            return None;
        }
        Some(Self([live.breaker.if_closed()?, provider.breaker.if_closed()?]))
    }

    /// Runs our own call. The permit is made when it has returned, in its place: moving what has just been written is what
    /// costs.
    #[inline(always)]
    pub(crate) fn call<T>(
        self,
        registry: &Lane<Registry>,
        index: usize,
        now: Nanos,
        call: impl FnOnce() -> T,
    ) -> (Permit, T) {
        let calling = self.begin(registry, index, now);
        let result = call();
        (calling.end(), result)
    }

    /// Our own call begins, which the caller runs.
    #[inline(always)]
    pub(crate) fn begin(self, registry: &Lane<Registry>, index: usize, now: Nanos) -> Calling<'_> {
        let place = registry.models[index].calls.mine().begin(now);
        Calling { closed: self, registry, index, now, place }
    }
}

/// Our own call is on the stack: dropped when a panic unwinds through it.
pub(crate) struct Calling<'a> {
    closed: Closed,
    registry: &'a Lane<Registry>,
    index: usize,
    now: Nanos,
    place: Option<Place>,
}

impl Calling<'_> {
    /// Our own call has returned.
    #[inline(always)]
    pub(crate) fn end(self) -> Permit {
        let permit = self.permit(false);
        std::mem::forget(self);
        permit
    }

    #[inline(always)]
    fn permit(&self, panicked: bool) -> Permit {
        let [model, provider] = self.closed.0.map(|generation| Ticket::Counted { generation });
        Permit {
            registry: self.registry.clone(),
            index: self.index,
            model,
            provider,
            started: self.now,
            place: self.place,
            gated: false,
            begun: true,
            waiting: false,
            entered: panicked,
            first_byte: None,
            settled: false,
            lost: false,
        }
    }
}

impl Drop for Calling<'_> {
    #[cold]
    fn drop(&mut self) {
        drop(self.permit(true));
    }
}

impl Permit {
    /// Whether it has been settled.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Settles a success if nothing has changed since it was admitted; whether it has.
    #[inline]
    pub(super) fn settle_closed(&mut self, verdict: &Verdict, answered: bool, now: Nanos) -> bool {
        let vouches = matches!(verdict.vouches, None | Some(Vouches::Fully));
        if !answered || verdict.charge != Charge::Success || verdict.cooldown.is_some() || !vouches {
            return false;
        }
        let (Ticket::Counted { generation }, Ticket::Counted { generation: of_provider }) = (self.model, self.provider)
        else {
            return false;
        };
        let (live, provider) = (self.live(), self.live_provider());
        let same = live.breaker.is_at(generation) && provider.breaker.is_at(of_provider);
        if !same || !self.begun || self.gated || live.score.counts_latency() {
            return false;
        }
        provider.succeeded();
        let (slow, tier) = live.succeeded(generation, self.place, self.started, now);
        let slow_provider = provider.breaker.succeeded(of_provider, 0, now);
        self.place = None;
        self.settled = true;
        if slow || slow_provider || tier.is_some() {
            self.judge(generation, of_provider, tier, now);
        }
        if is_heard() {
            self.count(AttemptEnd::of(verdict), StatusKind::of(&verdict.why), verdict.executed, now);
        }
        true
    }
}
