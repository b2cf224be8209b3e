//! The weather is the same whenever one looks, or its figures would say nothing.

#![allow(unreachable_pub, dead_code, reason = "modules of a program")]

#[path = "../examples/weather/main.rs"]
mod weather;

use std::sync::Arc;
use weather::{chance::Chance, policy::Policy, scenario, upstream::Case};

/// The first 75 s of it, of which the last 15 are foul, at a fifth of its load.
fn case(name: &str, seed: u64) -> Case {
    let scenario = scenario::all().into_iter().find(|scenario| scenario.name == name).expect("it is in the list");
    let mut chance = Chance::new(seed);
    chance.arrivals = chance.arrivals.into_iter().step_by(5).filter(|at| *at < 75_000).collect();
    Case { scenario: Arc::new(scenario), timeout: 2_000, seed, chance: Arc::new(chance) }
}

#[test]
fn the_same_seed_gives_the_same_answers() {
    let case = case("flapping", 7);
    let log = Policy::Failover.run(&case);
    assert_eq!(log, Policy::Failover.run(&case));
    let breakers_only = Policy::BreakersOnly.run(&case);
    let calls = |log: &weather::upstream::Log| log.rows.iter().map(|row| usize::from(row.calls)).sum::<usize>();
    assert!(calls(&breakers_only) < calls(&Policy::Loop.run(&case)));
}

#[test]
fn with_scores_it_is_another_policy_than_with_breakers_alone() {
    // Where a breaker has opened before a score could fall they are the same.
    let differ = |seed| {
        let case = case("flapping", seed);
        Policy::Failover.run(&case) != Policy::BreakersOnly.run(&case)
    };
    assert!((1..=10).any(differ));
}

#[test]
fn in_fair_weather_every_policy_is_the_clairvoyant() {
    let mut fair = case("flapping", 7);
    fair.scenario = Arc::new(scenario::Scenario { name: "fair", spells: Vec::new(), limits: fair.scenario.limits });
    let clairvoyant = Policy::Clairvoyant.run(&fair);
    assert_eq!(Policy::Loop.run(&fair), clairvoyant);
    assert_eq!(Policy::Failover.run(&fair), clairvoyant);
}
