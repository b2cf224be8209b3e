//! Law 21: what a result says of the provider.

use crate::{
    script::{Act, Fault},
    world::{World, answer, but, judge, never_trips, secs, served, setup, skip, tried, trips_after, world},
};
use futures::poll;
use tokio::time::advance;
use tower_failover::{BreakerConfig, Cause, Charge, Command, Plan, Skip, State, Trip, Verdict, Whose};

fn trips_provider_after(failures: u32, names: &str) -> World {
    setup(names).provider_breakers(trips_after(failures)).build()
}

/// One request to one model, which does this.
async fn one(world: &World, model: &str, act: impl Into<Act>) {
    world.script.play(model, [act]);
    let _ = world.ask_of(model).await;
    world.script.play(model, [200]);
}

#[tokio::test(start_paused = true)]
async fn law_21_a_failed_connection_blames_the_provider_and_is_neutral_for_the_model() {
    let world = trips_provider_after(2, "a1@a a2@a");
    one(&world, "a1", Fault::Connect).await;
    assert_eq!((world.failures("@a"), world.failures("a1"), world.state("@a")), (1, 0, State::Closed));
    one(&world, "a1", Fault::Connect).await;
    assert_eq!((world.state("@a"), world.state("a1"), world.failures("a1")), (State::Open, State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn law_21_a_blame_ends_no_row_of_the_models_own() {
    let world = trips_provider_after(9, "a1@a");
    one(&world, "a1", 503).await;
    one(&world, "a1", Fault::Connect).await;
    assert_eq!(world.failures("a1"), 1);
}

#[tokio::test(start_paused = true)]
async fn law_21_a_timeout_a_reset_and_a_5xx_blame_the_model_and_are_evidence() {
    for act in [Act::Hang, Act::from(Fault::Reset), Act::from(503), Act::from(500)] {
        let world = trips_provider_after(9, "a1@a a2@a");
        one(&world, "a1", act).await;
        assert_eq!((world.failures("a1"), world.failures("@a")), (1, 1), "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_evidence_from_one_of_several_models_trips_no_provider() {
    for act in [Act::from(503), Act::from(Fault::Reset), Act::Hang] {
        let world = trips_provider_after(2, "a1@a a2@a");
        for _ in 0..30 {
            one(&world, "a1", act).await;
        }
        assert_eq!(world.state("@a"), State::Closed, "{act:?}");
        one(&world, "a2", act).await;
        assert_eq!(world.state("@a"), State::Open, "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_evidence_from_its_only_model_trips_a_provider() {
    let world = trips_provider_after(2, "a1@a b1@b");
    one(&world, "a1", 503).await;
    one(&world, "a1", Act::Hang).await;
    assert_eq!(world.state("@a"), State::Open);
}

#[tokio::test(start_paused = true)]
async fn law_21_one_blame_in_the_row_makes_one_models_evidence_count() {
    let world = trips_provider_after(3, "a1@a a2@a");
    one(&world, "a1", Fault::Connect).await;
    one(&world, "a1", 503).await;
    assert_eq!(world.state("@a"), State::Closed);
    one(&world, "a1", 503).await;
    assert_eq!(world.state("@a"), State::Open);
}

#[tokio::test(start_paused = true)]
async fn law_21_any_credit_between_ends_the_row_and_forgets_its_witnesses() {
    for credit in [200, 400, 404] {
        let world = trips_provider_after(2, "a1@a a2@a a3@a");
        one(&world, "a1", 503).await;
        one(&world, "a3", credit).await;
        assert_eq!(world.failures("@a"), 0, "{credit}");
        one(&world, "a2", 503).await;
        one(&world, "a2", 503).await;
        assert_eq!(world.state("@a"), State::Closed, "{credit}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_what_is_no_credit_ends_no_row() {
    for act in [Act::from(402), Act::from(429), Act::from(Fault::Local), Act::from(401), Act::from(205)] {
        let world = setup("a1@a a2@a").provider_breakers(never_trips()).build();
        one(&world, "a1", 503).await;
        let cooled = matches!(act, Act::Answer(402, _));
        one(&world, "a2", act).await;
        // A 402 blames the provider and opens it for a minute, which begins another row.
        assert_eq!((world.failures("@a"), world.state("@a") == State::Open), (u32::from(!cooled), cooled), "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_a_cancelled_call_is_no_credit() {
    let world = trips_provider_after(2, "a1@a a2@a");
    one(&world, "a1", 503).await;
    world.script.play("a2", [Act::Hang]);
    let mut call = world.begin_with(Plan::new().first("a2"));
    assert!(poll!(&mut call).is_pending());
    drop(call);
    assert_eq!(world.failures("@a"), 1);
}

#[tokio::test(start_paused = true)]
async fn law_21_a_provider_never_trips_on_a_rate() {
    let rate = BreakerConfig::default().trip([Trip::failure_rate(0.1, 1, secs(60))]);
    let world = setup("a1@a a2@a").provider_breakers(rate).build();
    for _ in 0..20 {
        one(&world, "a1", Fault::Connect).await;
        one(&world, "a2", 503).await;
    }
    assert_eq!(world.state("@a"), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn law_21_a_provider_trips_on_the_defaults_rows() {
    let world = setup("a1@a a2@a").provider_breakers(BreakerConfig::default()).build();
    for name in ["a1", "a2", "a1", "a2"] {
        one(&world, name, 503).await;
        advance(secs(1)).await;
    }
    assert_eq!(world.state("@a"), State::Closed);
    one(&world, "a1", 503).await;
    assert!(matches!(world.breaker("@a").cause, Some(Cause::Consecutive { failures: 5, .. })));
    let world = setup("a1@a a2@a").provider_breakers(BreakerConfig::default()).build();
    one(&world, "a1", 503).await;
    advance(secs(30)).await;
    one(&world, "a2", 503).await;
    assert!(matches!(world.breaker("@a").cause, Some(Cause::Consecutive { failures: 2, .. })));
}

/// A provider whose open wait has elapsed.
async fn half_open_provider(names: &str) -> World {
    let world = trips_provider_after(1, names);
    one(&world, "a1", Fault::Connect).await;
    assert_eq!(world.state("@a"), State::Open);
    advance(secs(10)).await;
    world
}

#[tokio::test(start_paused = true)]
async fn law_21_a_half_open_provider_is_closed_by_any_answer_even_a_failure() {
    for status in [200, 400, 404, 500, 503] {
        let world = half_open_provider("a1@a a2@a").await;
        one(&world, "a2", status).await;
        assert_eq!(world.state("@a"), State::Closed, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_a_half_open_provider_is_closed_by_a_second_500_too() {
    // Law 16 blames nobody for it, but an answer it is.
    let world = half_open_provider("a1@a b1@b").await;
    world.script.play("a1", [500]);
    world.script.play("b1", [500]);
    answer(world.send(Plan::new().first("b1")).await);
    assert_eq!(world.script.called()[1..], ["b1", "a1"]);
    assert_eq!((world.state("@a"), world.failures("a1")), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn law_21_a_half_open_provider_is_not_closed_by_401_402_or_429() {
    for status in [401, 402, 429] {
        let world = half_open_provider("a1@a a2@a").await;
        one(&world, "a2", status).await;
        assert_ne!(world.state("@a"), State::Closed, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_a_half_open_provider_is_left_undecided_by_an_answer_that_only_shows_life_or_nothing() {
    for status in [204, 205] {
        let world = half_open_provider("a1@a a2@a").await;
        one(&world, "a2", status).await;
        assert_eq!((world.state("@a"), world.breaker("@a").probes), (State::HalfOpen, 0), "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_a_closed_provider_is_credited_by_a_sign_of_life() {
    let world = trips_provider_after(2, "a1@a a2@a");
    one(&world, "a1", 503).await;
    one(&world, "a2", 204).await;
    assert_eq!(world.failures("@a"), 0);
}

#[tokio::test(start_paused = true)]
async fn law_21_no_answer_fails_a_half_open_provider() {
    for act in [Act::Hang, Act::from(Fault::Reset), Act::from(Fault::Connect)] {
        let world = half_open_provider("a1@a a2@a").await;
        one(&world, "a2", act).await;
        assert_eq!(world.breaker("@a").cause, Some(Cause::ProbesFailed), "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_one_answer_closes_a_provider_whatever_its_breaker_asks_of_probes() {
    let world = setup("a1@a").provider_breakers(trips_after(1).close_after(3, 3)).build();
    one(&world, "a1", Fault::Connect).await;
    advance(secs(10)).await;
    one(&world, "a1", 200).await;
    assert_eq!(world.state("@a"), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn law_21_our_credential_is_blamed_from_the_second_refusal_in_a_row_on() {
    let world = trips_provider_after(2, "a1@a a2@a");
    for (failures, state) in [(0, State::Closed), (1, State::Closed), (0, State::Open)] {
        one(&world, "a1", 401).await;
        assert_eq!((world.failures("@a"), world.state("@a")), (failures, state));
    }
    assert_eq!((world.failures("a1"), world.state("a1")), (0, State::Closed));
}

#[tokio::test(start_paused = true)]
async fn law_21_an_answer_between_begins_the_row_of_refusals_anew() {
    for between in [200, 400] {
        let world = trips_provider_after(1, "a1@a a2@a");
        one(&world, "a1", 401).await;
        one(&world, "a2", between).await;
        one(&world, "a1", 401).await;
        assert_eq!(world.state("@a"), State::Closed, "{between}");
        one(&world, "a2", 401).await;
        assert_eq!(world.state("@a"), State::Open, "{between}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_a_5xx_between_two_refusals_means_they_are_not_in_a_row() {
    let world = setup("a1@a a2@a").provider_breakers(never_trips()).build();
    one(&world, "a1", 401).await;
    one(&world, "a1", 503).await;
    one(&world, "a1", 401).await;
    assert_eq!(world.failures("@a"), 1, "the evidence of the 503 alone");
}

/// The models that one request to all of them was sent to.
async fn order(world: &World, acts: &[(&str, Act)]) -> Vec<String> {
    for (model, act) in acts {
        world.script.play(model, [*act]);
    }
    tried(&served(world.ask().await))
}

#[tokio::test(start_paused = true)]
async fn law_21_a_provider_in_trouble_is_asked_again_only_when_no_other_is_left() {
    let trouble = [Act::Hang, Act::from(Fault::Reset), Act::from(Fault::Connect), Act::from(401), Act::from(402)];
    for act in trouble {
        let world = setup("a1@a a2@a b1@b c1@c").layer(|layer| layer.max_attempts(9)).build();
        let order = order(&world, &[("a1", act), ("a2", 503.into()), ("b1", 503.into()), ("c1", 503.into())]).await;
        let again = if matches!(act, Act::Answer(402, _)) { vec![] } else { vec!["a2"] };
        assert_eq!(order, [vec!["a1", "b1", "c1"], again].concat(), "{act:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_a_provider_whose_model_answered_or_was_limited_is_in_no_trouble() {
    for act in [503, 500, 404, 429] {
        let world = world("a1@a a2@a b1@b");
        assert_eq!(order(&world, &[("a1", act.into())]).await, ["a1", "a2"], "{act}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_21_a_local_shortage_is_no_trouble_of_the_provider() {
    let world = world("a1@a a2@a b1@b");
    assert_eq!(order(&world, &[("a1", Fault::Local.into())]).await, ["a1", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn law_21_several_in_trouble_are_asked_again_in_the_callers_order() {
    let world = setup("a1@a b1@b b2@b a2@a c1@c").layer(|layer| layer.max_attempts(9)).build();
    let all = ["a1", "b1", "b2", "a2", "c1"].map(|model| (model, Act::from(Fault::Reset)));
    assert_eq!(order(&world, &all).await, ["a1", "b1", "c1", "b2", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn law_21_a_reset_that_may_be_the_requests_fault_is_trouble_each_time() {
    fn resets_may_be_poison(result: Result<&u16, &Fault>) -> Verdict {
        but(judge(result), |verdict| {
            if result == Err(&Fault::Reset) {
                verdict.charge = Charge::ModelOrRequest;
            }
        })
    }
    let world = setup("a1@a b1@b b2@b c1@c").judge(resets_may_be_poison).build();
    let reset = Act::from(Fault::Reset);
    assert_eq!(order(&world, &[("a1", reset), ("b1", reset)]).await, ["a1", "b1", "c1"]);
}

#[tokio::test(start_paused = true)]
async fn law_21_trouble_is_of_one_request_only() {
    let world = world("a1@a a2@a b1@b");
    world.script.play("a1", [Act::from(Fault::Reset), Act::from(503)]);
    assert_eq!(tried(&served(world.ask().await)), ["a1", "b1"]);
    assert_eq!(tried(&served(world.ask().await)), ["a1", "a2"]);
}

#[tokio::test(start_paused = true)]
async fn law_21_an_open_provider_stands_in_the_way_of_all_its_models_and_of_no_other() {
    let world = world("a1@a b1@b a2@a");
    world.command("@a", Command::ForceOpen);
    world.script.play("b1", [503]);
    let served = served(world.ask().await);
    assert_eq!(tried(&served), ["b1"]);
    assert_eq!(skip(&served, "a1"), Skip::ForcedOpen(Whose::Provider));
    assert_eq!(skip(&served, "a2"), Skip::ForcedOpen(Whose::Provider));
}
