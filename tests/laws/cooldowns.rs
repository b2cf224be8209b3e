//! Law 17, the engine's part: what a limited model and its provider do.

use crate::{
    script::{Act, Fault},
    world::{Req, World, answer, attempts, but, judge, ms, secs, served, setup, skip, tried, trips_after, world},
};
use futures::poll;
use std::time::Duration;
use tokio::time::advance;
use tower_failover::{Cause, Charge, Command, Cooldown, Plan, Skip, State, Verdict, Whose};

/// Statuses that ask to be left alone: 1…: so many seconds; 0 and the largest: absurd.
fn asks(result: Result<&u16, &Fault>) -> Verdict {
    match result {
        Ok(2_000) => Verdict::limited(Cooldown::For(Duration::ZERO)),
        Ok(2_001) => Verdict::limited(Cooldown::For(Duration::MAX)),
        Ok(status @ 1_000..=1_999) => Verdict::limited(Cooldown::For(secs(u64::from(status - 1_000)))),
        // A 503 with `Retry-After`, for so many seconds.
        Ok(status @ 3_000..=3_999) => but(Verdict::model_failed(), |verdict| {
            verdict.cooldown = Some(Cooldown::For(secs(u64::from(status - 3_000))));
        }),
        other => judge(other),
    }
}

fn asking(names: &str) -> World {
    setup(names).judge(asks).build()
}

async fn limit(world: &World, name: &str, status: u16) {
    world.script.play(name, [status]);
    let _ = world.ask_of(name).await;
    world.script.play(name, [200]);
}

#[track_caller]
fn assert_cooldown(world: &World, name: &str, wait: Duration) {
    let cooldown = world.breaker(name).cooldown.expect("a cooldown");
    assert!(cooldown >= wait && cooldown <= wait + wait / 10, "{cooldown:?} is not {wait:?} and up to 10 % more");
}

