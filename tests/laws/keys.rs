//! Keys that come and go, each with state of its own.

use crate::{
    script::Act,
    world::{Outcome, World, answer, secs, served, setup, skip, tried, trips_after},
};
use proptest::prelude::*;
use std::{
    collections::HashMap,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, advance};
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{
    CircuitBreakerLayer, Command, ConfigError, Model, Models, Plan, Provider, Served, Skip, State, circuit_breaker,
    defaults::{KEY_FORGOTTEN, KEY_IDLE},
};

fn tenants(max_keys: usize) -> World {
    setup("a1@a b1@b").breakers(trips_after(2)).max_keys(max_keys).build()
}

async fn ask_for(world: &World, key: &str) -> Outcome {
    world.send(Plan::new().key(key)).await
}

async fn served_for(world: &World, key: &str) -> Served {
    served(ask_for(world, key).await)
}

fn state(models: &Models, model: &str) -> State {
    models.snapshot().model(model).expect("a model").breaker.state
}

fn sorted(models: &Models) -> Vec<String> {
    let mut keys = models.keys();
    keys.sort_unstable();
    keys
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_one_key_is_nothing_to_the_others() {
    let world = tenants(10);
    world.script.play("a1", [503]);
    for _ in 0..2 {
        assert_eq!(tried(&served_for(&world, "one").await), ["a1", "b1"]);
    }
    assert_eq!(tried(&served_for(&world, "one").await), ["b1"], "open");
    assert_eq!(tried(&served_for(&world, "two").await), ["a1", "b1"]);
    assert_eq!(tried(&served(world.ask().await)), ["a1", "b1"], "one without a key");

    let one = world.models.find_key("one").expect("was asked for");
    assert_eq!((one.key(), state(&one, "a1")), (Some("one"), State::Open));
    let two = world.models.find_key("two").expect("was asked for");
    assert_eq!(
        (state(&two, "a1"), two.snapshot().model("a1").expect("a model").breaker.consecutive_failures),
        (State::Closed, 1)
    );
    assert_eq!((world.models.key(), state(&world.models, "a1")), (None, State::Closed));
    assert_eq!(world.failures("a1"), 1);
}

#[tokio::test(start_paused = true)]
async fn cooldowns_budgets_and_bounds_are_of_a_key_alone() {
    let setup = setup("a1@a b1@b").providers(|provider| provider.max_in_flight(1)).max_keys(10);
    let world = setup.build();
    world.script.play("a1", [Act::from(429), Act::Hang]);
    ask_for(&world, "one").await.expect("of the other");
    assert!(matches!(skip(&served_for(&world, "one").await, "a1"), Skip::Cooldown(..)));

    let mut under_way = world.begin_with(Plan::new().key("two"));
    assert!(futures::poll!(&mut under_way).is_pending());
    assert!(matches!(skip(&served_for(&world, "two").await, "a1"), Skip::Full(_)));
    world.script.play("a1", [200]);
    assert_eq!(tried(&served_for(&world, "three").await), ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn all_handles_of_a_key_are_one() {
    let world = tenants(10);
    let (one, same) = (world.models.for_key("one"), world.models.for_key("two").for_key("one"));
    one.command("a1", Command::ForceOpen).expect("known");
    assert_eq!(state(&same, "a1"), State::ForcedOpen);
    assert_eq!(tried(&served_for(&world, "one").await), ["b1"]);
    assert_eq!(sorted(&same), ["one", "two"]);
    assert!(world.models.find_key("three").is_none());
    assert_eq!(sorted(&world.models), ["one", "two"], "looking makes none");
}

#[tokio::test(start_paused = true)]
async fn law_23_at_the_bound_new_keys_share_one_overflow_breaker() {
    let world = tenants(2);
    for key in ["one", "two", "three", "four"] {
        ask_for(&world, key).await.expect("an answer");
    }
    assert_eq!(sorted(&world.models), ["one", "two"]);
    world.script.play("a1", [503]);
    for key in ["three", "four"] {
        assert_eq!(tried(&served_for(&world, key).await), ["a1", "b1"]);
    }
    for key in ["three", "four", "five"] {
        assert_eq!(tried(&served_for(&world, key).await), ["b1"], "{key}");
    }
    assert_eq!(tried(&served_for(&world, "one").await), ["a1", "b1"], "it has its own");
    assert_eq!(state(&world.models.overflow(), "a1"), State::Open);
    assert_eq!(state(&world.models.for_key("six"), "a1"), State::Open, "the same one");

    // Who has been in there has room as soon as there is some.
    advance(KEY_IDLE).await;
    assert_eq!(tried(&served_for(&world, "three").await), ["a1", "b1"]);
    assert!(world.models.find_key("three").is_some());
    assert_eq!(world.models.keys().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn law_23_at_the_bound_the_one_idle_for_longest_goes() {
    let world = tenants(3);
    for key in ["one", "two", "three", "one"] {
        ask_for(&world, key).await.expect("an answer");
        advance(secs(1)).await;
    }
    // "two" was used three seconds ago.
    advance(KEY_IDLE - secs(3) - Duration::from_nanos(1)).await;
    ask_for(&world, "four").await.expect("an answer");
    assert_eq!(sorted(&world.models), ["one", "three", "two"], "a moment too early");
    advance(Duration::from_nanos(1)).await;
    ask_for(&world, "four").await.expect("an answer");
    assert_eq!(sorted(&world.models), ["four", "one", "three"]);
}

#[tokio::test(start_paused = true)]
async fn law_23_below_the_bound_a_key_is_forgotten_after_ten_minutes() {
    let world = tenants(10);
    ask_for(&world, "one").await.expect("an answer");
    advance(KEY_FORGOTTEN - Duration::from_nanos(1)).await;
    ask_for(&world, "two").await.expect("an answer");
    assert_eq!(sorted(&world.models), ["one", "two"], "a moment too early");
    advance(Duration::from_nanos(1)).await;
    ask_for(&world, "three").await.expect("an answer");
    assert_eq!(sorted(&world.models), ["three", "two"]);
    // One that stays does not keep those behind it.
    let _held = [world.models.for_key("two"), world.models.for_key("three")];
    for key in ["four", "five"] {
        ask_for(&world, key).await.expect("an answer");
    }
    advance(KEY_FORGOTTEN).await;
    for key in ["six", "seven", "eight"] {
        ask_for(&world, key).await.expect("an answer");
    }
    assert_eq!(sorted(&world.models), ["eight", "seven", "six", "three", "two"]);
}

#[tokio::test(start_paused = true)]
async fn law_23_an_open_key_is_never_evicted() {
    let world = tenants(1);
    let models = &world.models;
    world.script.play("a1", [503, 503, 200]);
    for _ in 0..2 {
        ask_for(&world, "open").await.expect("of the other");
    }
    advance(2 * KEY_FORGOTTEN).await;
    ask_for(&world, "other").await.expect("an answer");
    assert_eq!(models.keys(), ["open"]);
    assert_eq!(state(&models.for_key("open"), "a1"), State::Open);

    // Nor is one whose provider is open or in a cooldown, or that an operator has told something.
    let commands: [fn(&Models); 5] = [
        |models| models.command("a1", Command::Reset).expect("known"),
        |models| models.command_provider("b", Command::ForceOpen).expect("known"),
        |models| models.command_provider("b", Command::Disable).expect("known"),
        |models| {
            models.command_provider("b", Command::Reset).expect("known");
            models.cool_down_provider("a", 4 * KEY_FORGOTTEN).expect("known");
        },
        |models| models.command_provider("a", Command::Reset).expect("known"),
    ];
    for (number, command) in commands.into_iter().enumerate() {
        command(&models.for_key("open"));
        advance(2 * KEY_FORGOTTEN).await;
        let closed = number == 0 || number == 4;
        if !closed {
            ask_for(&world, "other").await.expect("an answer");
            assert_eq!(models.keys(), ["open"], "{number}");
        }
    }
    ask_for(&world, "other").await.expect("an answer");
    assert_eq!(models.keys(), ["other"]);
}

#[tokio::test(start_paused = true)]
async fn law_23_a_key_in_use_is_never_evicted() {
    let world = tenants(1);
    let models = &world.models;
    world.script.play("a1", [Act::Hang]);
    let mut under_way = world.begin_with(Plan::new().key("used"));
    assert!(futures::poll!(&mut under_way).is_pending());
    let still_there = async || {
        advance(KEY_FORGOTTEN / 12).await;
        ask_for(&world, "other").await.expect("an answer");
        models.keys() == ["used"]
    };
    world.script.play("a1", [200]);
    assert!(still_there().await, "a request is under way");
    drop(under_way);
    let handle = models.for_key("used");
    advance(KEY_FORGOTTEN).await;
    assert!(still_there().await, "somebody holds it");
    drop(handle);
    let (_, served) = answer(ask_for(&world, "used").await);
    advance(KEY_FORGOTTEN).await;
    assert!(still_there().await, "somebody may ask who served");
    assert_eq!(served.model().map(Model::name), Some("a1"));
    drop(served);
    assert!(!still_there().await);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_comes_again_knows_nothing_of_before() {
    let world = tenants(1);
    world.script.play("a1", [503, 200]);
    ask_for(&world, "one").await.expect("of the other");
    advance(KEY_IDLE).await;
    ask_for(&world, "two").await.expect("an answer");
    advance(KEY_IDLE).await;
    let one = world.models.for_key("one");
    assert_eq!(one.snapshot().model("a1").expect("a model").breaker.consecutive_failures, 0);
    assert_eq!(one.snapshot().model("a1").expect("a model").calls, 0);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_alone_for_each_key() {
    let models = setup("host@any").breakers(trips_after(1)).max_keys(2).registry();
    let layer = CircuitBreakerLayer::keyed(models.clone(), "host", |host: &&'static str| host).expect("a model");
    let fails = |host: &'static str| async move { if host == "bad" { Err(host) } else { Ok(host) } };
    let client = layer.layer(service_fn(fails));
    assert!(client.clone().oneshot("bad").await.is_err());
    let refused = client.clone().oneshot("bad").await.expect_err("open");
    assert!(matches!(&refused, circuit_breaker::Error::Rejected(rejected) if rejected.model().name() == "host"));
    assert_eq!(client.clone().oneshot("good").await.expect("another"), "good");
    assert_eq!(sorted(&models), ["bad", "good"]);
    assert_eq!(state(&models, "host"), State::Closed);
    assert!(CircuitBreakerLayer::keyed(models, "hosts", |host: &&'static str| host).is_err());
}

#[test]
fn no_keys_at_all_is_an_error() {
    let builder = Models::builder().provider(Provider::new("a")).model(Model::new("a1", "a")).max_keys(0);
    let error: ConfigError = builder.build().expect_err("zero");
    assert_eq!(error.to_string(), "max_keys is `0`: must be at least 1");
}

/// What can be done with a key.
#[derive(Debug, Clone, Copy)]
enum Step {
    Use(u8),
    Hold(u8),
    LetGo(u8),
    ForceOpen(u8),
    Reset(u8),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..12_u8;
    prop_oneof![
        6 => key.clone().prop_map(Step::Use),
        2 => key.clone().prop_map(Step::Hold),
        2 => key.clone().prop_map(Step::LetGo),
        1 => key.clone().prop_map(Step::ForceOpen),
        1 => key.prop_map(Step::Reset),
        4 => (0..200_u16).prop_map(Step::Wait),
    ]
}

/// What is known of a key that has state of its own.
#[derive(Debug, Default)]
struct Known {
    held: Option<Models>,
    forced: bool,
    used: Option<Instant>,
}

impl Known {
    fn idle_for(&self, idle: Duration) -> bool {
        self.held.is_none() && !self.forced && self.used.is_none_or(|used| used.elapsed() >= idle)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn law_23_keys_are_bounded_and_only_idle_closed_ones_go(
        max in 1..6_usize,
        steps in prop::collection::vec(step(), 1..150),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let models = setup("a1@a").max_keys(max).registry();
            let mut known: HashMap<String, Known> = HashMap::new();
            for step in steps {
                let (Step::Use(key) | Step::Hold(key) | Step::LetGo(key) | Step::ForceOpen(key) | Step::Reset(key)) = step else {
                    let Step::Wait(seconds) = step else { unreachable!() };
                    advance(secs(seconds.into())).await;
                    continue;
                };
                let key = format!("key {key}");
                if let Step::LetGo(_) = step {
                    if let Some(known) = known.get_mut(&key) {
                        known.held = None;
                    }
                    continue;
                }
                let new = models.find_key(&key).is_none();
                let full = models.keys().len() == max;
                let may_go = known.values().any(|known| known.idle_for(KEY_IDLE));
                let handle = models.for_key(&key);
                let own = handle.key() == Some(&key);
                prop_assert_eq!(own, !new || !full || may_go, "{:?} of {:?}", step, known);

                // Who is gone was idle and closed, for long if there was room.
                let there = models.keys();
                prop_assert!(there.len() <= max);
                for (gone, known) in known.iter().filter(|(key, _)| !there.contains(key)) {
                    prop_assert!(new && known.idle_for(if full { KEY_IDLE } else { KEY_FORGOTTEN }), "{}: {:?}", gone, known);
                }
                known.retain(|key, _| there.contains(key));
                if !own {
                    prop_assert!(handle.key() == models.overflow().key());
                    continue;
                }
                let known = known.entry(key).or_default();
                known.used = Some(Instant::now());
                prop_assert_eq!(state(&handle, "a1") == State::ForcedOpen, known.forced);
                match step {
                    Step::Hold(_) => known.held = Some(handle),
                    Step::ForceOpen(_) => {
                        handle.command("a1", Command::ForceOpen).expect("known");
                        known.forced = true;
                    }
                    Step::Reset(_) => {
                        handle.command("a1", Command::Reset).expect("known");
                        known.forced = false;
                    }
                    _ => {}
                }
            }
            Ok(())
        })?;
    }
}

#[test]
fn law_23_threads_that_bring_the_same_keys_share_their_state_and_the_bound() {
    const MAX: usize = 200;
    let models = setup("a1@a").max_keys(MAX).registry();
    let (barrier, own) = (Arc::new(Barrier::new(8)), Arc::new(AtomicUsize::new(0)));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (models, barrier, own) = (models.clone(), Arc::clone(&barrier), Arc::clone(&own));
            scope.spawn(move || {
                for round in 0..300 {
                    // Half the keys are everybody's at once, half this thread's own.
                    let key = if round % 2 == 0 { format!("{round}") } else { format!("{thread}/{round}") };
                    barrier.wait();
                    let handle = models.for_key(&key);
                    if handle.key() == Some(&key) {
                        own.fetch_add(1, Ordering::Relaxed);
                        handle.command("a1", Command::ForceOpen).expect("known");
                        assert_eq!(state(&models.for_key(&key), "a1"), State::ForcedOpen, "{key}");
                    }
                    assert!(models.keys().len() <= MAX);
                }
            });
        }
    });
    let keys = sorted(&models);
    assert!(keys.windows(2).all(|pair| pair[0] != pair[1]), "each once");
    assert_eq!(keys.len(), MAX, "every place is taken, and none is lost");
    assert!(own.load(Ordering::Relaxed) >= MAX);
}
