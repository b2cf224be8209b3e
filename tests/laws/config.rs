//! Configuration that cannot work is an error which names the field and the value; whatever is built, works.

use crate::{
    script::{Act, Fault, Script},
    world::{Planned, judge, ms, secs, setup, trips_after},
};
use futures::future::join_all;
use std::time::Duration;
use tokio::time::{advance, timeout};
use tower::ServiceExt;
use tower_failover::{
    BreakerConfig, Budget, ConfigError, FailoverLayer, Hedge, Model, Models, Plan, Provider, Trip, WhenUnavailable,
    WithServed, classify,
};

fn model(change: impl FnOnce(Model) -> Model) -> Result<Models, ConfigError> {
    Models::builder().provider(Provider::new("a")).model(change(Model::new("m", "a"))).build()
}

fn provider(change: impl FnOnce(Provider) -> Provider) -> Result<Models, ConfigError> {
    Models::builder().provider(change(Provider::new("a"))).model(Model::new("m", "a")).build()
}

fn breaker(change: impl FnOnce(BreakerConfig) -> BreakerConfig) -> Result<Models, ConfigError> {
    model(|model| model.breaker(change(BreakerConfig::default())))
}

fn budget(change: impl FnOnce(Budget) -> Budget) -> Result<Models, ConfigError> {
    provider(|provider| provider.budget(change(Budget::default())))
}

fn trip(rule: Trip) -> Result<Models, ConfigError> {
    breaker(|breaker| breaker.trip([Trip::consecutive(1, Duration::ZERO), rule]))
}

fn rate(rate: f64) -> Result<Models, ConfigError> {
    trip(Trip::failure_rate(rate, 1, secs(60)))
}

#[track_caller]
fn assert_wrong(built: Result<Models, ConfigError>, field: &str, value: &str) {
    let error = built.expect_err(field);
    assert_eq!((error.field(), error.value()), (field, value));
    assert!(!error.problem().is_empty());
    assert_eq!(error.to_string(), format!("{field} is `{value}`: {}", error.problem()));
}

#[tokio::test(start_paused = true)]
async fn lists_and_names_that_cannot_work() {
    let a = || Provider::new("a");
    let m = || Model::new("m", "a");
    assert_wrong(Models::builder().build(), "models", "[]");
    assert_wrong(Models::builder().provider(a()).build(), "models", "[]");
    assert_wrong(Models::builder().provider(a()).model(m()).model(m()).build(), "models", "m");
    assert_wrong(Models::builder().provider(a()).provider(a()).model(m()).build(), "providers", "a");
    assert_wrong(Models::builder().model(m()).build(), "model `m`: provider", "a");
    assert_wrong(Models::builder().provider(a()).model(Model::new("m", "A")).build(), "model `m`: provider", "A");
    assert_wrong(Models::builder().provider(a()).model(Model::new("", "a")).build(), "model ``: name", "");
    assert_wrong(Models::builder().provider(Provider::new("")).model(m()).build(), "provider ``: name", "");
    assert_wrong(model(|model| model.upstream_name("")), "model `m`: upstream_name", "");
}

#[tokio::test(start_paused = true)]
async fn numbers_of_a_model_that_cannot_work() {
    assert_wrong(model(|model| model.cost(f64::NAN)), "model `m`: cost", "NaN");
    assert_wrong(model(|model| model.cost(-0.5)), "model `m`: cost", "-0.5");
    assert_wrong(model(|model| model.cost(f64::INFINITY)), "model `m`: cost", "inf");
    assert_wrong(model(|model| model.cost(f64::NEG_INFINITY)), "model `m`: cost", "-inf");
    assert_wrong(model(|model| model.attempt_timeout(Duration::ZERO)), "model `m`: attempt_timeout", "0ns");
}

#[tokio::test(start_paused = true)]
async fn rules_of_a_breaker_that_cannot_work() {
    let row = "model `m`: breaker: trip.consecutive.failures";
    let rates = "model `m`: breaker: trip.failure_rate.rate";
    assert_wrong(trip(Trip::consecutive(0, secs(1))), row, "0");
    assert_wrong(rate(0.0), rates, "0");
    assert_wrong(rate(-0.1), rates, "-0.1");
    assert_wrong(rate(1.01), rates, "1.01");
    assert_wrong(rate(f64::NAN), rates, "NaN");
    assert_wrong(rate(f64::INFINITY), rates, "inf");
    let calls = "model `m`: breaker: trip.failure_rate.minimum_calls";
    assert_wrong(trip(Trip::failure_rate(0.5, 0, secs(60))), calls, "0");
    let window = "model `m`: breaker: trip.failure_rate.window";
    assert_wrong(trip(Trip::failure_rate(0.5, 1, Duration::ZERO)), window, "0ns");
    assert_wrong(trip(Trip::failure_rate(0.5, 1, ms(9))), window, "9ms");
    assert!(trip(Trip::failure_rate(0.5, 1, ms(10))).is_ok());
    assert!(trip(Trip::failure_rate(1.0, 1, secs(60))).is_ok());
}

