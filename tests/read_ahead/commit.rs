//! When an attempt is over: laws 3, 18, 19 and 20 where bodies are read ahead.

use crate::script::{
    Answers,
    Does::{self, Bytes, Cut, Data, Wait},
    EVENTS, Got, SECOND, World, read,
};
use http::Request;
use http_body_util::{BodyExt, Full};
use std::time::Duration;
use tokio::time::{advance, timeout};
use tower::{Layer, ServiceExt};
use tower_failover::{
    BreakerConfig, FailoverLayer, Fate, Model, ReadAheadLayer, Replay, State, Trip, Why,
    defaults::{IDLE_GAP, READ_AHEAD},
    read_ahead::Says,
};

const FINE: Answers = Answers(200, EVENTS, &[Data("data: from b\n\n")]);

/// Asks with a layer that commits at the first byte, or at the first event.
async fn ask(world: &World, first_event: bool) -> Got {
    if first_event {
        world.ask(ReadAheadLayer::new().first_event()).await
    } else {
        world.ask(ReadAheadLayer::new().first_byte()).await
    }
}

const ERROR: Does = Data("event: error\ndata: {}\n\n");
const OBJECT: Does = Data("data: {\"error\": {\"message\": \"out of memory\"}}\n\n");
const CONTENT: Does = Data("data: {\"error\": null, \"token\": \"a\"}\n\n");

const BYTE: bool = false;
const EVENT: bool = true;

