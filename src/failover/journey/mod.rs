//! One request's way through its candidates: who is next, who was skipped and why, and how long is left.
//!
//! Knows no service and no request: it is told what happened and says what to do.

mod choose;
mod end;
mod pair;
mod timing;

use self::pair::Pair;
use super::{
    guards::{FailedAttempt, Payment},
    order::{self, Order},
    plan::{Candidates, Plan, PlanError},
    served::{Served, Tried},
    settings::Settings,
};
use crate::{
    classify::{Charge, Executed, Next, Verdict, Vouches, Why},
    lane::Lane,
    machine::{
        Nanos, nanos,
        plan::{Cursor, Set},
    },
    models::{LiveModel, Registry},
    outcome::SkipReason,
    permit::{Permit, Refused},
    trace::Trace,
};
use std::{sync::Arc, time::Duration};

/// How much sooner than its lease, which is the attempt timeout, a probe's attempt ends, as a share of it: a hundredth, and
/// at least 2 ms. A timer fires a little late, and whoever waits for it is to be heard before somebody else gets the place.
pub const PROBE_MARGIN: u32 = 100;

/// What whoever asks a journey for anything has to see to.
const UNDER_WAY: &str = "not over yet";

pub(crate) struct Journey {
    /// Until the end.
    served: Option<Served>,
    /// Of the whole request.
    trace: Trace,
    /// Whether degraded and suspect models come after the others.
    tiers: bool,
    candidates: Candidates,
    /// How many of the candidates may be looked at: one, if there is to be no fallback.
    within: usize,
    cursor: Cursor,
    began: Nanos,
    deadline: Nanos,
    max_cost: Option<f64>,
    attempts: u32,
    /// Whether the last attempt was a failure, and not the caller's own fault.
    failed: bool,
    /// Providers that were asked, and those that were blamed, timed out or reset.
    asked: Set,
    in_trouble: Set,
    /// Providers whose turn as a last resort has come or was refused; `None` until nobody else can be asked.
    last_resort: Option<Set>,
    /// Whether a model has failed in a way that may be the request's own fault.
    poisoned: bool,
    /// Whether a candidate is chosen to be asked beside another.
    beside: bool,
    /// The models that are being asked.
    under_way: Pair,
    /// What was paid for the attempt that is about to be made.
    payment: Option<Payment>,
    /// A failed attempt that has not been logged yet: what is tried next is not known before it is.
    unlogged: Option<Box<FailedAttempt>>,
}

/// A candidate that is to be asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    pub(crate) model: usize,
    pub(crate) at: Nanos,
    /// Which attempt it will be, counted from 1.
    number: u32,
    /// Whether it was skipped before.
    again: bool,
    last_resort: bool,
}

impl Journey {
    /// Puts one where it stays.
    pub(crate) fn begin(
        place: &mut Option<Self>,
        registry: Lane<Registry>,
        settings: &Settings,
        plan: Option<&Plan>,
        trace: &Trace,
        now: Nanos,
    ) -> Result<(), PlanError> {
        let order = plan.and_then(Plan::get_order).or(settings.order.as_ref());
        let falls_back = plan.is_none_or(Plan::falls_back);
        let special = match (plan, order) {
            (None, None) => None,
            _ => Some(Self::candidates(&registry, plan, order.filter(|_| falls_back), now)?),
        };
        let deadline = plan.and_then(Plan::get_deadline);
        let max_cost = plan.and_then(Plan::get_max_cost);
        let journey = place.insert(Self {
            trace: trace.clone(),
            tiers: settings.tiers && order.is_none(),
            within: if falls_back { registry.models.len() } else { 1 },
            candidates: Candidates::All(registry.models.len()),
            served: Some(Served::new(registry)),
            cursor: Cursor::default(),
            began: now,
            deadline: now.saturating_add(nanos(deadline.unwrap_or(settings.deadline))),
            max_cost,
            attempts: 0,
            failed: false,
            asked: Set::default(),
            in_trouble: Set::default(),
            last_resort: None,
            poisoned: false,
            beside: false,
            under_way: Pair::default(),
            payment: None,
            unlogged: None,
        });
        if let Some(candidates) = special {
            journey.within = journey.within.min(candidates.len());
            journey.candidates = candidates;
        }
        if trace.is_some() && journey.within > 0 {
            trace.begins(&journey.live(journey.candidates.get(0)).model, journey.registry().key());
        }
        Ok(())
    }

