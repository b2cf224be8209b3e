//! Errors that say what they are: the table of codes.

use crate::script::{
    Answers,
    Does::{self, Bytes, Cut, Data, Wait},
    EVENTS, SECOND, World, read,
};
use std::time::Duration;
use tower_failover::{
    Begins, Change, Charge, Fate, HttpClassify, Next, Opening, ReadAheadLayer, Row, Why,
    defaults::{ERROR_BODY_TIMEOUT, READ_AHEAD},
};

const FINE: Answers = Answers(200, "", &[Data("from b")]);

fn layer() -> ReadAheadLayer<tower_failover::read_ahead::FirstEvent> {
    ReadAheadLayer::new().first_event().error_bodies()
}

fn error(code: &str) -> &'static str {
    format!(r#"{{"error": {{"message": "No.", "type": "some_error", "param": null, "code": {code}}}}}"#).leak()
}

fn of_type(name: &str) -> &'static str {
    format!(r#"{{"type": "error", "error": {{"type": "{name}", "message": "No."}}}}"#).leak()
}

/// What the error of a model came to: who answered, failures of model and provider, their cooldowns in seconds.
async fn outcome(world: &World) -> (String, [u32; 2], [Option<u64>; 2], Option<Why>) {
    let got = world.ask(layer()).await;
    let snapshot = world.models.snapshot();
    // Up to a tenth is jitter.
    let seconds = |cooldown: Option<Duration>| {
        cooldown.map(|cooldown| match cooldown.as_secs() {
            60..=66 => 60,
            seconds => seconds,
        })
    };
    let cooldowns = [snapshot.models[0].breaker.cooldown, snapshot.providers[0].breaker.cooldown].map(seconds);
    let why = got.served.candidates().find_map(|candidate| match candidate.fate {
        Fate::Tried(tried) => Some(tried.why.clone()),
        Fate::Skipped(_) => None,
    });
    let [model, provider, ..] = world.failures();
    (got.by, [model, provider], cooldowns, why)
}

