//! A copy of the state that knows nothing but events: whatever happens, it leads to what there is to see.

use crate::{
    events::{asks, told, whose},
    world::{Setup, ms, secs, setup, trips_after},
};
use proptest::prelude::*;
use std::{collections::HashMap, time::Duration};
use tokio::time::advance;
use tower_failover::{Cause, Command, Event, EventKind, Models, Plan, State, Tier};

/// Follows breakers and tiers by what is told of them.
#[derive(Default)]
pub(crate) struct Mirror {
    states: HashMap<(Option<String>, String), State>,
    tiers: HashMap<(Option<String>, String), Tier>,
    at: Duration,
}

impl Mirror {
    /// Each event goes on from where the one before has left it.
    pub(crate) fn hear(&mut self, events: &[Event]) {
        for event in events {
            assert!(event.at >= self.at, "{event}");
            self.at = event.at;
            let whose = whose(event);
            match &event.kind {
                EventKind::Transition { from, to, cause, retry_in, .. } => {
                    let state = self.states.entry(whose).or_insert(State::Closed);
                    assert_eq!((*state, from == to), (*from, false), "{event}");
                    assert_eq!(retry_in.is_some(), *to == State::Open, "{event}");
                    assert!(*cause != Cause::Cooldown || *to == State::Open, "{event}");
                    *state = *to;
                }
                EventKind::Tier { tier, .. } => {
                    let before = self.tiers.entry(whose).or_insert(Tier::Healthy);
                    assert_ne!((*before, Tier::Suspect), (*tier, *tier), "{event}");
                    *before = *tier;
                }
                EventKind::Cooldown { .. } => {
                    let state = self.states.get(&whose).copied().unwrap_or(State::Closed);
                    assert!(!matches!(state, State::ForcedOpen | State::Disabled), "{event}");
                }
                _ => {}
            }
        }
    }

    /// And ends where the registry is.
    pub(crate) fn check(&self, models: &Models) {
        let snapshot = models.snapshot();
        let of = |name: String| (models.key().map(str::to_owned), name);
        let state = |name: String| self.states.get(&of(name)).copied().unwrap_or(State::Closed);
        for model in &snapshot.models {
            assert_eq!(state(model.name.clone()), model.breaker.state, "{}", model.name);
            let tier = self.tiers.get(&of(model.name.clone())).copied().unwrap_or(Tier::Healthy);
            assert!(tier == model.tier || model.tier == Tier::Suspect, "{}", model.name);
        }
        for provider in &snapshot.providers {
            assert_eq!(state(format!("@{}", provider.name)), provider.breaker.state, "{}", provider.name);
        }
    }

    /// Who is gone begins anew when he comes back.
    fn forget(&mut self, models: &Models) {
        let snapshot = models.snapshot();
        let is_there = |name: &str| match name.strip_prefix('@') {
            Some(name) => snapshot.provider(name).is_some(),
            None => snapshot.model(name).is_some(),
        };
        self.states.retain(|(_, name), _| is_there(name));
        self.tiers.retain(|(_, name), _| is_there(name));
    }
}

/// What can be done to a registry of two keys.
#[derive(Debug, Clone)]
enum Step {
    Ask { key: Option<&'static str>, answers: [u16; 3] },
    Advance(Duration),
    Command { key: Option<&'static str>, name: &'static str, command: Command },
    CoolDown { key: Option<&'static str>, name: &'static str, wait: Duration },
    Apply { trips: u32, without: Option<&'static str> },
}

const MODELS: [&str; 3] = ["a1@a", "a2@a", "b1@b"];

fn described(trips: u32, without: Option<&str>) -> Setup {
    let names: Vec<&str> = MODELS.into_iter().filter(|name| without.is_none_or(|one| !name.starts_with(one))).collect();
    let breaker = trips_after(trips);
    setup(&names.join(" ")).judge(asks).breakers(breaker.clone()).provider_breakers(breaker)
}

fn step() -> impl Strategy<Value = Step> {
    let key = || prop::sample::select(vec![None, None, Some("one")]);
    let name = || prop::sample::select(vec!["a1", "a2", "b1", "@a", "@b"]);
    let status = || prop::sample::select(vec![200_u16, 200, 200, 401, 402, 429, 503, 503, 1_002, 3_004]);
    let command = prop::sample::select(vec![
        Command::ForceOpen,
        Command::Disable,
        Command::Shadow,
        Command::Reset,
        Command::Reset,
    ]);
    prop_oneof![
        12 => (key(), [status(), status(), status()]).prop_map(|(key, answers)| Step::Ask { key, answers }),
        5 => (0_u64..40).prop_map(|n| Step::Advance(ms(n * 500))),
        2 => (key(), name(), command).prop_map(|(key, name, command)| Step::Command { key, name, command }),
        1 => (key(), name(), 0_u64..20).prop_map(|(key, name, n)| Step::CoolDown { key, name, wait: secs(n) }),
        1 => (1_u32..4, prop::option::of(prop::sample::select(vec!["a2", "b1"])))
            .prop_map(|(trips, without)| Step::Apply { trips, without }),
    ]
}

async fn follow(steps: Vec<Step>) {
    let world = described(2, None).build();
    let of = |key: Option<&str>| key.map_or_else(|| world.models.clone(), |key| world.models.for_key(key));
    let (mut events, mut mirror) = (world.models.events(), Mirror::default());
    for step in steps {
        match step.clone() {
            Step::Advance(time) => advance(time).await,
            Step::Ask { key, answers } => {
                for (model, status) in MODELS.iter().zip(answers) {
                    world.script.play(&model[..2], [status]);
                }
                let plan = Plan::new();
                let _ = world.send(key.map_or_else(|| plan.clone(), |key| plan.clone().key(key))).await;
            }
            // Nobody may have this name just now.
            Step::Command { key, name, command } => {
                let _ = match name.strip_prefix('@') {
                    Some(name) => of(key).command_provider(name, command),
                    None => of(key).command(name, command),
                };
            }
            Step::CoolDown { key, name, wait } => {
                let _ = match name.strip_prefix('@') {
                    Some(name) => of(key).cool_down_provider(name, wait),
                    None => of(key).cool_down(name, wait),
                };
            }
            Step::Apply { trips, without } => {
                world.models.apply(described(trips, without).described()).expect("good");
                mirror.forget(&world.models);
            }
        }
        let keys = [Some(world.models.clone()), world.models.find_key("one")];
        // Looking may change a tier, which is told as well.
        let _ = keys.iter().flatten().map(Models::snapshot).count();
        mirror.hear(&told(&mut events));
        keys.iter().flatten().for_each(|models| mirror.check(models));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_leads_from_closed_to_what_there_is_to_see(steps in prop::collection::vec(step(), 1..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(follow(steps));
    }
}
