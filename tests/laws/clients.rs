//! Laws 11 to 13 and 24: clients, their readiness, and what is dropped.

use crate::{
    script::{Act, Fault, Readiness},
    world::{Req, answer, assert_about, attempts, fates, judge, ms, secs, served, setup, skip, tried, world},
};
use futures::poll;
use tokio::time::{Instant, advance, timeout};
use tower::{Layer, Service, ServiceExt};
use tower_failover::{Command, Error, FailoverLayer, Plan, Skip, WithServed, classify};

#[tokio::test(start_paused = true)]
async fn law_11_every_call_goes_to_an_instance_that_was_ready() {
    let world = world("a1@a b1@b c1@c");
    world.script.play("a1", [503]);
    world.script.play("b1", [Act::from(Fault::Reset)]);
    world.script.ready("c", Readiness::After(secs(1)));
    assert_eq!(tried(&answer(world.ask().await).1), ["a1", "b1", "c1"]);
    assert_eq!((world.script.unready_calls(), world.script.readied("a"), world.script.readied("b")), (0, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn law_11_one_client_for_all_is_readied_anew_for_each_attempt() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [503]);
    let layer = FailoverLayer::builder(world.models.clone()).classify(classify(judge)).finish(WithServed);
    let mut engine = layer.build().unwrap().layer(world.script.client("all"));
    for _ in 0..2 {
        ServiceExt::<Req>::ready(&mut engine).await.unwrap().call(Req::default()).await.unwrap();
    }
    assert_eq!((world.script.unready_calls(), world.script.readied("all")), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn law_11_the_engine_is_always_ready() {
    let mut world = world("a1@a");
    world.script.ready("a", Readiness::Never);
    world.command("a1", Command::ForceOpen);
    let ready = timeout(ms(1), futures::future::poll_fn(|cx| world.engine.poll_ready(cx))).await;
    assert!(matches!(ready, Ok(Ok(()))));
}

#[tokio::test(start_paused = true)]
async fn law_11_an_open_breaker_does_not_touch_the_clients_readiness() {
    for name in ["a1", "@a"] {
        let world = world("a1@a b1@b");
        world.script.ready("a", Readiness::Never);
        world.command(name, Command::ForceOpen);
        assert_eq!(tried(&answer(world.ask().await).1), ["b1"]);
        assert_eq!(world.script.readied("a"), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn law_12_waiting_for_readiness_is_inside_the_attempts_time_and_blames_nobody() {
    let world = setup("a1@a b1@b").layer(|layer| layer.attempt_timeout(secs(10))).build();
    world.script.ready("a", Readiness::Never);
    let (_, served) = answer(world.ask().await);
    assert_about(served.elapsed(), secs(10));
    assert_eq!(fates(&served), [("a1".to_owned(), Some(Skip::NotReady)), ("b1".to_owned(), None)]);
    assert_eq!((world.failures("a1"), world.failures("@a"), world.model("a1").calls), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_12_readiness_and_call_share_one_attempts_time() {
    let world = setup("a1@a").layer(|layer| layer.attempt_timeout(secs(10))).build();
    world.script.ready("a", Readiness::After(secs(6)));
    world.script.play("a1", [Act::Hang]);
    let served = served(world.ask().await);
    assert_about(served.elapsed(), secs(10));
    assert_about(attempts(&served)[0].took, secs(10));
}

#[tokio::test(start_paused = true)]
async fn law_12_a_readiness_that_comes_in_time_is_no_failure_and_not_what_the_model_usually_takes() {
    let world = world("a1@a");
    world.script.ready("a", Readiness::After(secs(6)));
    world.script.play("a1", [Act::Answer(200, secs(1))]);
    assert_about(attempts(&answer(world.ask().await).1)[0].took, secs(7));
    assert_about(world.model("a1").usual_latency.unwrap(), secs(1));
}

#[tokio::test(start_paused = true)]
async fn law_12_the_time_of_one_attempt_does_not_run_on_in_the_next() {
    let world = setup("a1@a b1@b").layer(|layer| layer.attempt_timeout(secs(10))).build();
    world.script.play("a1", [Act::Answer(503, secs(8))]);
    world.script.play("b1", [Act::Answer(200, secs(5))]);
    world.script.ready("b", Readiness::After(secs(4)));
    assert_about(answer(world.ask().await).1.elapsed(), secs(17));
}

#[tokio::test(start_paused = true)]
async fn law_12_a_client_that_will_never_be_ready_blames_nobody_and_the_next_is_asked() {
    let world = world("a1@a b1@b");
    world.script.ready("a", Readiness::Fails);
    let (_, served) = answer(world.ask().await);
    assert_eq!((skip(&served, "a1"), tried(&served)), (Skip::NotReady, vec!["b1".to_owned()]));
    assert_eq!((world.failures("a1"), world.failures("@a"), world.in_flight()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_12_the_clients_error_is_handed_on_when_nobody_else_can_be_asked() {
    let world = world("a1@a");
    world.script.ready("a", Readiness::Fails);
    let error = world.ask().await.unwrap_err();
    assert_eq!(error.served().unwrap().attempts(), 0);
    assert_eq!(error.into_inner().unwrap(), Fault::Unready);
}

#[tokio::test(start_paused = true)]
async fn law_12_an_answer_outlives_the_next_clients_error() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [503]);
    world.script.ready("b", Readiness::Fails);
    let (status, served) = answer(world.ask().await);
    assert_eq!((status, served.model().unwrap().name(), served.all_failed()), (503, "a1", true));
    assert_eq!(skip(&served, "b1"), Skip::NotReady);
}

#[tokio::test(start_paused = true)]
async fn law_13_dropping_the_future_drops_the_attempt_in_flight() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [503]);
    world.script.play("b1", [Act::Hang]);
    let mut call = world.begin();
    assert!(poll!(&mut call).is_pending());
    assert_eq!((world.script.called().len(), world.script.under_way()), (2, 1));
    drop(call);
    assert_eq!((world.script.under_way(), world.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_13_an_attempt_that_timed_out_is_dropped_before_the_next_begins() {
    let world = setup("a1@a b1@b").layer(|layer| layer.attempt_timeout(secs(1))).build();
    world.script.play("a1", [Act::Hang]);
    answer(world.ask().await);
    assert!(world.script.calls().iter().all(|call| call.beside == 0), "{:?}", world.script.calls());
}

#[tokio::test(start_paused = true)]
async fn law_13_nothing_is_left_once_the_answer_is_there() {
    let world = setup("a1@a").layer(|layer| layer.attempt_timeout(secs(1))).build();
    world.script.play("a1", [Act::Hang]);
    let mut call = world.begin();
    assert!(matches!((&mut call).await, Err(Error::TimedOut { .. })));
    assert_eq!((world.script.under_way(), world.in_flight()), (0, 0));
    drop(call);
}

#[tokio::test(start_paused = true)]
async fn law_24_one_providers_pending_client_delays_nobody_else() {
    let world = world("a1@a b1@b");
    world.script.ready("a", Readiness::Never);
    let mut stuck = world.begin();
    assert!(poll!(&mut stuck).is_pending());
    let begun = Instant::now();
    let (_, served) = answer(world.send(Plan::new().first("b1")).await);
    assert_eq!((served.model().unwrap().name(), begun.elapsed()), ("b1", ms(0)));
}

#[tokio::test(start_paused = true)]
async fn law_24_each_providers_models_go_through_its_own_client() {
    let world = world("a1@a b1@b a2@a");
    for (model, provider) in [("b1", "b"), ("a2", "a")] {
        let before = world.script.readied(provider);
        answer(world.ask_of(model).await);
        assert_eq!(world.script.readied(provider), before + 1);
    }
    assert_eq!((world.script.readied("a"), world.script.readied("b")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn law_24_a_full_client_of_one_provider_charges_no_model_of_another() {
    let world = setup("a1@a b1@b").layer(|layer| layer.attempt_timeout(secs(5))).build();
    world.script.ready("a", Readiness::Never);
    world.script.play("b1", [Act::Answer(200, secs(4))]);
    let (_, served) = answer(world.ask().await);
    assert_about(attempts(&served)[0].took, secs(4));
    advance(secs(1)).await;
    assert_eq!((world.failures("b1"), world.failures("@b")), (0, 0));
}