    /// Those of a request that has a plan or an order.
    #[cold]
    fn candidates(
        registry: &Lane<Registry>,
        plan: Option<&Plan>,
        order: Option<&Arc<dyn Order>>,
        now: Nanos,
    ) -> Result<Candidates, PlanError> {
        let candidates = match plan {
            None => Candidates::All(registry.models.len()),
            Some(plan) => plan.candidates(registry)?,
        };
        Ok(match order {
            None => candidates,
            Some(order) => order::ordered(&**order, &candidates, registry, now),
        })
    }

    #[inline]
    fn served(&self) -> &Served {
        self.served.as_ref().expect(UNDER_WAY)
    }

    #[inline]
    fn served_mut(&mut self) -> &mut Served {
        self.served.as_mut().expect(UNDER_WAY)
    }

    #[inline]
    pub(crate) fn registry(&self) -> &Lane<Registry> {
        self.served().registry()
    }

    #[inline]
    fn live(&self, model: usize) -> &LiveModel {
        &self.registry().models[model]
    }

    fn skip(&mut self, model: usize, why: SkipReason, now: Nanos) {
        self.served_mut().note_skipped(model, why, now);
    }

    /// What became of it before this choice no longer counts.
    fn forget_before(&mut self, choice: Choice) -> &mut Served {
        let served = self.served_mut();
        if choice.again {
            served.forget(choice.model);
        }
        served
    }

    /// Takes the permit for a candidate whose client is ready, if its breakers are not simply closed. A candidate rejected
    /// now is a skip.
    #[cold]
    pub(crate) fn admit(&mut self, choice: &Choice, settings: &Settings, now: Nanos) -> Option<Permit> {
        let registry = self.registry();
        let lease = self.timeout(choice.model, settings);
        let admitted = if choice.last_resort {
            Permit::admit_last_resort(registry, choice.model, now, lease)
        } else {
            Permit::admit(registry, choice.model, now, lease)
        };
        admitted.map_err(|refused| self.refused(*choice, refused, now)).ok()
    }

    fn refused(&mut self, choice: Choice, refused: Refused, now: Nanos) {
        self.payment = None;
        if !choice.last_resort {
            self.forget_before(choice).note_refused(choice.model, refused, now);
        }
    }

    /// The candidate's client did not become ready.
    pub(crate) fn not_ready(&mut self, choice: Choice, now: Nanos) {
        self.reject(choice, SkipReason::NotReady, now);
    }

    fn reject(&mut self, choice: Choice, why: SkipReason, now: Nanos) {
        self.payment = None;
        if !choice.last_resort {
            self.forget_before(choice).note_skipped(choice.model, why, now);
        }
    }

    /// The request cannot be aimed at this candidate. That is the caller's own error, unless others have been asked.
    pub(crate) fn not_aimed(&mut self, choice: Choice, now: Nanos) -> bool {
        if self.attempts > 0 {
            self.reject(choice, SkipReason::NotAimed, now);
        }
        self.attempts > 0
    }

    /// The request can no longer be sent.
    pub(crate) fn not_whole(&mut self, choice: Choice, now: Nanos) {
        self.cannot_fail_over();
        self.reject(choice, SkipReason::NotReady, now);
    }

