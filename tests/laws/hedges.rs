//! Two attempts at once: hedges, and the protection of who carries a probe (law 9).

use crate::{
    script::{Act, Fault, Readiness},
    world::{
        Req, World, answer, assert_about, attempts, fates, judge, ms, secs, served, setup, skip, tried, trips_after,
    },
};
use futures::poll;
use std::time::Duration;
use tokio::time::{advance, sleep, timeout};
use tower::ServiceExt;
use tower_failover::{
    Budget, Charge, Executed, FailoverLayer, Hedge, Plan, Replay, Resend, Skip, State, Why, WithServed, classify,
    defaults::PROTECT_FLOOR,
};

/// Hedges after one second.
fn hedged(names: &str) -> World {
    setup(names).layer(|layer| layer.hedge(Hedge::after(secs(1)))).build()
}

/// The same, where everybody is known to take four seconds: short of twelve nothing is a hang.
async fn slow_by_nature(names: &str) -> World {
    let world = hedged(names);
    for name in ["a1", "b1"] {
        world.script.play(name, [Act::Answer(200, secs(4))]);
        answer(world.ask_of(name).await);
    }
    world.script.forget();
    world
}

/// How many calls of the same request were under way when each came.
fn beside(world: &World) -> Vec<usize> {
    world.script.calls().iter().map(|call| call.beside).collect()
}

