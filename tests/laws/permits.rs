//! Laws 2 to 5: permits, probes, hangs and rejections.

use crate::{
    script::{Act, Fault, Readiness, scripted_panic},
    world::{Req, World, answer, attempts, fates, ms, secs, served, setup, skip, trips_after, world},
};
use futures::{FutureExt, future::join_all, poll};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};
use tokio::time::{advance, timeout};
use tower::ServiceExt;
use tower_failover::{Answer, Budget, Cause, Command, Error, FailoverLayer, Finish, Skip, State, Verdict, Whose};

fn hanging(names: &str) -> World {
    let world = world(names);
    world.script.play("a1", [Act::Hang]);
    world
}

/// Polls a request to a hanging model once, and drops it after so long.
async fn impatient(world: &World, patience: Duration) {
    let mut call = world.begin();
    assert!(poll!(&mut call).is_pending());
    advance(patience).await;
}

#[tokio::test(start_paused = true)]
async fn law_02_a_cancelled_call_is_neutral() {
    let world = hanging("a1@a");
    let mut call = world.begin();
    assert!(poll!(&mut call).is_pending());
    assert_eq!(world.in_flight(), 2);
    drop(call);
    assert_eq!((world.in_flight(), world.failures("a1"), world.failures("@a")), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_02_a_cancelled_call_ends_no_row_of_failures() {
    let world = world("a1@a");
    world.script.play("a1", [Act::from(503), Act::Hang]);
    answer(world.ask().await);
    impatient(&world, ms(10)).await;
    assert_eq!((world.failures("a1"), world.failures("@a")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn law_02_a_cancelled_probe_frees_its_place_at_once() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.half_open("a1").await;
    world.script.play("a1", [Act::Hang, Act::from(200)]);
    let mut probe = world.begin();
    assert!(poll!(&mut probe).is_pending());
    assert!(matches!(skip(&served(world.ask().await), "a1"), Skip::ProbesTaken(Whose::Model, _)));
    drop(probe);
    assert_eq!((world.state("a1"), world.breaker("a1").probes), (State::HalfOpen, 0));
    assert_eq!(answer(world.ask().await).0, 200);
}

#[tokio::test(start_paused = true)]
async fn law_02_a_cancelled_probe_of_the_provider_frees_its_place_at_once() {
    let world = setup("a1@a").provider_breakers(trips_after(1)).build();
    world.script.play("a1", [Act::from(Fault::Connect), Act::Hang, Act::from(200)]);
    let _ = world.ask().await;
    advance(secs(10)).await;
    let mut probe = world.begin();
    assert!(poll!(&mut probe).is_pending());
    assert!(matches!(skip(&served(world.ask().await), "a1"), Skip::ProbesTaken(Whose::Provider, _)));
    drop(probe);
    assert_eq!(answer(world.ask().await).0, 200);
}

async fn panics_once(act: Act) {
    let world = world("a1@a b1@b");
    world.script.play("a1", [act]);
    let outcome = AssertUnwindSafe(world.ask()).catch_unwind().await;
    assert!(outcome.is_err(), "the panic goes on unwinding");
    assert_eq!((world.failures("a1"), world.failures("@a"), world.in_flight()), (1, 0, 0));
    assert_eq!(world.script.called(), ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn law_02_a_panic_in_call_is_one_failure_and_goes_on_unwinding() {
    panics_once(Act::PanicInCall).await;
}

#[tokio::test(start_paused = true)]
async fn law_02_a_panic_in_poll_is_one_failure_and_goes_on_unwinding() {
    panics_once(Act::PanicInPoll).await;
}

#[tokio::test(start_paused = true)]
async fn law_02_a_panic_of_the_callers_classifier_is_nothing_to_the_model() {
    let world = setup("a1@a").judge(|_| scripted_panic()).build();
    world.script.play("a1", [Act::Answer(200, secs(60))]);
    assert!(AssertUnwindSafe(world.ask()).catch_unwind().await.is_err());
    assert_eq!((world.failures("a1"), world.failures("@a"), world.in_flight()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_02_a_panic_in_another_task_is_nothing_to_us() {
    let world = world("a1@a");
    world.script.play("a1", [Act::Answer(200, ms(20))]);
    let neighbour = tokio::spawn(async {
        tokio::time::sleep(ms(10)).await;
        scripted_panic();
    });
    assert_eq!(answer(world.ask().await).0, 200);
    assert!(neighbour.await.is_err());
    assert_eq!((world.failures("a1"), world.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_02_a_panic_of_the_caller_that_drops_us_is_nothing_to_us() {
    let world = hanging("a1@a");
    let mut call = world.begin();
    assert!(poll!(&mut call).is_pending());
    let unwound = catch_unwind(AssertUnwindSafe(move || {
        let _call = call;
        scripted_panic();
    }));
    assert!(unwound.is_err());
    assert_eq!((world.failures("a1"), world.failures("@a"), world.in_flight()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_03_a_half_open_model_gets_one_of_many_concurrent_requests() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.half_open("a1").await;
    world.script.play("a1", [Act::Answer(200, secs(1))]);
    let outcomes = join_all((0..10).map(|_| world.ask())).await;
    let models: Vec<String> =
        outcomes.into_iter().map(|outcome| answer(outcome).1.model().unwrap().name().to_owned()).collect();
    assert_eq!(models[0], "a1");
    assert!(models[1..].iter().all(|model| model == "b1"), "{models:?}");
    assert_eq!(world.script.calls_of("a1"), 1 + 1);
}

#[tokio::test(start_paused = true)]
async fn law_03_a_probe_that_times_out_is_heard_however_dense_the_traffic() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).layer(|layer| layer.attempt_timeout(ms(100))).build();
    world.half_open("a1").await;
    world.script.play("a1", [Act::Hang]);
    // Timers end on whole milliseconds; leases do not.
    advance(Duration::from_micros(350)).await;
    let mut probe = tokio::spawn(world.begin());
    tokio::task::yield_now().await;
    // One request a tenth of a millisecond, well beyond the probe's lease.
    for _ in 0..2_000 {
        let _ = world.ask().await;
        advance(Duration::from_micros(100)).await;
    }
    assert!((&mut probe).now_or_never().is_some(), "it has failed over");
    assert_eq!(world.script.calls_of("a1"), 2, "the trip and one probe: nobody got its place before it was heard");
    assert_eq!(world.state("a1"), State::Open);
}

/// A probe that nobody polls; when its lease ends another caller gets its place, and its own late success says
/// nothing.
async fn lease_ends(world: World, lease: Duration) {
    world.half_open("a1").await;
    world.script.play("a1", [Act::Answer(200, ms(10)), Act::Hang]);
    let (mut first, mut second) = (world.begin(), world.begin());
    assert!(poll!(&mut first).is_pending());
    advance(lease - ms(1)).await;
    assert_eq!(skip(&served(world.ask().await), "a1"), Skip::ProbesTaken(Whose::Model, ms(1)));
    advance(ms(1)).await;
    assert!(poll!(&mut second).is_pending());
    assert_eq!(world.script.calls_of("a1"), 3);
    assert_eq!(answer(first.await).0, 200);
    assert_eq!((world.state("a1"), world.breaker("a1").probes), (State::HalfOpen, 1));
}

#[tokio::test(start_paused = true)]
async fn law_03_the_lease_of_a_probe_is_the_attempt_timeout() {
    let breaker = trips_after(1).close_after(1, 1);
    lease_ends(setup("a1@a").breakers(breaker).layer(|layer| layer.attempt_timeout(secs(7))).build(), secs(7)).await;
}

#[tokio::test(start_paused = true)]
async fn law_03_the_lease_of_a_probe_is_the_models_own_timeout() {
    let breaker = trips_after(1).close_after(1, 1);
    let world = setup("a1@a").breakers(breaker).models(|model| model.attempt_timeout(secs(3))).build();
    lease_ends(world, secs(3)).await;
}

#[tokio::test(start_paused = true)]
async fn law_03_a_probes_place_is_free_once_it_is_decided() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.half_open("a1").await;
    answer(world.ask().await);
    assert_eq!((world.state("a1"), world.breaker("a1").probes), (State::HalfOpen, 0));
    answer(world.ask().await);
    assert_eq!(world.state("a1"), State::Closed);
}

fn default_breaker(names: &str) -> World {
    let world = setup(names).breakers(tower_failover::BreakerConfig::default()).build();
    world.script.play("a1", [Act::Hang]);
    world
}

#[tokio::test(start_paused = true)]
async fn law_04_fifty_outer_timeouts_on_a_hanging_model_open_its_breaker() {
    let world = default_breaker("a1@a b1@b");
    for _ in 0..50 {
        let _ = timeout(secs(2), world.ask()).await;
    }
    assert_eq!((world.state("a1"), world.in_flight()), (State::Open, 0));
    assert_eq!((world.script.calls_of("a1"), world.script.calls_of("b1")), (5, 45));
}

#[tokio::test(start_paused = true)]
async fn law_04_fifty_outer_timeouts_at_one_moment_open_its_breaker() {
    let world = default_breaker("a1@a");
    join_all((0..50).map(|_| timeout(secs(2), world.ask()))).await;
    assert_eq!(world.state("a1"), State::Open);
    assert_eq!(world.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn law_04_fifty_short_impatiences_are_neutral() {
    let world = default_breaker("a1@a");
    for _ in 0..50 {
        let _ = timeout(ms(900), world.ask()).await;
    }
    assert_eq!((world.state("a1"), world.failures("a1"), world.script.calls_of("a1")), (State::Closed, 0, 50));
}

#[tokio::test(start_paused = true)]
async fn law_04_far_longer_is_at_least_a_second() {
    for (patience, failures) in [(ms(999), 0), (secs(1), 1)] {
        let world = hanging("a1@a");
        impatient(&world, patience).await;
        assert_eq!((world.failures("a1"), world.failures("@a")), (failures, failures), "{patience:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_04_far_longer_is_three_times_what_the_model_usually_takes() {
    for (patience, failures) in [(ms(5_900), 0), (ms(6_100), 1)] {
        let world = world("a1@a");
        world.script.play("a1", [Act::Answer(200, secs(2))]);
        answer(world.ask().await);
        world.script.play("a1", [Act::Hang]);
        impatient(&world, patience).await;
        assert_eq!(world.failures("a1"), failures, "{patience:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_04_a_drop_after_a_later_call_was_answered_is_neutral() {
    let world = world("a1@a");
    world.script.play("a1", [Act::Hang, Act::from(200)]);
    let mut slow = world.begin();
    assert!(poll!(&mut slow).is_pending());
    advance(ms(1)).await;
    answer(world.ask().await);
    advance(secs(60)).await;
    drop(slow);
    assert_eq!((world.failures("a1"), world.failures("@a"), world.in_flight()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_04_even_a_later_failure_that_is_an_answer_shows_that_the_model_lives() {
    let world = world("a1@a");
    world.script.play("a1", [Act::Hang, Act::from(400)]);
    let mut slow = world.begin();
    assert!(poll!(&mut slow).is_pending());
    advance(ms(1)).await;
    answer(world.ask().await);
    advance(secs(60)).await;
    drop(slow);
    assert_eq!(world.failures("a1"), 0);
}

#[tokio::test(start_paused = true)]
async fn law_04_an_answer_to_an_earlier_call_excuses_nobody() {
    let world = world("a1@a");
    world.script.play("a1", [Act::Answer(200, secs(5)), Act::Hang]);
    let mut earlier = world.begin();
    assert!(poll!(&mut earlier).is_pending());
    advance(ms(1)).await;
    let mut hung = world.begin();
    assert!(poll!(&mut hung).is_pending());
    answer(earlier.await);
    advance(secs(60)).await;
    drop(hung);
    assert_eq!(world.failures("a1"), 1);
}

#[tokio::test(start_paused = true)]
async fn law_04_no_clock_runs_before_the_first_poll() {
    let world = hanging("a1@a");
    let mut call = world.begin();
    advance(secs(100)).await;
    assert_eq!((world.script.calls().len(), world.in_flight()), (0, 0));
    assert!(poll!(&mut call).is_pending());
    advance(ms(500)).await;
    drop(call);
    assert_eq!((world.failures("a1"), world.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_04_no_clock_runs_while_the_client_is_not_ready() {
    let world = hanging("a1@a");
    world.script.ready("a", Readiness::After(secs(10)));
    let _ = timeout(ms(10_500), world.ask()).await;
    assert_eq!((world.script.calls_of("a1"), world.failures("a1")), (1, 0));
    world.script.ready("a", Readiness::Never);
    let _ = timeout(secs(20), world.ask()).await;
    assert_eq!((world.script.calls_of("a1"), world.failures("a1"), world.in_flight()), (1, 0, 0));
}

/// Hands the permit on with the answer.
struct HandsOn;

impl Finish<u16> for HandsOn {
    type Response = Answer<u16>;

    fn finish(&self, answer: Answer<u16>) -> Answer<u16> {
        answer
    }
}

#[tokio::test(start_paused = true)]
async fn law_04_a_permit_that_the_caller_holds_after_the_answer_is_in_flight_and_then_neutral() {
    let world = world("a1@a");
    world.script.play("a1", [503]);
    let layer = FailoverLayer::builder(world.models.clone()).finish(HandsOn).build().unwrap();
    let engine = layer.by_provider(world.script.clients());
    let held = engine.clone().oneshot(Req::default()).await.unwrap();
    advance(secs(60)).await;
    assert_eq!(world.model("a1").in_flight, 1);
    drop(held);
    assert_eq!((world.model("a1").in_flight, world.failures("a1")), (0, 0));
    let held = engine.oneshot(Req::default()).await.unwrap();
    held.permit.expect("its own").settle(&Verdict::model_failed());
    assert_eq!((world.model("a1").in_flight, world.failures("a1")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn law_04_a_probe_that_hangs_has_failed() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.half_open("a1").await;
    world.script.play("a1", [Act::Hang]);
    impatient(&world, secs(2)).await;
    assert_eq!((world.state("a1"), world.breaker("a1").cause), (State::Open, Some(Cause::ProbesFailed)));
}

#[tokio::test(start_paused = true)]
async fn law_05_a_breaker_that_opens_while_the_client_is_awaited_is_a_skip_and_no_attempt() {
    let world = setup("a1@a b1@b").layer(|layer| layer.max_attempts(1)).build();
    world.script.ready("a", Readiness::After(secs(1)));
    let mut call = world.begin();
    assert!(poll!(&mut call).is_pending());
    world.command("a1", Command::ForceOpen);
    let (_, served) = answer(call.await);
    assert_eq!(fates(&served), [("a1".to_owned(), Some(Skip::ForcedOpen(Whose::Model))), ("b1".to_owned(), None)]);
    assert_eq!((served.attempts(), world.script.called().len()), (1, 1));
    assert_eq!((world.model("a1").calls, world.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_05_a_models_probe_is_given_back_when_its_provider_refuses() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.half_open("a1").await;
    world.script.ready("a", Readiness::After(secs(1)));
    let mut call = world.begin();
    assert!(poll!(&mut call).is_pending());
    world.command("@a", Command::ForceOpen);
    let (_, served) = answer(call.await);
    assert_eq!(skip(&served, "a1"), Skip::ForcedOpen(Whose::Provider));
    assert_eq!((world.breaker("a1").probes, world.in_flight()), (0, 0));
}

/// The third model of one provider is a paid failover; it is lost while its client is awaited.
async fn paid_and_lost(lose: impl FnOnce(&World)) -> World {
    let budget = Budget::default().burst(1.0).share_of_calls(0.0).per_second(0.0);
    let world = setup("a1@a a2@a a3@a").providers(|provider| provider.budget(budget.clone())).build();
    world.script.play("a1", [503]);
    world.script.play("a2", [503]);
    world.script.ready("a", Readiness::After(secs(1)));
    let mut call = world.begin();
    for _ in 0..2 {
        assert!(poll!(&mut call).is_pending());
        assert_eq!(world.provider("a").budget_left, 1.0);
        advance(secs(1) + ms(1)).await;
    }
    assert!(poll!(&mut call).is_pending());
    assert_eq!((world.script.calls().len(), world.provider("a").budget_left), (2, 0.0));
    lose(&world);
    let (status, served) = answer(call.await);
    assert_eq!((status, served.attempts(), served.all_failed()), (503, 2, true));
    world
}

#[tokio::test(start_paused = true)]
async fn law_05_a_candidate_rejected_after_it_was_planned_costs_no_budget() {
    let world = paid_and_lost(|world| world.command("a3", Command::ForceOpen)).await;
    assert_eq!(world.provider("a").budget_left, 1.0);
}

#[tokio::test(start_paused = true)]
async fn law_05_a_candidate_whose_client_is_never_ready_costs_no_budget() {
    let world = paid_and_lost(|world| world.script.ready("a", Readiness::Never)).await;
    assert_eq!(world.provider("a").budget_left, 1.0);
}

#[tokio::test(start_paused = true)]
async fn law_05_a_request_dropped_before_it_is_sent_costs_no_budget() {
    let budget = Budget::default().burst(1.0).share_of_calls(0.0).per_second(0.0);
    let world = setup("a1@a a2@a a3@a").providers(|provider| provider.budget(budget.clone())).build();
    world.script.play("a1", [503]);
    world.script.play("a2", [503]);
    world.script.ready("a", Readiness::After(secs(1)));
    let mut call = world.begin();
    for _ in 0..2 {
        assert!(poll!(&mut call).is_pending());
        advance(secs(1) + ms(1)).await;
    }
    assert!(poll!(&mut call).is_pending());
    assert_eq!(world.provider("a").budget_left, 0.0);
    drop(call);
    assert_eq!(world.provider("a").budget_left, 1.0);
}

#[tokio::test(start_paused = true)]
async fn law_05_rejections_are_no_outcomes() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.trip("a1").await;
    world.command("@a", Command::ForceOpen);
    let before = (world.breaker("a1"), world.breaker("@a"), world.model("a1").calls);
    for _ in 0..100 {
        assert!(matches!(world.ask().await, Err(Error::Unavailable { .. })));
    }
    assert_eq!((world.breaker("a1"), world.breaker("@a"), world.model("a1").calls), before);
}

#[tokio::test(start_paused = true)]
async fn law_05_stragglers_do_not_extend_an_open_state() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.script.play("a1", (1..=5).map(|second| Act::Answer(503, secs(second))));
    join_all((0..5).map(|_| world.ask())).await;
    let breaker = world.breaker("a1");
    assert_eq!((breaker.state, breaker.open_wait_doublings), (State::Open, 1));
    assert!(breaker.retry_in.unwrap() <= secs(6), "{breaker:?}");
    assert_eq!(attempts(&served(world.ask().await)).len(), 1, "its last resort");
}

#[tokio::test(start_paused = true)]
async fn law_05_stragglers_limited_without_a_header_do_not_extend_the_cooldown() {
    let world = world("a1@a");
    world.script.play("a1", [Act::Answer(429, ms(10))]);
    join_all((0..10).map(|_| world.ask())).await;
    let cooldown = world.breaker("a1").cooldown.unwrap();
    assert!(cooldown <= ms(1_100), "ten of one burst are one step of the doubling, not {cooldown:?}");
}

#[tokio::test(start_paused = true)]
async fn law_01_a_late_success_of_an_earlier_generation_closes_nothing() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.script.play("a1", [Act::Answer(200, secs(30)), Act::from(503)]);
    let mut late = world.begin();
    assert!(poll!(&mut late).is_pending());
    answer(world.ask().await);
    assert_eq!(world.state("a1"), State::Open);
    assert_eq!(answer(late.await).0, 200);
    assert_eq!((world.state("a1"), world.in_flight()), (State::Open, 0));
}

#[tokio::test(start_paused = true)]
async fn law_03_a_late_probe_does_not_touch_the_score() {
    let lone = setup("a1@a").breakers(trips_after(1)).provider_breakers(trips_after(1));
    let world = lone.layer(|layer| layer.attempt_timeout(secs(10)).protect_probes(false)).build();
    world.command("@a", Command::Disable);
    world.half_open("a1").await;
    world.script.play("a1", [Act::Hang, Act::from(200)]);
    let mut late = world.begin();
    assert!(poll!(&mut late).is_pending());
    advance(secs(11)).await;
    answer(world.ask().await);
    let before = world.model("a1");
    assert!(late.await.is_err());
    assert_eq!(world.model("a1").outcomes, before.outcomes);
}
