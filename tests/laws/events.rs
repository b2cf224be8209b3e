//! What listeners are told: each kind with its fields, in which order, and who pays for it.

use crate::{
    script::{Act, Fault},
    world::{World, answer, but, judge, ms, secs, setup, trips_after, world},
};
use futures::poll;
use std::time::Duration;
use tokio::time::advance;
use tower_failover::{
    BreakerConfig, Budget, Cause, Command, Cooldown, Event, EventKind, Events, Models, Operation, Plan, State, Tier,
    Trip, Verdict,
    defaults::{SUSPECT_CALLS, SUSPECT_SUCCESSES},
};

/// Everything that has been told since.
#[track_caller]
pub(crate) fn told(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv()).map(|event| event.expect("nothing missed")).collect()
}

/// The same, each as a line without its time.
#[track_caller]
fn lines(events: &mut Events) -> Vec<String> {
    let line = |event: Event| event.to_string().split_once(": ").expect("a time").1.to_owned();
    told(events).into_iter().map(line).collect()
}

/// Whose it is: a key, and a model or `@` and a provider.
pub(crate) fn whose(event: &Event) -> (Option<String>, String) {
    let provider = || format!("@{}", event.provider().unwrap_or_default());
    (event.key.as_deref().map(str::to_owned), event.model().map_or_else(provider, str::to_owned))
}

/// The only event.
#[track_caller]
fn only(events: &mut Events) -> Event {
    let told = told(events);
    assert_eq!(told.len(), 1, "{told:?}");
    told.into_iter().next().expect("one")
}

