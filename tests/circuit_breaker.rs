//! The breaker alone: readiness, refusals, keys, and calls that nobody waits for to the end.

use futures::FutureExt;
use std::{
    io,
    panic::AssertUnwindSafe,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_failover::{
    BreakerConfig, Charge, CircuitBreakerLayer, Command, Cooldown, Model, Models, Provider, Skip, State, Trip, Verdict,
    Vouches, Whose, circuit_breaker::Error, classify,
};
use tower_test::mock::{self, Handle};

type Client = mock::Mock<&'static str, &'static str>;

fn models(config: BreakerConfig) -> Models {
    Models::builder()
        .provider(Provider::new("nexa"))
        .model(Model::new("sdxl", "nexa").breaker(config.clone()))
        .model(Model::new("flux", "nexa").breaker(config))
        .seed(1)
        .build()
        .expect("valid")
}

const HOUR: Duration = Duration::from_secs(3600);

fn two_in_a_row() -> BreakerConfig {
    BreakerConfig::default().trip([Trip::consecutive(2, Duration::ZERO)])
}

fn state(models: &Models, model: &str) -> State {
    models.snapshot().model(model).expect("known").breaker.state
}

fn in_flight(models: &Models) -> u64 {
    models.snapshot().models.iter().map(|model| model.in_flight).sum()
}

fn mock() -> (Client, Handle<&'static str, &'static str>) {
    mock::pair()
}

#[tokio::test(start_paused = true)]
async fn failures_open_it_and_the_answer_to_a_probe_closes_it() {
    let models = models(two_in_a_row().close_after(1, 1));
    let (client, mut upstream) = mock();
    let mut client = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known").layer(client);
    for _ in 0..2 {
        let call = client.ready().await.expect("ready").call("a dashboard");
        upstream.next_request().await.expect("asked").1.send_error("out of order");
        assert!(matches!(call.await, Err(Error::Inner(_))));
    }
    assert_eq!(state(&models, "sdxl"), State::Open);
    assert_eq!(state(&models, "flux"), State::Closed);

    let refused = client.ready().await.expect("ready").call("a dashboard").await.unwrap_err();
    let Error::Rejected(rejected) = refused else { panic!("{refused:?}") };
    assert_eq!(rejected.model().name(), "sdxl");
    let retry_in = rejected.retry_in().expect("known");
    assert!((5..=10).contains(&retry_in.as_secs()), "{retry_in:?}");

    sleep(retry_in).await;
    let call = client.ready().await.expect("ready").call("a dashboard");
    assert_eq!(state(&models, "sdxl"), State::HalfOpen);
    upstream.next_request().await.expect("asked").1.send_response("a picture");
    assert_eq!(call.await.expect("answered"), "a picture");
    assert_eq!(state(&models, "sdxl"), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_rejection_says_whose_breaker_it_was_and_when_it_is_back() {
    type Open = fn(&Models);
    let cases: [(Open, Skip); 5] = [
        (|models| models.command("sdxl", Command::ForceOpen).unwrap(), Skip::ForcedOpen(Whose::Model)),
        (|models| models.command_provider("nexa", Command::ForceOpen).unwrap(), Skip::ForcedOpen(Whose::Provider)),
        (|models| models.cool_down("sdxl", HOUR).unwrap(), Skip::Cooldown(Whose::Model, HOUR)),
        (|models| models.cool_down_provider("nexa", HOUR).unwrap(), Skip::Cooldown(Whose::Provider, HOUR)),
        (
            |models| {
                // By the one that refuses for longer.
                models.cool_down("sdxl", HOUR / 2).unwrap();
                models.cool_down_provider("nexa", HOUR).unwrap();
            },
            Skip::Cooldown(Whose::Provider, HOUR),
        ),
    ];
    for (open, expected) in cases {
        let models = models(two_in_a_row());
        sleep(2 * HOUR).await;
        open(&models);
        sleep(Duration::from_secs(60)).await;
        let mut client = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known").layer(mock().0);
        let refused = client.ready().await.expect("ready").call("a dashboard");
        // It is told as of when readiness was asked for.
        sleep(Duration::from_secs(60)).await;
        let Err(Error::Rejected(rejected)) = refused.await else { panic!("asked") };
        let (why, retry_in) = (rejected.why(), rejected.retry_in());
        assert_eq!((why.retry_in(), format!("{rejected}")), (retry_in, format!("model `sdxl` was not asked: {why}")));
        // A cooldown is a little longer than was asked for.
        match (why, expected) {
            (Skip::Cooldown(whose, retry_in), Skip::Cooldown(expected, of)) => {
                let left = of - Duration::from_secs(60);
                assert!(whose == expected && retry_in >= left && retry_in < left + of / 5, "{whose}: {retry_in:?}");
            }
            (why, expected) => assert_eq!(why, expected),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_gone_by_the_call_is_refused_as_readiness_was() {
    let models = models(two_in_a_row());
    models.command("flux", Command::ForceOpen).expect("known");
    let mut client = CircuitBreakerLayer::new(models.clone(), "flux").expect("known").layer(mock().0);
    client.ready().await.expect("an open breaker is ready");
    let other = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa"));
    models.apply(other).expect("valid");
    let Err(Error::Rejected(rejected)) = client.call("a dashboard").await else { panic!("asked") };
    assert_eq!((rejected.model().name(), rejected.why()), ("flux", Skip::ForcedOpen(Whose::Model)));
}

#[tokio::test(start_paused = true)]
async fn law_11_an_open_breaker_answers_without_touching_the_inner_services_readiness() {
    let models = models(two_in_a_row());
    models.command("sdxl", Command::ForceOpen).expect("known");
    for named in [false, true] {
        let (client, mut upstream) = mock();
        upstream.allow(0);
        let refused = if named {
            let layer = CircuitBreakerLayer::by_name(models.clone(), |_: &&str| "sdxl");
            layer.layer(client).oneshot("a dashboard").await
        } else {
            let layer = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known");
            layer.layer(client).oneshot("a dashboard").await
        };
        assert!(matches!(refused, Err(Error::Rejected(_))), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_11_a_call_only_goes_to_an_instance_that_is_ready() {
    let models = models(two_in_a_row());
    let (client, mut upstream) = mock();
    upstream.allow(0);
    let layer = CircuitBreakerLayer::by_name(models.clone(), |model: &&'static str| model);
    let mut call = Box::pin(layer.layer(client).oneshot("flux"));
    assert!(poll(&mut call).is_pending());
    assert_eq!(in_flight(&models), 0, "no permit before the service is ready");
    upstream.allow(1);
    assert!(poll(&mut call).is_pending());
    assert_eq!(in_flight(&models), 1);
    let (asked, answer) = upstream.next_request().await.expect("asked");
    answer.send_response("a picture");
    assert_eq!((asked, call.await.expect("answered")), ("flux", "a picture"));
}

#[tokio::test(start_paused = true)]
async fn readiness_of_a_closed_one_is_that_of_the_service_inside() {
    let (client, mut upstream) = mock();
    upstream.allow(0);
    let mut client = CircuitBreakerLayer::new(models(two_in_a_row()), "sdxl").expect("known").layer(client);
    assert!(client.ready().now_or_never().is_none());
    upstream.allow(1);
    assert!(client.ready().now_or_never().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_closes_between_readiness_and_call_never_calls_an_unready_service() {
    let models = models(two_in_a_row());
    let (client, mut upstream) = mock();
    upstream.allow(0);
    let mut client = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known").layer(client);
    models.command("sdxl", Command::ForceOpen).expect("known");
    client.ready().await.expect("an open breaker is ready");
    models.command("sdxl", Command::Reset).expect("known");
    let refused = client.call("a dashboard").await;
    assert!(matches!(refused, Err(Error::Rejected(_))), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_gives_back_what_readiness_has_reserved() {
    let models = models(two_in_a_row());
    let (client, _upstream) = mock();
    let limited = ConcurrencyLimit::new(client, 1);
    let layer = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known");
    let mut first = layer.layer(limited);
    let mut second = first.clone();
    first.ready().await.expect("ready");
    models.command("sdxl", Command::ForceOpen).expect("known");
    assert!(matches!(first.call("a dashboard").await, Err(Error::Rejected(_))));
    models.command("sdxl", Command::Reset).expect("known");
    timeout(Duration::from_secs(1), second.ready()).await.expect("the only place is free").expect("ready");
}

#[tokio::test(start_paused = true)]
async fn the_services_own_error_is_in_the_chain_and_can_be_had_back() {
    let models = models(two_in_a_row());
    let client = tower::service_fn(|_: &'static str| async { Err::<(), _>(io::Error::from(io::ErrorKind::NotFound)) });
    let layer = CircuitBreakerLayer::new(models, "sdxl").expect("known");
    let error = layer.layer(client).oneshot("a dashboard").await.unwrap_err();
    let source = std::error::Error::source(&error).expect("a source");
    assert_eq!(source.downcast_ref::<io::Error>().expect("typed").kind(), io::ErrorKind::NotFound);
    assert_eq!(error.into_inner().expect("the service's").kind(), io::ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_name_is_an_error_and_nobody_is_asked() {
    let models = models(two_in_a_row());
    assert_eq!(CircuitBreakerLayer::new(models.clone(), "nope").unwrap_err().name(), "nope");
    let (client, _upstream) = mock();
    let layer = CircuitBreakerLayer::by_name(models, |model: &&'static str| model);
    let error = layer.layer(client).oneshot("nope").await.unwrap_err();
    assert_eq!(error.to_string(), "no model is called `nope`");
}

#[tokio::test(start_paused = true)]
async fn law_04_a_hang_opens_it_although_only_an_outer_timer_ends_the_calls() {
    let models = models(BreakerConfig::default());
    let (client, mut upstream) = mock();
    upstream.allow(50);
    let mut client = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known").layer(client);
    let mut held = Vec::new();
    for _ in 0..5 {
        let call = client.ready().await.expect("ready").call("a dashboard");
        held.push(upstream.next_request().await.expect("asked"));
        timeout(Duration::from_secs(2), call).await.expect_err("nobody answers");
    }
    assert_eq!(state(&models, "sdxl"), State::Open);
}

#[tokio::test(start_paused = true)]
async fn law_02_a_dropped_call_is_neutral_and_gives_its_place_back() {
    let models = models(two_in_a_row());
    let (client, mut upstream) = mock();
    let mut client = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known").layer(client);
    for _ in 0..10 {
        let call = client.ready().await.expect("ready").call("a dashboard");
        let _held = upstream.next_request().await.expect("asked");
        assert_eq!(in_flight(&models), 1);
        timeout(Duration::from_millis(100), call).await.expect_err("nobody answers");
        assert_eq!(in_flight(&models), 0);
    }
    let snapshot = models.snapshot();
    assert_eq!(snapshot.model("sdxl").expect("known").breaker.consecutive_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn law_02_a_panic_that_unwinds_through_a_call_or_a_poll_is_one_failure() {
    for in_call in [true, false] {
        let models = models(two_in_a_row());
        let client = Panics { in_call };
        let layer = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known");
        for failures in 1..=2 {
            let call = async { layer.layer(client.clone()).oneshot("a dashboard").await };
            AssertUnwindSafe(call).catch_unwind().await.expect_err("it goes on unwinding");
            let failed = models.snapshot().model("sdxl").expect("known").breaker.consecutive_failures;
            assert!(failed == failures || state(&models, "sdxl") == State::Open, "{failed}");
        }
        assert_eq!(state(&models, "sdxl"), State::Open, "in call: {in_call}");
        assert_eq!(in_flight(&models), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn slow_answers_open_it_where_a_rule_says_so() {
    let minute = Duration::from_secs(60);
    let rule = Trip::slow_call_rate(1.0, Duration::from_secs(1), 2, minute);
    let models = models(BreakerConfig::default().trip([rule]));
    let client = tower::service_fn(|_: &'static str| async {
        sleep(Duration::from_millis(1_001)).await;
        Ok::<_, io::Error>("a picture")
    });
    let layer = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known");
    for expected in [State::Closed, State::Open] {
        layer.layer(client).oneshot("a dashboard").await.expect("answered");
        assert_eq!(state(&models, "sdxl"), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_classifier_says_what_counts() {
    let models = models(two_in_a_row());
    let (client, mut upstream) = mock();
    let layer = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known");
    let layer = layer.classify(classify(|_: Result<&&str, &tower::BoxError>| Verdict::callers_fault()));
    let mut client = layer.layer(client);
    for _ in 0..5 {
        let call = client.ready().await.expect("ready").call("a dashboard");
        upstream.next_request().await.expect("asked").1.send_error("no such size");
        call.await.expect_err("the caller's fault");
    }
    assert_eq!(state(&models, "sdxl"), State::Closed);
}

/// A failure of the provider comes first; who vouches for it ends its run of failures.
#[tokio::test(start_paused = true)]
async fn a_success_may_begin_a_cooldown_and_need_not_vouch_for_its_provider() {
    let limit = Cooldown::For(Duration::from_secs(7));
    let rows = [
        (None, None, State::Closed, 0),
        (None, Some(Vouches::Fully), State::Closed, 0),
        (None, Some(Vouches::Alive), State::Closed, 0),
        (None, Some(Vouches::Back), State::Closed, 1),
        (None, Some(Vouches::No), State::Closed, 1),
        (Some(limit), None, State::Open, 0),
    ];
    for (cooldown, vouches, expected, run) in rows {
        let models = models(two_in_a_row());
        let layer = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known");
        let layer = layer.classify(classify(move |result: Result<&&str, &io::Error>| {
            let mut verdict = Verdict::success();
            match result {
                Ok(_) => (verdict.cooldown, verdict.vouches) = (cooldown, vouches),
                Err(_) => verdict.charge = Charge::Provider,
            }
            verdict
        }));
        let client = service_fn(|prompt: &'static str| async move {
            if prompt.is_empty() { Err(io::Error::other("no prompt")) } else { Ok("a picture") }
        });
        let mut client = layer.layer(client);
        client.ready().await.expect("ready").call("").await.expect_err("no prompt");
        client.ready().await.expect("ready").call("a dashboard").await.expect("answered");
        let snapshot = models.snapshot();
        let of_provider = snapshot.provider("nexa").expect("known").breaker.consecutive_failures;
        let state = snapshot.model("sdxl").expect("known").breaker.state;
        assert_eq!((state, of_provider), (expected, run), "{cooldown:?} {vouches:?}");
    }
}

#[derive(Clone)]
struct Panics {
    in_call: bool,
}

impl Service<&'static str> for Panics {
    type Response = &'static str;
    type Error = io::Error;
    type Future = futures::future::BoxFuture<'static, Result<&'static str, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: &'static str) -> Self::Future {
        assert!(!self.in_call, "in call");
        async { panic!("in poll") }.boxed()
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(futures::task::noop_waker_ref()))
}
