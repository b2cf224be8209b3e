//! Spans: one for a request, one for each attempt inside of it, and the client's own inside of those.

use crate::{
    logs::install,
    script::{Act, Fault, scripted_panic},
    world::{Req, answer, ms, secs, setup, trips_after, world},
};
use futures::FutureExt;
use std::{cell::RefCell, collections::BTreeMap, panic::AssertUnwindSafe, rc::Rc};
use tower::{Layer as _, service_fn};
use tower_failover::{Attempt, FailoverLayer, Hedge, Plan};
use tracing::{Instrument, Span, info_span, span};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

/// One span.
#[derive(Debug, Clone, Default)]
struct Seen {
    name: &'static str,
    parent: Option<u64>,
    fields: BTreeMap<&'static str, String>,
    /// How deep it is in at the moment.
    depth: u32,
    closed: bool,
}

#[derive(Debug, Default)]
struct Sight {
    spans: BTreeMap<u64, Seen>,
    order: Vec<u64>,
    panics: bool,
}

thread_local! {
    static SIGHT: RefCell<Option<Rc<RefCell<Sight>>>> = const { RefCell::new(None) };
}

/// Sees each span of a thread that watches.
pub(crate) struct Eye;

impl tracing::field::Visit for Seen {
    fn record_str(&mut self, field: &tracing::field::Field, value: &str) {
        self.fields.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.fields.insert(field.name(), format!("{value:?}"));
    }
}

impl Eye {
    fn see(id: &span::Id, see: impl FnOnce(&mut Seen)) {
        let Some(sight) = SIGHT.with_borrow(Clone::clone) else { return };
        // The number of a span that has closed is another's later: those are told apart by when they came.
        let number = sight.borrow().order.iter().rev().position(|other| *other == id.into_u64());
        if let Some(number) = number {
            let mut sight = sight.borrow_mut();
            let index = (sight.order.len() - 1 - number) as u64;
            sight.spans.get_mut(&index).map(see);
        }
        if sight.borrow().panics {
            scripted_panic();
        }
    }
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Eye {
    fn on_new_span(&self, attributes: &span::Attributes<'_>, id: &span::Id, context: Context<'_, S>) {
        let Some(sight) = SIGHT.with_borrow(Clone::clone) else { return };
        let parent = context.span(id).and_then(|span| span.parent()).map(|parent| parent.id().into_u64());
        {
            let mut sight = sight.borrow_mut();
            let parent = parent.and_then(|id| sight.order.iter().rposition(|other| *other == id));
            let mut seen =
                Seen { name: attributes.metadata().name(), parent: parent.map(|at| at as u64), ..Seen::default() };
            attributes.record(&mut seen);
            let index = sight.order.len() as u64;
            sight.order.push(id.into_u64());
            sight.spans.insert(index, seen);
        }
        if sight.borrow().panics {
            scripted_panic();
        }
    }

    fn on_record(&self, id: &span::Id, record: &span::Record<'_>, _: Context<'_, S>) {
        Self::see(id, |seen| record.record(seen));
    }

    fn on_enter(&self, id: &span::Id, _: Context<'_, S>) {
        Self::see(id, |seen| seen.depth += 1);
    }

    fn on_exit(&self, id: &span::Id, _: Context<'_, S>) {
        Self::see(id, |seen| seen.depth -= 1);
    }

    fn on_close(&self, id: span::Id, _: Context<'_, S>) {
        Self::see(&id, |seen| seen.closed = true);
    }
}

struct Watching(Rc<RefCell<Sight>>);

impl Drop for Watching {
    fn drop(&mut self) {
        SIGHT.set(None);
    }
}

fn watch(panics: bool) -> Watching {
    install();
    let sight = Rc::new(RefCell::new(Sight { panics, ..Sight::default() }));
    SIGHT.set(Some(Rc::clone(&sight)));
    Watching(sight)
}

impl Watching {
    fn spans(&self) -> Vec<Seen> {
        self.0.borrow().spans.values().cloned().collect()
    }

    fn named(&self, name: &str) -> Vec<Seen> {
        self.spans().into_iter().filter(|seen| seen.name == name).collect()
    }

    #[track_caller]
    fn assert_all_closed(&self) {
        assert!(self.spans().iter().all(|seen| seen.closed && seen.depth == 0), "{:#?}", self.spans());
    }
}

impl Seen {
    fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }
}