#[tokio::test(start_paused = true)]
async fn law_09_a_probe_that_hangs_costs_its_user_about_a_second_and_has_failed() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.half_open("a1").await;
    world.script.play("a1", [Act::Hang]);
    let (status, served) = answer(world.ask().await);
    assert_eq!((status, tried(&served)), (200, vec!["a1".to_owned(), "b1".to_owned()]));
    assert_about(served.elapsed(), PROTECT_FLOOR);
    let lost = &attempts(&served)[0];
    assert_eq!((&lost.why, lost.charge, lost.executed), (&Why::Lost, Charge::Nobody, Executed::Maybe));
    assert_eq!((world.state("a1"), world.breaker("a1").probes), (State::Open, 0), "it has failed");
    assert_about(world.breaker("a1").retry_in.expect("open"), secs(20));
    assert_eq!((world.in_flight(), world.script.under_way()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_09_the_probe_of_a_provider_that_hangs_has_failed_as_well() {
    let world = setup("a1@a b1@b").provider_breakers(trips_after(1)).build();
    world.script.play("a1", [Fault::Connect]);
    answer(world.ask().await);
    assert_eq!(world.state("@a"), State::Open);
    advance(secs(10)).await;
    world.script.play("a1", [Act::Hang]);
    let (_, served) = answer(world.ask().await);
    assert_about(served.elapsed(), PROTECT_FLOOR);
    assert_eq!((world.state("@a"), world.breaker("@a").probes, world.failures("a1")), (State::Open, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_09_a_probe_that_wins_has_succeeded_and_the_other_call_is_neutral() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.half_open("a1").await;
    world.script.play("a1", [Act::Answer(200, ms(1_500))]);
    world.script.play("b1", [Act::Answer(200, secs(5))]);
    let (_, served) = answer(world.ask().await);
    assert_about(served.elapsed(), ms(1_500));
    assert_eq!((served.model().unwrap().name(), tried(&served)), ("a1", vec!["b1".to_owned(), "a1".to_owned()]));
    assert_eq!((world.state("a1"), world.state("b1"), world.failures("b1")), (State::HalfOpen, State::Closed, 0));
    assert_eq!((world.breaker("a1").probes, world.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_protected_after_what_the_next_model_usually_takes() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.script.play("b1", [Act::Answer(200, secs(4))]);
    for _ in 0..20 {
        answer(world.ask_of("b1").await);
    }
    world.half_open("a1").await;
    world.script.play("a1", [Act::Hang]);
    let (_, served) = answer(world.ask().await);
    let (least, most) = (secs(8), secs(8) + ms(500));
    assert!(served.elapsed() >= least && served.elapsed() <= most, "{:?}", served.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_probe_is_not_protected_where_that_is_not_wanted_or_not_allowed() {
    for replay in [Replay::Maybe, Replay::NotExecuted] {
        let protect = replay == Replay::NotExecuted;
        let layered = setup("a1@a b1@b").breakers(trips_after(1));
        let world = layered.layer(move |layer| layer.replay(replay).protect_probes(protect)).build();
        world.half_open("a1").await;
        world.script.play("a1", [Act::Hang]);
        let served = served(world.ask().await);
        assert!(served.elapsed() > secs(60), "{replay:?}: {:?}", served.elapsed());
        assert!(beside(&world).iter().all(|beside| *beside == 0), "{replay:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_good_answer_wins() {
    for (a, b, wins, after) in [
        (Act::Answer(200, ms(900)), Act::Answer(200, ms(1)), "a1", ms(900)),
        (Act::Answer(200, secs(9)), Act::Answer(200, ms(500)), "b1", ms(1_500)),
        (Act::Answer(200, secs(2)), Act::Answer(200, secs(5)), "a1", secs(2)),
        (Act::Hang, Act::Answer(200, secs(5)), "b1", secs(6)),
        // A failure is no good answer, whichever it is.
        (Act::Answer(200, secs(3)), Act::Answer(503, ms(1)), "a1", secs(3)),
        (Act::Answer(503, secs(2)), Act::Answer(200, secs(5)), "b1", secs(6)),
        (Act::Fail(Fault::Reset, secs(2)), Act::Answer(200, secs(5)), "b1", secs(6)),
        // What is the caller's own fault is an answer.
        (Act::Answer(400, secs(2)), Act::Answer(200, secs(5)), "a1", secs(2)),
    ] {
        let world = slow_by_nature("a1@a b1@b").await;
        world.script.play("a1", [a]);
        world.script.play("b1", [b]);
        let (_, served) = answer(world.ask().await);
        let at = format!("{a:?} {b:?}: {served}");
        assert_eq!(served.model().unwrap().name(), wins, "{at}");
        assert_about(served.elapsed(), after);
        assert_eq!(world.script.calls().len(), served.attempts(), "law 14: {at}");
        assert_eq!((world.in_flight(), world.script.under_way()), (0, 0), "{at}");
        let both = after > secs(1);
        assert_eq!(beside(&world), if both { vec![0, 1] } else { vec![0] }, "{at}");
        // Who lost is blamed for nothing, nor credited.
        let lost = attempts(&served).into_iter().filter(|tried| tried.why == Why::Lost).count();
        let failed = matches!(a, Act::Answer(503, _) | Act::Fail(..)) || matches!(b, Act::Answer(503, _));
        assert_eq!(lost, usize::from(both && !failed), "{at}");
        assert_eq!(world.failures("a1"), u32::from(failed && wins == "b1"), "{at}");
        assert_eq!(world.failures("b1"), u32::from(failed && wins == "a1"), "{at}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_04_a_call_that_loses_after_far_too_long_was_hanging() {
    let world = setup("a1@a b1@b").layer(|layer| layer.hedge(Hedge::after(secs(3)))).build();
    world.script.play("a1", [Act::Hang]);
    answer(world.ask().await);
    assert_eq!((world.failures("a1"), world.failures("@a")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn when_both_fail_the_third_is_asked() {
    let world = hedged("a1@a b1@b c1@c");
    world.script.play("a1", [Act::Answer(503, secs(2))]);
    world.script.play("b1", [Act::Answer(503, secs(3))]);
    let (_, served) = answer(world.ask().await);
    assert_eq!(tried(&served), ["a1", "b1", "c1"]);
    assert_about(served.elapsed(), secs(4));
    assert_eq!(beside(&world), [0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn when_the_hedge_fails_the_next_takes_its_place_at_once() {
    let world = hedged("a1@a b1@b c1@c");
    world.script.play("a1", [Act::Hang]);
    world.script.play("b1", [503]);
    let (_, served) = answer(world.ask().await);
    assert_eq!((served.model().unwrap().name(), beside(&world)), ("c1", vec![0, 1, 1]));
    assert_about(served.elapsed(), secs(1));
}

#[tokio::test(start_paused = true)]
async fn law_14_a_hedge_counts_as_an_attempt() {
    let world = setup("a1@a b1@b c1@c").layer(|layer| layer.hedge(Hedge::after(secs(1))).max_attempts(2)).build();
    world.script.play("a1", [Act::Answer(503, secs(3))]);
    world.script.play("b1", [Act::Answer(503, secs(4))]);
    let served = served(world.ask().await);
    assert_eq!((tried(&served), served.all_failed()), (vec!["a1".to_owned(), "b1".to_owned()], true));
}

#[tokio::test(start_paused = true)]
async fn a_hedge_is_paid_from_the_budget_of_whom_it_goes_to() {
    let poor = setup("a1@a b1@b").providers(|provider| {
        let tokens = if provider.name() == "b" { 0.0 } else { 9.0 };
        provider.budget(Budget::default().burst(tokens).per_second(0.001))
    });
    let world = poor.layer(|layer| layer.hedge(Hedge::after(secs(1)))).build();
    world.script.play("a1", [Act::Answer(200, secs(5))]);
    assert_eq!(tried(&answer(world.ask().await).1), ["a1"]);
    // It has not been lost: a failover, the first of which is free, goes there.
    world.script.play("a1", [Act::Answer(503, secs(5))]);
    assert_eq!(tried(&answer(world.ask().await).1), ["a1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn a_hedge_whose_client_does_not_become_ready_is_not_made() {
    let world = hedged("a1@a b1@b");
    world.script.play("a1", [Act::Answer(200, secs(5))]);
    world.script.ready("b", Readiness::Never);
    let left = world.provider("b").budget_left;
    let (_, served) = answer(world.ask().await);
    assert_eq!((tried(&served), skip(&served, "b1")), (vec!["a1".to_owned()], Skip::NotReady));
    assert_eq!(world.provider("b").budget_left, left, "given back");
}

#[tokio::test(start_paused = true)]
async fn a_quantile_is_of_the_models_own_successes_and_unknown_before_twenty() {
    for (successes, hedges) in [(19, false), (20, true)] {
        let world = setup("a1@a b1@b").layer(|layer| layer.hedge(Hedge::quantile(0.95).at_least(ms(100)))).build();
        world.script.play("a1", [Act::Answer(200, secs(2))]);
        for _ in 0..successes {
            answer(world.ask_of("a1").await);
        }
        world.script.play("a1", [Act::Answer(200, secs(60))]);
        let (_, served) = answer(world.ask().await);
        assert_eq!(served.model().unwrap().name() == "b1", hedges, "{successes}");
        if hedges {
            assert!(served.elapsed() >= secs(2) && served.elapsed() < ms(2_300), "{:?}", served.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn law_18_a_hedge_may_cost_only_what_is_left_besides_the_call_under_way() {
    for (most, hedges) in [(2.0, true), (1.5, false)] {
        let costly = setup("a1@a b1@b").models(|model| model.cost(1.0));
        let world = costly.layer(|layer| layer.hedge(Hedge::after(secs(1)))).build();
        world.script.play("a1", [Act::Answer(200, secs(5))]);
        let (_, served) = answer(world.send(Plan::new().max_cost(most)).await);
        assert_eq!(served.attempts(), if hedges { 2 } else { 1 }, "{most}");
    }
    // One that was too dear beside another can be asked once that has failed for nothing.
    let costly = setup("a1@a b1@b").models(|model| model.cost(1.0));
    let world = costly.layer(|layer| layer.hedge(Hedge::after(secs(1)))).build();
    world.script.play("a1", [Act::Answer(603, secs(5))]);
    assert_eq!(tried(&answer(world.send(Plan::new().max_cost(1.0)).await).1), ["a1", "b1"]);
}

/// A request that is no longer whole once its first copy has been sent.
#[derive(Debug, Clone, Copy)]
struct SpentAtOnce;

impl Resend<Req> for SpentAtOnce {
    type Request = Req;

    fn prepare(&self, request: Req) -> Req {
        request
    }

    fn keep(&self, request: &Req) -> Option<Req> {
        Some(Req { number: 1, ..request.clone() })
    }

    fn whole(&self, request: &Req) -> bool {
        request.number == 0
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_whole_any_more_is_not_hedged() {
    let world = hedged("a1@a b1@b c1@c");
    world.script.play("a1", [Act::Answer(200, secs(5))]);
    let layer = FailoverLayer::builder(world.models.clone()).hedge(Hedge::after(secs(1))).resend(SpentAtOnce);
    let layer = layer.classify(classify(judge)).finish(WithServed).build().expect("valid");
    let engine = layer.by_provider(world.script.clients());
    let (_, served) = engine.oneshot(Req::default()).await.expect("an answer");
    assert_eq!((tried(&served), served.could_fail_over()), (vec!["a1".to_owned()], false));
}

#[tokio::test(start_paused = true)]
async fn law_13_dropping_the_future_drops_both() {
    let world = hedged("a1@a b1@b");
    world.script.play("a1", [Act::Hang]);
    world.script.play("b1", [Act::Hang]);
    assert!(timeout(secs(2), world.ask()).await.is_err());
    assert_eq!((world.script.calls().len(), world.script.under_way(), world.in_flight()), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_02_a_panic_of_the_one_is_nothing_to_the_other() {
    let world = slow_by_nature("a1@a b1@b").await;
    world.script.play("a1", [Act::Hang]);
    world.script.play("b1", [Act::PanicInPoll]);
    let engine = tokio::spawn(world.begin());
    sleep(ms(1_100)).await;
    assert!(engine.await.is_err(), "it goes on unwinding");
    assert_eq!((world.failures("a1"), world.failures("b1"), world.in_flight()), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn law_15_a_hedge_ends_by_the_deadline_too() {
    let world = setup("a1@a b1@b").layer(|layer| layer.hedge(Hedge::after(secs(1))).deadline(secs(8))).build();
    world.script.play("a1", [Act::Hang]);
    world.script.play("b1", [Act::Hang]);
    let served = served(world.ask().await);
    assert!(served.elapsed() <= secs(8) + ms(2), "{:?}", served.elapsed());
    assert_eq!(tried(&served), ["a1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_hedged_who_has_nobody_else() {
    for plan in [Plan::new().no_fallback(), Plan::new().models(["a1"])] {
        let world = hedged("a1@a b1@b");
        world.script.play("a1", [Act::Answer(200, secs(9))]);
        let mut request = world.begin_with(plan);
        assert!(poll!(&mut request).is_pending());
        let (_, served) = answer(request.await);
        assert_eq!(tried(&served), ["a1"]);
    }
}

#[test]
fn a_hedge_that_cannot_work_is_refused() {
    for (hedge, field) in [
        (Hedge::after(Duration::ZERO), "hedge: after"),
        (Hedge::quantile(0.0), "hedge: quantile"),
        (Hedge::quantile(1.0), "hedge: quantile"),
        (Hedge::quantile(f64::NAN), "hedge: quantile"),
    ] {
        let models = setup("a1@a").registry();
        let error = tower_failover::FailoverLayer::builder(models).hedge(hedge).build().expect_err("no good");
        assert_eq!(error.field(), field);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hedge_that_was_not_made_is_told_before_the_one_that_answered() {
    let world = hedged("a1@a b1@b");
    world.script.play("a1", [Act::Answer(200, secs(5))]);
    world.script.ready("b", Readiness::Never);
    let (_, served) = answer(world.ask().await);
    let told: Vec<String> = fates(&served).into_iter().map(|(name, _)| name).collect();
    assert_eq!(told, ["b1", "a1"]);
}

#[tokio::test(start_paused = true)]
async fn law_21_a_hedge_that_cannot_be_paid_is_no_way_back_to_a_provider_in_trouble() {
    let poor = setup("a1@a a2@a b1@b").providers(|provider| {
        let tokens = if provider.name() == "a" { 0.0 } else { 9.0 };
        provider.budget(Budget::default().burst(tokens).per_second(0.001))
    });
    let world = poor.layer(|layer| layer.hedge(Hedge::after(secs(1)))).build();
    world.script.play("a1", [Act::Fail(Fault::Reset, secs(3))]);
    assert_eq!(tried(&answer(world.ask().await).1), ["a1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn each_attempt_is_hedged_after_its_own_delay() {
    let world = hedged("a1@a b1@b c1@c");
    world.script.play("a1", [Act::Answer(503, ms(500))]);
    world.script.play("b1", [Act::Answer(200, ms(990))]);
    let (_, served) = answer(world.ask().await);
    assert_eq!((tried(&served), beside(&world)), (vec!["a1".to_owned(), "b1".to_owned()], vec![0, 0]));

    // Nor is one hedged never, because the one before had nobody beside it.
    let costly = setup("a1@a b1@b c1@c").models(|model| {
        let cost = if model.name() == "a1" { 2.0 } else { 1.0 };
        model.cost(cost)
    });
    let world = costly.layer(|layer| layer.hedge(Hedge::after(secs(1)))).build();
    world.script.play("a1", [Act::Answer(603, secs(2))]);
    world.script.play("b1", [Act::Answer(200, secs(9))]);
    let (_, served) = answer(world.send(Plan::new().max_cost(2.0)).await);
    assert_eq!(tried(&served), ["a1", "b1", "c1"]);
}
