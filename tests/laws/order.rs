//! Other orders than the caller's.

use crate::{
    script::Act,
    world::{Setup, World, answer, ms, secs, setup, tried},
};
use proptest::prelude::*;
use std::sync::{Arc, Mutex};
use tokio::time::advance;
use tower_failover::{BestScoreFirst, CheapestFirst, Command, Contender, Order, Plan, Tier};

/// `a1` costs 4, `b1` 1, `c1` 2.
fn priced() -> Setup {
    setup("a1@a b1@b c1@c").models(|model| {
        let cost = match model.name() {
            "a1" => 4.0,
            "b1" => 1.0,
            _ => 2.0,
        };
        model.cost(cost)
    })
}

async fn first(world: &World) -> String {
    tried(&answer(world.ask().await).1).remove(0)
}

/// Lets a model fail so many of ten calls, spread evenly.
async fn fails(world: &World, name: &str, of_ten: u16, tens: u16) {
    for call in 0..10 * tens {
        world.script.play(name, [if call % 10 < of_ten { 503 } else { 200 }]);
        let _ = world.ask_of(name).await;
    }
    world.script.play(name, [200]);
}

#[tokio::test(start_paused = true)]
async fn the_cheapest_is_asked_first_and_then_the_next() {
    let world = priced().layer(|layer| layer.order(CheapestFirst::new())).build();
    world.script.play("b1", [503]);
    world.script.play("c1", [503]);
    assert_eq!(tried(&answer(world.ask().await).1), ["b1", "c1", "a1"]);
}

#[tokio::test(start_paused = true)]
async fn what_counts_is_what_a_success_costs() {
    let by_price = |name: &str| if name == "a1" { 1.2 } else { 1.0 };
    let world = setup("a1@a b1@b").models(move |model| {
        let cost = by_price(model.name());
        model.cost(cost)
    });
    let world = world.layer(|layer| layer.order(CheapestFirst::new())).build();
    fails(&world, "a1", 0, 10).await;
    assert_eq!(first(&world).await, "b1");
    // A fifth of its calls fail: a success of it costs 1.25 at the least.
    fails(&world, "b1", 2, 10).await;
    assert_eq!(world.model("b1").tier, Tier::Healthy, "{}", world.model("b1").score);
    assert_eq!(first(&world).await, "a1");
}

