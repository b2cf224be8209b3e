//! The table of statuses from end to end: is the next model asked, and whose breaker counts what.

use crate::support::{
    Reply, Request, Sent, answered_by, ask, broken, client, failures, hang, host, model, request, served, status,
    tried, two_models,
};
use http::{HeaderName, StatusCode};
use std::{io::ErrorKind, time::Duration};
use tokio::time::advance;
use tower::Layer;
use tower_failover::{
    Change, Charge, Cooldown, Credential, Executed, FailoverLayer, HttpAim, HttpClassify, Models, Next, Plan, Provider,
    Replay, Row, State, Vouches,
};

/// What the crate writes into the request.
#[derive(Debug, Clone, Copy)]
struct Ours {
    name: bool,
    credential: bool,
}

const BOTH: Ours = Ours { name: true, credential: true };
const NAME: Ours = Ours { name: true, credential: false };
const CREDENTIAL: Ours = Ours { name: false, credential: true };
const NEITHER: Ours = Ours { name: false, credential: false };

/// What came of a reply of the model `a`. Before it, `a` and its provider had one failure each: a credit brings that to
/// 0, a failure to 2. An opened breaker counts from 0.
#[derive(Debug, PartialEq)]
struct Effect {
    asks_b: bool,
    a: u32,
    one: u32,
    executed: Executed,
}

fn effect(asks_b: bool, a: u32, one: u32, executed: Executed) -> Effect {
    Effect { asks_b, a, one, executed }
}

fn models(ours: Ours) -> Models {
    let one = Provider::new("one").base_url("http://one.test");
    let one = if ours.credential { one.credential(Credential::bearer("key")) } else { one };
    let two = Provider::new("two").base_url("http://two.test");
    Models::builder()
        .provider(one)
        .provider(two)
        .model(model("a", "one"))
        .model(model("b", "two"))
        .build()
        .expect("models")
}

fn aim(ours: Ours) -> HttpAim {
    if ours.name { HttpAim::new().header(HeaderName::from_static("x-model")) } else { HttpAim::new() }
}

fn only_a() -> Request {
    let mut request = request();
    request.extensions_mut().insert(Plan::new().first("a").no_fallback());
    request
}

async fn effect_of(reply: Reply, ours: Ours, classify: HttpClassify, replay: Replay) -> Effect {
    let models = models(ours);
    let plain = FailoverLayer::http(models.clone()).aim(aim(ours)).build().expect("a layer");
    let _ = ask(&plain.layer(client(&Sent::default(), |_| status(502))), only_a()).await;
    assert_eq!(failures(&models), (1, 1));

    let sent = Sent::default();
    let layer = FailoverLayer::http(models.clone()).aim(aim(ours)).classify(classify).replay(replay);
    let service =
        layer.attempt_timeout(Duration::from_secs(1)).build().expect("a layer").layer(client(&sent, move |request| {
            match host(request) {
                "one.test" => reply.clone(),
                _ => status(200),
            }
        }));
    let outcome = ask(&service, request()).await;

    let hosts = sent.hosts();
    let asks_b = hosts.len() == 2;
    assert_eq!(hosts, ["one.test", "two.test"][..hosts.len()]);
    let served = served(&outcome);
    assert_eq!(served.attempts(), hosts.len());
    if asks_b {
        assert_eq!(answered_by(&outcome), Some("b"));
    }
    let snapshot = models.snapshot();
    for (name, breaker) in
        [("b", &snapshot.model("b").expect("b").breaker), ("two", &snapshot.provider("two").expect("two").breaker)]
    {
        assert_eq!((breaker.state, breaker.consecutive_failures), (State::Closed, 0), "{name}");
    }
    let (a, one) = failures(&models);
    Effect { asks_b, a, one, executed: tried(served, "a").executed }
}

async fn by_the_table(reply: Reply, ours: Ours) -> Effect {
    effect_of(reply, ours, HttpClassify::new(), Replay::Maybe).await
}

const NO: Executed = Executed::No;
const MAYBE: Executed = Executed::Maybe;
const YES: Executed = Executed::Yes;