#[tokio::test(start_paused = true)]
async fn rules_on_the_last_calls_that_cannot_work() {
    let field = |name: &str| format!("model `m`: breaker: trip.failure_rate_of_last.{name}");
    for (rate, shown) in [(0.0, "0"), (-0.1, "-0.1"), (1.01, "1.01"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        assert_wrong(trip(Trip::failure_rate_of_last(rate, 10)), &field("rate"), shown);
    }
    assert_wrong(trip(Trip::failure_rate_of_last(0.5, 0)), &field("calls"), "0");
    assert_wrong(trip(Trip::failure_rate_of_last(0.5, 100_001)), &field("calls"), "100001");
    assert_wrong(trip(Trip::failure_rate_of_last(0.5, u32::MAX)), &field("calls"), "4294967295");
    assert_wrong(trip(Trip::failure_rate_of_last(0.5, 10).minimum_calls(0)), &field("minimum_calls"), "0");
    assert_wrong(trip(Trip::failure_rate_of_last(0.5, 10).minimum_calls(11)), &field("minimum_calls"), "11");
    assert!(trip(Trip::failure_rate_of_last(0.5, 10).minimum_calls(10)).is_ok());
    assert!(trip(Trip::failure_rate_of_last(1.0, Trip::MOST_CALLS)).is_ok());
    assert!(trip(Trip::failure_rate_of_last(f64::MIN_POSITIVE, 1)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn rules_on_slow_calls_that_cannot_work() {
    let field = |name: &str| format!("model `m`: breaker: trip.slow_call_rate.{name}");
    let slow = |rate, slower_than| trip(Trip::slow_call_rate(rate, slower_than, 1, secs(60)));
    for (rate, shown) in [(0.0, "0"), (-0.1, "-0.1"), (1.01, "1.01"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        assert_wrong(slow(rate, secs(1)), &field("rate"), shown);
    }
    assert_wrong(slow(0.5, Duration::ZERO), &field("slower_than"), "0ns");
    assert!(slow(0.5, Duration::from_nanos(1)).is_ok() && slow(1.0, Duration::MAX).is_ok());
    assert_wrong(trip(Trip::slow_call_rate(0.5, secs(1), 0, secs(60))), &field("minimum_calls"), "0");
    assert_wrong(trip(Trip::slow_call_rate(0.5, secs(1), 1, Duration::ZERO)), &field("window"), "0ns");
    assert_wrong(trip(Trip::slow_call_rate(0.5, secs(1), 1, ms(9))), &field("window"), "9ms");
    assert_wrong(trip(Trip::slow_call_rate(0.5, secs(1), 1, secs(60)).buckets(0)), &field("buckets"), "0");
    assert_wrong(trip(Trip::slow_call_rate(0.5, secs(1), 1, secs(60)).buckets(1_001)), &field("buckets"), "1001");
}

#[tokio::test(start_paused = true)]
async fn waits_and_probes_of_a_breaker_that_cannot_work() {
    let field = |name: &str| format!("model `m`: breaker: {name}");
    assert_wrong(breaker(|breaker| breaker.open_wait(Duration::ZERO, secs(1))), &field("open_wait"), "0ns");
    assert_wrong(breaker(|breaker| breaker.open_wait(secs(2), secs(1))), &field("longest_open_wait"), "1s");
    assert!(breaker(|breaker| breaker.open_wait(secs(1), secs(1))).is_ok());
    for (jitter, shown) in [(f64::NAN, "NaN"), (-0.1, "-0.1"), (1.1, "1.1"), (f64::INFINITY, "inf")] {
        assert_wrong(breaker(|breaker| breaker.jitter(jitter)), &field("jitter"), shown);
    }
    assert_wrong(breaker(|breaker| breaker.recovery(Duration::ZERO)), &field("recovery"), "0ns");
    assert_wrong(breaker(|breaker| breaker.probes(0)), &field("probes"), "0");
    assert_wrong(breaker(|breaker| breaker.probes(u32::MAX)), &field("probes"), "4294967295");
    assert_wrong(breaker(|breaker| breaker.close_after(0, 1)), &field("close_after.successes"), "0");
    assert_wrong(breaker(|breaker| breaker.close_after(2, 1)), &field("close_after.probes"), "1");
    assert_wrong(breaker(|breaker| breaker.close_after_all(0)), &field("close_after.successes"), "0");
    for (share, shown) in [(0.0, "0"), (f64::NAN, "NaN"), (-0.1, "-0.1"), (1.1, "1.1"), (f64::INFINITY, "inf")] {
        assert_wrong(breaker(|breaker| breaker.close_below(share, 2)), &field("close_below.failure_rate"), shown);
    }
    assert_wrong(breaker(|breaker| breaker.close_below(0.5, 0)), &field("close_below.probes"), "0");
    assert!(breaker(|breaker| breaker.close_below(1.0, u32::MAX).recovery_at_close()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_providers_breaker_and_budget_that_cannot_work() {
    let wrong = |change: fn(BreakerConfig) -> BreakerConfig| {
        provider(|provider| provider.breaker(change(BreakerConfig::default())))
    };
    assert_wrong(wrong(|breaker| breaker.probes(0)), "provider `a`: breaker: probes", "0");
    // It would be left out, but wrong it is.
    let bad_rate = wrong(|breaker| breaker.trip([Trip::failure_rate(2.0, 1, secs(60))]));
    assert_wrong(bad_rate, "provider `a`: breaker: trip.failure_rate.rate", "2");
    let field = |name: &str| format!("provider `a`: budget.{name}");
    for (value, shown) in [(f64::NAN, "NaN"), (-1.0, "-1"), (f64::INFINITY, "inf")] {
        assert_wrong(budget(|budget| budget.share_of_calls(value)), &field("share_of_calls"), shown);
        assert_wrong(budget(|budget| budget.per_second(value)), &field("per_second"), shown);
        assert_wrong(budget(|budget| budget.burst(value)), &field("burst"), shown);
    }
    assert_wrong(budget(|budget| budget.share_of_calls(1.5)), &field("share_of_calls"), "1.5");
}

#[tokio::test(start_paused = true)]
async fn settings_of_a_layer_that_cannot_work() {
    let layer = || FailoverLayer::builder(model(|model| model).unwrap());
    let wrong = |error: ConfigError| (error.field().to_owned(), error.value().to_owned());
    let zero = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let error = layer().attempt_timeout(Duration::ZERO).build().unwrap_err();
    assert_eq!(wrong(error), zero("attempt_timeout", "0ns"));
    assert_eq!(wrong(layer().deadline(Duration::ZERO).build().unwrap_err()), zero("deadline", "0ns"));
    assert_eq!(wrong(layer().max_attempts(0).build().unwrap_err()), zero("max_attempts", "0"));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_has_is_an_error_that_names_it() {
    let models = model(|model| model).unwrap();
    assert_eq!(models.command("a", tower_failover::Command::Reset).unwrap_err().name(), "a");
    assert_eq!(models.command_provider("m", tower_failover::Command::Reset).unwrap_err().name(), "m");
    assert_eq!(models.cool_down("", secs(1)).unwrap_err().to_string(), "no model is called ``");
    assert_eq!(models.cool_down_provider("x", secs(1)).unwrap_err().to_string(), "no provider is called `x`");
    assert!(models.get("m").is_some() && models.get("M").is_none());
}

/// Builds a registry of extremes, and makes every kind of call on it, with a command and a long time now and then.
async fn use_it(breaker: BreakerConfig, budget: Budget, timeouts: Duration, cost: f64) {
    let a = Provider::new("a").breaker(breaker.clone()).budget(budget);
    let of = |name| Model::new(name, "a").breaker(breaker.clone()).cost(cost).attempt_timeout(timeouts);
    let models = ["a1", "a2", "a3", "a4"]
        .into_iter()
        .fold(Models::builder().seed(1).provider(a), |all, name| all.model(of(name)));
    let models = models.build().unwrap();
    let layer = FailoverLayer::builder(models.clone()).classify(classify(judge)).resend(Planned).finish(WithServed);
    let layer = layer.attempt_timeout(timeouts).deadline(timeouts).max_attempts(u32::MAX).build().unwrap();
    let script = Script::default();
    let engine = layer.by_provider(script.clients());
    let acts: [Act; 9] = [
        503.into(),
        500.into(),
        429.into(),
        402.into(),
        200.into(),
        Act::Hang,
        Fault::Connect.into(),
        Act::Answer(200, Duration::from_secs(3_000_000)),
        Act::Answer(503, ms(1)),
    ];
    for round in 0..12 {
        for (place, name) in ["a1", "a2", "a3", "a4"].into_iter().enumerate() {
            script.play(name, [acts[(round + place) % acts.len()]]);
        }
        for plan in [Plan::new(), Plan::new().max_cost(f64::MAX).deadline(Duration::MAX).first("a3")] {
            let calls = (0..3).map(|_| timeout(secs(4_000_000), engine.clone().oneshot(plan.clone().into())));
            for outcome in join_all(calls).await {
                let shown = format!("{outcome:?}");
                assert!(!shown.is_empty());
            }
        }
        advance(Duration::from_secs(if round % 3 == 0 { 100_000_000 } else { 1 })).await;
        models.cool_down("a2", Duration::MAX).unwrap();
        models.cool_down_provider("a", Duration::MAX).unwrap();
        let snapshot = models.snapshot();
        assert!(snapshot.models.iter().all(|model| model.in_flight == 0), "{snapshot:?}");
        models.command_provider("a", tower_failover::Command::Reset).unwrap();
        if round % 2 == 0 {
            models.command("a2", tower_failover::Command::Reset).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_largest_values_never_panic() {
    let breaker = BreakerConfig::default()
        .trip([
            Trip::consecutive(u32::MAX, Duration::MAX),
            Trip::failure_rate(f64::MIN_POSITIVE, u32::MAX, Duration::MAX),
            Trip::failure_rate_of_last(f64::MIN_POSITIVE, Trip::MOST_CALLS),
            Trip::slow_call_rate(f64::MIN_POSITIVE, Duration::MAX, u32::MAX, Duration::MAX).buckets(Trip::MOST_BUCKETS),
            Trip::consecutive(1, Duration::ZERO),
        ])
        .open_wait(Duration::MAX, Duration::MAX)
        .recovery(Duration::MAX)
        .jitter(1.0)
        .probes(1_000)
        .close_after(u32::MAX, u32::MAX);
    let budget = Budget::default().share_of_calls(1.0).per_second(f64::MAX).burst(f64::MAX);
    use_it(breaker, budget, Duration::MAX, f64::MAX).await;
}

#[tokio::test(start_paused = true)]
async fn the_smallest_values_never_panic() {
    let breaker = BreakerConfig::default()
        .trip([
            Trip::slow_call_rate(f64::MIN_POSITIVE, Duration::from_nanos(1), 1, ms(10)),
            Trip::failure_rate_of_last(f64::MIN_POSITIVE, 1),
            Trip::failure_rate(f64::MIN_POSITIVE, 1, ms(10)),
            Trip::consecutive(1, Duration::ZERO),
        ])
        .open_wait(Duration::from_nanos(1), Duration::MAX)
        .recovery(Duration::from_nanos(1))
        .jitter(0.0)
        .close_after(1, u32::MAX);
    let budget = Budget::default().share_of_calls(0.0).per_second(f64::MIN_POSITIVE).burst(f64::MIN_POSITIVE);
    use_it(breaker, budget, Duration::from_nanos(1), f64::MIN_POSITIVE).await;
}

#[tokio::test(start_paused = true)]
async fn the_longest_times_that_there_are_break_nothing() {
    let forever = Duration::MAX;
    let breaker = || trips_after(1).open_wait(secs(1), forever).ramp(forever);
    for hedge in [Hedge::after(forever), Hedge::quantile(0.5).at_least(forever), Hedge::after(Duration::from_nanos(1))]
    {
        let world = setup("a1@a b1@b").breakers(breaker()).provider_breakers(breaker()).layer(move |layer| {
            let layer = layer.deadline(forever).attempt_timeout(forever).max_attempts(u32::MAX).hedge(hedge);
            layer.when_unavailable(WhenUnavailable::Wait(1.0))
        });
        let world = world.build();
        for act in [Act::Answer(503, secs(3)), Act::Answer(200, secs(3)), Act::Fail(Fault::Connect, secs(3))] {
            for name in ["a1", "b1"] {
                world.script.play(name, [act, act, Act::from(200)]);
            }
            for _ in 0..5 {
                let _ = timeout(secs(1_000), world.ask()).await;
                advance(secs(5)).await;
            }
        }
        for name in ["a1", "b1"] {
            world.models.cool_down(name, forever).expect("known");
        }
        assert!(timeout(secs(1_000), world.ask()).await.is_err(), "it waits");
        assert!(world.models.snapshot().models.iter().all(|model| model.breaker.cooldown > Some(secs(1_000_000))));
        assert_eq!((world.in_flight(), world.script.under_way()), (0, 0));
    }
}
