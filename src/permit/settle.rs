//! What comes of a permit: settling both breakers by one verdict, or by there being none.

use super::{Permit, leave_gates};
use crate::{
    classify::{Charge, Cooldown, Executed, Verdict, Vouches, Why},
    machine::{
        Nanos,
        breaker::{Changed, Evidence, Outcome, Ticket, Wait},
        cooldown::{MAX_COOLDOWN, MIN_COOLDOWN},
        score::Tier,
    },
    metrics::is_heard,
    outcome::{AttemptEnd, StatusKind},
};
use std::borrow::Cow;

/// What is remembered of calls whose end nobody has told.
pub(super) const PANICKED: Cow<'static, str> = Cow::Borrowed("it panicked");
pub(super) const HUNG: Cow<'static, str> = Cow::Borrowed("it hung, and nobody waited any longer");

/// What an outcome is for one of the two breakers.
type Settlement = (Outcome, Option<Wait>);

impl Permit {
    /// Settles both breakers. `answered` says whether the upstream gave an answer at all.
    #[inline]
    pub(crate) fn settle(&mut self, verdict: &Verdict, answered: bool, now: Nanos) {
        if !self.settle_closed(verdict, answered, now) {
            self.settle_otherwise(verdict, answered, now);
        }
    }

    pub(super) fn settle_otherwise(&mut self, verdict: &Verdict, answered: bool, now: Nanos) {
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
    pub(super) fn count(&self, end: AttemptEnd, status: StatusKind, executed: Executed, now: Nanos) {
        if self.begun {
            let (cost, took) = (self.live().model.get_cost(), now.saturating_sub(self.started));
            self.registry.meters().attempt(self.index, end, status, executed, cost, took);
        }
    }

    #[inline]
    pub(super) fn count_verdict(&self, verdict: &Verdict, now: Nanos) {
        if !is_heard() {
            return;
        }
        self.count(AttemptEnd::of(verdict), StatusKind::of(&verdict.why), verdict.executed, now);
    }

    /// The same of one without a result.
    pub(super) fn count_without(&self, end: AttemptEnd, now: Nanos) {
        self.count(end, StatusKind::None, Executed::Maybe, now);
    }

    /// Tells what has changed by a success while closed.
    #[cold]
    pub(super) fn judge(&self, generation: u64, of_provider: u64, tier: Option<Tier>, now: Nanos) {
        let took = now.saturating_sub(self.started);
        let model = self.live().judge(generation, took, now);
        let provider = self.live_provider().breaker.judge_slow_success(of_provider, 0, now);
        self.registry.changed((self.index, model.into()), (self.live().provider, provider.into()), now);
        self.registry.tier_changed(self.index, tier, now);
    }

    /// Keeps for people what failed or was limited.
    pub(super) fn remember(&self, verdict: &Verdict, of_provider: bool, now: Nanos) {
        let took = now.saturating_sub(self.started);
        if of_provider {
            self.live_provider().record().outcome(false, now);
            self.live_provider().record().failed(verdict.why.clone(), took, now);
        } else if verdict.cooldown.is_some() || matches!(verdict.charge, Charge::Model | Charge::ModelOrRequest) {
            self.live().record().failed(verdict.why.clone(), took, now);
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
            self.live().record().failed(Why::Lost, now.saturating_sub(self.started), now);
            self.close(model, provider, now);
            self.count_without(AttemptEnd::Lost, now);
        }
        self.lost = true;
    }

    /// What the result says of the provider.
    pub(super) fn provider_outcome(&self, verdict: &Verdict, answered: bool) -> Outcome {
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
    pub(super) fn limited(&self, wait: Wait, now: Nanos) {
        let provider = self.live_provider();
        if provider.limited(self.live().number, now) {
            let told = provider.breaker.cool_down(wait, now);
            self.registry.changed((self.index, Changed::default()), (self.live().provider, told), now);
        }
    }

    /// It is no longer among the calls under way.
    pub(super) fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            self.live().calls.leave(place);
        }
    }

    pub(super) fn close(&mut self, model: Settlement, provider: Settlement, now: Nanos) {
        self.settled = true;
        self.leave();
        if std::mem::take(&mut self.gated) {
            leave_gates(&self.registry, self.index);
        }
        let live = self.live();
        if self.begun {
            live.calls.mine().end();
        }
        let took = now.saturating_sub(self.started);
        let (of_model, tier) = live.settle(self.model, model.0, model.1, took, now);
        let of_provider = self.live_provider().breaker.settle_timed(self.provider, provider.0, provider.1, 0, now);
        self.registry.changed((self.index, of_model), (live.provider, of_provider), now);
        self.registry.tier_changed(self.index, tier, now);
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
        let failed = |why| self.live().record().failed(Why::Other(why), now.saturating_sub(self.started), now);
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
