//! What is left of a permit once the head has come: the call, until its body has ended.

use super::{
    Permit, leave_gates,
    settle::{HUNG, PANICKED},
};
use crate::{
    classify::{Verdict, Why},
    lane::Lane,
    machine::{
        Nanos,
        breaker::{Changed, Evidence, Outcome, Ticket},
        score::Tier,
    },
    models::Registry,
    outcome::BodyEnd,
};
use std::borrow::Cow;
use tokio::time::Instant;

/// A call whose head has come and whose body is still coming.
pub(crate) struct Committed {
    registry: Lane<Registry>,
    index: usize,
    model: Ticket,
    provider: Ticket,
    started: Nanos,
    /// How long the head took, or the commit where the body was read ahead.
    head_took: Nanos,
    /// Since when a poll has been waiting for the next frame: a slow reader is not a slow model.
    waiting_since: Option<Nanos>,
    /// Whether it counts against the bounds on calls under way.
    gated: bool,
    /// Whether it is known how long the first frame took.
    arrived: bool,
    /// Whether our own poll is on the stack: set when a panic unwinds through it.
    entered: bool,
    settled: bool,
}

impl Committed {
    /// Runs our own poll. A panic that unwinds through it leaves its mark.
    pub(crate) fn enter<T>(&mut self, f: impl FnOnce() -> T) -> T {
        self.entered = true;
        let result = f();
        self.entered = false;
        result
    }

    /// A poll begins to wait for the next frame.
    pub(crate) fn waits(&mut self, now: Instant) {
        self.waiting_since = Some(self.registry.at(now));
    }

    /// A frame has come.
    pub(crate) fn arrived(&mut self) {
        let waited = self.waiting_since.take().is_some();
        if !self.arrived {
            self.arrived = true;
            let now = self.registry.now();
            let took = now.saturating_sub(self.started);
            self.registry.models[self.index].calls.mine().first_byte(took);
            // What nobody waited for was there before: a slow reader is not a slow model.
            let tier = self.began(if waited { took } else { self.head_took }, now);
            self.registry.tier_changed(self.index, tier, now);
            self.registry.meters().first_byte(self.index, took);
        }
    }

    /// The body has come to its end.
    pub(crate) fn ended(mut self) {
        let now = self.registry.now();
        let tier = if self.arrived { None } else { self.began(self.head_took, now) };
        self.close(Outcome::Success, Outcome::Neutral, now);
        self.registry.tier_changed(self.index, tier, now);
        self.registry.meters().body(self.index, BodyEnd::Ended);
    }

    /// The body has failed, or stalled.
    pub(crate) fn failed(mut self) {
        let now = self.registry.now();
        self.remember(Cow::Borrowed("its body failed or stalled"), now);
        self.close(Outcome::Failure(Evidence::Blame), Outcome::Failure(Evidence::Member(self.number())), now);
        self.registry.meters().body(self.index, BodyEnd::Failed);
    }

    /// Keeps for people how it failed.
    fn remember(&self, why: Cow<'static, str>, now: Nanos) {
        let took = now.saturating_sub(self.started);
        self.registry.models[self.index].record().failed(Why::Other(why), took, now);
    }

    fn number(&self) -> usize {
        self.registry.models[self.index].number
    }

    /// It took so long to its first frame, or to its head if it has none. Says the tier if that has changed by it.
    fn began(&self, took: Nanos, now: Nanos) -> Option<Tier> {
        self.registry.models[self.index].began(self.model, took, now)
    }

    fn close(&mut self, model: Outcome, provider: Outcome, now: Nanos) {
        self.settled = true;
        let live = &self.registry.models[self.index];
        live.calls.mine().end();
        let (of_model, tier) = live.settle(self.model, model, None, self.head_took, now);
        let of_provider = self.registry.providers[live.provider].breaker.settle(self.provider, provider, None, now);
        self.registry.changed((self.index, of_model), (live.provider, of_provider.into()), now);
        self.registry.tier_changed(self.index, tier, now);
    }
}

impl Drop for Committed {
    fn drop(&mut self) {
        if self.gated {
            leave_gates(&self.registry, self.index);
        }
        if self.settled {
            return;
        }
        let now = self.registry.now();
        let live = &self.registry.models[self.index];
        let hung = self.waiting_since.is_some_and(|since| live.hung(self.started, since, now));
        let end = if self.entered {
            self.remember(PANICKED, now);
            self.close(Outcome::Failure(Evidence::Blame), Outcome::Neutral, now);
            BodyEnd::Panicked
        } else if hung {
            self.remember(HUNG, now);
            self.close(Outcome::Failure(Evidence::Blame), Outcome::Failure(Evidence::Member(self.number())), now);
            BodyEnd::Hung
        } else {
            self.close(Outcome::Neutral, Outcome::Neutral, now);
            BodyEnd::Dropped
        };
        self.registry.meters().body(self.index, end);
    }
}

impl Permit {
    /// The head of a success has come, and its body is still to come. A probe is decided here; an ordinary call will be
    /// when the body ends.
    pub(crate) fn commit(mut self, verdict: &Verdict, now: Nanos) -> Committed {
        self.settled = true;
        self.leave();
        let live = self.live();
        let took = now.saturating_sub(self.started);
        if live.breaker.is_live(self.model) {
            live.answered(self.started, true, now);
        }
        let began = self.first_byte.and_then(|took| live.began(self.model, took, now));
        let breaker = &self.live_provider().breaker;
        let of_provider = if breaker.is_live(self.provider) {
            breaker.settle(self.provider, self.provider_outcome(verdict, true), None, now)
        } else {
            None
        };
        let (model, (of_model, tier)) = match self.model {
            ordinary @ Ticket::Counted { .. } => (ordinary, (Changed::default(), None)),
            probe => {
                let changes = live.settle(probe, Outcome::Success, None, took, now);
                (live.breaker.follow_up(), changes)
            }
        };
        self.registry.changed((self.index, of_model), (live.provider, of_provider.into()), now);
        self.registry.tier_changed(self.index, tier.or(began), now);
        self.count_verdict(verdict, now);
        Committed {
            registry: self.registry.clone(),
            index: self.index,
            model,
            provider: breaker.follow_up(),
            started: self.started,
            head_took: took,
            waiting_since: None,
            gated: std::mem::take(&mut self.gated),
            arrived: self.first_byte.is_some(),
            entered: false,
            settled: false,
        }
    }
}
