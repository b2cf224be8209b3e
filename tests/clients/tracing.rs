//! reqwest-tracing above and below the failover stack, with the spans of the stack itself between.

use crate::{
    client::{BODY, plain},
    middleware::{Upstreams, failover, fakes},
};
use reqwest_middleware::ClientBuilder;
use reqwest_tracing::TracingMiddleware;
use std::{cell::RefCell, fmt, rc::Rc, sync::Once};
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, Layer, SubscriberExt},
    registry::LookupSpan,
};

/// What is known of a span that names a host.
#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    /// Whether it is one of an attempt, and not reqwest-tracing's.
    ours: bool,
    host: String,
    status: String,
    /// The place, among those seen, of the nearest one around it.
    within: Option<usize>,
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "server.address" => self.host = format!("{value:?}").trim_matches('"').to_owned(),
            "http.response.status_code" => self.status = format!("{value:?}"),
            _ => {}
        }
    }
}

type Spans = Rc<RefCell<Vec<(u64, Seen)>>>;

thread_local! {
    static SPANS: RefCell<Option<Spans>> = const { RefCell::new(None) };
}

/// Notes the spans of this thread. One for the whole process: tracing remembers for each callsite whether anybody
/// listens, and a subscriber of one thread may come too late for that.
struct Eye;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Eye {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let ours = attributes.metadata().target().starts_with("tower_failover");
        let mut seen = Seen { ours, ..Seen::default() };
        attributes.record(&mut seen);
        if seen.host.is_empty() {
            return;
        }
        let around: Vec<u64> =
            context.span_scope(id).into_iter().flatten().skip(1).map(|span| span.id().into_u64()).collect();
        with_spans(|spans| {
            seen.within = around.iter().find_map(|around| spans.iter().rposition(|(id, _)| id == around));
            spans.push((id.into_u64(), seen));
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        with_spans(|spans| {
            if let Some((_, seen)) = spans.iter_mut().rev().find(|(known, _)| *known == id.into_u64()) {
                values.record(seen);
            }
        });
    }
}

fn with_spans(f: impl FnOnce(&mut Vec<(u64, Seen)>)) {
    SPANS.with_borrow(|spans| spans.as_ref().map(|spans| f(&mut spans.borrow_mut())));
}

fn watch() -> Spans {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Eye)).unwrap());
    let spans = Spans::default();
    SPANS.set(Some(spans.clone()));
    spans
}

/// The spans of one request for which the first model answers 503 and the second 200.
async fn spans(above: bool, below: bool) -> Vec<Seen> {
    let spans = watch();
    let mut stack = ClientBuilder::new(plain());
    if above {
        stack = stack.with(TracingMiddleware::default());
    }
    stack = stack.with(failover(&fakes()));
    if below {
        stack = stack.with(TracingMiddleware::default());
    }
    let response = stack.with(Upstreams).build().post("http://models/images").body(BODY).send().await;
    assert_eq!(response.expect("an answer").status(), 200);
    SPANS.set(None);
    spans.take().into_iter().map(|(_, seen)| seen).collect()
}

fn theirs(host: &str, status: &str, within: Option<usize>) -> Seen {
    Seen { ours: false, host: host.to_owned(), status: status.to_owned(), within }
}

fn ours(host: &str, status: &str, within: Option<usize>) -> Seen {
    Seen { ours: true, ..theirs(host, status, within) }
}

#[tokio::test(start_paused = true)]
async fn below_it_traces_each_attempt_with_the_host_that_was_asked() {
    let first = [ours("one.test", "503", None), theirs("one.test", "503", Some(0))];
    let second = [ours("two.test", "200", None), theirs("two.test", "200", Some(2))];
    assert_eq!(spans(false, true).await, [first, second].concat());
}

#[tokio::test(start_paused = true)]
async fn above_it_traces_the_whole() {
    let whole = theirs("models", "200", None);
    assert_eq!(spans(true, false).await, [whole, ours("one.test", "503", Some(0)), ours("two.test", "200", Some(0))]);
}

#[tokio::test(start_paused = true)]
async fn above_and_below_the_attempts_are_within_the_whole() {
    let first = [ours("one.test", "503", Some(0)), theirs("one.test", "503", Some(1))];
    let second = [ours("two.test", "200", Some(0)), theirs("two.test", "200", Some(3))];
    let whole = [theirs("models", "200", None)];
    assert_eq!(spans(true, true).await, [&whole[..], &first, &second].concat());
}
