//! The health score alone: what counts, and what the endpoints of a balancer cost.

use futures::FutureExt;
use proptest::prelude::*;
use std::{
    io,
    panic::AssertUnwindSafe,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{advance, sleep, timeout};
use tower::{BoxError, Layer, Service, ServiceExt, load::Load, service_fn};
use tower_failover::{
    BreakerConfig, Charge, CircuitBreakerLayer, Command, HealthLayer, Model, Models, OkOrErr, Provider, Tier, Verdict,
    classify, health::Cost,
};
use tower_test::mock;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A call that ends after so long.
#[derive(Debug, Clone, Copy)]
struct Ends(bool, Duration);

fn endpoint() -> impl Service<Ends, Response = Charge, Error = io::Error, Future: Send> + Clone {
    service_fn(|Ends(success, after)| async move {
        sleep(after).await;
        if success { Ok(Charge::Success) } else { Err(io::Error::other("out of order")) }
    })
}

async fn calls(layer: &HealthLayer, count: u32, success: bool, after: Duration) {
    for _ in 0..count {
        assert_eq!(layer.layer(endpoint()).oneshot(Ends(success, after)).await.is_ok(), success);
    }
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() <= 0.01 * one.abs().max(other.abs())
}

#[tokio::test(start_paused = true)]
async fn the_score_moves_as_the_formula_says() {
    let layer = HealthLayer::new("east");
    assert_eq!((layer.snapshot().score, layer.snapshot().outcomes), (0.95, 0.0));
    calls(&layer, 6, true, Duration::ZERO).await;
    calls(&layer, 2, false, Duration::ZERO).await;
    let health = layer.snapshot();
    assert!(near(health.score, (6.0 + 4.75) / (8.0 + 5.0)), "{health:?}");
    assert!(near(health.outcomes, 8.0), "{health:?}");
    assert_eq!(health.calls, 8);

    sleep(Duration::from_secs(60)).await;
    let left = (-1.0_f64).exp();
    let health = layer.snapshot();
    assert!(near(health.score, (6.0 * left + 4.75) / (8.0 * left + 5.0)), "{health:?}");
}

#[tokio::test(start_paused = true)]
async fn five_failures_degrade_it_and_a_good_score_for_ten_seconds_heals_it() {
    let layer = HealthLayer::new("east");
    calls(&layer, 4, false, Duration::ZERO).await;
    assert_eq!(layer.snapshot().tier, Tier::Healthy);
    calls(&layer, 1, false, Duration::ZERO).await;
    assert_eq!(layer.snapshot().tier, Tier::Degraded);
    calls(&layer, 50, true, Duration::ZERO).await;
    assert_eq!(layer.snapshot().tier, Tier::Degraded);
    sleep(10 * SECOND).await;
    assert_eq!(layer.snapshot().tier, Tier::Healthy);
}

#[tokio::test(start_paused = true)]
async fn the_endpoint_takes_the_blame_for_its_provider_and_nobodys_fault_adds_nothing() {
    for (charge, counts) in [
        (Charge::Success, Some(true)),
        (Charge::Nobody, None),
        (Charge::Model, Some(false)),
        (Charge::ModelOrRequest, Some(false)),
        (Charge::Provider, Some(false)),
        (Charge::Credential, Some(false)),
    ] {
        let layer = HealthLayer::new("east").classify(classify(|result: Result<&Charge, &io::Error>| {
            let mut verdict = Verdict::success();
            verdict.charge = *result.expect("it answers");
            verdict
        }));
        let client = layer.layer(service_fn(|charge| async move {
            sleep(20 * MS).await;
            Ok::<Charge, io::Error>(charge)
        }));
        client.oneshot(charge).await.expect("answered");
        let health = layer.snapshot();
        assert!(near(health.outcomes, f64::from(u8::from(counts.is_some()))), "{charge:?}: {health:?}");
        let successes = f64::from(u8::from(counts == Some(true)));
        assert!(near(health.score, (successes + 4.75) / (health.outcomes + 5.0)), "{charge:?}: {health:?}");
        assert_eq!(health.usual_latency, (counts == Some(true)).then_some(20 * MS), "only a success says it");
        assert_eq!((health.in_flight, health.calls), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_classifier_finds_the_endpoints_name() {
    struct ByName;
    impl tower_failover::Classify<Charge, io::Error> for ByName {
        fn classify(&self, aimed: tower_failover::Aimed<'_>, _: Result<&Charge, &io::Error>) -> Verdict {
            assert_eq!((aimed.model.name(), aimed.ours), ("east", tower_failover::Ours::default()));
            Verdict::model_failed()
        }
    }
    let layer = HealthLayer::new("east").classify(ByName);
    layer.layer(endpoint()).oneshot(Ends(true, Duration::ZERO)).await.expect("answered");
    assert!(near(layer.snapshot().outcomes, 1.0));
}

#[tokio::test(start_paused = true)]
async fn everything_made_of_one_layer_is_one_endpoint() {
    let layer = HealthLayer::new("east");
    let tuned = layer
        .clone()
        .default_latency(SECOND)
        .classify(classify(|_: Result<&Charge, &io::Error>| Verdict::model_failed()));
    tuned.layer(endpoint()).clone().oneshot(Ends(true, Duration::ZERO)).await.expect("answered");
    let service = layer.layer(endpoint());
    assert!(near(service.snapshot().outcomes, 1.0));
    assert_eq!(service.snapshot(), tuned.snapshot());
    assert_eq!(HealthLayer::new("east").snapshot().calls, 0, "a name is not shared");
}

#[tokio::test(start_paused = true)]
async fn latency_is_that_of_successes_and_calls_in_flight_are_counted() {
    let layer = HealthLayer::new("east");
    calls(&layer, 3, false, 500 * MS).await;
    assert_eq!(layer.snapshot().usual_latency, None);
    calls(&layer, 1, true, 80 * MS).await;
    assert_eq!(layer.snapshot().usual_latency, Some(80 * MS));
    calls(&layer, 1, true, 160 * MS).await;
    assert_eq!(layer.snapshot().usual_latency, Some(90 * MS), "an eighth of the way");

    let (client, mut upstream) = mock::pair::<(), ()>();
    let mut client = layer.layer(client);
    let (mut first, mut second) =
        (client.ready().await.expect("ready").call(()), client.ready().await.expect("ready").call(()));
    assert_eq!(layer.snapshot().in_flight, 2, "from the call on");
    assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending());
    upstream.next_request().await.expect("asked").1.send_response(());
    first.await.expect("answered");
    assert_eq!(layer.snapshot().in_flight, 1);
    upstream.next_request().await.expect("asked").1.send_error("out of order");
    second.await.expect_err("failed");
    assert_eq!((layer.snapshot().in_flight, layer.snapshot().calls), (0, 7));
}

#[tokio::test(start_paused = true)]
async fn law_02_a_dropped_call_is_neutral_and_gives_its_place_back() {
    let layer = HealthLayer::new("east");
    let (client, mut upstream) = mock::pair::<(), ()>();
    let mut client = layer.layer(client);
    for polled in [true, false] {
        let call = client.ready().await.expect("ready").call(());
        let _held = upstream.next_request().await.expect("asked");
        assert_eq!(layer.snapshot().in_flight, 1);
        if polled {
            timeout(999 * MS, call).await.expect_err("nobody answers");
        } else {
            sleep(10 * SECOND).await;
            drop(call);
        }
        let health = layer.snapshot();
        assert_eq!((health.in_flight, health.outcomes, health.usual_latency), (0, 0.0, None), "polled: {polled}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_02_a_panic_that_unwinds_through_a_call_or_a_poll_is_one_failure() {
    for in_call in [true, false] {
        let layer = HealthLayer::new("east");
        let call = async { layer.layer(Panics { in_call }).oneshot(()).await };
        AssertUnwindSafe(call).catch_unwind().await.expect_err("it goes on unwinding");
        let health = layer.snapshot();
        assert!(near(health.outcomes, 1.0) && near(health.score, 4.75 / 6.0), "in call: {in_call}, {health:?}");
        assert_eq!(health.in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn law_02_a_neighbours_panic_is_nothing_to_us() {
    let layer = HealthLayer::new("east");
    let call = async {
        let mut call = layer.layer(endpoint()).oneshot(Ends(true, SECOND)).boxed();
        assert!(poll(&mut call).is_pending());
        panic!("beside it");
    };
    AssertUnwindSafe(call).catch_unwind().await.expect_err("it goes on unwinding");
    assert_eq!((layer.snapshot().outcomes, layer.snapshot().in_flight), (0.0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_04_a_hang_counts_although_only_an_outer_timer_ends_the_calls() {
    let layer = HealthLayer::new("east");
    calls(&layer, 10, true, SECOND).await;
    for (patience, failures) in [(2_900 * MS, 0.0), (3_100 * MS, 1.0)] {
        let before = layer.snapshot().outcomes;
        let call = layer.layer(endpoint()).oneshot(Ends(true, 60 * SECOND));
        timeout(patience, call).await.expect_err("it hangs");
        let left = (-patience.as_secs_f64() / 60.0).exp();
        assert!(near(layer.snapshot().outcomes, before * left + failures), "{patience:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_04_a_slow_call_is_no_hang_once_one_begun_later_has_been_answered() {
    for answered in [true, false] {
        let layer = HealthLayer::new("east");
        let slow = tokio::spawn(timeout(10 * SECOND, layer.layer(endpoint()).oneshot(Ends(true, 60 * SECOND))));
        sleep(5 * SECOND).await;
        calls(&layer, 1, answered, SECOND).await;
        slow.await.expect("no panic").expect_err("too slow");
        let (left, hung) = ((-4.0_f64 / 60.0).exp(), if answered { 0.0 } else { 1.0 });
        assert!(near(layer.snapshot().outcomes, left + hung), "{answered}: an error is no answer");
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_is_that_of_the_service_inside_and_counts_for_nothing() {
    let layer = HealthLayer::new("east");
    let (client, mut upstream) = mock::pair::<(), ()>();
    upstream.allow(0);
    let mut client = layer.layer(client);
    assert!(client.ready().now_or_never().is_none());
    upstream.allow(1);
    assert!(client.ready().now_or_never().is_some());
    upstream.send_error("gone");
    assert!(client.ready().await.is_err());
    assert_eq!((layer.snapshot().calls, layer.snapshot().outcomes), (0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn what_a_breaker_inside_refuses_is_a_failure() {
    let models = Models::builder()
        .provider(Provider::new("nexa"))
        .model(Model::new("sdxl", "nexa").breaker(BreakerConfig::default()))
        .build()
        .expect("valid");
    models.command("sdxl", Command::ForceOpen).expect("known");
    let layer = HealthLayer::new("east");
    let breaker = CircuitBreakerLayer::new(models, "sdxl").expect("known");
    layer.layer(breaker.layer(endpoint())).oneshot(Ends(true, SECOND)).await.expect_err("refused");
    assert!(near(layer.snapshot().score, 4.75 / 6.0));
}

/// An endpoint that has answered so many calls in so long, after some failures.
async fn known(failures: u32, latency: Duration) -> HealthLayer {
    let layer = HealthLayer::new("east");
    calls(&layer, failures, false, Duration::ZERO).await;
    calls(&layer, 50, true, latency).await;
    layer
}

#[tokio::test(start_paused = true)]
async fn the_metric_is_the_formula_and_slow_failing_and_busy_are_each_worse() {
    let load = |layer: &HealthLayer| layer.layer(endpoint()).load();
    let formula = |layer: &HealthLayer, latency: f64, share: f64| {
        let expected = latency * share / layer.snapshot().score.powi(2);
        assert!(near(load(layer).as_secs_f64(), expected), "{:?}, not {expected}", load(layer));
        assert_eq!(load(layer), layer.cost());
    };
    let slow = known(0, 40 * MS).await;
    formula(&slow, 0.04, 1.0);
    let failing = known(20, 20 * MS).await;
    formula(&failing, 0.02, 1.0);
    assert!(failing.snapshot().score < 0.75);
    let busy = known(0, 20 * MS).await;
    let mut calls = [(); 3].map(|()| busy.layer(endpoint()).oneshot(Ends(true, SECOND)).boxed());
    assert!(calls.iter_mut().all(|call| poll(call).is_pending()));
    formula(&busy, 0.02, 4.0);
    let plain = known(0, 20 * MS).await;
    formula(&plain, 0.02, 1.0);
    for worse in [&slow, &failing, &busy] {
        assert!(load(worse) > load(&plain), "{:?} against {:?}", load(worse), load(&plain));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_endpoint_is_asked_at_once_and_by_one_call_at_a_time() {
    let (new, known) = (HealthLayer::new("new"), known(0, 20 * MS).await);
    assert!(new.cost() < known.cost());
    let mut first = new.layer(endpoint()).oneshot(Ends(true, 20 * MS)).boxed();
    assert!(poll(&mut first).is_pending());
    assert!(near(new.cost().as_secs_f64(), 2.0 / 0.95_f64.powi(2)), "1 s, twice: {:?}", new.cost());
    assert!(new.cost() > known.cost());
    let told = new.clone().default_latency(5 * SECOND).classify(OkOrErr);
    assert!(near(told.cost().as_secs_f64(), 10.0 / 0.95_f64.powi(2)), "{:?}", told.cost());
    first.await.expect("answered");
    assert!(near(new.cost().as_secs_f64(), 0.02 * new.snapshot().score.powi(-2)), "{:?}", new.cost());
}

#[tokio::test(start_paused = true)]
async fn one_that_only_ever_failed_is_no_bargain() {
    let (failing, slow) = (HealthLayer::new("failing"), HealthLayer::new("slow"));
    calls(&slow, 20, true, SECOND).await;
    calls(&failing, 3, false, MS).await;
    calls(&slow, 1, true, SECOND).await;
    assert!(failing.cost() > slow.cost(), "{:?} against {:?}", failing.cost(), slow.cost());
}

#[tokio::test(start_paused = true)]
async fn what_was_slow_is_asked_again_after_it_has_been_idle() {
    let slow = known(0, SECOND).await;
    let before = slow.cost().as_secs_f64() * slow.snapshot().score.powi(2);
    sleep(60 * SECOND).await;
    let after = slow.cost().as_secs_f64() * slow.snapshot().score.powi(2);
    assert!(near(after, before / 1.0_f64.exp()), "{before} and {after}");

    let mut call = slow.layer(endpoint()).oneshot(Ends(true, 300 * SECOND)).boxed();
    assert!(poll(&mut call).is_pending());
    for _ in 0..3 {
        let now = slow.cost().as_secs_f64() * slow.snapshot().score.powi(2);
        assert!(near(now, 2.0 * before), "a call in flight ends the fading, however long it hangs: {now}");
        sleep(20 * SECOND).await;
    }
    drop(call);
    let now = slow.cost().as_secs_f64() * slow.snapshot().score.powi(2);
    assert!(near(now, before), "and it begins anew when that ends: {now}");
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Call(Ends),
    Begin,
    Drop,
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    let time =
        || prop_oneof![(0..5_000_u64).prop_map(Duration::from_micros), (0..10_000_u64).prop_map(Duration::from_secs)];
    prop_oneof![
        4 => (any::<bool>(), time()).prop_map(|(success, after)| Step::Call(Ends(success, after))),
        2 => Just(Step::Begin),
        1 => Just(Step::Drop),
        2 => time().prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_cost_is_finite_and_has_its_place_in_one_order(
        default_latency in prop_oneof![Just(Duration::ZERO), Just(Duration::MAX), Just(SECOND)],
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let layer = HealthLayer::new("east").default_latency(default_latency);
            let (mut held, mut costs) = (Vec::new(), Vec::<Cost>::new());
            for step in steps {
                match step {
                    Step::Call(ends) => {
                        let _ = layer.layer(endpoint()).oneshot(ends).await;
                    }
                    Step::Begin => {
                        let mut call = layer.layer(endpoint()).oneshot(Ends(true, Duration::from_secs(1 << 30))).boxed();
                        assert!(poll(&mut call).is_pending());
                        held.push(call);
                    }
                    Step::Drop => drop(held.pop()),
                    Step::Wait(time) => advance(time).await,
                }
                costs.push(layer.cost());
                assert_eq!(layer.snapshot().in_flight, held.len() as u64);
            }
            for cost in &costs {
                assert!(cost.as_secs_f64().is_finite() && cost.as_secs_f64() >= 0.0, "{cost:?}");
                assert_eq!(cost.partial_cmp(&costs[0]), Some(cost.cmp(&costs[0])));
                assert_eq!(cost < &costs[0], cost.as_secs_f64() < costs[0].as_secs_f64());
            }
        });
    }
}

struct Panics {
    in_call: bool,
}

impl Service<()> for Panics {
    type Response = ();
    type Error = BoxError;
    type Future = futures::future::BoxFuture<'static, Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        assert!(!self.in_call, "in call");
        async { panic!("in poll") }.boxed()
    }
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    future.poll_unpin(&mut Context::from_waker(futures::task::noop_waker_ref()))
}
