//! Who is asked next: in order, beside another, after a wait, or as a last resort.

use super::{Choice, Journey, UNDER_WAY};
use crate::{
    failover::{
        guards::Payment,
        notes::Entry,
        settings::{Replay, Settings, WhenUnavailable},
    },
    machine::{
        Nanos, nanos,
        plan::{Found, Set},
        score::Tier,
    },
    outcome::SkipReason,
    permit::Permit,
};
use std::time::Duration;

/// So often a request that waits for somebody to be back looks whether somebody is sooner than was said: 100 ms.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

impl Journey {
    /// The next candidate that may be asked, if there is one and time for it.
    pub(crate) fn choose(&mut self, settings: &Settings, now: Nanos) -> Option<Choice> {
        if self.attempts >= settings.max_attempts || now >= self.deadline {
            return None;
        }
        if self.last_resort.is_none() {
            if let Some(choice) = self.choose_in_order(now) {
                return Some(choice);
            }
            if self.attempts > 0 {
                return None;
            }
            if let Some(choice) = self.choose_back_meanwhile(now) {
                return Some(choice);
            }
            self.last_resort = Some(Set::default());
        }
        self.choose_last_resort(now)
    }

    fn choose_in_order(&mut self, now: Nanos) -> Option<Choice> {
        loop {
            let position = self.next_not_refused(now)?;
            let model = self.candidates.get(position);
            if self.costs_too_much(model) && self.beside {
                self.cursor.put_back(position);
                return None;
            } else if self.costs_too_much(model) {
                self.skip(model, SkipReason::MaxCost, now);
            } else {
                match self.pay(model, now) {
                    Ok(payment) => {
                        self.payment = payment;
                        return Some(self.choice(model, now, false, false));
                    }
                    Err(_) if self.beside => {
                        self.cursor.put_back(position);
                        return None;
                    }
                    Err(why) => self.skip(model, why, now),
                }
            }
        }
    }

    /// The next candidate that would be admitted; those before it are skipped. One that a breaker refuses need not wait for
    /// those of better tiers.
    fn next_not_refused(&mut self, now: Nanos) -> Option<usize> {
        let (registry, notes) = self.served.as_mut().expect(UNDER_WAY).noting();
        let (candidates, tiers) = (&self.candidates, self.tiers);
        let look = |position, is_new| {
            let model = candidates.get(position);
            let live = &registry.models[model];
            let provider = &registry.providers[live.provider];
            let peeked = Permit::peek_breakers(live, provider, now);
            if peeked.is_ok() && is_new && tiers {
                match registry.tier_for_one(model, now) {
                    Tier::Healthy => {}
                    Tier::Degraded => return Found::Degraded,
                    Tier::Suspect => return Found::Suspect,
                }
            }
            let Err(refused) = peeked.and_then(|()| Permit::peek_gates(live, provider)) else { return Found::Comes };
            refused.goes_elsewhere(live, provider, now);
            notes.push(Entry::refused(model, refused, now));
            Found::Refuses
        };
        let trouble = Some(&self.in_trouble).filter(|trouble| !trouble.is_empty());
        let in_trouble = |position| {
            trouble.is_some_and(|trouble| trouble.contains(registry.models[candidates.get(position)].provider))
        };
        self.cursor.next(self.within, look, in_trouble)
    }

    /// The next candidate to be asked beside the one that is being asked. That is always paid for.
    pub(crate) fn choose_beside(&mut self, settings: &Settings, now: Nanos) -> Option<Choice> {
        if self.attempts >= settings.max_attempts || now >= self.deadline || self.last_resort.is_some() {
            return None;
        }
        self.beside = true;
        let choice = self.choose_in_order(now);
        self.beside = false;
        choice
    }

    /// From when on another candidate may be asked beside this one, if ever.
    pub(crate) fn hedge_at(&self, choice: Choice, settings: &Settings, probe: bool) -> Option<Nanos> {
        let hedge = if probe { settings.protect_probes.or(settings.hedge) } else { settings.hedge };
        let (hedge, true) = (hedge?, settings.replay == Replay::Maybe) else { return None };
        if choice.last_resort || choice.number >= settings.max_attempts {
            return None;
        }
        let rest = self.cursor.rest(self.within).map(|position| self.candidates.get(position));
        let next = { rest }.find(|next| Permit::peek(self.registry(), *next, choice.at).is_ok())?;
        let of = if probe { next } else { choice.model };
        hedge.delay(self.live(of), choice.at).map(|delay| choice.at.saturating_add(delay))
    }

