//! Laws 14, 16 and 18: how often the service is called, whose fault it was, and what may be replayed.

use crate::{
    script::{Act, Fault},
    world::{Req, World, answer, attempts, fates, ms, secs, served, setup, skip, tried, trips_after, world},
};
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use tokio::time::{Instant, advance};
use tower::ServiceExt;
use tower_failover::{
    AimError, AllFailed, Attempt, Budget, Charge, Error, Executed, Fate, Hedge, Model, Plan, Replay, Skip, aim,
};

#[tokio::test(start_paused = true)]
async fn law_14_the_service_is_called_exactly_as_often_as_served_reports() {
    let world = world("a1@a b1@b c1@c d1@d");
    world.script.play("a1", [Act::from(Fault::Connect)]);
    world.script.play("b1", [503]);
    let (status, served) = answer(world.ask().await);
    assert_eq!((status, served.all_failed()), (200, false));
    assert_eq!(tried(&served), ["a1", "b1", "c1"]);
    assert_eq!((served.attempts(), world.script.called()), (3, tried(&served)));
    assert_eq!(served.candidates().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn law_14_never_more_than_the_maximum() {
    for most in 1..=3 {
        let world = setup("a1@a b1@b c1@c d1@d").layer(move |layer| layer.max_attempts(most)).build();
        for model in ["a1", "b1", "c1", "d1"] {
            world.script.play(model, [503]);
        }
        let (_, served) = answer(world.ask().await);
        assert_eq!((world.script.called().len(), served.attempts()), (most as usize, most as usize));
        assert!(served.all_failed());
    }
}

#[tokio::test(start_paused = true)]
async fn law_14_skipped_ones_do_not_count_towards_the_maximum() {
    let world = setup("a1@a a2@a b1@b b2@b c1@c").breakers(trips_after(1)).build();
    world.trip("a1 a2 b1").await;
    world.script.play("b2", [503]);
    assert_eq!(tried(&answer(world.ask().await).1), ["b2", "c1"]);
}

#[tokio::test(start_paused = true)]
async fn law_14_never_twice_for_one_model_not_even_as_a_last_resort() {
    let world = setup("a1@a a2@a b1@b").breakers(trips_after(1)).layer(|layer| layer.max_attempts(9)).build();
    world.trip("a1 a2 b1").await;
    for model in ["a1", "a2", "b1"] {
        world.script.play(model, [503]);
    }
    let before = world.script.called().len();
    let served = served(world.ask().await);
    assert_eq!(world.script.called()[before..], ["a1", "b1"]);
    assert_eq!((served.candidates().len(), served.attempts()), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn law_14_a_model_that_cannot_be_aimed_at_after_an_attempt_is_skipped() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [503]);
    let aim = aim(|model: &Model, request: Req| match model.name() {
        "b1" => Err(AimError::other("no b")),
        _ => Ok(request),
    });
    let called = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = called.clone();
    let service = tower::service_fn(move |_: Req| {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async { Err::<u16, _>(Fault::Reset) }
    });
    let layer = tower_failover::FailoverLayer::builder(world.models.clone()).aim(aim).build().unwrap();
    let error = tower::Layer::layer(&layer, service).oneshot(Req::default()).await.unwrap_err();
    assert!(matches!(error, Error::Upstream { error: Fault::Reset, .. }), "what the last one said: {error:?}");
    assert_eq!(error.served().map(|served| skip(served, "b1")), Some(Skip::NotAimed));
    assert_eq!(called.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(error.served().map(tower_failover::Served::attempts), Some(1));
    assert_eq!((world.model("b1").in_flight, world.failures("b1"), world.failures("@b")), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_16_the_callers_own_fault_is_returned_and_counted_against_nobody() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).provider_breakers(trips_after(1)).build();
    world.script.play("a1", [400]);
    for _ in 0..30 {
        let (status, served) = answer(world.ask().await);
        assert_eq!((status, served.attempts(), served.all_failed()), (400, 1, false));
        assert_eq!(attempts(&served)[0].charge, Charge::Nobody);
    }
    assert_eq!((world.failures("a1"), world.failures("@a"), world.script.calls_of("b1")), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_16_the_callers_own_fault_is_no_success_either() {
    let world = world("a1@a");
    world.script.play("a1", [503, 400]);
    answer(world.ask().await);
    answer(world.ask().await);
    assert_eq!((world.failures("a1"), world.model("a1").usual_latency), (1, None));
}

/// Every model answers 500 to one request.
async fn poison(names: &str) -> World {
    let world = world(names);
    for model in world.models.iter() {
        world.script.play(model.name(), [500]);
    }
    answer(world.ask().await);
    world
}

#[tokio::test(start_paused = true)]
async fn law_16_after_two_models_answered_500_the_second_is_blamed_for_nothing() {
    let world = poison("a1@a b1@b").await;
    assert_eq!(world.script.called(), ["a1", "b1"]);
    assert_eq!((world.failures("a1"), world.failures("@a")), (1, 1));
    assert_eq!((world.failures("b1"), world.failures("@b")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_16_nor_is_the_third_nor_another_model_of_the_same_provider() {
    let world = poison("a1@a a2@a c1@c").await;
    assert_eq!(world.script.called(), ["a1", "a2", "c1"]);
    assert_eq!((world.failures("a1"), world.failures("@a")), (1, 1));
    assert_eq!((world.failures("a2"), world.failures("c1"), world.failures("@c")), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_16_each_request_is_judged_by_itself() {
    let world = world("a1@a");
    world.script.play("a1", [500]);
    for _ in 0..3 {
        answer(world.ask().await);
    }
    assert_eq!(world.failures("a1"), 3);
}

#[tokio::test(start_paused = true)]
async fn law_16_what_is_surely_the_models_own_failure_is_blamed_each_time() {
    let world = world("a1@a b1@b c1@c");
    world.script.play("a1", [500]);
    world.script.play("b1", [503]);
    world.script.play("c1", [500]);
    answer(world.ask().await);
    assert_eq!((world.failures("a1"), world.failures("b1"), world.failures("c1")), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn law_16_served_tells_whom_each_attempt_was_charged_to() {
    let world = world("a1@a b1@b c1@c");
    world.script.play("a1", [Act::from(Fault::Connect)]);
    world.script.play("b1", [500]);
    world.script.play("c1", [500]);
    let charges: Vec<Charge> = attempts(&served(world.ask().await)).iter().map(|tried| tried.charge).collect();
    assert_eq!(charges, [Charge::Provider, Charge::Model, Charge::Nobody]);
}

/// Whether another model is asked after a failure of this status.
async fn replays(replay: Replay, status: u16) -> bool {
    let world = setup("a1@a b1@b").layer(move |layer| layer.replay(replay)).build();
    world.script.play("a1", [status]);
    let (answered, served) = answer(world.ask().await);
    assert_eq!(answered, if served.attempts() == 2 { 200 } else { status });
    assert_eq!(served.all_failed(), served.attempts() == 1);
    served.attempts() == 2
}

#[tokio::test(start_paused = true)]
async fn law_18_replay_maybe_asks_another_after_no_and_after_maybe() {
    assert!(replays(Replay::Maybe, 603).await);
    assert!(replays(Replay::Maybe, 602).await);
    // After *yes* only before the commit: a plain call has none before its answer.
    assert!(replays(Replay::Maybe, 601).await);
    assert_eq!(Replay::default(), Replay::Maybe);
}

#[tokio::test(start_paused = true)]
async fn law_18_replay_not_executed_asks_another_only_after_no() {
    assert!(replays(Replay::NotExecuted, 603).await);
    assert!(!replays(Replay::NotExecuted, 602).await);
    assert!(!replays(Replay::NotExecuted, 601).await);
}

#[tokio::test(start_paused = true)]
async fn law_18_replay_not_executed_asks_nobody_after_a_timeout_or_a_reset() {
    for act in [Act::Hang, Act::from(Fault::Reset)] {
        let world = setup("a1@a b1@b").layer(|layer| layer.replay(Replay::NotExecuted)).build();
        world.script.play("a1", [act]);
        let error = world.ask().await.unwrap_err();
        assert_eq!(tried(error.served().unwrap()), ["a1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn law_18_a_connection_that_was_refused_was_not_executed() {
    let world = setup("a1@a b1@b").layer(|layer| layer.replay(Replay::NotExecuted)).build();
    world.script.play("a1", [Act::from(Fault::Connect)]);
    assert_eq!(tried(&answer(world.ask().await).1), ["a1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn law_18_served_tells_cost_from_cost_at_risk() {
    let costs = |model: Model| match model.name() {
        "a1" => model.cost(1.0),
        "b1" => model.cost(10.0),
        "c1" => model.cost(100.0),
        _ => model.cost(1000.0),
    };
    let world = setup("a1@a b1@b c1@c d1@d").models(costs).layer(|layer| layer.max_attempts(4)).build();
    for (model, act) in [("a1", Act::Hang), ("b1", Act::from(603)), ("c1", Act::from(601))] {
        world.script.play(model, [act]);
    }
    let (_, served) = answer(world.ask().await);
    assert_eq!((served.cost(), served.cost_at_risk()), (1100.0, 1.0));
    assert_eq!(
        attempts(&served).iter().map(|tried| tried.executed).collect::<Vec<_>>(),
        [Executed::Maybe, Executed::No, Executed::Yes, Executed::Yes]
    );
}

/// Models at one each, whose calls end in this status; who is tried under a limit.
async fn within(limit: f64, cost: f64, status: u16) -> (Vec<String>, Vec<(String, Option<Skip>)>) {
    let world = setup("a1@a b1@b c1@c").models(|model| model.cost(cost)).build();
    for model in ["a1", "b1", "c1"] {
        world.script.play(model, [status]);
    }
    let served = served(world.send(Plan::new().max_cost(limit)).await);
    assert_eq!(world.script.called(), tried(&served));
    (tried(&served), fates(&served))
}

#[tokio::test(start_paused = true)]
async fn law_18_max_cost_stops_new_attempts_and_counts_what_is_only_at_risk() {
    for status in [601, 602] {
        let (tried, fates) = within(2.5, 1.0, status).await;
        assert_eq!(tried, ["a1", "b1"]);
        assert_eq!(fates[2], ("c1".to_owned(), Some(Skip::MaxCost)));
    }
}

#[tokio::test(start_paused = true)]
async fn law_18_what_was_not_executed_does_not_count_towards_max_cost() {
    assert_eq!(within(1.0, 1.0, 603).await.0, ["a1", "b1", "c1"]);
}

#[tokio::test(start_paused = true)]
async fn law_18_max_cost_may_be_reached_exactly() {
    assert_eq!(within(3.0, 1.0, 602).await.0.len(), 3);
    // Sums of decimal fractions are not exact: 0.1 + 0.1 + 0.1 > 0.3.
    assert_eq!(within(0.3, 0.1, 602).await.0.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn law_18_nobody_is_asked_when_all_cost_too_much() {
    let world = setup("a1@a b1@b").models(|model| model.cost(2.0)).build();
    let error = world.send(Plan::new().max_cost(1.0)).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    let served = error.served().unwrap();
    assert_eq!((skip(served, "a1"), skip(served, "b1"), error.retry_in()), (Skip::MaxCost, Skip::MaxCost, None));
}

#[tokio::test(start_paused = true)]
async fn law_18_a_last_resort_may_not_cost_too_much_either() {
    let world = setup("a1@a").breakers(trips_after(1)).models(|model| model.cost(2.0)).build();
    world.trip("a1").await;
    assert_eq!(served(world.send(Plan::new().max_cost(1.0)).await).attempts(), 0);
}

/// One provider's models all fail; who is asked with no more than this budget.
async fn with_tokens(tokens: f64, names: &str) -> (World, Vec<(String, Option<Skip>)>) {
    let budget = Budget::default().burst(tokens).share_of_calls(0.0).per_second(0.0);
    let world =
        setup(names).providers(|provider| provider.budget(budget.clone())).layer(|layer| layer.max_attempts(9)).build();
    for model in world.models.iter() {
        world.script.play(model.name(), [503]);
    }
    let (status, served) = answer(world.ask().await);
    assert_eq!((status, served.all_failed()), (503, true));
    (world, fates(&served))
}

#[tokio::test(start_paused = true)]
async fn a_requests_first_failover_is_free_and_the_next_at_the_same_provider_is_paid() {
    let (world, fates) = with_tokens(0.0, "a1@a a2@a a3@a a4@a").await;
    assert_eq!(world.script.called(), ["a1", "a2"]);
    assert_eq!((&fates[2].1, &fates[3].1), (&Some(Skip::Budget), &Some(Skip::Budget)));
    let (world, _) = with_tokens(1.0, "a1@a a2@a a3@a a4@a").await;
    assert_eq!((world.script.called().len(), world.provider("a").budget_left), (3, 0.0));
}

#[tokio::test(start_paused = true)]
async fn the_first_attempt_at_each_provider_is_free() {
    let (world, _) = with_tokens(0.0, "a1@a b1@b c1@c d1@d").await;
    assert_eq!(world.script.called(), ["a1", "b1", "c1", "d1"]);
}

#[tokio::test(start_paused = true)]
async fn each_provider_pays_from_its_own_budget() {
    let (world, fates) = with_tokens(1.0, "a1@a a2@a b1@b b2@b b3@b").await;
    assert_eq!(world.script.called(), ["a1", "a2", "b1", "b2"]);
    assert_eq!((world.provider("a").budget_left, world.provider("b").budget_left), (1.0, 0.0));
    assert_eq!(fates[4].1, Some(Skip::Budget));
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_refused_gives_the_last_answer() {
    let budget = Budget::default().burst(0.0).share_of_calls(0.0).per_second(0.0);
    let world = setup("a1@a a2@a a3@a").providers(|provider| provider.budget(budget.clone())).build();
    world.script.play("a1", [503]);
    world.script.play("a2", [500]);
    let (status, served) = answer(world.ask().await);
    assert_eq!((status, served.model().unwrap().name()), (500, "a2"));
    world.script.play("a2", [Act::from(Fault::Reset)]);
    assert_eq!(world.ask().await.unwrap_err().into_inner().unwrap(), Fault::Reset);
}

#[tokio::test(start_paused = true)]
async fn calls_and_time_fill_the_budget() {
    let budget = Budget::default().burst(1.0).share_of_calls(0.25).per_second(0.1);
    let world = setup("a1@a a2@a a3@a").providers(|provider| provider.budget(budget.clone())).build();
    for model in ["a1", "a2", "a3"] {
        world.script.play(model, [503]);
    }
    answer(world.ask().await);
    assert!((world.provider("a").budget_left - 0.25).abs() < 1e-9, "of the third call, sent after the withdrawal");
    answer(world.ask_of("a1").await);
    assert!((world.provider("a").budget_left - 0.5).abs() < 1e-9);
    advance(secs(4)).await;
    assert!((world.provider("a").budget_left - 0.9).abs() < 1e-9);
}

#[tokio::test(start_paused = true)]
async fn when_all_failed_the_last_response_is_the_answer() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [503]);
    world.script.play("b1", [500]);
    let (status, served) = answer(world.ask().await);
    assert_eq!((status, served.model().unwrap().name(), served.all_failed()), (500, "b1", true));
}

#[tokio::test(start_paused = true)]
async fn when_all_failed_and_the_last_was_an_error_that_error_is_the_answer() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [503]);
    world.script.play("b1", [Act::from(Fault::Reset)]);
    let error = world.ask().await.unwrap_err();
    assert_eq!(error.get_ref(), Some(&Fault::Reset));
    let served = error.served().unwrap();
    assert!(served.all_failed() && served.model().is_none());
    assert_eq!(error.into_inner().unwrap(), Fault::Reset);
}

#[tokio::test(start_paused = true)]
async fn as_an_option_all_failed_is_always_an_error() {
    for names in ["a1@a", "a1@a b1@b"] {
        let world = setup(names).layer(|layer| layer.all_failed(AllFailed::Error)).build();
        for model in world.models.iter() {
            world.script.play(model.name(), [503]);
        }
        let error = world.ask().await.unwrap_err();
        assert!(matches!(error, Error::AllFailed { .. }), "{error:?}");
        assert_eq!(tried(error.served().unwrap()), world.script.called());
        assert_eq!((world.failures("a1"), world.in_flight()), (1, 0));
        assert!(error.into_inner().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn as_an_option_the_callers_own_fault_is_still_an_answer() {
    let world = setup("a1@a").layer(|layer| layer.all_failed(AllFailed::Error)).build();
    world.script.play("a1", [400]);
    assert_eq!(answer(world.ask().await).0, 400);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_is_aimed_at_its_model_and_gives_the_request_back() {
    let world = world("a1@a b1@b");
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let log = seen.clone();
    let service = tower::service_fn(move |attempt: Attempt<String>| {
        log.lock().unwrap().push(format!("{} {}", attempt.model().name(), attempt.get_ref()));
        let failed = attempt.model().name() == "a1";
        async move { if failed { Err(Fault::Reset) } else { Ok(attempt.into_inner()) } }
    });
    let layer = tower_failover::FailoverLayer::builder(world.models.clone()).build().unwrap();
    let text = tower::Layer::layer(&layer, service).oneshot("hello".to_owned()).await.unwrap();
    assert_eq!(text, "hello");
    assert_eq!(*seen.lock().unwrap(), ["a1 hello", "b1 hello"]);
}

#[tokio::test(start_paused = true)]
async fn the_one_that_answered_is_the_last_candidate() {
    let world = world("a1@a b1@b c1@c");
    world.script.play("a1", [503]);
    let (_, served) = answer(world.ask().await);
    let last = served.candidates().last().unwrap();
    assert_eq!(last.model.name(), "b1");
    assert!(matches!(last.fate, Fate::Tried(tried) if tried.charge == Charge::Success));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn paid_failovers_and_hedges_are_never_above_the_budget(
        (burst, share, per_second) in (0.0..4.0_f64, 0.0..0.5_f64, 0.0..0.5_f64),
        requests in prop::collection::vec((prop::collection::vec((any::<bool>(), 0..300_u64), 5), 0..2_000_u64), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let budget = Budget::default().burst(burst).share_of_calls(share).per_second(per_second);
            let setup = setup("a1@a a2@a b1@b a3@a b2@b").providers(|provider| provider.budget(budget.clone()));
            let hedged = setup.layer(|layer| layer.max_attempts(9).in_listed_order().hedge(Hedge::after(ms(100))));
            let world = hedged.build();
            let (began, mut paid_by) = (Instant::now(), HashMap::<String, u32>::new());
            for (acts, pause) in requests {
                for (model, (fails, takes)) in world.models.iter().zip(acts) {
                    world.script.play(model.name(), [Act::Answer(if fails { 503 } else { 200 }, ms(takes))]);
                }
                world.script.forget();
                answer(world.ask().await);
                advance(ms(pause)).await;

                let mut asked = HashSet::new();
                for (number, call) in world.script.calls().iter().enumerate() {
                    let provider = call.model[..1].to_owned();
                    let again = !asked.insert(provider.clone());
                    let paid = call.beside > 0 || (number >= 2 && again);
                    *paid_by.entry(provider).or_insert(0) += u32::from(paid);
                }
                for (provider, paid) in &paid_by {
                    let calls = world.provider(provider).calls as f64;
                    let most = burst + calls * share + began.elapsed().as_secs_f64() * per_second;
                    prop_assert!(f64::from(*paid) <= most + 1e-6, "{provider}: {paid} of {most}");
                }
            }
            Ok(())
        })?;
    }
}
