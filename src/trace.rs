//! Spans, which nothing depends on: one for a request of the engine, and one for each of its attempts.

use crate::{
    classify::{Verdict, Why},
    log::say,
    model::{Model, Provider},
    outcome::{AttemptEnd, RequestEnd},
};
use std::sync::Arc;
use tracing::{Dispatch, Level, Span, Value, debug_span, field::Empty, level_filters::LevelFilter, span::Id};

/// A span, or none if nobody is interested. A subscriber that panics breaks nothing; see [`say`].
#[derive(Debug, Clone)]
pub(crate) struct Trace(Option<Arc<Held>>);

/// A span that ends when it is dropped.
#[derive(Debug)]
struct Held(Span);

/// For as long as this lives, whatever happens is inside the span.
#[must_use]
pub(crate) struct Entered<'a>(&'a Trace);

impl Trace {
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Whether somebody may be interested.
    #[inline]
    pub(crate) fn is_wanted() -> bool {
        LevelFilter::current() >= Level::DEBUG
    }

    #[inline]
    fn new(make: impl FnOnce() -> Span) -> Self {
        let mut trace = Self::none();
        if Self::is_wanted() {
            say(|| {
                let span = make();
                trace.0 = (!span.is_disabled()).then(|| Arc::new(Held(span)));
            });
        }
        trace
    }

    pub(crate) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// A request, whose future has been made.
    #[inline]
    pub(crate) fn request() -> Self {
        Self::new(|| {
            debug_span!(
                "failover",
                otel.kind = "internal",
                otel.status_code = Empty,
                gen_ai.request.model = Empty,
                gen_ai.response.model = Empty,
                error.type = Empty,
                key = Empty,
                outcome = Empty,
                attempts = Empty,
            )
        })
    }

    /// The request has been polled: it is asked of this model first.
    pub(crate) fn begins(&self, first: &Model, key: Option<&str>) {
        self.record("gen_ai.request.model", first.get_upstream_name());
        if let Some(key) = key {
            self.record("key", key);
        }
    }

    /// It ends, after so many attempts, with the response of this model.
    pub(crate) fn ends(&self, end: RequestEnd, model: Option<&Model>, attempts: u32) {
        if self.0.is_none() {
            return;
        }
        self.record("outcome", end.word());
        self.record("attempts", attempts);
        if let Some(model) = model {
            self.record("gen_ai.response.model", model.get_upstream_name());
        }
        if end != RequestEnd::Answered {
            self.failed(end.word());
        }
    }

    /// An attempt, the how manieth of its request, counted from 1.
    #[inline]
    pub(crate) fn attempt(model: &Model, provider: &Provider, number: u32) -> Self {
        Self::new(|| {
            debug_span!(
                "attempt",
                otel.kind = "client",
                otel.status_code = Empty,
                gen_ai.request.model = model.get_upstream_name(),
                gen_ai.provider.name = provider.name(),
                server.address = address(provider),
                http.request.resend_count = (number > 1).then_some(number - 1),
                http.response.status_code = Empty,
                error.type = Empty,
                model = model.name(),
                outcome = Empty,
            )
        })
    }

    /// The attempt has come to this.
    #[inline]
    pub(crate) fn came_to(&self, verdict: &Verdict) {
        if self.0.is_some() {
            self.record_end(verdict);
        }
    }

    #[cold]
    fn record_end(&self, verdict: &Verdict) {
        let end = AttemptEnd::of(verdict);
        self.record("outcome", end.word());
        let status = match verdict.why {
            Why::Status(status) | Why::Code(status, _) => Some(status),
            _ => None,
        };
        if let Some(status) = status {
            self.record("http.response.status_code", status);
        }
        match (status, end) {
            (Some(status @ 400..), _) => self.failed(status.to_string().as_str()),
            (_, AttemptEnd::Success | AttemptEnd::Neutral) => {}
            (_, end) => self.failed(end.word()),
        }
    }

    /// Another attempt was faster.
    pub(crate) fn lost(&self) {
        self.record("outcome", AttemptEnd::Lost.word());
    }

    fn failed(&self, of_type: &str) {
        self.record("error.type", of_type);
        self.record("otel.status_code", "error");
    }

    fn record(&self, field: &'static str, value: impl Value) {
        if let Some(held) = &self.0 {
            say(|| {
                held.0.record(field, value);
            });
        }
    }

    #[inline]
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.tell(Dispatch::enter);
        Entered(self)
    }

    #[inline]
    fn tell(&self, what: fn(&Dispatch, &Id)) {
        if let Some(held) = &self.0 {
            held.0.with_subscriber(|(id, subscriber)| say(|| what(subscriber, id)));
        }
    }
}

impl Drop for Entered<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.tell(Dispatch::exit);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        say(|| drop(std::mem::replace(&mut self.0, Span::none())));
    }
}

#[cfg(feature = "http")]
fn address(provider: &Provider) -> Option<&str> {
    provider.get_base_url().and_then(http::Uri::host)
}

#[cfg(not(feature = "http"))]
fn address(_: &Provider) -> Option<&str> {
    None
}
