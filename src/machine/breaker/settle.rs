//! What results do.

use super::{
    Breaker, Cause, Changed, Close, Counted, Locked, Outcome, Refusal, State, Ticket, Transition, Trip, Wait,
    word::Word,
};
use crate::{machine::Nanos, sync::Ordering};

/// A rule that holds.
struct Broken {
    cause: Cause,
    /// What its calls had to be slower than, if it is one on slow calls.
    slower_than: Option<Nanos>,
}

impl Breaker {
    /// Settles a call of which nobody asks how long it took, or until when it wants to be left alone. Each ticket is settled
    /// once, which its owner sees to.
    pub(crate) fn settle(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        cooldown: Option<Wait>,
        now: Nanos,
    ) -> Option<Transition> {
        self.settle_timed(ticket, outcome, cooldown, 0, now).transition
    }

    /// Settles a call that took so long, to its head or its commit.
    pub(crate) fn settle_timed(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        cooldown: Option<Wait>,
        took: Nanos,
        now: Nanos,
    ) -> Changed {
        match (ticket, outcome, cooldown) {
            (Ticket::Uncounted, ..) | (Ticket::Counted { .. }, Outcome::Neutral, None) => Changed::default(),
            (Ticket::Counted { generation }, Outcome::Success, None) if self.is_at(generation) => {
                let slow = self.succeeded(generation, took, now);
                if slow { self.judge_slow_success(generation, took, now).into() } else { Changed::default() }
            }
            (Ticket::Counted { .. }, Outcome::Success, None) => Changed::default(),
            _ => self.settle_locked(ticket, outcome, cooldown, took, now),
        }
    }

    fn settle_locked(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        cooldown: Option<Wait>,
        took: Nanos,
        now: Nanos,
    ) -> Changed {
        let mut locked = self.lock();
        let word = self.word();
        if ticket.generation() != Some(word.generation) {
            // A late result changes nothing. What its upstream asks for may lengthen a cooldown that is in force.
            let cooldown_until = match cooldown {
                Some(Wait::For(wait)) if self.rest().cooldown_until.load(Ordering::Relaxed) > now => {
                    self.lengthen_cooldown(Some(locked.cooldown_end(Wait::For(wait), now)))
                }
                _ => None,
            };
            return Changed { transition: None, cooldown_until };
        }
        if let Ticket::Probe { id, .. } = ticket {
            if !locked.probes.remove(id) {
                return Changed::default();
            }
            self.publish_places(&locked);
        }
        let until = cooldown.map(|wait| locked.cooldown_end(wait, now));
        let cooldown_until = self.lengthen_cooldown(until);
        let transition = match (ticket, outcome) {
            (Ticket::Counted { .. }, _) => self.settle_counted(&mut locked, word, outcome, took, now),
            // Whatever else it brought, it was limited.
            (_, Outcome::Success) if until.is_some() => None,
            (Ticket::Probe { .. }, _) => self.settle_probe(&mut locked, outcome, until.is_some(), took, now),
            (Ticket::LastResort { .. } | Ticket::Uncounted, _) => {
                self.settle_last_resort(&mut locked, outcome, took, now)
            }
        };
        if until.is_none() || self.word().state == State::Open {
            return Changed { transition, cooldown_until };
        }
        // A limited probe has failed, and a closed breaker opens for as long as it was asked to.
        let transition = Some(self.enter(&mut locked, State::Open, Cause::Cooldown, now));
        Changed { transition, cooldown_until }
    }

    /// Counts a success of the present generation, while closed. Whether it is a slow one to some rule, which is to
    /// [judge](Self::judge_slow_success) it then.
    #[inline]
    pub(crate) fn succeeded(&self, generation: u64, took: Nanos, now: Nanos) -> bool {
        self.run.reset(generation);
        !self.counters.is_empty() && self.record(generation, true, took, now)
    }

    #[inline]
    fn record(&self, generation: u64, success: bool, took: Nanos, now: Nanos) -> bool {
        match self.config.trip.counted_only(&self.counters) {
            Some(counter) => {
                counter.record(generation, success, took, now);
                counter.minds(success, took)
            }
            None => self.record_each(generation, success, took, now),
        }
    }

    #[inline(never)]
    fn record_each(&self, generation: u64, success: bool, took: Nanos, now: Nanos) -> bool {
        let mut minded = false;
        for counter in self.counted() {
            counter.record(generation, success, took, now);
            minded |= counter.minds(success, took);
        }
        minded
    }

    /// A slow success takes the lock only if a rule seems to hold.
    #[cold]
    pub(crate) fn judge_slow_success(&self, generation: u64, took: Nanos, now: Nanos) -> Option<Transition> {
        self.broken_rate(generation, true, took, now)?;
        let mut locked = self.lock();
        if self.word().generation != generation {
            return None;
        }
        let broken = self.broken_rate(generation, true, took, now)?;
        Some(self.trip(&mut locked, broken, now))
    }