#[tokio::test(start_paused = true)]
async fn law_19_until_the_commit_a_failure_fails_over_and_after_it_nothing_does() {
    let cases: &[(bool, &'static [_], &str, [u32; 4], bool)] = &[
        // commits at   what `a` does after its 200, who answers, failures of a, one, b, two, and whether the body breaks
        (BYTE, &[Data("a")], "a", [0, 0, 0, 0], false),
        (BYTE, &[Cut], "b", [1, 1, 0, 0], false),
        (BYTE, &[Wait(9), Cut], "b", [1, 1, 0, 0], false),
        (BYTE, &[Data(""), Data(""), Cut], "b", [1, 1, 0, 0], false),
        (BYTE, &[Data("")], "b", [1, 1, 0, 0], false),
        (BYTE, &[Wait(1)], "b", [1, 1, 0, 0], false),
        (BYTE, &[Wait(999), Data("a")], "b", [1, 1, 0, 0], false),
        (BYTE, &[Wait(59), Data("a")], "a", [0, 0, 0, 0], false),
        (BYTE, &[Data("a"), Cut], "a", [1, 1, 0, 0], true),
        (BYTE, &[Data("a"), Wait(999)], "a", [1, 1, 0, 0], true),
        (BYTE, &[Data("event: error\ndata: {}\n\n")], "a", [0, 0, 0, 0], false),
        (EVENT, &[Data("data: a\n\n")], "a", [0, 0, 0, 0], false),
        (EVENT, &[Data("data: a\n"), Cut], "b", [1, 1, 0, 0], false),
        (EVENT, &[Data("data: a\n")], "b", [1, 1, 0, 0], false),
        (EVENT, &[Data("da"), Wait(1), Data("ta: a"), Data("\n\n"), Cut], "a", [1, 1, 0, 0], true),
        (EVENT, &[Data(": alive\n\n"), Wait(59), Data(": alive\n\n"), Wait(59), Cut], "b", [1, 1, 0, 0], false),
        (EVENT, &[Data("event: ping\ndata: {}\n\n"), Cut], "b", [1, 1, 0, 0], false),
        (EVENT, &[Data("event: er"), Data("ror\ndata: {}\n"), Data("\n")], "b", [1, 1, 0, 0], false),
        (EVENT, &[ERROR], "b", [1, 1, 0, 0], false),
        (EVENT, &[OBJECT], "b", [1, 1, 0, 0], false),
        (EVENT, &[Data(": alive\n\n"), Wait(9), ERROR], "b", [1, 1, 0, 0], false),
        (EVENT, &[Data(": alive\n\n"), Wait(999), CONTENT], "b", [1, 1, 0, 0], false),
        (EVENT, &[CONTENT, ERROR], "a", [0, 0, 0, 0], false),
        (EVENT, &[CONTENT, OBJECT, Cut], "a", [1, 1, 0, 0], true),
    ];
    for (commit, script, by, failures, breaks) in cases {
        let world = World::new(Answers(200, EVENTS, script), FINE);
        let got = ask(&world, *commit).await;
        let at = format!("{script:?}: {}", got.served);
        assert_eq!((got.by.as_str(), got.served.all_failed()), (*by, false), "{at}");
        assert_eq!(world.asked(), if *by == "a" { "a" } else { "ab" }, "{at}");
        let (text, broke) = read(got.body).await;
        let sent = script.iter().filter_map(|does| if let Data(text) = does { Some(*text) } else { None });
        let sent = if *by == "a" { sent.collect() } else { "data: from b\n\n".to_owned() };
        assert_eq!((text, broke), (sent, *breaks), "{at}");
        assert_eq!(world.failures(), *failures, "{at}");
        assert!(world.models.snapshot().models.iter().all(|model| model.in_flight == 0), "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_stream_of_events_is_committed_to_at_its_first_byte() {
    for content_type in ["", "application/json", "text/plain"] {
        let world = World::new(Answers(200, content_type, &[Data("{\"error\": 1}"), Cut]), FINE);
        assert_eq!(ask(&world, EVENT).await.by, "a", "{content_type}");
    }
    let world = World::new(Answers(200, "Text/Event-Stream", &[Data("data: {\"error\": 1}\n\n")]), FINE);
    assert_eq!(ask(&world, EVENT).await.by, "b");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_body_is_committed_to_at_its_head() {
    for status in [200, 204, 304] {
        let world = World::new(Answers(status, EVENTS, &[]), FINE);
        assert_eq!(ask(&world, EVENT).await.by, "a", "{status}");
        assert_eq!(world.failures(), [0; 4]);
    }
    // Nothing is read ahead of what is neither a success nor an error.
    let world = World::new(Answers(302, EVENTS, &[Wait(999)]), FINE);
    let got = ask(&world, EVENT).await;
    assert_eq!((got.by.as_str(), got.after), ("a", Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_says_nothing_within_its_bytes_is_committed_to() {
    const KEPT: &[Does] = &[Bytes(READ_AHEAD - 1), Bytes(1), Wait(9), Cut];
    let world = World::new(Answers(200, EVENTS, KEPT), FINE);
    let got = ask(&world, EVENT).await;
    assert_eq!((got.by.as_str(), got.after), ("a", Duration::ZERO));
    // And not before: one byte less, and the cut is still the attempt's.
    let world = World::new(Answers(200, EVENTS, &[Bytes(READ_AHEAD - 64 - 1), Bytes(1), Wait(9), Cut]), FINE);
    assert_eq!(ask(&world, EVENT).await.by, "b");
    // Many small frames are bounded as well.
    let world = World::new(Answers(200, EVENTS, &[Bytes(1), Bytes(1), Wait(9), Cut]), FINE);
    let layer = ReadAheadLayer::new().first_event().bytes(128).expect("valid");
    assert_eq!(world.ask(layer).await.by, "a");
}

#[tokio::test(start_paused = true)]
async fn what_the_caller_says_an_event_is_counts() {
    let says = |event: &tower_failover::read_ahead::Event<'_>| match event.data {
        "role" => Says::Nothing,
        "oh" => Says::Error("oh".into()),
        _ => Says::Content,
    };
    let layer = ReadAheadLayer::new().first_event_that(says);
    let world = World::new(Answers(200, EVENTS, &[Data("data: role\n\ndata: oh\n\n")]), FINE);
    assert_eq!(world.ask(layer.clone()).await.by, "b");
    let world = World::new(Answers(200, EVENTS, &[Data("data: role\n\ndata: {\"error\": 1}\n\n")]), FINE);
    assert_eq!(world.ask(layer).await.by, "a");
}

/// How long it takes until `b` has answered, and why `a` did not.
async fn diverted(world: &World, layer: ReadAheadLayer<tower_failover::read_ahead::FirstByte>) -> (Duration, Why) {
    let got = world.ask(layer).await;
    assert_eq!(got.by, "b");
    let first = got.served.candidates().next().expect("a");
    let Fate::Tried(tried) = first.fate else { panic!("{:?}", first.fate) };
    (got.after, tried.why.clone())
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_with_its_idle_gap_its_own_timeout_or_the_attempts() {
    let stalls = Answers(200, "", &[Data(""), Wait(999), Data("late")]);
    let layer = || ReadAheadLayer::new().first_byte();
    let after = |time| (time, Why::TimedOut);
    assert_eq!(diverted(&World::new(stalls, FINE), layer()).await, after(IDLE_GAP));
    let short = layer().idle_gap(SECOND).expect("valid");
    assert_eq!(diverted(&World::new(stalls, FINE), short).await, after(SECOND));

    let trickles = Answers(200, "", &[Data(""), Wait(1), Data(""), Wait(1), Data(""), Wait(1), Data("late")]);
    let gaps = layer().idle_gap(SECOND * 2).expect("valid");
    assert_eq!(World::new(trickles, FINE).ask(gaps.clone()).await.by, "a", "no gap is too long");
    let whole = gaps.timeout(SECOND * 5 / 2).expect("valid");
    assert_eq!(diverted(&World::new(trickles, FINE), whole).await, after(SECOND * 5 / 2));

    let patient = |model: Model| model.attempt_timeout(SECOND * 2);
    assert_eq!(diverted(&World::of(trickles, FINE, patient), layer()).await, after(SECOND * 2));
}

#[tokio::test(start_paused = true)]
async fn law_19_nothing_is_read_before_it_is_asked_for_once_the_answer_is_there() {
    let world = World::new(Answers(200, "", &[Data("a"), Data("b"), Wait(1), Data("c"), Wait(1), Cut]), FINE);
    let mut body = ask(&world, BYTE).await.body;
    advance(SECOND * 1000).await;
    assert_eq!(world.failures(), [0; 4], "the cut has not been seen: nobody has read so far");
    for expected in ["a", "b"] {
        let frame = timeout(Duration::ZERO, body.frame()).await.expect("there at once").expect("a frame");
        assert_eq!(frame.expect("data").into_data().expect("data"), expected);
    }
    assert!(timeout(SECOND / 2, body.frame()).await.is_err(), "what comes later has not been read ahead");
    let frame = timeout(SECOND, body.frame()).await.expect("in time").expect("a frame");
    assert_eq!(frame.expect("data").into_data().expect("data"), "c");
}

#[tokio::test(start_paused = true)]
async fn law_18_what_broke_off_may_have_been_executed() {
    for script in [&[Cut][..], &[Wait(999)], &[Data("event: error\ndata: {}\n\n")]] {
        let world = World::of(Answers(200, EVENTS, script), FINE, |model| model.cost(1.0));
        let careful = world.stack().replay(Replay::NotExecuted);
        let got = world.ask_by(careful, ReadAheadLayer::new().first_event()).await.expect("as it came");
        assert_eq!((world.asked().as_str(), got.served.all_failed()), ("a", true), "{script:?}");
        assert_eq!((got.served.cost(), got.served.cost_at_risk()), (0.0, 1.0), "{script:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_all_fail_the_last_answer_comes_as_it_came() {
    let script = &[Data("data: "), Data("a"), Cut];
    let world = World::new(Answers(200, EVENTS, &[Cut]), Answers(200, EVENTS, script));
    let got = ask(&world, EVENT).await;
    assert!(got.served.all_failed());
    assert_eq!(read(got.body).await, ("data: a".to_owned(), true));
    assert_eq!(world.failures(), [1, 1, 1, 1], "once each");
}

#[tokio::test(start_paused = true)]
async fn law_03_a_probe_is_decided_at_the_commit() {
    let config = |model: Model| {
        let breaker = BreakerConfig::default().trip([Trip::consecutive(1, Duration::ZERO)]).close_after(1, 1);
        model.breaker(breaker.open_wait(SECOND, SECOND))
    };
    for (script, state) in [
        (&[Wait(5), Data("a"), Wait(5), Cut][..], State::Closed),
        (&[Wait(5), Cut], State::Open),
        (&[Wait(999)], State::Open),
    ] {
        let world = World::of(Answers(503, "", &[]), FINE, config);
        ask(&world, BYTE).await;
        advance(SECOND * 2).await;
        world.set(Answers(200, "", script));
        let breaker = || world.models.snapshot().model("a").expect("known").breaker.clone();
        let asking = {
            let world = world.clone();
            tokio::spawn(async move {
                let alone = world.stack().protect_probes(false);
                world.ask_by(alone, ReadAheadLayer::new().first_byte()).await.expect("an answer")
            })
        };
        tokio::time::sleep(SECOND * 4).await;
        assert_eq!((breaker().state, breaker().probes), (State::HalfOpen, 1), "{script:?}: its head decides nothing");
        let got = asking.await.expect("no panic");
        assert_eq!((breaker().state, breaker().probes), (state, 0), "{script:?}");
        if state == State::Closed {
            assert_eq!(got.by, "a");
            assert!(read(got.body).await.1);
            // One failure in a row: an ordinary one, by which this breaker opens.
            assert_eq!(breaker().state, State::Open);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn law_04_a_call_dropped_while_its_body_had_not_begun_was_hanging() {
    let world = World::new(Answers(200, "", &[Wait(999)]), FINE);
    assert!(timeout(SECOND * 2, ask(&world, BYTE)).await.is_err());
    assert_eq!(world.failures(), [1, 1, 0, 0]);
    // Usually it takes nine seconds, though its head comes at once.
    let world = World::new(Answers(200, "", &[Wait(9), Data("a")]), FINE);
    drop(ask(&world, BYTE).await);
    assert!(timeout(SECOND * 2, ask(&world, BYTE)).await.is_err());
    assert_eq!(world.failures(), [0; 4]);
}

#[tokio::test(start_paused = true)]
async fn latency_is_known_to_the_head_and_to_the_first_byte() {
    let world = World::new(Answers(200, EVENTS, &[Wait(3), Data(": alive\n\n"), Wait(4), Data("data: a\n\n")]), FINE);
    let got = ask(&world, EVENT).await;
    assert_eq!(got.after, SECOND * 7);
    advance(SECOND * 20).await;
    read(got.body).await;
    let model = world.models.snapshot().model("a").expect("known").clone();
    let about = |time: Option<Duration>, expected: Duration| {
        let time = time.expect("seen");
        assert!(time >= expected && time < expected + SECOND / 100, "{time:?}");
    };
    about(model.usual_latency, Duration::ZERO);
    about(model.usual_first_byte, SECOND * 3);
}

#[tokio::test(start_paused = true)]
async fn the_latency_that_counts_is_that_to_the_first_byte() {
    const FAST: Answers = Answers(200, EVENTS, &[Wait(1), Data(": alive\n\n"), Data("data: a\n\n")]);
    // The commit comes late, but the first byte as usual.
    const LATE: Answers = Answers(200, EVENTS, &[Wait(1), Data(": alive\n\n"), Wait(9), Data("data: a\n\n")]);
    const SLOW: Answers = Answers(200, EVENTS, &[Wait(10), Data(": alive\n\n"), Data("data: a\n\n")]);
    for watched in [false, true] {
        let world = World::of(FAST, FINE, Model::latency_counts);
        let factor = || world.models.snapshot().model("a").expect("known").latency_factor;
        for (answers, slow) in [(FAST, false), (LATE, false), (SLOW, true)] {
            world.set(answers);
            for _ in 0..30 {
                if watched {
                    read(ask(&world, EVENT).await.body).await;
                } else {
                    let client = ReadAheadLayer::new().first_event().layer(world.client());
                    let service = FailoverLayer::json(world.models.clone()).build().expect("valid").layer(client);
                    let request = Request::post("/").body(Full::from(r#"{"model": ""}"#)).expect("a request");
                    read(service.oneshot(request).await.expect("an answer").into_body()).await;
                }
            }
            assert_eq!(factor() < 1.0, slow, "{answers:?}, watched: {watched}");
        }
    }
}

#[test]
fn what_cannot_work_is_refused() {
    let layer = ReadAheadLayer::new;
    assert_eq!(layer().bytes(0).expect_err("zero").field(), "bytes");
    assert_eq!(layer().idle_gap(Duration::ZERO).expect_err("zero").field(), "idle_gap");
    assert_eq!(layer().timeout(Duration::ZERO).expect_err("zero").field(), "timeout");
    assert!(layer().bytes(usize::MAX).is_ok() && layer().timeout(Duration::MAX).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_takes_until_its_commit_to_be_slow_and_not_until_its_end() {
    let slow = |script| async move {
        let world = World::of(Answers(200, EVENTS, script), FINE, |model| {
            let rule = Trip::slow_call_rate(1.0, 5 * SECOND, 100, 600 * SECOND);
            model.breaker(BreakerConfig::default().trip([rule]))
        });
        read(ask(&world, EVENT).await.body).await;
        let counted = world.models.snapshot().models[0].breaker.slow_calls.expect("a rule on slow calls");
        (counted.slow, counted.calls)
    };
    assert_eq!(slow(&[Wait(3), Data(": alive\n\n"), Wait(3), CONTENT]).await, (1, 1));
    assert_eq!(slow(&[Wait(3), Data(": alive\n\n"), CONTENT, Wait(9)]).await, (0, 1));
    assert_eq!(slow(&[CONTENT, Wait(9), Cut]).await, (0, 1));
}