#[tokio::test(start_paused = true)]
async fn a_second_of_waiting_can_be_given_a_price() {
    for (second, expected) in [(0.0, "b1"), (0.9, "b1"), (1.5, "c1")] {
        let order = CheapestFirst::new().a_second_costs(second).expect("a price");
        let world = priced().layer(move |layer| layer.order(order)).build();
        for (name, took) in [("a1", ms(100)), ("b1", secs(1)), ("c1", ms(100))] {
            world.script.play(name, [Act::Answer(200, took)]);
            answer(world.ask_of(name).await);
        }
        assert_eq!(first(&world).await, expected, "{second}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_best_score_is_asked_first_but_not_for_a_trifle() {
    let world = setup("a1@a b1@b").layer(|layer| layer.order(BestScoreFirst::new())).build();
    assert_eq!(first(&world).await, "a1", "of equals the caller's first");
    fails(&world, "b1", 0, 10).await;
    answer(world.send(Plan::new().models(["b1"])).await);
    assert!(world.model("b1").score > world.model("a1").score);
    assert_eq!(first(&world).await, "a1", "by less than the margin");
    fails(&world, "a1", 2, 10).await;
    assert_eq!(first(&world).await, "b1");
    // And it stays so when the other is a little better again.
    fails(&world, "b1", 1, 3).await;
    fails(&world, "a1", 0, 50).await;
    assert!(world.model("a1").score > world.model("b1").score);
    assert_eq!(first(&world).await, "b1");
}

#[tokio::test(start_paused = true)]
async fn a_plan_may_name_its_own_order_and_its_own_list() {
    let world = priced().layer(|layer| layer.order(BestScoreFirst::new())).build();
    let cheapest: Arc<dyn Order> = Arc::new(CheapestFirst::new());
    let plan = Plan::new().order(cheapest.clone());
    assert_eq!(tried(&answer(world.send(plan.clone()).await).1), ["b1"]);
    assert_eq!(tried(&answer(world.send(plan.clone().models(["a1", "c1"])).await).1), ["c1"]);
    // Without a fallback the caller's first is meant.
    assert_eq!(tried(&answer(world.send(plan.clone().no_fallback()).await).1), ["a1"]);
    assert_eq!((plan.clone() == plan, plan == Plan::new().order(cheapest)), (true, true));
}

#[tokio::test(start_paused = true)]
async fn an_order_sees_how_each_stands() {
    /// Name, position, tier, score, calls under way.
    type Seen = (String, usize, Tier, f64, u64);

    #[derive(Debug, Default)]
    struct Looks(Mutex<Vec<Seen>>);

    impl Order for Looks {
        fn order(&self, contenders: &mut [Contender<'_>]) {
            let look =
                |one: &Contender<'_>| (one.model.name().to_owned(), one.position, one.tier, one.score, one.in_flight);
            *self.0.lock().unwrap() = contenders.iter().map(look).collect();
        }
    }

    let looks = Arc::new(Looks::default());
    let order = looks.clone();
    let world = setup("a1@a b1@b").layer(move |layer| layer.order(order)).build();
    fails(&world, "a1", 10, 1).await;
    world.script.play("b1", [Act::Hang]);
    let hanging = tokio::spawn(world.begin_with(Plan::new().models(["b1"])));
    tokio::task::yield_now().await;
    // The caller's order, as it sorts nothing: no tier is put back.
    assert_eq!(tried(&answer(world.ask().await).1), ["a1"]);
    let seen = looks.0.lock().unwrap().clone();
    let a1 = world.model("a1");
    assert_eq!((seen[0].0.as_str(), seen[0].1, seen[0].2), ("a1", 0, Tier::Degraded));
    assert!((seen[0].3 - a1.score).abs() < 0.1 && seen[0].3 < 0.4, "{seen:?}");
    assert_eq!((seen[1].0.as_str(), seen[1].1, seen[1].4), ("b1", 1, 1));
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn law_21_a_provider_in_trouble_comes_last_in_every_order() {
    let world = setup("a1@a b1@b a2@a").models(|model| {
        let cost = if model.provider() == "a" { 1.0 } else { 9.0 };
        model.cost(cost)
    });
    let world = world.layer(|layer| layer.order(CheapestFirst::new())).build();
    world.script.play("a1", [crate::script::Fault::Reset]);
    assert_eq!(tried(&answer(world.ask().await).1), ["a1", "b1"]);
}

#[test]
fn a_price_or_a_margin_that_is_none_is_refused() {
    for price in [-1.0, f64::NAN, f64::INFINITY] {
        assert_eq!(CheapestFirst::new().a_second_costs(price).expect_err("no price").field(), "a_second_costs");
    }
    for margin in [-0.1, 1.1, f64::NAN] {
        assert_eq!(BestScoreFirst::new().margin(margin).expect_err("no margin").field(), "margin");
    }
}

/// Sorts by chance.
#[derive(Debug)]
struct Shuffle(Mutex<Vec<usize>>);

impl Order for Shuffle {
    fn order(&self, contenders: &mut [Contender<'_>]) {
        for swap in self.0.lock().unwrap().chunks_exact(2) {
            if !contenders.is_empty() {
                contenders.swap(swap[0] % contenders.len(), swap[1] % contenders.len());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn an_order_is_always_a_permutation_of_the_allowed(
        models in 1_usize..12,
        listed in prop::collection::vec(0_usize..12, 0..12),
        swaps in prop::collection::vec(any::<usize>(), 0..40),
        forced in prop::collection::vec(any::<bool>(), 12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let names: Vec<String> = (0..models).map(|model| format!("m{model}@p{model}")).collect();
            let order = Shuffle(Mutex::new(swaps));
            let world = setup(&names.join(" ")).layer(move |layer| layer.order(order).max_attempts(100)).build();
            for (model, forced) in (0..models).zip(&forced) {
                world.script.play(&format!("m{model}"), [503]);
                if *forced {
                    world.command(&format!("m{model}"), Command::ForceOpen);
                }
            }
            let mut allowed: Vec<String> = Vec::new();
            for model in listed.iter().map(|model| format!("m{}", model % models)) {
                if !allowed.contains(&model) {
                    allowed.push(model);
                }
            }
            let plan = if allowed.is_empty() { Plan::new() } else { Plan::new().models(allowed.clone()) };
            if allowed.is_empty() {
                allowed = (0..models).map(|model| format!("m{model}")).collect();
            }
            let served = crate::world::served(world.send(plan).await);
            let mut seen: Vec<String> = served.candidates().map(|one| one.model.name().to_owned()).collect();
            seen.sort();
            allowed.sort();
            // The budget may end it before all have been looked at.
            seen.iter().for_each(|name| assert!(allowed.contains(name)));
            assert_eq!(seen, allowed);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_starves_in_any_order() {
    let world = priced().layer(|layer| layer.order(CheapestFirst::new())).build();
    world.script.play("b1", [503]);
    for _ in 0..10 {
        let _ = world.ask_of("b1").await;
    }
    assert_eq!(world.model("b1").tier, Tier::Degraded);
    let before = world.script.calls_of("b1");
    for _ in 0..300 {
        answer(world.ask().await);
        advance(secs(60)).await;
    }
    assert!(world.script.calls_of("b1") - before >= 20, "{}", world.script.calls_of("b1") - before);
}