    fn settle_counted(
        &self,
        locked: &mut Locked,
        word: Word,
        outcome: Outcome,
        took: Nanos,
        now: Nanos,
    ) -> Option<Transition> {
        let broken = match outcome {
            Outcome::Neutral => None,
            Outcome::Success => {
                self.succeeded(word.generation, took, now);
                self.broken_rate(word.generation, true, took, now)
            }
            Outcome::Failure(evidence) => {
                let length = self.run.extend(word.generation);
                locked.witnesses.hear(length, evidence, now);
                self.record(word.generation, false, took, now);
                self.broken_rule(locked, word.generation, length, took, now)
            }
        };
        broken.map(|broken| self.trip(locked, broken, now))
    }

    fn trip(&self, locked: &mut Locked, broken: Broken, now: Nanos) -> Transition {
        locked.slower_than = broken.slower_than;
        self.open(locked, broken.cause, now)
    }

    /// A limited one never closes, although among many it may be a failure that is allowed.
    fn settle_probe(
        &self,
        locked: &mut Locked,
        outcome: Outcome,
        limited: bool,
        took: Nanos,
        now: Nanos,
    ) -> Option<Transition> {
        match outcome {
            Outcome::Neutral => return None,
            Outcome::Success => {
                locked.growing.reset();
                if locked.is_too_slow(took) { locked.probes.failed() } else { locked.probes.succeeded() }
            }
            Outcome::Failure(_) => locked.probes.failed(),
        }
        let transition = match self.close(locked).decide(locked.probes.successes(), locked.probes.failures()) {
            Some(true) if limited => return None,
            Some(true) => self.enter(locked, State::Closed, Cause::ProbesSucceeded, now),
            Some(false) => {
                if matches!(locked.cause, Some(Cause::ProviderRecovered | Cause::LastResort)) {
                    // It came before its wait had elapsed, so that the wait was not too short.
                    locked.level = locked.level.saturating_sub(1);
                }
                self.open(locked, Cause::ProbesFailed, now)
            }
            None => {
                self.publish_places(locked);
                return None;
            }
        };
        Some(transition)
    }

    /// Only a success says anything: a failure is no news, and must not lengthen the wait. Nor is a slow one news to a
    /// breaker that slow calls have opened.
    fn settle_last_resort(&self, locked: &mut Locked, outcome: Outcome, took: Nanos, now: Nanos) -> Option<Transition> {
        if outcome != Outcome::Success || matches!(self.waiting(now), Some(Refusal::Cooldown { .. })) {
            return None;
        }
        locked.growing.reset();
        if locked.is_too_slow(took) {
            return None;
        }
        // Nobody else could be asked: to let one call through at a time would spare nobody anything.
        Some(self.enter(locked, State::Closed, Cause::LastResort, now))
    }

    /// What is asked of the probes: one of one after a mere cooldown.
    fn close(&self, locked: &Locked) -> Close {
        if locked.tripped { self.config.close } else { Close::Successes { successes: 1, probes: 1 } }
    }

    /// The first rule that holds after a failure, if any.
    fn broken_rule(&self, locked: &Locked, generation: u64, run: u32, took: Nanos, now: Nanos) -> Option<Broken> {
        let witnesses = &locked.witnesses;
        self.rules().find_map(|(rule, counter)| match (rule, counter) {
            (Trip::Consecutive { failures, spanning }, _) if witnesses.agree(self.members.load(Ordering::Relaxed)) => {
                witnesses.breaks(run, *failures, *spanning, now).map(|cause| Broken { cause, slower_than: None })
            }
            (rule, Some(counter)) => breaks(rule, counter, generation, false, took, now),
            (_, None) => None,
        })
    }

    /// The first rule on a rate that minds such a call, and holds.
    fn broken_rate(&self, generation: u64, success: bool, took: Nanos, now: Nanos) -> Option<Broken> {
        self.rules().find_map(|(rule, counter)| breaks(rule, counter?, generation, success, took, now))
    }

    /// The rules, those on a rate with what they count.
    fn rules(&self) -> impl Iterator<Item = (&Trip, Option<Counted<'_>>)> {
        let mut counters = self.counted();
        self.config.trip.iter().map(move |rule| (rule, if rule.is_rate() { counters.next() } else { None }))
    }
}

/// Whether a rule on a rate minds such a call, and holds.
fn breaks(
    rule: &Trip,
    counter: Counted<'_>,
    generation: u64,
    success: bool,
    took: Nanos,
    now: Nanos,
) -> Option<Broken> {
    let (Trip::FailureRate { rate, minimum_calls, .. }
    | Trip::FailureRateOfLast { rate, minimum_calls, .. }
    | Trip::SlowCallRate { rate, minimum_calls, .. }) = *rule
    else {
        return None;
    };
    if !counter.minds(success, took) {
        return None;
    }
    let totals = counter.totals(generation, now);
    let (bad, calls) = (totals.failures, totals.calls());
    if calls < u64::from(minimum_calls) || (bad as f64 / calls as f64) < rate {
        return None;
    }
    let slower_than = counter.slower_than();
    let cause = match slower_than {
        Some(_) => Cause::SlowCallRate { slow: bad, calls },
        None => Cause::FailureRate { failures: bad, calls },
    };
    Some(Broken { cause, slower_than })
}