/// Rows which do not ask what the crate wrote.
fn same_for_all() -> Vec<(Reply, Effect)> {
    let mut rows = Vec::new();
    for success in [200, 201, 204, 206, 301, 302, 304, 307] {
        rows.push((status(success), effect(false, 0, 0, YES)));
    }
    for callers_fault in [400, 405, 409, 410, 413, 415, 418, 422, 451] {
        rows.push((status(callers_fault), effect(false, 1, 0, NO)));
    }
    for models_fault in [408, 500, 501, 502, 503, 504, 507, 529, 599] {
        rows.push((status(models_fault), effect(true, 2, 2, MAYBE)));
    }
    for breaks in [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::UnexpectedEof, ErrorKind::Other] {
        rows.push((broken(breaks), effect(true, 2, 2, MAYBE)));
    }
    rows.push((hang(), effect(true, 2, 2, MAYBE)));
    for unreachable in [ErrorKind::ConnectionRefused, ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable] {
        rows.push((broken(unreachable), effect(true, 1, 2, NO)));
    }
    rows.push((broken(ErrorKind::AddrNotAvailable), effect(true, 1, 1, NO)));
    // The model cools down.
    rows.push((status(429), effect(true, 0, 1, NO)));
    rows
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_the_same_for_all() {
    for ours in [BOTH, NEITHER] {
        for (reply, expected) in same_for_all() {
            assert_eq!(by_the_table(reply.clone(), ours).await, expected, "{reply:?} {ours:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn rows_that_ask_what_the_crate_wrote() {
    let returned = || effect(false, 1, 0, NO);
    #[rustfmt::skip]
    let rows = [
        // The first 401 in a row says nothing yet.
        (401, BOTH,       effect(true, 1, 1, NO)),
        (401, CREDENTIAL, effect(true, 1, 1, NO)),
        (401, NAME,       returned()),
        (401, NEITHER,    returned()),
        // The provider cools down.
        (402, BOTH,       effect(true, 1, 0, NO)),
        (402, CREDENTIAL, effect(true, 1, 0, NO)),
        (402, NAME,       effect(false, 1, 1, NO)),
        (402, NEITHER,    effect(false, 1, 1, NO)),
        (403, BOTH,       effect(true, 1, 0, NO)),
        (403, CREDENTIAL, effect(true, 1, 0, NO)),
        (403, NAME,       effect(true, 1, 0, NO)),
        (403, NEITHER,    returned()),
    ];
    for (code, ours, expected) in rows {
        assert_eq!(by_the_table(status(code), ours).await, expected, "{code} {ours:?}");
    }
}

/// Law 21: a timeout, a reset or a 5xx is evidence against the provider; any other answer but 402 and 429 credits it.
#[tokio::test(start_paused = true)]
async fn law_21_a_404_blames_the_model_and_credits_its_provider() {
    for ours in [BOTH, NAME] {
        assert_eq!(by_the_table(status(404), ours).await, effect(true, 2, 0, NO), "{ours:?}");
    }
    for ours in [CREDENTIAL, NEITHER] {
        assert_eq!(by_the_table(status(404), ours).await, effect(false, 1, 0, NO), "{ours:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_18_only_what_was_not_executed_is_replayed_if_so_asked() {
    for (reply, by_default) in same_for_all() {
        let asks_b = by_default.asks_b && by_default.executed == NO;
        let expected = Effect { asks_b, ..by_default };
        let seen = effect_of(reply.clone(), BOTH, HttpClassify::new(), Replay::NotExecuted).await;
        assert_eq!(seen, expected, "{reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rows_can_be_changed() {
    let row = |status| Row::Status(StatusCode::from_u16(status).expect("a status"));
    let to = Change::default;
    let limited = || status(429).header("retry-after", "60");
    #[rustfmt::skip]
    let rows = [
        (status(404), NEITHER, row(404), to().next(Next::TryNext),         effect(true, 1, 0, NO)),
        (status(404), NEITHER, row(404), to().charge(Charge::Success),     effect(false, 0, 0, NO)),
        (status(500), BOTH,    row(500), to().next(Next::Return),          effect(false, 2, 2, MAYBE)),
        (status(500), BOTH,    row(500), to().charge(Charge::Nobody),      effect(true, 1, 0, MAYBE)),
        (status(500), BOTH,    row(500), to().charge(Charge::Provider),    effect(true, 1, 2, MAYBE)),
        (status(500), BOTH,    row(500), to().executed(NO),                effect(true, 2, 2, NO)),
        (status(500), BOTH,    row(502), to().next(Next::Return),          effect(true, 2, 2, MAYBE)),
        (status(400), BOTH,    row(400), to().vouches(Vouches::No),        effect(false, 1, 1, NO)),
        (status(200), BOTH,    row(200), to().next(Next::TryNext),         effect(true, 0, 0, YES)),
        (status(200), BOTH,    row(200), to().charge(Charge::Model),       effect(false, 2, 2, YES)),
        (status(200), BOTH,    row(500), to().charge(Charge::Model),       effect(false, 0, 0, YES)),
        (limited(),   BOTH,    row(429), to().cooldown(None),              effect(true, 1, 1, NO)),
        (limited(),   BOTH,    row(429), to().next(Next::Return),          effect(false, 0, 1, NO)),
        (status(401), BOTH,    row(401), to().charge(Charge::Provider),    effect(true, 1, 2, NO)),
        (hang(),      BOTH,    Row::TimedOut, to().charge(Charge::Provider), effect(true, 1, 2, MAYBE)),
        (hang(),      BOTH,    Row::TimedOut, to().next(Next::Return),     effect(false, 2, 2, MAYBE)),
        (broken(ErrorKind::ConnectionRefused), BOTH, Row::Connect, to().charge(Charge::Model), effect(true, 2, 2, NO)),
        (broken(ErrorKind::ConnectionRefused), BOTH, Row::Broken, to().charge(Charge::Model),  effect(true, 1, 2, NO)),
        (broken(ErrorKind::ConnectionReset), BOTH, Row::Broken, to().next(Next::Return), effect(false, 2, 2, MAYBE)),
        (broken(ErrorKind::ConnectionReset), BOTH, Row::Connect, to().next(Next::Return), effect(true, 2, 2, MAYBE)),
    ];
    for (reply, ours, row, change, expected) in rows {
        let classify = HttpClassify::new().change(row, change);
        let seen = effect_of(reply.clone(), ours, classify, Replay::Maybe).await;
        assert_eq!(seen, expected, "{reply:?}: {row:?} {change:?}");
    }

    // The later change of one row stands, and nothing of the earlier.
    let classify = HttpClassify::new()
        .change(row(500), to().next(Next::Return).charge(Charge::Nobody))
        .change(row(500), to().executed(NO));
    assert_eq!(effect_of(status(500), BOTH, classify, Replay::Maybe).await, effect(true, 2, 2, NO));
}

#[tokio::test(start_paused = true)]
async fn a_changed_cooldown_falls_on_whom_the_row_blames() {
    let cool = Change::default().cooldown(Some(Cooldown::For(Duration::from_secs(9))));
    let rows = [(cool, State::Open, State::Closed), (cool.charge(Charge::Provider), State::Closed, State::Open)];
    for (change, a, one) in rows {
        let models = models(BOTH);
        let classify = HttpClassify::new().change(Row::Status(StatusCode::BAD_GATEWAY), change);
        let layer = FailoverLayer::http(models.clone()).classify(classify).build().expect("a layer");
        let _ = ask(&layer.layer(client(&Sent::default(), |_| status(502))), only_a()).await;
        let snapshot = models.snapshot();
        let states =
            (snapshot.model("a").expect("a").breaker.state, snapshot.provider("one").expect("one").breaker.state);
        assert_eq!(states, (a, one), "{change:?}");
    }
}

/// Failures in a row of `a` and `one` after these replies of `a`.
async fn after(replies: &[u16]) -> (u32, u32) {
    let models = models(BOTH);
    let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
    for reply in replies.iter().copied() {
        let _ = ask(&layer.layer(client(&Sent::default(), move |_| status(reply))), only_a()).await;
    }
    failures(&models)
}

#[tokio::test(start_paused = true)]
async fn the_second_401_in_a_row_blames_the_provider() {
    let rows: [(&[u16], u32); 6] = [
        (&[401], 0),
        (&[401, 401], 1),
        (&[401, 401, 401], 2),
        (&[401, 200, 401], 0),
        (&[401, 403, 401], 0),
        (&[401, 401, 200], 0),
    ];
    for (replies, one) in rows {
        assert_eq!(after(replies).await, (0, one), "{replies:?}");
    }
}

/// The state of the provider `one` after it was half-open and these replies came.
async fn half_open_then(replies: impl IntoIterator<Item = Reply>, ours: Ours) -> State {
    let models = models(ours);
    models.cool_down_provider("one", Duration::from_secs(1)).expect("one");
    let layer = FailoverLayer::http(models.clone()).aim(aim(ours)).build().expect("a layer");
    advance(Duration::from_secs(2)).await;
    for reply in replies {
        let _ = ask(&layer.layer(client(&Sent::default(), move |_| reply.clone())), only_a()).await;
    }
    models.snapshot().provider("one").expect("one").breaker.state
}

#[tokio::test(start_paused = true)]
async fn law_21_any_answer_but_401_402_and_429_closes_a_half_open_provider() {
    for ours in [BOTH, NEITHER] {
        for code in [200, 302, 400, 403, 404, 408, 422, 500, 502, 503, 529] {
            assert_eq!(half_open_then([status(code)], ours).await, State::Closed, "{code} {ours:?}");
        }
        for code in [401, 429] {
            assert_eq!(half_open_then([status(code)], ours).await, State::HalfOpen, "{code} {ours:?}");
        }
        for no_answer in [hang(), broken(ErrorKind::ConnectionReset), broken(ErrorKind::ConnectionRefused)] {
            assert_eq!(half_open_then([no_answer.clone()], ours).await, State::Open, "{no_answer:?}");
        }
        let local = broken(ErrorKind::AddrNotAvailable);
        assert_eq!(half_open_then([local], ours).await, State::HalfOpen);
    }
    assert_eq!(half_open_then([status(402)], NEITHER).await, State::HalfOpen);
    assert_eq!(half_open_then([status(402)], BOTH).await, State::Open, "it wants to be paid");
    assert_eq!(half_open_then([status(401), status(401)], BOTH).await, State::Open, "the second in a row");
    assert_eq!(half_open_then([status(401), status(200)], BOTH).await, State::Closed);
}

/// "Ours: the crate wrote … the credential into the request."
#[tokio::test(start_paused = true)]
async fn a_credential_is_ours_where_the_request_brought_none() {
    let one = Provider::new("one").base_url("http://one.test");
    let one = one.credential_from_request().credential(Credential::bearer("ours"));
    let models = two_models_with(one);
    let layer = FailoverLayer::http(models).build().expect("a layer");
    let service = layer.layer(client(&Sent::default(), |request| match host(request) {
        "one.test" => status(401),
        _ => status(200),
    }));
    let mut with_own = request();
    with_own.headers_mut().insert("authorization", "Bearer theirs".parse().unwrap());
    assert_eq!(answered_by(&ask(&service, with_own).await), Some("a"), "the caller's own credential was refused");
    assert_eq!(answered_by(&ask(&service, request()).await), Some("b"), "the crate's credential was refused");
}

fn two_models_with(one: Provider) -> Models {
    let two = Provider::new("two").base_url("http://two.test");
    Models::builder()
        .provider(one)
        .provider(two)
        .model(model("a", "one"))
        .model(model("b", "two"))
        .build()
        .expect("models")
}

#[tokio::test(start_paused = true)]
async fn law_16_the_second_500_to_one_request_blames_nobody() {
    let rows = [([500, 500], (1, 0)), ([500, 502], (1, 1)), ([502, 500], (1, 1)), ([503, 503], (1, 1))];
    for ([a, b], expected) in rows {
        let models = two_models().build().expect("models");
        let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
        let service = layer.layer(client(&Sent::default(), move |request| match host(request) {
            "one.test" => status(a),
            _ => status(b),
        }));
        let outcome = ask(&service, request()).await;
        assert!(served(&outcome).all_failed());
        assert_eq!(outcome.expect("the last response").status().as_u16(), b);
        let snapshot = models.snapshot();
        let failures = |model| snapshot.model(model).expect("a model").breaker.consecutive_failures;
        assert_eq!((failures("a"), failures("b")), expected, "{a} {b}");
        assert_eq!(snapshot.provider("two").expect("two").breaker.consecutive_failures, expected.1, "{a} {b}");
    }
}
