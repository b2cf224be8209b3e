//! Law 15: the deadline, and the reserve of every attempt but the last.

use crate::{
    script::{Act, Fault, Readiness},
    world::{Setup, World, answer, assert_about, attempts, ms, secs, served, setup, skip, tried, trips_after, world},
};
use std::time::Duration;
use tokio::time::{Instant, advance};
use tower_failover::{Budget, Command, Error, Plan, Replay, Skip};

/// All models hang; how long each attempt of one request took.
async fn took(world: &World, plan: Plan) -> Vec<Duration> {
    for model in world.models.iter() {
        world.script.play(model.name(), [Act::Hang]);
    }
    let begun = Instant::now();
    let error = world.send(plan).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_about(error.served().unwrap().elapsed(), begun.elapsed());
    attempts(error.served().unwrap()).iter().map(|tried| tried.took).collect()
}

#[track_caller]
fn assert_took(took: &[Duration], expected: &[u64]) {
    assert_eq!(took.len(), expected.len(), "{took:?}");
    for (took, expected) in took.iter().zip(expected) {
        assert_about(*took, ms(*expected));
    }
}

#[tokio::test(start_paused = true)]
async fn law_15_the_defaults_give_120_s_120_s_and_what_is_left() {
    assert_took(&took(&world("a1@a b1@b c1@c d1@d"), Plan::new()).await, &[120_000, 120_000, 60_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_every_attempt_but_the_last_leaves_a_quarter_of_the_time_left() {
    let plan = Plan::new().deadline(secs(40));
    assert_took(&took(&world("a1@a b1@b c1@c"), plan).await, &[30_000, 7_500, 2_500]);
}

#[tokio::test(start_paused = true)]
async fn law_15_the_reserve_is_at_most_30_s() {
    let world = setup("a1@a b1@b").layer(|layer| layer.attempt_timeout(secs(1_000))).build();
    assert_took(&took(&world, Plan::new()).await, &[270_000, 30_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_the_only_one_may_use_all_the_time() {
    assert_took(&took(&world("a1@a"), Plan::new().deadline(secs(40))).await, &[40_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_a_request_without_fallback_may_use_all_the_time() {
    assert_took(&took(&world("a1@a b1@b"), Plan::new().deadline(secs(40)).no_fallback()).await, &[40_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_the_last_of_max_attempts_may_use_all_the_time() {
    let world = setup("a1@a b1@b c1@c").layer(|layer| layer.max_attempts(2)).build();
    assert_took(&took(&world, Plan::new().deadline(secs(40))).await, &[30_000, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_one_whose_followers_are_all_open_may_use_all_the_time() {
    let world = world("a1@a b1@b c1@c");
    world.command("b1", Command::ForceOpen);
    world.command("@c", Command::ForceOpen);
    assert_took(&took(&world, Plan::new().deadline(secs(40))).await, &[40_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_one_whose_followers_cost_too_much_may_use_all_the_time() {
    let world = setup("a1@a b1@b").models(|model| model.cost(1.0)).build();
    assert_took(&took(&world, Plan::new().deadline(secs(40)).max_cost(1.5)).await, &[40_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_one_whose_followers_are_beyond_the_budget_may_use_all_the_time() {
    let budget = Budget::default().burst(0.0).share_of_calls(0.0).per_second(0.0);
    let world = setup("a1@a a2@a a3@a").providers(|provider| provider.budget(budget.clone())).build();
    assert_took(&took(&world, Plan::new().deadline(secs(40))).await, &[30_000, 10_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_one_after_which_nothing_may_be_replayed_may_use_all_the_time() {
    // Who is cut off by the timer may have executed it, so nobody is asked after that.
    let world = setup("a1@a b1@b").layer(|layer| layer.replay(Replay::NotExecuted)).build();
    assert_took(&took(&world, Plan::new().deadline(secs(40))).await, &[40_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_a_last_resort_after_which_nobody_can_be_asked_may_use_all_the_time() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.trip("a1").await;
    world.command("b1", Command::ForceOpen);
    assert_took(&took(&world, Plan::new().deadline(secs(40))).await, &[40_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_a_last_resort_leaves_a_reserve_for_the_next_provider() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.trip("a1 b1").await;
    assert_took(&took(&world, Plan::new().deadline(secs(4))).await, &[3_000, 1_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_a_models_own_timeout_counts_for_it_alone() {
    let world = setup("a1@a b1@b")
        .models(|model| if model.name() == "a1" { model.attempt_timeout(secs(5)) } else { model })
        .layer(|layer| layer.attempt_timeout(secs(20)))
        .build();
    assert_took(&took(&world, Plan::new()).await, &[5_000, 20_000]);
}

#[tokio::test(start_paused = true)]
async fn law_15_waiting_for_clients_ends_by_the_deadline_too() {
    let world = world("a1@a b1@b");
    world.script.ready("a", Readiness::Never);
    world.script.ready("b", Readiness::Never);
    let error = world.send(Plan::new().deadline(secs(40))).await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    let served = error.served().unwrap();
    assert_about(served.elapsed(), secs(40));
    assert_eq!((skip(served, "a1"), skip(served, "b1")), (Skip::NotReady, Skip::NotReady));
}

/// The first one's client is never ready, which costs neither an attempt nor money: the next can still be asked.
async fn waits_in_vain(setup: Setup, plan: Plan) {
    let world = setup.build();
    world.script.ready("a", Readiness::Never);
    let (_, served) = answer(world.send(plan.deadline(secs(40))).await);
    assert_about(served.elapsed(), secs(30));
    assert_eq!((skip(&served, "a1"), tried(&served)), (Skip::NotReady, vec!["b1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn law_15_waiting_for_the_client_of_the_last_attempt_leaves_a_reserve() {
    waits_in_vain(setup("a1@a b1@b").layer(|layer| layer.max_attempts(1)), Plan::new()).await;
}

#[tokio::test(start_paused = true)]
async fn law_15_waiting_for_the_client_of_the_last_that_can_be_paid_leaves_a_reserve() {
    waits_in_vain(setup("a1@a b1@b").models(|model| model.cost(1.0)), Plan::new().max_cost(1.5)).await;
}

#[tokio::test(start_paused = true)]
async fn law_15_nobody_is_asked_once_the_deadline_has_passed() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [Act::Fail(Fault::Reset, secs(29))]);
    let plan = Plan::new().deadline(secs(30)).no_fallback();
    assert_eq!(tried(&served(world.send(plan).await)), ["a1"]);
    world.script.play("a1", [Act::Hang]);
    world.script.play("b1", [Act::Hang]);
    let served = served(world.send(Plan::new().deadline(ms(1))).await);
    assert!(served.elapsed() <= ms(3), "{served:?}");
}

#[tokio::test(start_paused = true)]
async fn law_15_what_a_model_usually_takes_never_cancels_a_call() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [Act::Answer(200, ms(10))]);
    for _ in 0..30 {
        answer(world.ask().await);
    }
    world.script.play("a1", [Act::Answer(200, secs(119))]);
    assert_eq!(answer(world.ask().await).1.model().unwrap().name(), "a1");
}

#[tokio::test(start_paused = true)]
async fn law_15_the_deadline_runs_from_the_first_poll() {
    let world = world("a1@a");
    world.script.play("a1", [Act::Answer(200, secs(9))]);
    let call = world.begin_with(Plan::new().deadline(secs(10)));
    advance(secs(100)).await;
    assert_eq!(answer(call.await).0, 200);
}

#[tokio::test(start_paused = true)]
async fn law_15_an_answer_at_the_last_moment_counts() {
    let setup: Setup = setup("a1@a").layer(|layer| layer.deadline(secs(10)));
    let world = setup.build();
    world.script.play("a1", [Act::Answer(200, ms(9_990))]);
    assert_eq!(answer(world.ask().await).0, 200);
}
