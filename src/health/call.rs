//! One call under way.

use super::endpoint::{Endpoint, Shared};
use crate::{
    classify::{Aimed, Charge, Classify, Ours},
    lane::Local,
    machine::Nanos,
};

/// A call under way, counted once: by its result, or when it is dropped.
pub(super) struct Call<K> {
    shared: Local<Shared<K>>,
    started: Nanos,
    /// Whether the upstream has been asked and has not answered: only then can it hang.
    waiting: bool,
    /// Whether our own call or poll is on the stack: set when a panic unwinds through it.
    entered: bool,
    ended: bool,
}

impl<K> Call<K> {
    pub(super) fn begin(shared: Local<Shared<K>>) -> Self {
        let started = shared.endpoint.now();
        shared.endpoint.started();
        Self { shared, started, waiting: false, entered: false, ended: false }
    }

    /// Runs our own call or poll. A panic that unwinds through it leaves its mark.
    pub(super) fn enter<T>(&mut self, f: impl FnOnce() -> T) -> T {
        self.entered = true;
        let result = f();
        self.entered = false;
        result
    }

    /// Says whether the upstream is being waited for.
    pub(super) fn waiting(&mut self, waiting: bool) {
        self.waiting = waiting;
    }

    /// Counts the result.
    pub(super) fn settle<Res, E>(mut self, result: Result<&Res, &E>)
    where
        K: Classify<Res, E>,
    {
        let aimed = Aimed { model: &self.endpoint().model, ours: Ours::default() };
        let verdict = self.shared.classify.classify(aimed, result);
        let success = match verdict.charge {
            Charge::Success => Some(true),
            Charge::Nobody => None,
            Charge::Model | Charge::ModelOrRequest | Charge::Provider | Charge::Credential => Some(false),
        };
        let now = self.endpoint().now();
        if result.is_ok() && !verdict.broke_off() {
            self.endpoint().answered(self.started, success == Some(true), now);
        }
        self.end(success, now);
    }

    fn end(&mut self, success: Option<bool>, now: Nanos) {
        self.ended = true;
        self.endpoint().ended(success, now);
    }

    fn endpoint(&self) -> &Endpoint {
        &self.shared.endpoint
    }
}

impl<K> Drop for Call<K> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let now = self.endpoint().now();
        let failed = self.entered || (self.waiting && self.endpoint().hung(self.started, now));
        self.end(failed.then_some(false), now);
    }
}