#[tokio::test(start_paused = true)]
async fn a_trace_shows_the_failover() {
    let world = setup("a1@a b1@b c1@c")
        .models(|model| if model.name() == "b1" { model.upstream_name("b-one") } else { model })
        .layer(|layer| layer.attempt_timeout(secs(2)))
        .build();
    world.script.play("a1", [Act::Hang]);
    let watching = watch(false);
    answer(world.ask().await);
    watching.assert_all_closed();
    let requests = watching.named("failover");
    let attempts = watching.named("attempt");
    assert_eq!((requests.len(), attempts.len(), watching.spans().len()), (1, 2, 3));
    let fields = ["gen_ai.request.model", "gen_ai.response.model", "outcome", "attempts", "error.type"];
    let told = fields.map(|field| requests[0].get(field));
    assert_eq!(told, [Some("a1"), Some("b-one"), Some("answered"), Some("2"), None]);
    assert!(attempts.iter().all(|seen| seen.parent == Some(0)), "{attempts:?}");
    let fields =
        ["model", "gen_ai.request.model", "gen_ai.provider.name", "outcome", "error.type", "http.request.resend_count"];
    let told = attempts.iter().map(|seen| fields.map(|field| seen.get(field))).collect::<Vec<_>>();
    assert_eq!(told[0], [Some("a1"), Some("a1"), Some("a"), Some("timed_out"), Some("timed_out"), None]);
    assert_eq!(told[1], [Some("b1"), Some("b-one"), Some("b"), Some("success"), None, Some("1")]);
}

#[tokio::test(start_paused = true)]
async fn what_the_client_does_is_inside_of_its_attempt_and_nothing_else_is() {
    let world = setup("a1@a b1@b").build();
    let watching = watch(false);
    let client = service_fn(|attempt: Attempt<Req>| {
        let name = attempt.model().name().to_owned();
        drop(info_span!("call"));
        async move {
            drop(info_span!("poll"));
            tokio::time::sleep(secs(1)).instrument(info_span!("wait")).await;
            drop(info_span!("poll"));
            if name == "a1" { Err(Fault::Reset) } else { Ok(()) }
        }
    });
    let outer = info_span!("outer");
    let engine = outer.in_scope(|| FailoverLayer::builder(world.models.clone()).build().unwrap().layer(client));
    let mut call = Box::pin(outer.in_scope(|| tower::Service::call(&mut engine.clone(), Req::default())));
    assert!(futures::poll!(&mut call).is_pending());
    assert!(Span::current().is_none() && watching.spans().iter().all(|seen| seen.depth == 0));
    assert!(call.await.is_ok());
    drop((outer, engine));
    watching.assert_all_closed();
    let spans = watching.spans();
    assert_eq!(watching.named("failover")[0].parent, Some(0), "where it was called");
    for (attempt, seen) in spans.iter().enumerate().filter(|(_, seen)| seen.name == "attempt") {
        let of_client = spans.iter().filter(|seen| seen.parent == Some(attempt as u64)).map(|seen| seen.name);
        assert_eq!(of_client.collect::<Vec<_>>(), ["call", "poll", "wait", "poll"], "{seen:?}");
    }
    assert_eq!(spans.len(), 1 + 1 + 2 * 5);
}

#[tokio::test(start_paused = true)]
async fn two_attempts_at_once_are_two_spans_side_by_side() {
    let world = setup("a1@a b1@b").layer(|layer| layer.hedge(Hedge::after(secs(1)))).build();
    world.script.play("a1", [Act::Hang]);
    world.script.play("b1", [Act::Answer(200, secs(1))]);
    let watching = watch(false);
    let mut call = world.begin();
    assert!(tokio::time::timeout(ms(1_500), &mut call).await.is_err());
    let attempts = watching.named("attempt");
    assert!(attempts.len() == 2 && attempts.iter().all(|seen| !seen.closed && seen.parent == Some(0)));
    answer(call.await);
    watching.assert_all_closed();
    let outcomes =
        watching.named("attempt").iter().map(|seen| seen.get("outcome").map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(outcomes, [Some("lost".to_owned()), Some("success".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn spans_end_with_the_request_however_it_ends() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    let watching = watch(false);
    world.script.play("a1", [Act::Hang, Act::PanicInPoll, Act::PanicInCall]);
    let mut call = world.begin();
    assert!(futures::poll!(&mut call).is_pending());
    drop(call);
    for _ in 0..2 {
        world.command("a1", tower_failover::Command::Reset);
        assert!(AssertUnwindSafe(world.ask_of("a1")).catch_unwind().await.is_err());
    }
    world.command("a1", tower_failover::Command::ForceOpen);
    assert!(world.ask_of("a1").await.is_err());
    assert!(world.send(Plan::new().models(["c1"])).await.is_err());
    drop(world.begin());
    watching.assert_all_closed();
    let mut call = world.begin_with(Plan::new().models(["b1"]));
    assert!(futures::poll!(&mut call).is_ready());
    watching.assert_all_closed();
    drop(call);
    let ends =
        watching.named("failover").iter().map(|seen| seen.get("outcome").unwrap_or("-").to_owned()).collect::<Vec<_>>();
    assert_eq!(ends, ["dropped", "dropped", "dropped", "unavailable", "bad_plan", "-", "answered"]);
    assert_eq!(watching.named("attempt").len(), 4);
    assert_eq!(watching.named("failover")[6].get("gen_ai.request.model"), Some("b1"));
}

#[tokio::test(start_paused = true)]
async fn law_08_a_subscriber_that_panics_at_every_span_breaks_nothing() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [Act::Answer(503, ms(10))]);
    let watching = watch(true);
    assert_eq!(answer(world.ask().await).0, 200);
    drop(watching);
    assert_eq!((world.in_flight(), world.script.called()), (0, vec!["a1".to_owned(), "b1".to_owned()]));
}