fn state(models: &Models, name: &str) -> State {
    let snapshot = models.snapshot();
    match name.strip_prefix('@') {
        Some(name) => snapshot.provider(name).expect("a provider").breaker.state,
        None => snapshot.model(name).expect("a model").breaker.state,
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_that_is_too_slow_opens_a_breaker_and_that_is_told() {
    let slow = BreakerConfig::default().trip([Trip::slow_call_rate(0.5, secs(1), 2, secs(600))]);
    let world = setup("a1@a").breakers(slow).build();
    let mut events = world.models.events();
    world.script.play("a1", [Act::Answer(200, secs(2))]);
    answer(world.ask().await);
    assert_eq!(told(&mut events), []);
    answer(world.ask().await);
    assert_eq!(state(&world.models, "a1"), State::Open);
    let event = only(&mut events);
    assert!(
        matches!(event.kind, EventKind::Transition { to: State::Open, cause: Cause::SlowCallRate { .. }, .. }),
        "{event}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_breaker_opens_is_half_open_and_closes() {
    let world = setup("a1@a").breakers(trips_after(2)).build();
    advance(secs(3)).await;
    let mut events = world.models.events();
    world.script.play("a1", [503, 503, 200]);
    answer(world.ask().await);
    advance(ms(500)).await;
    assert_eq!(told(&mut events), [], "one failure is none");
    answer(world.ask().await);

    let event = only(&mut events);
    let EventKind::Transition { model, provider, from, to, cause, retry_in, .. } = &event.kind else {
        panic!("{event:?}");
    };
    assert_eq!((event.at, &event.key), (ms(3_500), &None));
    assert_eq!((model.as_deref(), &**provider), (Some("a1"), "a"));
    assert_eq!((event.model(), event.provider()), (Some("a1"), Some("a")));
    assert_eq!((*from, *to, *retry_in), (State::Closed, State::Open, Some(secs(10))));
    assert!(matches!(cause, Cause::Consecutive { failures: 2, spanning, .. } if *spanning == ms(500)));
    let line = r#"3.500s: model "a1" of "a": closed to open, 2 failures in a row spanning 500ms, a probe in 10.000s"#;
    assert_eq!(event.to_string(), line);

    advance(secs(10)).await;
    assert_eq!(told(&mut events), [], "nobody has come yet");
    answer(world.ask().await);
    let event = only(&mut events);
    assert_eq!(event.at, ms(13_500));
    assert!(matches!(
        event.kind,
        EventKind::Transition { from: State::Open, to: State::HalfOpen, cause: Cause::WaitElapsed, retry_in: None, .. }
    ));
    answer(world.ask().await);
    assert_eq!(lines(&mut events), [r#"model "a1" of "a": half-open to closed, probes succeeded"#]);
}

#[tokio::test(start_paused = true)]
async fn a_command_is_told_with_what_became_of_it_and_without() {
    let world = world("a1@a");
    let mut events = world.models.events();
    world.command("a1", Command::ForceOpen);
    let event = &told(&mut events)[0];
    let EventKind::Command { model, provider, operation, .. } = &event.kind else { panic!("{event:?}") };
    assert_eq!((model.as_deref(), &**provider), (Some("a1"), "a"));
    assert_eq!(*operation, Operation::Command(Command::ForceOpen));

    for (name, command, expected) in [
        ("a1", Command::ForceOpen, &[r#"model "a1" of "a": command: force open"#][..]),
        (
            "a1",
            Command::Shadow,
            &[r#"model "a1" of "a": command: shadow"#, r#"model "a1" of "a": forced open to closed, command: shadow"#],
        ),
        ("a1", Command::Shadow, &[r#"model "a1" of "a": command: shadow"#]),
        ("a1", Command::Reset, &[r#"model "a1" of "a": command: reset"#]),
        (
            "@a",
            Command::Disable,
            &[r#"provider "a": command: disable"#, r#"provider "a": closed to disabled, command: disable"#],
        ),
        ("@a", Command::Disable, &[r#"provider "a": command: disable"#]),
    ] {
        world.command(name, command);
        assert_eq!(lines(&mut events), expected, "{name} {command}");
    }
    assert!(
        world.models.command("b1", Command::Reset).is_err() && world.models.cool_down_provider("b", ms(1)).is_err()
    );
    assert_eq!(told(&mut events), [], "nobody has this name");
}

/// Statuses from 1,000 on are limits for so many seconds.
pub(crate) fn asks(result: Result<&u16, &Fault>) -> Verdict {
    match result {
        Ok(status @ 1_000..=1_999) => Verdict::limited(Cooldown::For(secs(u64::from(status - 1_000)))),
        Ok(status @ 3_000..=3_999) => but(Verdict::model_failed(), |verdict| {
            verdict.cooldown = Some(Cooldown::For(secs(u64::from(status - 3_000))));
        }),
        other => judge(other),
    }
}

/// What the cooldowns among the events are about, and for how long they are.
fn cooldowns(events: &[Event]) -> Vec<(String, Duration)> {
    let wait = |event: &Event| match event.kind {
        EventKind::Cooldown { wait, .. } => Some((whose(event).1, wait)),
        _ => None,
    };
    events.iter().filter_map(wait).collect()
}

#[tokio::test(start_paused = true)]
async fn a_limit_is_a_cooldown_and_the_transition_that_it_causes() {
    let world = setup("a1@a").judge(asks).build();
    let mut events = world.models.events();
    world.script.play("a1", [1_020]);
    answer(world.ask().await);
    let told = told(&mut events);
    let cooldown = world.breaker("a1").cooldown.expect("one");
    assert_eq!(cooldowns(&told), [("a1".to_owned(), cooldown)]);
    assert!(cooldown >= secs(20) && cooldown <= secs(22), "with its jitter: {cooldown:?}");
    let EventKind::Transition { from, to, cause, retry_in, .. } = &told[1].kind else { panic!("{told:?}") };
    assert_eq!((*from, *to, *cause, *retry_in), (State::Closed, State::Open, Cause::Cooldown, Some(cooldown)));
    assert_eq!(told.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_asks_to_be_left_alone_is_both() {
    let world = setup("a1@a").judge(asks).breakers(trips_after(1)).build();
    let mut events = world.models.events();
    world.script.play("a1", [3_030]);
    answer(world.ask().await);
    let told = told(&mut events);
    assert_eq!(cooldowns(&told).len(), 1);
    let EventKind::Transition { cause, retry_in, .. } = &told[1].kind else { panic!("{told:?}") };
    assert!(matches!(cause, Cause::Consecutive { .. }));
    assert_eq!((*retry_in, told.len()), (world.breaker("a1").cooldown, 2));
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_that_becomes_longer_is_told_without_a_transition_and_a_shorter_one_is_not() {
    let world = setup("a1@a").judge(asks).build();
    let mut events = world.models.events();
    world.script.play("a1", [1_020, 1_010, 1_050].map(|status| Act::Answer(status, ms(10))));
    let mut calls = [world.begin(), world.begin(), world.begin()];
    for call in &mut calls {
        assert!(poll!(call).is_pending());
    }
    for (call, expected) in calls.into_iter().zip([2, 0, 1]) {
        answer(call.await);
        let told = told(&mut events);
        assert_eq!(told.len(), expected, "{told:?}");
        if expected > 0 {
            let cooldown = world.breaker("a1").cooldown.expect("one");
            assert_eq!(cooldowns(&told), [("a1".to_owned(), cooldown)]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_operators_cooldown_is_a_command_and_a_cooldown_if_it_is_a_longer_one() {
    let world = world("a1@a");
    let mut events = world.models.events();
    for (wait, expected) in [(20, 3), (50, 2), (10, 1)] {
        world.models.cool_down("a1", secs(wait)).expect("known");
        let told = told(&mut events);
        let EventKind::Command { operation, .. } = &told[0].kind else { panic!("{told:?}") };
        assert_eq!(*operation, Operation::CoolDown(secs(wait)));
        assert_eq!(told[0].to_string(), format!(r#"0.000s: model "a1" of "a": command: cool down for {wait}s"#));
        assert_eq!((told.len(), cooldowns(&told).len()), (expected, usize::from(expected > 1)), "{told:?}");
    }
    world.command("a1", Command::ForceOpen);
    told(&mut events);
    world.models.cool_down("a1", secs(500)).expect("known");
    assert_eq!(lines(&mut events), [r#"model "a1" of "a": command: cool down for 500s"#], "forced states stay");

    world.models.cool_down_provider("a", secs(5)).expect("known");
    let told = told(&mut events);
    assert_eq!(told.iter().map(|event| whose(event).1).collect::<Vec<_>>(), ["@a"; 3]);
    assert_eq!(cooldowns(&told), [("@a".to_owned(), world.breaker("@a").cooldown.expect("one"))]);
    let EventKind::Cooldown { model: None, wait, .. } = &told[1].kind else { panic!("{told:?}") };
    assert_eq!(told[1].kind.to_string(), format!("left alone for {:.3}s", wait.as_secs_f64()));
}

#[tokio::test(start_paused = true)]
async fn two_models_limited_are_told_before_their_provider() {
    let world = setup("a1@a a2@a b1@b").judge(asks).build();
    let mut events = world.models.events();
    world.script.play("a1", [1_020]);
    world.script.play("a2", [1_020]);
    answer(world.ask().await);
    let told = told(&mut events);
    let names: Vec<String> = told.iter().map(|event| whose(event).1).collect();
    assert_eq!(names, ["a1", "a1", "a2", "a2", "@a", "@a"]);
    let of = |name: &str| world.breaker(name).cooldown.expect("one");
    assert_eq!(cooldowns(&told), ["a1", "a2", "@a"].map(|name| (name.to_owned(), of(name))));
}

#[tokio::test(start_paused = true)]
async fn an_unpaid_bill_is_a_cooldown_of_the_provider() {
    let world = world("a1@a b1@b");
    let mut events = world.models.events();
    world.script.play("a1", [402]);
    answer(world.ask().await);
    let told = told(&mut events);
    assert_eq!(cooldowns(&told), [("@a".to_owned(), world.breaker("@a").cooldown.expect("one"))]);
    assert_eq!(told.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_closes_is_told_before_its_models_that_follow() {
    let breaker = trips_after(1);
    let world = setup("a1@a a2@a b1@b").breakers(breaker.clone()).provider_breakers(breaker).build();
    world.trip("a1 a2").await;
    assert_eq!(state(&world.models, "@a"), State::Open, "by its models' failures");
    let mut events = world.models.events();
    world.command("@a", Command::Reset);
    let expected = [
        r#"provider "a": command: reset"#,
        r#"provider "a": open to closed, command: reset"#,
        r#"model "a1" of "a": open to half-open, provider recovered"#,
        r#"model "a2" of "a": open to half-open, provider recovered"#,
    ];
    assert_eq!(lines(&mut events), expected);
}

#[tokio::test(start_paused = true)]
async fn a_last_resort_that_is_answered_is_told_before_what_follows_for_everybody() {
    let breaker = trips_after(1);
    let world = setup("a1@a b1@b").breakers(breaker.clone()).provider_breakers(breaker).build();
    world.trip("a1 b1").await;
    let mut events = world.models.events();
    answer(world.ask().await);
    let expected = [
        r#"model "a1" of "a": open to closed, a last resort was answered"#,
        r#"provider "a": open to closed, a last resort was answered"#,
        r#"provider "b": open to half-open, a last resort was answered"#,
        r#"model "b1" of "b": open to half-open, a last resort was answered"#,
    ];
    assert_eq!(lines(&mut events), expected);
}

/// Five failures, after which `a1` is degraded.
pub(crate) async fn degrade(world: &World) {
    world.script.play("a1", [503]);
    for _ in 0..5 {
        answer(world.ask_of("a1").await);
    }
    world.script.play("a1", [200]);
}

#[tokio::test(start_paused = true)]
async fn a_model_is_degraded_and_healthy_again() {
    let world = world("a1@a b1@b");
    let mut events = world.models.events();
    degrade(&world).await;
    let event = only(&mut events);
    let EventKind::Tier { model, provider, tier, .. } = &event.kind else { panic!("{event:?}") };
    assert_eq!((&**model, &**provider, *tier), ("a1", "a", Tier::Degraded));
    assert_eq!((event.model(), event.provider()), (Some("a1"), Some("a")));
    assert_eq!(event.to_string(), r#"0.000s: model "a1" of "a": degraded"#);
    for _ in 0..120 {
        answer(world.ask_of("a1").await);
        advance(ms(500)).await;
    }
    let event = only(&mut events);
    assert!(matches!(event.kind, EventKind::Tier { tier: Tier::Healthy, .. }));
    assert!(event.at > secs(10) && event.at < secs(60), "{event}");
}

#[tokio::test(start_paused = true)]
async fn a_reset_makes_a_degraded_model_healthy_and_tells_it_once() {
    let world = setup("a1@a").breakers(trips_after(5)).build();
    degrade(&world).await;
    let mut events = world.models.events();
    for expected in [&["command: reset", "open to closed, command: reset", "healthy"][..], &["command: reset"][..]] {
        world.command("a1", Command::Reset);
        let kinds: Vec<String> = told(&mut events).into_iter().map(|event| event.kind.to_string()).collect();
        assert_eq!(kinds, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_suspect_is_no_event() {
    let world = world("a1@a b1@b");
    let mut events = world.models.events();
    for _ in 0..SUSPECT_SUCCESSES {
        answer(world.ask().await);
    }
    world.script.play("a1", [Act::Hang]);
    advance(ms(1)).await;
    let hanging: Vec<_> = (0..SUSPECT_CALLS).map(|_| tokio::spawn(world.begin())).collect();
    tokio::task::yield_now().await;
    advance(secs(2)).await;
    assert_eq!(world.model("a1").tier, Tier::Suspect);
    answer(world.ask().await);
    hanging.into_iter().for_each(|call| call.abort());
    tokio::task::yield_now().await;
    advance(secs(2)).await;
    assert_eq!(world.model("a1").tier, Tier::Healthy);
    assert_eq!(told(&mut events), []);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_budget_is_told_once_and_again_after_it_was_refilled() {
    let budget = Budget::default().burst(1.0).share_of_calls(0.0).per_second(0.1);
    let world = setup("a1@a a2@a a3@a").providers(|provider| provider.budget(budget.clone())).build();
    for model in ["a1", "a2", "a3"] {
        world.script.play(model, [503]);
    }
    let budgets = |events: &mut Events| -> Vec<Event> {
        told(events).into_iter().filter(|event| matches!(event.kind, EventKind::BudgetExhausted { .. })).collect()
    };
    let mut events = world.models.events();
    answer(world.ask().await);
    assert_eq!(budgets(&mut events), [], "the only token was enough");
    answer(world.ask().await);
    let told = budgets(&mut events);
    assert_eq!(
        told.iter().map(Event::to_string).collect::<Vec<_>>(),
        [r#"0.000s: provider "a": failover budget used up"#]
    );
    assert_eq!((told[0].model(), told[0].provider()), (None, Some("a")));
    for _ in 0..9 {
        answer(world.ask().await);
        advance(ms(900)).await;
    }
    assert_eq!(budgets(&mut events), [], "refused, but not for the first time");
    advance(secs(2)).await;
    answer(world.ask().await);
    assert_eq!(budgets(&mut events), [], "granted");
    answer(world.ask().await);
    assert_eq!(budgets(&mut events).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_happens_to_a_key_is_told_with_its_name_wherever_one_listens() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).max_keys(2).build();
    let mut everywhere = [world.models.events(), world.models.for_key("one").events()];
    let two = world.models.for_key("two\n");
    world.script.play("a1", [503]);
    for plan in [Plan::new(), Plan::new().key("one"), Plan::new().key("two\n"), Plan::new().key("three")] {
        answer(world.send(plan).await);
    }
    two.command("b1", Command::Disable).expect("known");
    for events in &mut everywhere {
        let told = told(events);
        let whose: Vec<_> = told.iter().map(whose).collect();
        let of = |key: Option<&str>, name: &str| (key.map(str::to_owned), name.to_owned());
        let (one, two, rest) = (Some("one"), Some("two\n"), Some("(overflow)"));
        let expected = [of(None, "a1"), of(one, "a1"), of(two, "a1"), of(rest, "a1"), of(two, "b1"), of(two, "b1")];
        assert_eq!(whose, expected);
        let line = r#"0.000s: key "two\n": model "b1" of "b": closed to disabled, command: disable"#;
        assert_eq!(told[5].to_string(), line, "one line, whatever the key");
    }
}

#[tokio::test(start_paused = true)]
async fn another_configuration_is_told_once_and_its_models_by_their_names() {
    let world = world("a1@a b1@b");
    let mut events = world.models.events();
    advance(secs(2)).await;
    world.models.for_key("one").apply(setup("c1@a").described().event_capacity(1)).expect("good");
    world.command("c1", Command::ForceOpen);
    world.models.for_key("one").command("c1", Command::Reset).expect("known");
    assert!(world.models.apply(Models::builder()).is_err());
    assert!(world.models.apply(setup("c1@a").described().event_capacity(0)).is_err());
    let told = told(&mut events);
    let lines: Vec<String> = told.iter().map(Event::to_string).collect();
    let expected = [
        "2.000s: another configuration applied",
        r#"2.000s: model "c1" of "a": command: force open"#,
        r#"2.000s: model "c1" of "a": closed to forced open, command: force open"#,
        r#"2.000s: key "one": model "c1" of "a": command: reset"#,
    ];
    assert_eq!(lines, expected, "a capacity of before, and nothing of what was refused");
    assert_eq!((&told[0].kind, told[0].model(), told[0].provider()), (&EventKind::Applied, None, None));
}
