//! Laws 7 and 17: how long a model is left alone that asks for it.

use crate::support::{
    Reply, Sent, answered_by, ask, assert_jittered, client, cooldowns, fate, host, model, request, served, status,
    two_models,
};
use std::time::Duration;
use tokio::{join, time::advance};
use tower::Layer;
use tower_failover::{
    BreakerConfig, Command, Error, FailoverLayer, Fate, Models, Plan, Provider, Skip, State, Trip, Whose,
};

const MS: fn(u64) -> Duration = Duration::from_millis;
const LONGEST: Duration = Duration::from_secs(3600);

/// The cooldown of `a` after this reply.
async fn after(reply: Reply) -> Option<Duration> {
    let models = two_models().build().expect("models");
    let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
    let service = layer.layer(client(&Sent::default(), move |request| match host(request) {
        "one.test" => reply.clone(),
        _ => status(200),
    }));
    assert_eq!(answered_by(&ask(&service, request()).await), Some("b"));
    let (model, provider) = cooldowns(&models);
    assert_eq!(provider, None, "one limited model says nothing of its provider");
    model
}

fn with(status_code: u16, headers: &[(&'static str, &str)]) -> Reply {
    headers.iter().fold(status(status_code), |reply, (name, value)| reply.header(name, value))
}

const DATE: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");

#[tokio::test(start_paused = true)]
async fn law_17_a_429_or_503_is_left_alone_as_long_as_it_asks() {
    let huge = "9".repeat(400);
    let rows: [(&[(&'static str, &str)], Duration); 16] = [
        (&[("retry-after", "7")], MS(7000)),
        (&[("retry-after", "1.5")], MS(1500)),
        (&[("retry-after", "0")], MS(100)),
        (&[("retry-after", "-30")], MS(100)),
        (&[("retry-after", "86400")], LONGEST),
        (&[("retry-after", &huge)], LONGEST),
        (&[("retry-after-ms", "2500")], MS(2500)),
        (&[("retry-after-ms", "2500"), ("retry-after", "9")], MS(2500)),
        (&[("retry-after-ms", "soon"), ("retry-after", "9")], MS(9000)),
        (&[("retry-after", "3"), ("retry-after", "8"), ("retry-after", "5")], MS(8000)),
        (&[DATE, ("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT")], MS(20_000)),
        (&[DATE, ("retry-after", "Sunday, 06-Nov-94 08:49:57 GMT")], MS(20_000)),
        (&[DATE, ("retry-after", "Sun Nov  6 08:49:57 1994")], MS(20_000)),
        (&[DATE, ("retry-after", "Sun, 06 Nov 1994 08:49:36 GMT")], MS(100)),
        (&[DATE, ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")], LONGEST),
        // Without a date of the response's own, against the wall clock.
        (&[("retry-after", "Sun, 06 Nov 1994 08:49:57 GMT")], MS(100)),
    ];
    for (headers, expected) in rows {
        for code in [429, 503] {
            assert_jittered(after(with(code, headers)).await, expected);
        }
        for code in [500, 502, 529] {
            assert_eq!(after(with(code, headers)).await, None, "{code} {headers:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn law_07_a_date_is_measured_against_the_responses_own() {
    // A server whose clock is decades off asks for two seconds.
    for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Fri, 31 Dec 2060 23:59:57 GMT"] {
        let until = date.replace(":37 ", ":39 ").replace(":57 ", ":59 ");
        assert_jittered(after(with(429, &[("date", date), ("retry-after", &until)])).await, MS(2000));
    }
}

#[tokio::test(start_paused = true)]
async fn law_17_what_cannot_be_read_is_as_if_it_were_not_there() {
    for headers in [&[][..], &[("retry-after", "soon")], &[("retry-after", "")], &[("retry-after-ms", "1e3")]] {
        assert_jittered(after(with(429, headers)).await, MS(1000));
        assert_eq!(after(with(503, headers)).await, None, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_17_without_a_word_it_doubles_from_one_second_to_sixty_until_a_success() {
    let models = two_models().build().expect("models");
    let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
    let limits = layer.layer(client(&Sent::default(), |request| match host(request) {
        "one.test" => status(429),
        _ => status(200),
    }));
    let works = layer.layer(client(&Sent::default(), |_| status(200)));
    for _ in 0..2 {
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let _ = ask(&limits, request()).await;
            let cooldown = cooldowns(&models).0;
            assert_jittered(cooldown, Duration::from_secs(seconds));
            advance(cooldown.unwrap()).await;
        }
        assert_eq!(answered_by(&ask(&works, request()).await), Some("a"));
        assert_eq!(models.snapshot().model("a").unwrap().breaker.state, State::Closed, "one good probe closes");
    }
}

#[tokio::test(start_paused = true)]
async fn law_17_the_model_is_skipped_until_then_and_one_probe_goes_first() {
    let models = two_models().build().expect("models");
    let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
    let limits = layer.layer(client(&Sent::default(), |request| match host(request) {
        "one.test" => status(429).header("retry-after", "10"),
        _ => status(200),
    }));
    let sent = Sent::default();
    let works = layer.layer(client(&sent, |_| status(200).after(MS(50))));
    let _ = ask(&limits, request()).await;

    let cooldown = cooldowns(&models).0.expect("a cooldown");
    let skipped = ask(&works, request()).await;
    assert_eq!(answered_by(&skipped), Some("b"));
    // As of the answer, which came 50 ms later.
    let expected = Fate::Skipped(Skip::Cooldown(Whose::Model, cooldown - MS(50)));
    assert_eq!(fate(served(&skipped), "a"), expected);
    assert_eq!(served(&skipped).retry_in(), Some(cooldown - MS(50)));
    assert_eq!(sent.hosts(), ["two.test"]);

    let left = cooldowns(&models).0.expect("still");
    advance(left - Duration::from_nanos(1)).await;
    assert!(models.snapshot().model("a").unwrap().breaker.retry_in.is_some());
    advance(Duration::from_nanos(1)).await;
    let (probe, beside) = join!(ask(&works, request()), ask(&works, request()));
    assert_eq!((answered_by(&probe), answered_by(&beside)), (Some("a"), Some("b")));
    assert!(matches!(fate(served(&beside), "a"), Fate::Skipped(Skip::ProbesTaken(Whose::Model, _))));
    assert_eq!(answered_by(&ask(&works, request()).await), Some("a"));
}

#[tokio::test(start_paused = true)]
async fn law_17_a_longer_cooldown_wins_and_a_shorter_one_never_cuts() {
    for (first, second) in [("10", "3"), ("3", "10")] {
        let models = two_models().build().expect("models");
        let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
        let service = |seconds: &'static str, after| {
            layer.layer(client(&Sent::default(), move |request| match host(request) {
                "one.test" => status(429).header("retry-after", seconds).after(after),
                _ => status(200),
            }))
        };
        let (sooner, later) = (service(first, MS(10)), service(second, MS(20)));
        let _ = join!(ask(&sooner, request()), ask(&later, request()));
        let cooldown = cooldowns(&models).0.expect("a cooldown") + MS(10);
        assert!(cooldown >= MS(10_000) && cooldown <= MS(11_010), "{first} {second}: {cooldown:?}");
    }
}

/// The cooldown of `one` after its models `a` and `b` were limited so far apart, with a success of its `c` between or
/// without.
async fn two_limited(apart: Duration, success_between: bool) -> Option<Duration> {
    let models = Models::builder()
        .provider(Provider::new("one").base_url("http://one.test"))
        .model(model("a", "one"))
        .model(model("b", "one"))
        .model(model("c", "one"))
        .build()
        .expect("models");
    let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
    let limits = layer.layer(client(&Sent::default(), |_| status(429).header("retry-after", "30")));
    let works = layer.layer(client(&Sent::default(), |_| status(200)));
    let only = |name: &str| {
        let mut request = request();
        request.extensions_mut().insert(Plan::new().first(name).no_fallback());
        request
    };
    let _ = ask(&limits, only("a")).await;
    if success_between {
        let _ = ask(&works, only("c")).await;
    }
    advance(apart).await;
    let _ = ask(&limits, only("b")).await;
    cooldowns(&models).1
}

#[tokio::test(start_paused = true)]
async fn law_17_two_limited_models_within_two_seconds_block_their_provider() {
    assert_jittered(two_limited(MS(0), false).await, MS(30_000));
    assert_jittered(two_limited(MS(2000), false).await, MS(30_000));
    assert_eq!(two_limited(MS(2001), false).await, None);
    assert_eq!(two_limited(MS(0), true).await, None);
}

/// One failure opens `a` for exactly ten seconds.
fn brittle() -> Models {
    let breaker = BreakerConfig::default().trip([Trip::consecutive(1, Duration::ZERO)]).jitter(0.0);
    let provider = Provider::new("one").base_url("http://one.test").breaker(BreakerConfig::default().trip([]));
    Models::builder().provider(provider).model(model("a", "one").breaker(breaker)).build().expect("models")
}

#[tokio::test(start_paused = true)]
async fn law_17_of_a_wait_and_a_cooldown_the_longer_holds() {
    for (seconds, expected) in [("3", MS(10_000)), ("60", MS(60_000))] {
        let models = brittle();
        let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
        let service = layer.layer(client(&Sent::default(), move |_| status(503).header("retry-after", seconds)));
        let _ = ask(&service, request()).await;
        assert_jittered(models.snapshot().model("a").expect("a").breaker.retry_in, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn law_17_a_429_fails_a_probe() {
    let models = brittle();
    let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
    let breaker = || models.snapshot().model("a").expect("a").breaker.clone();
    let replies = |code| layer.layer(client(&Sent::default(), move |_| status(code)));
    let _ = ask(&replies(502), request()).await;
    assert_eq!(breaker().state, State::Open);
    advance(MS(10_000)).await;
    let _ = ask(&replies(200), request()).await;
    assert_eq!(breaker().state, State::HalfOpen, "one of two");

    let _ = ask(&replies(429), request()).await;
    assert_eq!(breaker().state, State::Open);
    assert_jittered(breaker().cooldown, MS(1000));
    advance(breaker().retry_in.expect("a wait")).await;
    for expected in [State::HalfOpen, State::Closed] {
        let _ = ask(&replies(200), request()).await;
        assert_eq!(breaker().state, expected, "two good probes, counted anew");
    }
}

#[tokio::test(start_paused = true)]
async fn a_402_of_ours_leaves_the_provider_alone_for_a_minute() {
    let models = two_models().build().expect("models");
    let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
    let service = layer.layer(client(&Sent::default(), |request| match host(request) {
        "one.test" => status(402).header("retry-after", "7"),
        _ => status(200),
    }));
    assert_eq!(answered_by(&ask(&service, request()).await), Some("b"));
    let (model, provider) = cooldowns(&models);
    assert_eq!(model, None);
    assert_jittered(provider, MS(60_000));
    let skipped = ask(&service, request()).await;
    assert!(matches!(fate(served(&skipped), "a"), Fate::Skipped(Skip::Cooldown(Whose::Provider, _))));
}

#[tokio::test(start_paused = true)]
async fn law_17_forced_states_and_disabled_breakers_know_no_cooldown() {
    let models = two_models().build().expect("models");
    models.command("a", Command::Disable).expect("a");
    let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
    let sent = Sent::default();
    let service = layer.layer(client(&sent, |request| match host(request) {
        "one.test" => status(429).header("retry-after", "10"),
        _ => status(200),
    }));
    for _ in 0..3 {
        let _ = ask(&service, request()).await;
        assert_eq!(sent.hosts(), ["one.test", "two.test"]);
    }
    assert_eq!(cooldowns(&models).0, None);
}

#[tokio::test(start_paused = true)]
async fn law_22_nobody_left_names_why_and_when() {
    let models = two_models().build().expect("models");
    let layer = FailoverLayer::http(models).build().expect("a layer");
    let sent = Sent::default();
    let service = layer.layer(client(&sent, |request| match host(request) {
        "one.test" => status(429).header("retry-after", "10"),
        _ => status(429).header("retry-after", "5"),
    }));
    let last = ask(&service, request()).await;
    assert!(served(&last).all_failed());
    assert_eq!(last.as_ref().expect("the last response").status(), 429);
    sent.take();

    let error = ask(&service, request()).await.expect_err("both cool down");
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(sent.take().is_empty(), "no last resort into a cooldown");
    assert_jittered(error.retry_in(), MS(5000));
    assert_eq!(error.served().expect("served").candidates().len(), 2);
}