    /// Another attempt has ended the request before this one, which had been made or not.
    pub(crate) fn lost(&mut self, choice: Choice, sent: bool, now: Nanos) {
        if !sent {
            self.payment = None;
            self.skip(choice.model, SkipReason::NotReady, now);
            return self.served_mut().swap_last();
        }
        self.under_way.remove(choice.model);
        let took = Duration::from_nanos(now.saturating_sub(choice.at));
        let executed = Executed::Maybe;
        let tried = Tried { why: Why::Lost, charge: Charge::Nobody, executed, took, last_resort: choice.last_resort };
        self.served_mut().note_tried(choice.model, tried, now);
        self.served_mut().swap_last();
    }

    /// An attempt has failed beside this one, which goes on. One that has not been made may never be: then somebody else
    /// is next.
    pub(crate) fn goes_on_beside(&mut self, choice: Choice) {
        if self.under_way.contains(choice.model) {
            self.name_next(choice.model);
        }
    }

    /// Logs the last failed attempt, if that has not been done, with who is tried next.
    fn name_next(&mut self, model: usize) {
        if let Some(failed) = &mut self.unlogged {
            failed.next(model);
            self.unlogged = None;
        }
    }

    /// The request is on its way.
    #[inline]
    pub(crate) fn sent(&mut self, choice: &Choice) {
        self.attempts += 1;
        self.under_way.push(choice.model);
        if let Some(payment) = &mut self.payment {
            payment.spend();
            self.payment = None;
        }
        self.asked.insert(self.live(choice.model).provider);
        self.name_next(choice.model);
    }

    /// The span of an attempt.
    #[inline]
    pub(crate) fn trace(&self, choice: &Choice) -> Trace {
        if !Trace::is_wanted() {
            return Trace::none();
        }
        let live = self.live(choice.model);
        Trace::attempt(&live.model, &self.registry().providers[live.provider].provider, choice.number)
    }

    /// Whether anybody has been asked.
    pub(crate) fn has_sent(&self) -> bool {
        self.attempts > 0
    }

    /// Whether a copy of the request may be needed after this attempt.
    pub(crate) fn may_send_again(choice: Choice, settings: &Settings) -> bool {
        choice.number == 1 || choice.number < settings.max_attempts
    }

    pub(crate) fn cannot_fail_over(&mut self) {
        self.served_mut().cannot_fail_over();
    }

    /// Hears a result, and says whether the next model is to be asked. `verdict` becomes what is to be settled.
    pub(crate) fn hear(
        &mut self,
        choice: &Choice,
        verdict: &mut Verdict,
        answered: bool,
        settings: &Settings,
        now: Nanos,
    ) -> bool {
        self.under_way.remove(choice.model);
        let provider = self.live(choice.model).provider;
        let answered = answered && !verdict.broke_off();
        let no_answer = !answered && matches!(verdict.charge, Charge::Model | Charge::ModelOrRequest);
        self.weigh(verdict, answered);
        if no_answer || matches!(verdict.charge, Charge::Provider | Charge::Credential) {
            self.in_trouble.insert(provider);
        }
        let took = Duration::from_nanos(now.saturating_sub(choice.at));
        self.failed = verdict.next == Next::TryNext;
        if self.failed {
            let registry = self.registry().clone();
            self.unlogged = Some(Box::new(FailedAttempt::new(registry, choice.model, verdict.why.clone(), took)));
        }
        let served = self.served.as_mut().expect(UNDER_WAY);
        if choice.again {
            served.forget(choice.model);
        }
        let (why, charge, executed) = (verdict.why.clone(), verdict.charge, verdict.executed);
        served.note_tried(choice.model, Tried { why, charge, executed, took, last_resort: choice.last_resort }, now);
        verdict.next == Next::TryNext && settings.replay.allows(verdict.executed)
    }

    /// After one model has failed in a way that may be the request's own fault, no other is blamed for the same.
    fn weigh(&mut self, verdict: &mut Verdict, answered: bool) {
        if verdict.charge != Charge::ModelOrRequest {
            return;
        }
        if self.poisoned {
            verdict.charge = Charge::Nobody;
            verdict.vouches = Some(if answered { Vouches::Back } else { Vouches::No });
        } else {
            verdict.charge = Charge::Model;
            self.poisoned = true;
        }
    }
}
