//! What changes in a registry, what follows from it for others, and telling it: all of it once everything is settled and
//! no lock is held.

use super::{
    Registry,
    events::{Event, EventKind, Operation},
};
use crate::{
    log::say,
    machine::{
        Nanos,
        breaker::{Breaker, Cause, Changed, Command, State, Transition, Wait},
        budget::Withdrawal,
        score::Tier,
    },
};
use smallvec::SmallVec;
use std::{sync::Arc, time::Duration};

/// The number of a model or a provider, and how its breaker changed.
pub(crate) type Change = (usize, Changed);

/// Whose breaker, by number.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    Model(usize),
    Provider(usize),
}

/// In the order in which they are told.
pub(super) type Changes = SmallVec<[(Who, Changed); 4]>;

impl Registry {
    /// Does what an operator commands.
    pub(super) fn operate(&self, who: Who, operation: Operation) {
        let now = self.now();
        let of = |breaker: &Breaker| match operation {
            Operation::Command(command) => breaker.command(command, now).into(),
            Operation::CoolDown(wait) => breaker.cool_down(Wait::For(wait), now),
        };
        let resets = operation == Operation::Command(Command::Reset);
        let (changes, tier) = match who {
            Who::Model(index) => {
                let live = &self.models[index];
                let changes = self.follow((index, of(&live.breaker)), (live.provider, Changed::default()), now);
                let tier = if resets { live.score.reset().map(|tier| (index, tier)) } else { None };
                if resets {
                    live.end_return();
                }
                (changes, tier)
            }
            Who::Provider(index) => {
                let live = &self.providers[index];
                let changes = self.follow((0, Changed::default()), (index, of(&live.breaker)), now);
                if resets {
                    live.end_return();
                }
                (changes, None)
            }
        };
        self.tell(now, || {
            let (model, provider) = self.names(who);
            EventKind::Command { model, provider, operation }
        });
        self.tell_changes(&changes, now);
        if let Some((index, tier)) = tier {
            self.tell_tier(index, tier, now);
        }
        self.count_changes(&changes);
        self.log_changes(&changes, now);
    }

    /// Follows up what has changed of a model's breaker and its provider's, and tells it.
    pub(crate) fn changed(&self, model: Change, provider: Change, now: Nanos) {
        if model.1.is_nothing() && provider.1.is_nothing() {
            return;
        }
        let changes = self.follow(model, provider, now);
        // A subscriber of the log may command what it likes, which has then happened after all of these.
        self.tell_changes(&changes, now);
        self.count_changes(&changes);
        self.log_changes(&changes, now);
    }

    /// What changes for others: a provider that has closed makes its open models half-open.
    fn follow(&self, model: Change, provider: Change, now: Nanos) -> Changes {
        let mut changes = Changes::new();
        changes.push((Who::Model(model.0), model.1));
        changes.push((Who::Provider(provider.0), provider.1));
        let (of_model, of_provider) = (model.1.transition, provider.1.transition);
        if let Some(transition) = &of_provider {
            self.providers[provider.0].changed(transition, now);
        }
        let mut hastened = SmallVec::<[(Who, Changed); 4]>::new();
        if of_provider.is_some_and(|transition| transition.to == State::Closed) {
            let hasten = |model: &usize| Some((*model, self.models[*model].breaker.hasten(now)?));
            let models = self.catalogue.models_of(provider.0).iter().filter_map(hasten);
            hastened.extend(models.map(|(index, transition)| (Who::Model(index), Some(transition).into())));
        }
        let by_last_resort =
            |change: Option<Transition>| change.is_some_and(|transition| transition.cause == Cause::LastResort);
        // All were down, and one is back: the others may be too, and need not sit out their waits. Of a provider that is
        // back, be it with a failure of its model, it is the other providers.
        let hasten = |breaker: &Breaker| breaker.hasten_because(Cause::LastResort, now);
        if by_last_resort(of_model) || by_last_resort(of_provider) {
            let providers = self.providers.iter().enumerate().filter(|(index, _)| *index != provider.0);
            let providers = providers.filter_map(|(index, live)| Some((index, hasten(&live.breaker)?)));
            changes.extend(providers.map(|(index, transition)| (Who::Provider(index), Some(transition).into())));
        }
        if by_last_resort(of_model) {
            let models = self.models.iter().enumerate();
            let models = models.filter_map(|(index, live)| Some((index, hasten(&live.breaker)?)));
            hastened.extend(models.map(|(index, transition)| (Who::Model(index), Some(transition).into())));
        }
        changes.extend(hastened);
        for (who, changed) in &changes {
            if let Some(transition) = &changed.transition {
                match who {
                    Who::Model(index) => self.models[*index].record().changed(transition, now),
                    Who::Provider(index) => self.providers[*index].record().changed(transition, now),
                }
            }
        }
        changes
    }