#[tokio::test(start_paused = true)]
async fn law_17_a_limit_blocks_the_model_until_then_and_is_no_failure() {
    let world = asking("a1@a b1@b");
    limit(&world, "a1", 1_020).await;
    assert_cooldown(&world, "a1", secs(20));
    assert_eq!((world.state("a1"), world.breaker("a1").cause), (State::Open, Some(Cause::Cooldown)));
    assert_eq!((world.failures("a1"), world.failures("@a"), world.state("@a")), (0, 0, State::Closed));
    advance(secs(19)).await;
    let (_, served) = answer(world.ask().await);
    assert!(matches!(skip(&served, "a1"), Skip::Cooldown(Whose::Model, left) if left <= secs(3)));
    advance(secs(3)).await;
    assert_eq!(tried(&answer(world.ask().await).1), ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn law_17_the_next_model_is_asked_at_once() {
    let world = asking("a1@a b1@b");
    world.script.play("a1", [1_020]);
    let (status, served) = answer(world.ask().await);
    assert_eq!((status, tried(&served), served.elapsed()), (200, vec!["a1".to_owned(), "b1".to_owned()], ms(0)));
    assert_eq!((served.cost(), attempts(&served)[0].charge), (0.0, Charge::Nobody));
}

#[tokio::test(start_paused = true)]
async fn law_17_a_failure_that_asks_to_be_left_alone_is_both() {
    let world = setup("a1@a").judge(asks).breakers(trips_after(9)).build();
    world.script.play("a1", [503]);
    for _ in 0..8 {
        answer(world.ask().await);
    }
    limit(&world, "a1", 3_020).await;
    assert_eq!(world.state("a1"), State::Open);
    assert_cooldown(&world, "a1", secs(20));
    assert!(matches!(world.breaker("a1").cause, Some(Cause::Consecutive { failures: 9, .. })));
}

#[tokio::test(start_paused = true)]
async fn law_17_absurd_times_are_clamped() {
    let world = asking("a1@a");
    limit(&world, "a1", 2_000).await;
    assert_cooldown(&world, "a1", ms(100));
    world.command("a1", Command::Reset);
    limit(&world, "a1", 2_001).await;
    assert_cooldown(&world, "a1", secs(3_600));
}

#[tokio::test(start_paused = true)]
async fn law_17_a_longer_cooldown_wins_and_a_shorter_one_never_cuts_it() {
    for statuses in [[1_050, 1_010], [1_010, 1_050]] {
        let world = asking("a1@a");
        world.script.play("a1", statuses.map(|status| Act::Answer(status, ms(10))));
        let (mut one, mut two) = (world.begin(), world.begin());
        assert!(poll!(&mut one).is_pending() && poll!(&mut two).is_pending());
        answer(one.await);
        answer(two.await);
        assert_cooldown(&world, "a1", secs(50));
    }
}

#[tokio::test(start_paused = true)]
async fn law_17_an_operators_cooldown_is_not_cut_either() {
    let world = asking("a1@a");
    world.models.cool_down("a1", secs(50)).unwrap();
    world.models.cool_down("a1", secs(10)).unwrap();
    assert_cooldown(&world, "a1", secs(50));
}

#[tokio::test(start_paused = true)]
async fn law_17_without_a_header_it_doubles_from_1_s_to_60_s() {
    let world = world("a1@a");
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        limit(&world, "a1", 429).await;
        assert_cooldown(&world, "a1", secs(wait));
        advance(secs(70)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn law_17_a_success_ends_the_doubling() {
    let world = world("a1@a");
    for _ in 0..3 {
        limit(&world, "a1", 429).await;
        advance(secs(70)).await;
    }
    answer(world.ask().await);
    limit(&world, "a1", 429).await;
    assert_cooldown(&world, "a1", secs(1));
}

#[tokio::test(start_paused = true)]
async fn law_01_a_late_success_of_an_earlier_generation_does_not_end_the_doubling() {
    let world = setup("a1@a").layer(|layer| layer.attempt_timeout(secs(300))).build();
    world.script.play("a1", [Act::Answer(200, secs(220))]);
    let mut late = world.begin();
    assert!(poll!(&mut late).is_pending());
    for _ in 0..3 {
        limit(&world, "a1", 429).await;
        advance(secs(70)).await;
    }
    assert_eq!(answer(late.await).0, 200);
    limit(&world, "a1", 429).await;
    assert_cooldown(&world, "a1", secs(8));
}

#[tokio::test(start_paused = true)]
async fn law_17_each_model_doubles_by_itself() {
    let world = world("a1@a a2@a");
    limit(&world, "a1", 429).await;
    advance(secs(70)).await;
    limit(&world, "a1", 429).await;
    advance(secs(70)).await;
    limit(&world, "a2", 429).await;
    assert_cooldown(&world, "a2", secs(1));
}

#[tokio::test(start_paused = true)]
async fn law_17_two_models_limited_within_2_s_block_the_provider() {
    for (gap, state) in [(ms(0), State::Open), (secs(2), State::Open), (ms(2_001), State::Closed)] {
        let world = asking("a1@a a2@a a3@a b1@b");
        limit(&world, "a1", 1_020).await;
        advance(gap).await;
        limit(&world, "a2", 1_020).await;
        assert_eq!(world.state("@a"), state, "{gap:?}");
        assert_eq!(world.state("@b"), State::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn law_17_a_blocked_providers_other_models_are_skipped_at_once() {
    let world = asking("a1@a a2@a a3@a b1@b");
    world.script.play("a1", [1_020]);
    world.script.play("a2", [1_020]);
    let (_, served) = answer(world.ask().await);
    assert_eq!(tried(&served), ["a1", "a2", "b1"]);
    assert!(matches!(skip(&served, "a3"), Skip::Cooldown(Whose::Provider, _)));
    assert_cooldown(&world, "@a", secs(20));
}

#[tokio::test(start_paused = true)]
async fn law_17_a_success_between_saves_the_provider() {
    let world = asking("a1@a a2@a a3@a");
    limit(&world, "a1", 1_020).await;
    answer(world.ask_of("a3").await);
    limit(&world, "a2", 1_020).await;
    assert_eq!(world.state("@a"), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn law_17_an_answer_that_is_no_success_between_saves_nobody() {
    let world = asking("a1@a a2@a a3@a");
    limit(&world, "a1", 1_020).await;
    limit(&world, "a3", 400).await;
    limit(&world, "a2", 1_020).await;
    assert_eq!(world.state("@a"), State::Open);
}

#[tokio::test(start_paused = true)]
async fn law_17_another_providers_success_or_limit_says_nothing() {
    let world = asking("a1@a a2@a b1@b");
    limit(&world, "a1", 1_020).await;
    limit(&world, "b1", 1_020).await;
    assert_eq!((world.state("@a"), world.state("@b")), (State::Closed, State::Closed));
    world.command("b1", Command::Reset);
    answer(world.ask_of("b1").await);
    limit(&world, "a2", 1_020).await;
    assert_eq!(world.state("@a"), State::Open);
}

#[tokio::test(start_paused = true)]
async fn law_17_the_end_is_jittered() {
    let world = asking("a1@a b1@b c1@c d1@d");
    let mut waits = Vec::new();
    for name in ["a1", "b1", "c1", "d1"] {
        limit(&world, name, 1_100).await;
        assert_cooldown(&world, name, secs(100));
        waits.push(world.breaker(name).cooldown.unwrap());
    }
    waits.sort();
    waits.dedup();
    assert_eq!(waits.len(), 4, "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn law_17_the_end_admits_one_probe_first() {
    let world = asking("a1@a b1@b");
    limit(&world, "a1", 1_020).await;
    advance(secs(23)).await;
    world.script.play("a1", [Act::Answer(200, secs(1))]);
    let mut probe = world.begin();
    assert!(poll!(&mut probe).is_pending());
    let (_, served) = answer(world.ask().await);
    assert!(matches!(skip(&served, "a1"), Skip::ProbesTaken(Whose::Model, _)));
    assert_eq!(tried(&served), ["b1"]);
    answer(probe.await);
    // It was limited and not broken: one good probe is enough.
    assert_eq!(world.state("a1"), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn law_17_a_limit_fails_a_probe() {
    let world = setup("a1@a").judge(asks).breakers(trips_after(1)).build();
    world.half_open("a1").await;
    limit(&world, "a1", 1_020).await;
    assert_eq!(world.state("a1"), State::Open);
    assert_cooldown(&world, "a1", secs(20));
}

#[tokio::test(start_paused = true)]
async fn law_17_a_limit_credits_and_blames_nobody() {
    let world = asking("a1@a a2@a");
    world.script.play("a2", [503]);
    answer(world.ask_of("a2").await);
    limit(&world, "a1", 1_001).await;
    assert_eq!((world.failures("@a"), world.failures("a1")), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn law_17_a_provider_that_asks_for_it_is_left_alone_with_all_its_models() {
    let world = asking("a1@a a2@a b1@b");
    limit(&world, "a1", 402).await;
    assert_cooldown(&world, "@a", secs(60));
    assert_eq!((world.state("a1"), world.failures("a1")), (State::Closed, 0));
    let (_, served) = answer(world.ask().await);
    assert!(matches!(skip(&served, "a2"), Skip::Cooldown(Whose::Provider, _)));
    assert_eq!(tried(&served), ["b1"]);
}

#[tokio::test(start_paused = true)]
async fn law_17_a_cooldown_is_told_with_its_end() {
    let world = asking("a1@a");
    limit(&world, "a1", 1_020).await;
    let retry_in = served(world.ask().await).retry_in().unwrap();
    assert_eq!(Some(retry_in), world.breaker("a1").cooldown);
}

#[tokio::test(start_paused = true)]
async fn law_17_forced_states_stay() {
    for command in [Command::ForceOpen, Command::Disable] {
        let world = asking("a1@a");
        world.script.play("a1", [Act::Answer(1_020, ms(10))]);
        let mut call = world.begin();
        assert!(poll!(&mut call).is_pending());
        world.command("a1", command);
        let forced = world.state("a1");
        answer(call.await);
        assert_eq!(world.state("a1"), forced);
    }
}

#[tokio::test(start_paused = true)]
async fn law_08_what_a_disabled_breaker_lets_through_says_nothing_of_the_provider() {
    let world = asking("a1@a a2@a");
    world.command("a1", Command::Disable);
    world.command("a2", Command::Disable);
    for name in ["a1", "a2", "a1"] {
        limit(&world, name, 429).await;
    }
    assert_eq!(world.state("@a"), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn law_01_late_limits_of_an_earlier_generation_say_nothing_of_the_provider() {
    let world = asking("a1@a a2@a");
    let mut late = Vec::new();
    for name in ["a1", "a2"] {
        world.script.play(name, [Act::Answer(429, secs(1))]);
        let mut call = world.begin_with(Req::from(Plan::new().models([name])));
        assert!(poll!(&mut call).is_pending());
        late.push(call);
    }
    for name in ["a1", "a2", "@a"] {
        world.command(name, Command::Reset);
    }
    for call in late {
        let _ = call.await;
    }
    for name in ["a1", "a2", "@a"] {
        assert_eq!(world.state(name), State::Closed, "{name}");
    }
}
