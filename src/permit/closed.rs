//! The way of nearly every call: both breakers are closed when it comes, and still the same when it has succeeded. It
//! takes no lock and changes no state. Whatever else a call may come to is the permit's own business.

use super::{Entered, Permit};
use crate::{
    classify::{Charge, Verdict, Vouches},
    lane::Lane,
    machine::{Nanos, breaker::Ticket},
    metrics::is_heard,
    models::Registry,
    outcome::{AttemptEnd, StatusKind},
};

impl Permit {
    /// A permit where both breakers are closed and nothing bounds the calls under way; else the handle back.
    #[inline]
    pub(crate) fn admit_closed(registry: Lane<Registry>, index: usize, now: Nanos) -> Result<Self, Lane<Registry>> {
        let live = &registry.models[index];
        let provider = &registry.providers[live.provider];
        match (live.breaker.admit_closed(), provider.breaker.admit_closed()) {
            (Some(model), Some(of_provider)) if !live.gate.is_bounded() && !provider.gate.is_bounded() => {
                Ok(Self::new(registry, index, [model, of_provider], Entered(None), now))
            }
            _ => Err(registry),
        }
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
        if !same || live.score.counts_latency() {
            return false;
        }
        let took = now.saturating_sub(self.started);
        live.answered(self.started, true, now);
        provider.succeeded();
        if self.begun {
            live.flow.end();
        }
        let (of_model, tier) = live.succeeded(generation, took, now);
        let of_provider = provider.breaker.succeeded(of_provider, 0, now);
        if let Some(place) = self.place {
            live.pending.end(place);
        }
        self.place = None;
        self.settled = true;
        if of_model.is_some() || of_provider.is_some() || tier.is_some() {
            self.tell_closed(of_model, of_provider, tier, now);
        }
        if is_heard() {
            self.count(AttemptEnd::of(verdict), StatusKind::of(&verdict.why), verdict.executed, now);
        }
        true
    }
}