    /// Takes a token of a provider's budget, if there is one.
    pub(crate) fn withdraw(&self, provider: usize, now: Nanos) -> bool {
        let withdrawal = self.providers[provider].withdraw(self.calls(provider), now);
        if withdrawal == Withdrawal::Exhausted {
            let provider = &self.providers[provider].provider;
            self.tell(now, || EventKind::BudgetExhausted { provider: provider.shared_name() });
        }
        withdrawal == Withdrawal::Granted
    }

    /// Says that a model has come into another tier.
    #[inline]
    pub(crate) fn tier_changed(&self, index: usize, tier: Option<Tier>, now: Nanos) {
        if let Some(tier) = tier {
            self.say_tier(index, tier, now);
        }
    }

    #[cold]
    fn say_tier(&self, index: usize, tier: Tier, now: Nanos) {
        self.tell_tier(index, tier, now);
        let model = &self.models[index].model;
        let (name, provider, key) = (model.name(), model.provider(), self.key());
        say(|| tracing::info!(model = name, provider, key, tier = %tier, "tier changed"));
    }

    /// Tells that another configuration is in force, whose keys it is for as well.
    pub(super) fn applied(&self) {
        let at = Duration::from_nanos(self.now());
        self.common.events.tell(|| Event { at, key: None, kind: EventKind::Applied });
    }

    fn tell(&self, now: Nanos, kind: impl FnOnce() -> EventKind) {
        self.common.events.tell(|| Event { at: Duration::from_nanos(now), key: self.key.clone(), kind: kind() });
    }

    fn tell_tier(&self, index: usize, tier: Tier, now: Nanos) {
        self.tell(now, || {
            let live = &self.models[index];
            let provider = self.providers[live.provider].provider.shared_name();
            EventKind::Tier { model: live.model.shared_name(), provider, tier }
        });
    }

    fn tell_changes(&self, changes: &Changes, now: Nanos) {
        let after = |at: Nanos| Duration::from_nanos(at.saturating_sub(now));
        for (who, changed) in changes {
            if let Some(until) = changed.cooldown_until {
                self.tell(now, || {
                    let (model, provider) = self.names(*who);
                    EventKind::Cooldown { model, provider, wait: after(until) }
                });
            }
            if let Some(Transition { from, to, cause, retry_at }) = changed.transition {
                self.tell(now, || {
                    let (model, provider) = self.names(*who);
                    EventKind::Transition { model, provider, from, to, cause, retry_in: retry_at.map(after) }
                });
            }
        }
    }

    fn names(&self, who: Who) -> (Option<Arc<str>>, Arc<str>) {
        let provider = |index: usize| self.providers[index].provider.shared_name();
        match who {
            Who::Model(index) => {
                let live = &self.models[index];
                (Some(live.model.shared_name()), provider(live.provider))
            }
            Who::Provider(index) => (None, provider(index)),
        }
    }

    fn log_changes(&self, changes: &Changes, now: Nanos) {
        for (who, changed) in changes {
            let Some(transition) = &changed.transition else { continue };
            match who {
                Who::Model(index) => {
                    let model = &self.models[*index].model;
                    self.log(Some(model.name()), model.provider(), transition, now);
                }
                Who::Provider(index) => self.log(None, self.providers[*index].provider.name(), transition, now),
            }
        }
    }

    /// One line; without a model it is the provider's own breaker.
    fn log(&self, model: Option<&str>, provider: &str, transition: &Transition, now: Nanos) {
        let retry_in_ms = transition.retry_at.map(|at| at.saturating_sub(now) / 1_000_000);
        say(|| {
            tracing::info!(
                model,
                provider,
                key = self.key(),
                from = %transition.from,
                to = %transition.to,
                cause = %transition.cause,
                retry_in_ms,
                "breaker changed",
            );
        });
    }
}