#[tokio::test(start_paused = true)]
async fn law_16_a_code_says_better_than_a_status_what_went_wrong() {
    let none = [None, None];
    #[rustfmt::skip]
    let cases = [
        // status, body                                    who   failures  cooldowns of model and provider
        (400, error("\"context_length_exceeded\""),        "b", [0, 0], none),
        (400, error("\"content_policy_violation\""),       "a", [0, 0], none),
        (400, error("null"),                               "a", [0, 0], none),
        (400, "not even JSON",                             "a", [0, 0], none),
        (400, error("\"model_not_found\""),                "b", [1, 0], none),
        (404, error("\"model_not_found\""),                "b", [1, 0], none),
        (404, error("\"DeploymentNotFound\""),             "b", [1, 0], none),
        (404, of_type("invalid_request_error"),            "a", [0, 0], none),
        (404, of_type("not_found_error"),                  "b", [1, 0], none),
        (404, "",                                          "b", [1, 0], none),
        (429, error("\"rate_limit_exceeded\""),            "b", [0, 0], [Some(1), None]),
        (429, error("\"insufficient_quota\""),             "b", [0, 0], [None, Some(60)]),
        (429, of_type("insufficient_quota"),               "b", [0, 0], [None, Some(60)]),
        (429, error("42"),                                 "b", [0, 0], [Some(1), None]),
        (400, error("\"billing_hard_limit_reached\""),     "b", [0, 0], [None, Some(60)]),
        (401, of_type("invalid_request_error"),            "b", [0, 0], none),
        (403, error("\"server_error\""),                   "b", [1, 0], none),
        (529, of_type("overloaded_error"),                 "b", [1, 1], none),
    ];
    for (status, text, by, failures, cooldowns) in cases {
        let script: &'static [Does] = if text.is_empty() { &[] } else { vec![Data(text)].leak() };
        let world = World::new(Answers(status, "application/json", script), FINE);
        let (answered, mut recorded, cools, why) = outcome(&world).await;
        let at = format!("{status} {text}: {why:?}");
        assert_eq!(answered, by, "{at}");
        // What a failed model says of its provider is the status' matter; see the tests of the table.
        if failures[1] == 0 {
            recorded[1] = 0;
        }
        assert_eq!(recorded, failures, "{at}");
        assert_eq!(cools, cooldowns, "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn codes_come_in_streams_as_well() {
    let none = [None, None];
    let event = |text: &str| format!("event: error\ndata: {text}\n\n").leak() as &'static str;
    let cases = [
        (event(error("\"context_length_exceeded\"")), "b", [0, 0], none),
        (event(error("\"rate_limit_exceeded\"")), "b", [0, 0], [Some(1), None]),
        (event(of_type("rate_limit_error")), "b", [0, 0], [Some(1), None]),
        (event(error("\"insufficient_quota\"")), "b", [0, 0], [None, Some(60)]),
        (event(of_type("invalid_request_error")), "a", [0, 0], none),
        (event(of_type("overloaded_error")), "b", [1, 1], none),
        (event(r#"{"type": "error", "code": "server_error", "message": "No."}"#), "b", [1, 1], none),
        (event("oh"), "b", [1, 1], none),
    ];
    for (text, by, failures, cooldowns) in cases {
        let world = World::new(Answers(200, EVENTS, vec![Data(text)].leak()), FINE);
        let (answered, recorded, cools, why) = outcome(&world).await;
        assert_eq!((answered.as_str(), recorded, cools), (by, failures, cooldowns), "{text}: {why:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_names_the_code() {
    let why = |status, text: &'static str| async move {
        let content_type = if status == 200 { EVENTS } else { "" };
        outcome(&World::new(Answers(status, content_type, vec![Data(text)].leak()), FINE)).await.3.expect("tried")
    };
    assert_eq!(why(429, error("\"insufficient_quota\"")).await.to_string(), "status 429, insufficient_quota");
    assert_eq!(why(503, error("\"no_gpu\"")).await.to_string(), "status 503, no_gpu");
    assert_eq!(why(503, error("\"no gpu\\n[ERROR] all lost\"")).await, Why::Code(503, "some_error".into()));
    let long: &'static str = error(&format!("\"{}\"", "x".repeat(65)));
    assert_eq!(why(503, long).await, Why::Code(503, "some_error".into()));
    assert_eq!(why(503, "{}").await, Why::Status(503));
    assert_eq!(why(200, "data: {\"error\": \"oh\"}\n\n").await.to_string(), "error in the stream");
    let overloaded = why(200, "event: error\ndata: {\"error\": {\"type\": \"overloaded_error\"}}\n\n").await;
    assert_eq!(overloaded.to_string(), "error in the stream: overloaded_error");
}

#[tokio::test(start_paused = true)]
async fn the_table_of_codes_can_be_extended() {
    let refused = Answers(400, "", vec![Data(error("\"content_policy_violation\""))].leak());
    let too_long = Answers(400, "", vec![Data(error("\"context_length_exceeded\""))].leak());
    let in_stream = Answers(200, EVENTS, &[Data("data: {\"error\": {\"code\": \"no_gpu\"}}\n\n")]);
    let code = |code| Row::Code(code);
    let next = Change::default().next(Next::TryNext);
    let cases = [
        (refused, code("content_policy_violation"), next, "b", [0, 0]),
        (refused, code("content_policy"), next, "a", [0, 0]),
        (too_long, code("context_length_exceeded"), Change::default().next(Next::Return), "a", [0, 0]),
        (too_long, Row::Status(http::StatusCode::BAD_REQUEST), Change::default().charge(Charge::Model), "b", [0, 0]),
        (in_stream, code("no_gpu"), Change::default().charge(Charge::Nobody), "b", [0, 0]),
        (in_stream, Row::ErrorEvent, Change::default().charge(Charge::Nobody), "b", [0, 0]),
    ];
    for (answers, row, change, by, failures) in cases {
        let world = World::new(answers, FINE);
        let stack = world.stack().classify(HttpClassify::new().change(row, change));
        let got = world.ask_by(stack, layer()).await.expect("an answer");
        assert_eq!((got.by.as_str(), &world.failures()[..2]), (by, &failures[..]), "{row:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_its_body_an_error_is_what_its_status_says() {
    let world = World::new(Answers(400, "", vec![Data(error("\"context_length_exceeded\""))].leak()), FINE);
    assert_eq!(world.ask(ReadAheadLayer::new().first_event()).await.by, "a");
}

#[tokio::test(start_paused = true)]
async fn an_error_body_has_to_do_as_far_as_it_has_come() {
    const HELD: &[Does] = &[Data(r#"{"error": {"code": "#), Wait(999), Data(r#""context_length_exceeded"}}"#)];
    for (script, begun, after) in [
        (HELD, r#"{"error": {"code": "#, ERROR_BODY_TIMEOUT),
        (&[Data("{"), Cut], "{", Duration::ZERO),
        (&[Data("{"), Wait(2), Data("}"), Wait(2), Data("!"), Wait(2), Data("?")], "{}!", SECOND * 5),
    ] {
        let world = World::new(Answers(400, "", script), FINE);
        let got = world.ask(layer()).await;
        assert_eq!((got.by.as_str(), got.after), ("a", after), "{script:?}");
        let opening = got.parts.extensions.get::<Opening>().expect("read ahead");
        assert_eq!(opening.begins, Begins::ErrorBody(begun.into()));
        let whole: String =
            script.iter().filter_map(|does| if let Data(text) = does { Some(*text) } else { None }).collect();
        if script.last() != Some(&Cut) && script.len() > 3 {
            assert_eq!(read(got.body).await, (whole, false));
        }
    }
    // Of a long one, its first 64 KiB.
    const LONG: &[Does] = &[Bytes(READ_AHEAD - 1), Bytes(2), Bytes(10_000), Wait(9), Bytes(1)];
    let world = World::new(Answers(400, "", LONG), FINE);
    let got = world.ask(layer()).await;
    assert_eq!(got.after, Duration::ZERO);
    let opening = got.parts.extensions.get::<Opening>().expect("read ahead");
    assert!(matches!(&opening.begins, Begins::ErrorBody(body) if body.len() == READ_AHEAD + 1), "{opening:?}");
    assert_eq!(read(got.body).await.0.len(), READ_AHEAD + 1 + 10_001, "given back whole");
}
