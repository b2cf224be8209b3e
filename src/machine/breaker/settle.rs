//! What results do.

use super::{Breaker, Cause, Locked, Outcome, Refusal, State, Ticket, Transition, Trip, Wait, word::Word};
use crate::{
    machine::Nanos,
    sync::{Ordering, lock},
};

impl Breaker {
    /// Settles a call. Each ticket is settled once, which its owner sees to.
    pub(crate) fn settle(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        cooldown: Option<Wait>,
        now: Nanos,
    ) -> Option<Transition> {
        match (ticket, outcome, cooldown) {
            (Ticket::Uncounted, ..) | (Ticket::Counted { .. }, Outcome::Neutral, None) => None,
            (Ticket::Counted { generation }, Outcome::Success, None) => {
                if self.word().generation == generation {
                    self.record_success(generation, now);
                }
                None
            }
            _ => self.settle_locked(ticket, outcome, cooldown, now),
        }
    }

    fn settle_locked(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        cooldown: Option<Wait>,
        now: Nanos,
    ) -> Option<Transition> {
        let mut locked = lock(&self.locked);
        let word = self.word();
        if ticket.generation() != Some(word.generation) {
            // A late result changes nothing. What its upstream asks for may lengthen a cooldown that is in force.
            if let (Some(Wait::For(wait)), true) = (cooldown, self.cooldown_until.load(Ordering::Relaxed) > now) {
                self.lengthen_cooldown(Some(locked.cooldown_end(Wait::For(wait), now)));
            }
            return None;
        }
        if let Ticket::Probe { id, .. } = ticket {
            if !locked.probes.remove(id) {
                return None;
            }
            self.publish_places(&locked);
        }
        let until = cooldown.map(|wait| locked.cooldown_end(wait, now));
        self.lengthen_cooldown(until);
        let transition = match (ticket, outcome) {
            (Ticket::Counted { .. }, _) => self.settle_counted(&mut locked, word, outcome, now),
            // Whatever else it brought, it was limited.
            (_, Outcome::Success) if until.is_some() => None,
            (Ticket::Probe { .. }, _) => self.settle_probe(&mut locked, outcome, now),
            (Ticket::LastResort { .. } | Ticket::Uncounted, _) => self.settle_last_resort(&mut locked, outcome, now),
        };
        if until.is_none() || self.word().state == State::Open {
            return transition;
        }
        // A limited probe has failed, and a closed breaker opens for as long as it was asked to.
        Some(self.enter(&mut locked, State::Open, Cause::Cooldown, now))
    }

    fn record_success(&self, generation: u64, now: Nanos) {
        self.run.reset(generation);
        for window in &self.windows {
            window.record(generation, now, true);
        }
    }

    fn settle_counted(&self, locked: &mut Locked, word: Word, outcome: Outcome, now: Nanos) -> Option<Transition> {
        match outcome {
            Outcome::Neutral => None,
            Outcome::Success => {
                self.record_success(word.generation, now);
                None
            }
            Outcome::Failure(evidence) => {
                let length = self.run.extend(word.generation);
                locked.witnesses.hear(length, evidence, now);
                for window in &self.windows {
                    window.record(word.generation, now, false);
                }
                let cause = self.broken_rule(locked, word.generation, length, now)?;
                Some(self.open(locked, cause, now))
            }
        }
    }

    fn settle_probe(&self, locked: &mut Locked, outcome: Outcome, now: Nanos) -> Option<Transition> {
        match outcome {
            Outcome::Neutral => return None,
            Outcome::Success => {
                locked.probes.succeeded();
                locked.growing.reset();
            }
            Outcome::Failure(_) => locked.probes.failed(),
        }
        let (successes, probes) = self.asked_of_probes(locked);
        if locked.probes.successes() >= successes {
            return Some(self.enter(locked, State::Closed, Cause::ProbesSucceeded, now));
        }
        if locked.probes.failures() > probes - successes {
            if matches!(locked.cause, Some(Cause::ProviderRecovered | Cause::LastResort)) {
                // It came before its wait had elapsed, so that the wait was not too short.
                locked.level = locked.level.saturating_sub(1);
            }
            return Some(self.open(locked, Cause::ProbesFailed, now));
        }
        self.publish_places(locked);
        None
    }

    /// Only a success says anything: a failure is no news, and must not lengthen the wait.
    fn settle_last_resort(&self, locked: &mut Locked, outcome: Outcome, now: Nanos) -> Option<Transition> {
        if outcome != Outcome::Success || matches!(self.waiting(now), Some(Refusal::Cooldown { .. })) {
            return None;
        }
        locked.growing.reset();
        // Nobody else could be asked: to let one call through at a time would spare nobody anything.
        Some(self.enter(locked, State::Closed, Cause::LastResort, now))
    }

    /// How many successes among how many probes close: one of one after a mere cooldown.
    fn asked_of_probes(&self, locked: &Locked) -> (u32, u32) {
        if locked.tripped { (self.config.successes_to_close, self.config.probes_to_judge) } else { (1, 1) }
    }

    /// The first rule that holds, if any.
    fn broken_rule(&self, locked: &Locked, generation: u64, run: u32, now: Nanos) -> Option<Cause> {
        let mut windows = self.windows.iter();
        let witnesses = &locked.witnesses;
        self.config.trip.iter().find_map(|rule| match *rule {
            Trip::Consecutive { failures, spanning } if witnesses.agree(self.members) => {
                witnesses.breaks(run, failures, spanning, now)
            }
            Trip::Consecutive { .. } => None,
            Trip::FailureRate { rate, minimum_calls, .. } => {
                let totals = windows.next()?.totals(generation, now);
                let calls = totals.calls();
                let holds = calls >= u64::from(minimum_calls) && totals.failures as f64 / calls as f64 >= rate;
                holds.then_some(Cause::FailureRate { failures: totals.failures, calls })
            }
        })
    }
}
