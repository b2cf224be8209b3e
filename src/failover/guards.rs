//! What has to be made good when a request ends at whatever point: a token that was not spent, a failure that was not
//! told.

use crate::{classify::Why, lane::Lane, log::say, models::Registry};
use std::time::Duration;

/// A token of a provider's budget, given back unless the attempt was made.
pub(super) struct Payment {
    registry: Lane<Registry>,
    provider: usize,
    spent: bool,
}

impl Payment {
    pub(super) fn new(registry: Lane<Registry>, provider: usize) -> Self {
        Self { registry, provider, spent: false }
    }

    /// The attempt is made.
    pub(super) fn spend(&mut self) {
        self.spent = true;
    }
}

impl Drop for Payment {
    fn drop(&mut self) {
        if !self.spent {
            self.registry.providers[self.provider].refund();
        }
    }
}

/// A failed attempt. One line of log when it is dropped, which is as soon as it is known what comes next, or that nothing
/// does: the request ends, or nobody waits for it any more.
pub(super) struct FailedAttempt {
    registry: Lane<Registry>,
    model: usize,
    why: Why,
    took: Duration,
    next: Option<usize>,
}

impl FailedAttempt {
    pub(super) fn new(registry: Lane<Registry>, model: usize, why: Why, took: Duration) -> Self {
        Self { registry, model, why, took, next: None }
    }

    /// This model is asked next.
    pub(super) fn next(&mut self, model: usize) {
        self.next = Some(model);
    }
}

impl Drop for FailedAttempt {
    fn drop(&mut self) {
        let name = |model: usize| self.registry.models[model].model.name();
        say(|| {
            tracing::warn!(
                model = name(self.model),
                provider = self.registry.models[self.model].model.provider(),
                key = self.registry.key(),
                why = %self.why,
                took_ms = u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX),
                next = self.next.map_or("nobody", name),
                "attempt failed",
            );
        });
    }
}