    /// Somebody who was refused when the request came, and could be asked by now.
    fn choose_back_meanwhile(&self, now: Nanos) -> Option<Choice> {
        let back = |model| Permit::peek(self.registry(), model, now).is_ok() && !self.costs_too_much(model);
        let model = self.served().refused_but(back)?;
        Some(self.choice(model, now, true, false))
    }

    /// Nobody could be asked. When to look again, if waiting is wanted and somebody will be back in time.
    pub(crate) fn waits_until(&mut self, settings: &Settings, now: Nanos) -> Option<Nanos> {
        let WhenUnavailable::Wait(share) = settings.when_unavailable else { return None };
        if self.attempts > 0 || now >= self.deadline {
            return None;
        }
        let registry = self.served().registry().clone();
        self.served_mut().refused_again(now, |model| Permit::peek(&registry, model, now).err());
        let soonest = self.served().soonest(LOOK_AGAIN, |model| !self.costs_too_much(model))?;
        let patience = (self.deadline - self.began) as f64 * share;
        if soonest as f64 > self.began as f64 + patience {
            return None;
        }
        // From then on it is as if the request had just come.
        self.last_resort = None;
        Some(soonest.clamp(now.saturating_add(1), now.saturating_add(nanos(LOOK_AGAIN))))
    }

    /// Nobody can be asked. Before everyone is refused, one request a second for each provider goes to the model of
    /// it that has not been asked for longest, but never into a cooldown or a forced-open.
    fn choose_last_resort(&mut self, now: Nanos) -> Option<Choice> {
        for position in 0..self.within {
            let provider = self.live(self.candidates.get(position)).provider;
            let turned_to = self.last_resort.get_or_insert_with(Set::default);
            if turned_to.contains(provider) {
                continue;
            }
            turned_to.insert(provider);
            let Some(model) = self.last_resort_of(provider, now) else { continue };
            if self.registry().take_last_resort(provider, now) {
                self.live(model).asked_as_last_resort(now);
                return Some(self.choice(model, now, true, true));
            }
        }
        None
    }

    /// The open model of a provider that has not been asked for longest.
    pub(super) fn last_resort_of(&self, provider: usize, now: Nanos) -> Option<usize> {
        let candidates = (0..self.within).map(|position| self.candidates.get(position));
        let open = candidates.filter(|model| {
            self.live(*model).provider == provider
                && !self.costs_too_much(*model)
                && Permit::peek_last_resort(self.registry(), *model, now)
        });
        open.min_by_key(|model| self.live(*model).last_resort())
    }

    fn choice(&self, model: usize, at: Nanos, again: bool, last_resort: bool) -> Choice {
        Choice { model, at, number: self.attempts + 1, again, last_resort }
    }

    /// Free are the first failover, and the first attempt at each provider, unless it is a hedge.
    fn pay(&self, model: usize, now: Nanos) -> Result<Option<Payment>, SkipReason> {
        let provider = self.live(model).provider;
        let free = self.attempts < 2 || !self.asked.contains(provider);
        if free && !self.beside {
            return Ok(None);
        }
        let registry = self.registry();
        if registry.withdraw(provider, now) {
            Ok(Some(Payment::new(registry.clone(), provider)))
        } else {
            Err(SkipReason::Budget)
        }
    }

    /// Whether a call would cost more than the request may.
    #[inline]
    pub(super) fn costs_too_much(&self, model: usize) -> bool {
        self.max_cost.is_some_and(|most| self.would_cost(model) > most + most * 1e-9)
    }

    /// What the request will have cost with a call to this model, counting what it may have cost and may yet cost.
    /// Sums of decimal fractions are not exact, so that a hair above a limit is the limit.
    #[inline(never)]
    fn would_cost(&self, model: usize) -> f64 {
        let cost = |model: &usize| self.live(*model).model.get_cost();
        let under_way: f64 = self.under_way.iter().map(cost).sum();
        self.served().cost() + self.served().cost_at_risk() + under_way + cost(&model)
    }
}
