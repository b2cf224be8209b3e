//! Another configuration while requests run.

use crate::{
    script::Act,
    world::{World, answer, never_trips, secs, served, setup, skip, tried, trips_after, world},
};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_failover::{
    BreakerConfig, Budget, CircuitBreakerLayer, Command, Model, Models, Plan, Provider, Skip, State, Trip, Whose,
    circuit_breaker,
};

fn names(models: &Models) -> Vec<String> {
    models.iter().map(|model| model.name().to_owned()).collect()
}

impl World {
    fn apply(&self, setup: crate::world::Setup) {
        self.models.apply(setup.described()).expect("a good configuration");
    }
}

#[tokio::test(start_paused = true)]
async fn models_that_stay_keep_their_state_wherever_they_come_to_stand() {
    let all = |names: &str| setup(names).breakers(trips_after(2));
    let world = all("a1@a b1@b c1@c d1@d").build();
    world.script.play("b1", [503, 200]);
    answer(world.ask_of("b1").await);
    world.script.play("c1", [503, 503, 200]);
    answer(world.ask_of("c1").await);
    answer(world.ask_of("c1").await);
    world.models.cool_down("d1", secs(60)).expect("known");
    advance(secs(3)).await;
    let before = ["b1", "c1", "d1"].map(|name| world.model(name));

    world.apply(all("d1@d e1@e c1@c b1@b"));
    assert_eq!(names(&world.models), ["d1", "e1", "c1", "b1"]);
    assert_eq!(["b1", "c1", "d1"].map(|name| world.model(name)), before);
    assert_eq!((world.failures("b1"), world.state("c1"), world.state("d1")), (1, State::Open, State::Open));

    let (_, served) = answer(world.ask().await);
    assert_eq!(
        (skip(&served, "d1"), tried(&served)),
        (Skip::Cooldown(Whose::Model, before[2].breaker.cooldown.expect("one")), vec!["e1".to_owned()])
    );
    world.script.play("e1", [503]);
    world.script.play("b1", [503]);
    answer(world.ask().await);
    assert_eq!(world.state("b1"), State::Open, "the second failure in a row");
    advance(secs(7)).await;
    assert_eq!(tried(&answer(world.ask_of("c1").await).1), ["c1"], "after its ten seconds");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_begins_afterwards_goes_to_nobody_who_is_gone() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [Act::Answer(200, secs(5))]);
    let mut under_way = world.begin();
    assert!(futures::poll!(&mut under_way).is_pending());
    world.apply(setup("b1@b"));
    assert_eq!(tried(&answer(world.ask().await).1), ["b1"]);
    assert!(world.send(Plan::new().first("a1")).await.is_err(), "nobody has this name any more");
    assert!(world.models.command("a1", Command::Reset).is_err() && world.models.get("a1").is_none());
    assert!(world.models.command_provider("a", Command::Reset).is_err());

    // It ends as it would have.
    let (status, served) = answer(under_way.await);
    assert_eq!((status, served.model().map(Model::name)), (200, Some("a1")));
    assert_eq!(world.in_flight(), 0);

    // Who comes back begins anew.
    world.apply(setup("a1@a b1@b"));
    assert_eq!((world.model("a1").calls, world.model("b1").calls), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_may_fail_over_to_a_model_that_is_gone() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [Act::Answer(503, secs(5))]);
    let mut under_way = world.begin();
    assert!(futures::poll!(&mut under_way).is_pending());
    world.apply(setup("c1@c"));
    assert_eq!(tried(&answer(under_way.await).1), ["a1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn new_providers_get_a_client_and_old_ones_keep_theirs() {
    let world = world("a1@a b1@b");
    world.apply(setup("c1@c b1@b"));
    assert_eq!(tried(&answer(world.ask().await).1), ["c1"]);
    world.script.play("c1", [503]);
    assert_eq!(tried(&answer(world.ask().await).1), ["c1", "b1"]);
    let readied = ["a", "b", "c"].map(|provider| world.script.readied(provider));
    assert_eq!(readied, [0, 1, 2]);
    world.apply(setup("b1@b a1@a"));
    assert_eq!(tried(&answer(world.ask_of("a1").await).1), ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn a_bad_configuration_changes_nothing() {
    let world = world("a1@a b1@b");
    let before = world.models.snapshot();
    for bad in [
        Models::builder(),
        setup("a1@a").described().model(Model::new("c1", "nobody")),
        setup("a1@a").described().model(Model::new("a1", "a")),
        setup("a1@a").described().model(Model::new("c1", "a").cost(f64::NAN)),
        setup("a1@a").described().provider(Provider::new("c").max_in_flight(0)),
        setup("a1@a").described().max_keys(0),
    ] {
        assert!(world.models.apply(bad).is_err());
        assert_eq!(world.models.snapshot(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_configured_of_one_that_stays_is_so_from_then_on() {
    let world = setup("a1@a b1@b").models(|model| model.cost(1.0)).build();
    world.apply(
        setup("a1@a b1@b")
            .models(|model| model.cost(2.0).max_in_flight(1).attempt_timeout(secs(2)))
            .providers(|provider| provider.budget(Budget::default().burst(1.5))),
    );
    assert_eq!(world.provider("a").budget_left, 1.5, "as far as the new budget allows");
    world.script.play("a1", [Act::Hang]);
    let mut under_way = world.begin();
    assert!(futures::poll!(&mut under_way).is_pending());
    assert!(matches!(skip(&served(world.ask().await), "a1"), Skip::Full(_)));
    let (_, served) = answer(under_way.await);
    assert!(served.elapsed() >= secs(2) && served.elapsed() < secs(3), "{:?}", served.elapsed());
    assert_eq!(served.cost_at_risk() + served.cost(), 4.0);
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_count_against_a_bound_that_changes() {
    let bounded = |calls| setup("a1@a b1@b").models(move |model| model.max_in_flight(calls));
    let world = bounded(2).build();
    world.script.play("a1", [Act::Hang]);
    let mut under_way = [world.begin(), world.begin()];
    for request in &mut under_way {
        assert!(futures::poll!(request).is_pending());
    }
    world.apply(bounded(3));
    let mut third = world.begin();
    assert!(futures::poll!(&mut third).is_pending());
    assert_eq!(tried(&served(world.ask().await)), ["b1"]);
    world.apply(bounded(1));
    drop(third);
    assert_eq!(tried(&served(world.ask().await)), ["b1"]);
    drop(under_way);
    world.script.play("a1", [200]);
    assert_eq!(tried(&served(world.ask().await)), ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_configured_in_another_way_stays_in_its_state() {
    let with = |config: BreakerConfig| setup("a1@a b1@b c1@c d1@d e1@e").breakers(config);
    let world = with(trips_after(1)).build();
    world.trip("a1 b1").await;
    advance(secs(4)).await;
    world.command("c1", Command::ForceOpen);
    world.command("d1", Command::Disable);
    world.script.play("b1", [Act::Hang]);
    let states = ["a1", "b1", "c1", "d1", "e1"].map(|name| (world.state(name), world.breaker(name).retry_in));

    world.apply(with(trips_after(3)));
    assert_eq!(["a1", "b1", "c1", "d1", "e1"].map(|name| (world.state(name), world.breaker(name).retry_in)), states);
    advance(secs(6)).await;
    // Half-open with a probe under way: its place is free again.
    let mut probe = world.begin_with(Plan::new().models(["b1"]));
    assert!(futures::poll!(&mut probe).is_pending());
    assert_eq!((world.state("b1"), world.breaker("b1").probes), (State::HalfOpen, 1));
    world.apply(with(trips_after(4)));
    assert_eq!((world.state("b1"), world.breaker("b1").probes), (State::HalfOpen, 0));
    world.script.play("b1", [200]);
    answer(world.ask_of("b1").await);
    answer(world.ask_of("b1").await);
    assert_eq!(world.state("b1"), State::Closed);
    drop(probe);
    assert_eq!((world.state("b1"), world.in_flight()), (State::Closed, 0));

    // And the new rules hold.
    world.script.play("e1", [503]);
    for failures in 1..=4 {
        answer(world.ask_of("e1").await);
        assert_eq!(world.state("e1") == State::Open, failures == 4);
    }
    // The wait of before has doubled, and does so on.
    world.script.play("a1", [503]);
    answer(world.ask_of("a1").await);
    assert_eq!(world.breaker("a1").retry_in, Some(secs(20)));
}

#[tokio::test(start_paused = true)]
async fn law_01_what_comes_back_to_the_breaker_of_before_changes_nothing() {
    let world = setup("a1@a").breakers(trips_after(2)).build();
    world.script.play("a1", [Act::Answer(503, secs(1)), Act::Answer(503, secs(1)), Act::from(200)]);
    let mut late = [world.begin(), world.begin()];
    for request in &mut late {
        assert!(futures::poll!(request).is_pending());
    }
    let rate = Trip::failure_rate(0.5, 2, secs(60));
    world.apply(setup("a1@a").breakers(BreakerConfig::default().trip([rate])));
    for request in late {
        answer(request.await);
    }
    assert_eq!((world.state("a1"), world.failures("a1")), (State::Closed, 0));
    assert_eq!(world.breaker("a1").window.map(|window| window.failures), Some(0));
}

#[tokio::test(start_paused = true)]
async fn law_21_witnesses_are_told_apart_wherever_they_come_to_stand() {
    let all = |names: &str| setup(names).provider_breakers(trips_after(2));
    let world = all("a1@a a2@a b1@b").build();
    let fault = crate::script::Fault::Reset;
    for model in ["a1", "a2"] {
        world.script.play(model, [Act::from(fault)]);
    }
    // Twice the same one, in another place: no evidence against the provider of two.
    let _ = world.ask_of("a1").await;
    world.apply(all("a2@a a1@a b1@b"));
    let _ = world.ask_of("a1").await;
    assert_eq!(world.state("@a"), State::Closed);
    let _ = world.ask_of("a2").await;
    assert_eq!(world.state("@a"), State::Open);

    // Of one model alone it is; and of two again not.
    world.command("@a", Command::Reset);
    world.apply(all("a1@a b1@b"));
    let _ = world.ask_of("a1").await;
    let _ = world.ask_of("a1").await;
    assert_eq!(world.state("@a"), State::Open);
    world.command("@a", Command::Reset);
    world.apply(all("a1@a a2@a b1@b"));
    let _ = world.ask_of("a1").await;
    let _ = world.ask_of("a1").await;
    assert_eq!(world.state("@a"), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn keys_go_on_with_it_too() {
    let world = setup("a1@a b1@b").max_keys(1).build();
    let (one, overflow) = (world.models.for_key("one"), world.models.for_key("two"));
    assert_eq!(overflow.key(), world.models.overflow().key());
    for models in [&one, &overflow] {
        models.command("b1", Command::ForceOpen).expect("known");
    }
    one.apply(setup("c1@c b1@b").max_keys(2).described()).expect("good");
    for models in [&one, &overflow, &world.models] {
        assert_eq!(names(models), ["c1", "b1"]);
    }
    for models in [&one, &overflow] {
        assert_eq!(models.snapshot().model("b1").expect("a model").breaker.state, State::ForcedOpen);
    }
    assert_eq!(world.state("b1"), State::Closed);
    let three = world.models.for_key("three");
    assert_eq!((three.key(), names(&three)), (Some("three"), vec!["c1".to_owned(), "b1".to_owned()]));
    assert_eq!(tried(&answer(world.send(Plan::new().key("one")).await).1), ["c1"]);
}

#[tokio::test(start_paused = true)]
async fn law_23_a_bound_on_keys_that_comes_down_is_reached_as_they_go() {
    let models = setup("a1@a").max_keys(10).registry();
    for key in 0..10 {
        models.for_key(&format!("{key}"));
    }
    models.apply(setup("a1@a").max_keys(3).described()).expect("good");
    assert_eq!(models.for_key("new").key(), models.overflow().key());
    advance(secs(60)).await;
    let held = models.for_key("new");
    assert_eq!((held.key(), models.keys().len()), (Some("new"), 3));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_alone_follows_its_model() {
    let models = setup("a1@a b1@b").breakers(never_trips()).registry();
    let asks = service_fn(|_: &'static str| async { Ok::<_, std::io::Error>(()) });
    let mut fixed = CircuitBreakerLayer::new(models.clone(), "b1").expect("known").layer(asks);
    let keyed = CircuitBreakerLayer::keyed(models.clone(), "b1", |key: &&'static str| key).expect("known").layer(asks);
    fixed.ready().await.expect("ready").call("k").await.expect("an answer");
    keyed.clone().oneshot("k").await.expect("an answer");

    models.apply(setup("c1@c d1@d b1@b").described()).expect("good");
    fixed.ready().await.expect("ready").call("k").await.expect("an answer");
    keyed.clone().oneshot("k").await.expect("an answer");
    let calls = |models: &Models| models.snapshot().models.iter().map(|model| model.calls).collect::<Vec<_>>();
    assert_eq!((calls(&models), calls(&models.for_key("k"))), (vec![0, 0, 2], vec![0, 0, 2]));
    models.command("b1", Command::ForceOpen).expect("known");
    assert!(matches!(fixed.ready().await.expect("ready").call("k").await, Err(circuit_breaker::Error::Rejected(_))));

    models.apply(setup("c1@c").described()).expect("good");
    for gone in [fixed.ready().await.expect("ready").call("k").await, keyed.clone().oneshot("k").await] {
        assert!(matches!(gone, Err(circuit_breaker::Error::Unknown(unknown)) if unknown.name() == "b1"));
    }
    models.apply(setup("b1@b").described()).expect("good");
    fixed.ready().await.expect("ready").call("k").await.expect("an answer");
    assert_eq!(calls(&models), [1]);
}
