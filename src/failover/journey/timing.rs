//! How long one attempt of a request may take, and who could be asked after it.

use super::{Choice, Journey, PROBE_MARGIN};
use crate::{
    failover::settings::Settings,
    machine::{Nanos, plan},
    permit::Permit,
};
use std::time::Duration;

impl Journey {
    pub(super) fn timeout(&self, model: usize, settings: &Settings) -> Duration {
        self.live(model).model.get_attempt_timeout().unwrap_or(settings.attempt_timeout)
    }

    /// When waiting for a candidate's client must end. It leaves a reserve if somebody else could be asked instead, as
    /// this one has not been asked yet.
    pub(crate) fn readiness_ends(&self, choice: Choice, settings: &Settings) -> Nanos {
        let last = || !self.has_next(choice, false, settings);
        plan::attempt_ends(choice.at, self.deadline, self.timeout(choice.model, settings), last)
    }

    /// When an attempt must end. `again` says whether the request could be sent once more after that.
    pub(crate) fn attempt_ends(
        &self,
        choice: Choice,
        settings: &Settings,
        again: impl FnOnce() -> bool,
        probe: bool,
    ) -> Nanos {
        let timeout = self.timeout(choice.model, settings);
        let margin = if probe { (timeout / PROBE_MARGIN).max(Duration::from_millis(2)) } else { Duration::ZERO };
        let last = || !again() || !self.has_next(choice, true, settings);
        plan::attempt_ends(choice.at, self.deadline, timeout.saturating_sub(margin), last)
    }

    /// Whether somebody else could be asked after this candidate, which was `sent` the request or not.
    fn has_next(&self, choice: Choice, sent: bool, settings: &Settings) -> bool {
        if choice.number - u32::from(!sent) >= settings.max_attempts {
            return false;
        }
        let model = |position| self.candidates.get(position);
        match &self.last_resort {
            None => self.cursor.rest(self.within).map(model).any(|next| self.may_follow(choice, sent, next)),
            Some(turned_to) => (0..self.within)
                .map(|position| self.live(model(position)).provider)
                .any(|provider| !turned_to.contains(provider) && self.last_resort_of(provider, choice.at).is_some()),
        }
    }

    fn may_follow(&self, choice: Choice, sent: bool, next: usize) -> bool {
        let registry = self.registry();
        let provider = self.live(next).provider;
        let (attempts, asked) = if sent {
            (choice.number, self.live(choice.model).provider == provider)
        } else {
            (choice.number - 1, false)
        };
        let free = attempts < 2 || !(asked || self.asked.contains(provider));
        Permit::peek(registry, next, choice.at).is_ok()
            && !self.costs_too_much(next)
            && (free || registry.providers[provider].budget_left(registry.calls(provider), choice.at) >= 1.0)
    }
}
