//! Laws 6, 10 and 21 of calls that are slow: what the engine measures.

use crate::{
    script::{Act, Fault, Readiness},
    world::{World, answer, ms, never_trips, secs, setup},
};
use std::time::Duration;
use tokio::time::timeout;
use tower_failover::{BreakerConfig, Cause, State, Trip};

/// Half of four calls, slower than 1 s.
fn slow_calls_trip() -> BreakerConfig {
    never_trips().trip([Trip::slow_call_rate(0.5, secs(1), 4, secs(600))])
}

fn world() -> World {
    let setup = setup("a1@a").breakers(slow_calls_trip()).provider_breakers(slow_calls_trip());
    setup.models(|model| model.attempt_timeout(secs(5))).build()
}

fn counted(world: &World) -> (u64, u64) {
    let counted = world.breaker("a1").slow_calls.expect("a rule on slow calls");
    (counted.slow, counted.calls)
}

async fn slow_to(world: &World, answers: impl IntoIterator<Item = (u16, Duration)>) {
    for (status, took) in answers {
        world.script.play("a1", [Act::Answer(status, took)]);
        answer(world.ask().await);
    }
}

#[tokio::test(start_paused = true)]
async fn law_06_a_call_that_takes_exactly_as_long_is_not_slow() {
    let world = world();
    slow_to(&world, [(200, secs(1)); 10]).await;
    assert_eq!((world.state("a1"), counted(&world)), (State::Closed, (0, 10)));
}

#[tokio::test(start_paused = true)]
async fn law_10_slow_answers_open_the_breaker_of_their_model_and_not_its_providers() {
    let world = world();
    slow_to(&world, [(200, ms(1_001)); 3]).await;
    assert_eq!((world.state("a1"), counted(&world)), (State::Closed, (3, 3)));
    slow_to(&world, [(200, ms(1_001))]).await;
    assert_eq!(world.state("a1"), State::Open);
    let cause = world.breaker("a1").cause.expect("it has changed");
    assert!(matches!(cause, Cause::SlowCallRate { slow: 4, calls: 4, .. }), "{cause:?}");
    assert_eq!(cause.to_string(), "4 slow calls in 4");
    assert_eq!((world.state("@a"), world.breaker("@a").slow_calls), (State::Closed, None));
    assert!(world.model("a1").score > 0.95, "each was a success");
}

#[tokio::test(start_paused = true)]
async fn failures_and_timeouts_that_took_as_long_are_slow_and_the_callers_own_faults_are_no_calls() {
    let world = world();
    slow_to(&world, [(503, ms(1_001)), (503, secs(1)), (400, secs(3)), (429, secs(3))]).await;
    assert_eq!(counted(&world), (0, 0), "a cooldown begins anew");
    let world = self::world();
    slow_to(&world, [(503, ms(1_001)), (503, secs(1)), (400, secs(3))]).await;
    assert_eq!(counted(&world), (1, 2));
    world.script.play("a1", [Act::Hang]);
    world.ask().await.expect_err("a timeout");
    world.script.play("a1", [Act::from(Fault::Connect)]);
    world.ask().await.expect_err("refused: the provider's fault");
    assert_eq!(counted(&world), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn law_04_a_hang_that_an_outer_timer_ends_is_slow() {
    let world = world();
    world.script.play("a1", [Act::Hang]);
    for _ in 0..3 {
        timeout(secs(2), world.ask()).await.expect_err("it hangs");
    }
    assert_eq!(counted(&world), (3, 3));
    timeout(ms(500), world.ask()).await.expect_err("too soon to be a hang");
    assert_eq!(counted(&world), (3, 3));
}

#[tokio::test(start_paused = true)]
async fn law_12_waiting_for_the_client_to_become_ready_is_not_slow() {
    let world = world();
    world.script.ready("a", Readiness::After(secs(3)));
    slow_to(&world, [(200, secs(1)); 4]).await;
    assert_eq!(counted(&world), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_slow_probe_opens_again_what_slow_calls_have_opened() {
    let world = world();
    slow_to(&world, [(200, ms(1_001)); 4]).await;
    tokio::time::advance(secs(10)).await;
    slow_to(&world, [(200, ms(1_001))]).await;
    assert_eq!((world.state("a1"), world.breaker("a1").cause), (State::Open, Some(Cause::ProbesFailed)));
    tokio::time::advance(secs(20)).await;
    slow_to(&world, [(200, secs(1)); 2]).await;
    assert_eq!(world.state("a1"), State::Closed);
}
