//! Tiers within the caller's order: the health score, and law 26.

use crate::{
    script::Act,
    world::{World, answer, ms, secs, setup, trips_after, world},
};
use std::time::Duration;
use tokio::time::{advance, sleep, timeout};
use tower_failover::{
    Command, State, Tier,
    defaults::{EXPLORE_EVERY, HEALTHY_FOR, SUSPECT_CALLS, SUSPECT_SUCCESSES},
};

/// Who answers so many requests, this far apart.
async fn who(world: &World, requests: usize, apart: Duration) -> Vec<String> {
    let mut who = Vec::new();
    for _ in 0..requests {
        who.push(answer(world.ask().await).1.model().expect("somebody").name().to_owned());
        advance(apart).await;
    }
    who
}

fn of(who: &[String], name: &str) -> usize {
    who.iter().filter(|model| *model == name).count()
}

/// Makes `a1` fail until it is degraded, and then well again.
async fn degrade(world: &World) {
    world.script.play("a1", [503]);
    for _ in 0..5 {
        let _ = world.ask_of("a1").await;
    }
    assert_eq!(world.model("a1").tier, Tier::Degraded);
    world.script.play("a1", [200]);
}

#[tokio::test(start_paused = true)]
async fn a_degraded_model_is_asked_after_the_healthy_ones() {
    let world = world("a1@a b1@b c1@c");
    degrade(&world).await;
    assert_eq!(world.model("a1").breaker.state, State::Closed);
    assert_eq!(who(&world, 9, Duration::ZERO).await, ["b1"; 9]);
    // It is not refused: when the others fail, it is asked.
    world.script.play("b1", [503]);
    world.script.play("c1", [503]);
    assert_eq!(who(&world, 1, Duration::ZERO).await, ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn a_degraded_model_still_sees_two_of_a_hundred_and_one_in_thirty_seconds() {
    let world = world("a1@a b1@b");
    degrade(&world).await;
    // Some of the answers that it gives heal it: so it must go on failing to stay degraded.
    world.script.play("a1", [503]);
    let before = world.script.calls_of("a1");
    who(&world, 1_000, ms(1)).await;
    assert_eq!(world.script.calls_of("a1") - before, 1_000 / EXPLORE_EVERY as usize);

    let before = world.script.calls_of("a1");
    who(&world, 300, secs(1)).await;
    let seen = world.script.calls_of("a1") - before;
    assert!((9..=11).contains(&seen), "{seen} in 300 s");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_has_recovered_is_first_again_after_ten_good_seconds() {
    let world = world("a1@a b1@b");
    degrade(&world).await;
    let who = who(&world, 6_000, ms(10)).await;
    let back = who.iter().rposition(|model| model == "b1").expect("served meanwhile") + 1;
    assert!(ms(10) * back as u32 > HEALTHY_FOR && back < 4_000, "after {back} requests");
    assert!(of(&who[..back], "a1") <= back / EXPLORE_EVERY as usize + 1);
    assert_eq!(world.model("a1").tier, Tier::Healthy);
}

#[tokio::test(start_paused = true)]
async fn one_failure_in_five_is_no_reason_to_turn_away_and_two_in_five_are() {
    for (every, share) in [(5, Tier::Healthy), (2, Tier::Degraded)] {
        let world = world("a1@a b1@b");
        let acts: Vec<u16> = (0..1_000).map(|call| if call % every == 0 { 503 } else { 200 }).collect();
        world.script.play("a1", acts);
        who(&world, 200, ms(10)).await;
        assert_eq!(world.model("a1").tier, share, "one in {every}: {}", world.model("a1").score);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_nobodys_fault_does_not_touch_the_score() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [400, 429, 404, 204, 205]);
    for _ in 0..20 {
        let _ = world.ask_of("a1").await;
        advance(secs(100)).await;
    }
    assert_eq!((world.model("a1").score, world.model("a1").outcomes), (0.95, 0.0));
}

#[tokio::test(start_paused = true)]
async fn law_01_a_late_result_does_not_touch_the_score() {
    let world = setup("a1@a b1@b").breakers(trips_after(100)).build();
    world.script.play("a1", [Act::Answer(503, secs(1))]);
    let call = world.begin();
    let call = tokio::spawn(call);
    sleep(ms(500)).await;
    world.command("a1", Command::Reset);
    let _ = call.await.expect("no panic");
    assert_eq!(world.model("a1").outcomes, 0.0);
}

#[tokio::test(start_paused = true)]
async fn law_08_a_reset_clears_the_score() {
    let world = world("a1@a b1@b");
    degrade(&world).await;
    world.command("a1", Command::Reset);
    assert_eq!((world.model("a1").tier, world.model("a1").score), (Tier::Healthy, 0.95));
    assert_eq!(who(&world, 1, Duration::ZERO).await, ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_closes_leaves_little_of_what_was() {
    let world = setup("a1@a b1@b").breakers(trips_after(20)).build();
    world.script.play("a1", [503]);
    for _ in 0..20 {
        let _ = world.ask_of("a1").await;
    }
    assert!(world.model("a1").outcomes > 19.0);
    world.script.play("a1", [200]);
    advance(secs(10)).await;
    while world.state("a1") != State::Closed {
        let _ = world.ask_of("a1").await;
    }
    assert!((world.model("a1").outcomes - 5.0).abs() < 0.1, "{}", world.model("a1").outcomes);
}

#[tokio::test(start_paused = true)]
async fn in_listed_order_nobody_is_put_back() {
    let world = setup("a1@a b1@b").layer(|layer| layer.in_listed_order()).build();
    degrade(&world).await;
    assert_eq!(who(&world, 9, Duration::ZERO).await, ["a1"; 9]);
}

/// Lets `a1` answer so many calls after 300 ms each, and then hang.
async fn used_to_answer(world: &World, successes: u64) {
    world.script.play("a1", [Act::Answer(200, ms(300))]);
    for _ in 0..successes {
        answer(world.ask_of("a1").await);
    }
    world.script.play("a1", [Act::Hang]);
}

/// Calls of `a1` that hang.
async fn hang(world: &World, calls: usize) -> Vec<tokio::task::JoinHandle<crate::world::Outcome>> {
    let calls = (0..calls).map(|_| tokio::spawn(world.begin_with(tower_failover::Plan::new().models(["a1"]))));
    let calls: Vec<_> = calls.collect();
    tokio::task::yield_now().await;
    calls
}

#[tokio::test(start_paused = true)]
async fn law_26_calls_that_should_have_been_answered_long_ago_make_a_model_suspect() {
    for (successes, calls, tier) in [
        (SUSPECT_SUCCESSES, SUSPECT_CALLS, Tier::Suspect),
        (SUSPECT_SUCCESSES - 1, SUSPECT_CALLS, Tier::Healthy),
        (SUSPECT_SUCCESSES, SUSPECT_CALLS - 1, Tier::Healthy),
    ] {
        let world = world("a1@a b1@b");
        used_to_answer(&world, successes).await;
        let hanging = hang(&world, calls).await;
        sleep(ms(900)).await;
        assert_eq!(world.model("a1").tier, Tier::Healthy, "not before twice what it takes, nor before a second");
        sleep(ms(200)).await;
        assert_eq!(world.model("a1").tier, tier, "{successes} successes, {calls} calls");
        let expected = if tier == Tier::Suspect { "b1" } else { "a1" };
        let next = timeout(ms(10), world.ask()).await;
        assert_eq!(next.is_ok_and(|next| answer(next).1.model().unwrap().name() == expected), tier == Tier::Suspect);
        assert!(hanging.iter().all(|call| !call.is_finished()), "nothing is cancelled");
    }
}

#[tokio::test(start_paused = true)]
async fn law_26_a_model_that_is_slow_by_nature_is_not_suspect_before_twice_that() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [Act::Answer(200, secs(4))]);
    for _ in 0..SUSPECT_SUCCESSES {
        answer(world.ask_of("a1").await);
    }
    world.script.play("a1", [Act::Hang]);
    let _hanging = hang(&world, SUSPECT_CALLS).await;
    sleep(secs(8)).await;
    assert_eq!(world.model("a1").tier, Tier::Healthy);
    sleep(secs(1)).await;
    assert_eq!(world.model("a1").tier, Tier::Suspect);
}

#[tokio::test(start_paused = true)]
async fn law_26_a_model_that_is_slow_now_and_then_is_not_suspect_before_that() {
    let world = world("a1@a b1@b");
    let slow_now_and_then = |call: u64| Act::Answer(200, if call % 10 == 0 { secs(6) } else { ms(300) });
    world.script.play("a1", (0..SUSPECT_SUCCESSES).map(slow_now_and_then).chain([Act::Hang]));
    for _ in 0..SUSPECT_SUCCESSES {
        answer(world.ask_of("a1").await);
    }
    let _hanging = hang(&world, SUSPECT_CALLS).await;
    sleep(secs(6)).await;
    assert_eq!(world.model("a1").tier, Tier::Healthy);
    sleep(secs(1)).await;
    assert_eq!(world.model("a1").tier, Tier::Suspect);
}

#[tokio::test(start_paused = true)]
async fn law_26_a_suspect_is_ordered_last_and_never_refused() {
    let world = world("a1@a b1@b c1@c");
    // `b1` is degraded, which is better than suspect.
    world.script.play("b1", [503]);
    for _ in 0..6 {
        let _ = world.ask_of("b1").await;
    }
    used_to_answer(&world, SUSPECT_SUCCESSES).await;
    let _hanging = hang(&world, SUSPECT_CALLS).await;
    sleep(secs(2)).await;
    world.script.play("c1", [503]);
    world.script.play("a1", [200]);
    let (_, served) = answer(world.ask().await);
    assert_eq!(crate::world::tried(&served), ["c1", "b1", "a1"]);
}

#[tokio::test(start_paused = true)]
async fn law_26_an_answer_to_a_later_call_clears_it() {
    for status in [200, 503] {
        let world = world("a1@a b1@b");
        used_to_answer(&world, SUSPECT_SUCCESSES).await;
        let _hanging = hang(&world, SUSPECT_CALLS).await;
        sleep(secs(2)).await;
        assert_eq!(world.model("a1").tier, Tier::Suspect);
        world.script.play("a1", [status]);
        let _ = world.ask_of("a1").await;
        assert_eq!(world.model("a1").tier, Tier::Healthy, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_26_it_stays_suspect_for_as_long_as_its_calls_hang() {
    let world = setup("a1@a b1@b").layer(|layer| layer.attempt_timeout(secs(250))).build();
    used_to_answer(&world, SUSPECT_SUCCESSES).await;
    let hanging = hang(&world, SUSPECT_CALLS).await;
    for _ in 0..24 {
        sleep(secs(10)).await;
        assert_eq!(world.model("a1").tier, Tier::Suspect);
    }
    // One of them ends, and the other four are too few.
    hanging[2].abort();
    sleep(ms(1)).await;
    assert_ne!(world.model("a1").tier, Tier::Suspect);
}

/// How many of a hundred requests in each second `a1` answers.
async fn by_second(world: &World, seconds: usize) -> Vec<usize> {
    let mut seen = Vec::new();
    for _ in 0..seconds {
        seen.push(of(&who(world, 100, ms(10)).await, "a1"));
    }
    seen
}

/// Closes the breaker of `a1`, or that of its provider.
async fn close(world: &World, name: &str) {
    world.script.play("a1", if name == "a1" { [Act::from(503)] } else { [Act::from(crate::script::Fault::Connect)] });
    let _ = world.ask_of("a1").await;
    assert_eq!(world.state(name), State::Open);
    world.script.play("a1", [200]);
    advance(secs(10)).await;
    while world.state(name) != State::Closed {
        answer(world.ask_of("a1").await);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_breaker_has_closed_traffic_returns_over_a_ramp() {
    for name in ["a1", "@a"] {
        let world = setup("a1@a b1@b").breakers(trips_after(1)).provider_breakers(trips_after(1)).build();
        close(&world, name).await;
        let seen = by_second(&world, 11).await;
        for (second, seen) in seen[..10].iter().enumerate() {
            let expected = 10 + 9 * second;
            assert!((expected..=expected + 10).contains(seen), "{name}: {seen} in second {second}");
        }
        assert_eq!(seen[10], 100, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn on_a_ramp_nobody_is_refused() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    close(&world, "a1").await;
    world.command("b1", Command::ForceOpen);
    assert_eq!(who(&world, 20, Duration::ZERO).await, ["a1"; 20]);
}

#[tokio::test(start_paused = true)]
async fn a_ramp_can_be_turned_off_and_a_reset_ends_it() {
    let world = setup("a1@a b1@b").breakers(trips_after(1).ramp(Duration::ZERO)).build();
    close(&world, "a1").await;
    assert_eq!(by_second(&world, 1).await, [100]);

    for name in ["a1", "@a"] {
        let world = setup("a1@a b1@b");
        let world = if name == "a1" { world.breakers(trips_after(1)) } else { world.provider_breakers(trips_after(1)) };
        let world = world.build();
        close(&world, name).await;
        world.command(name, Command::Reset);
        assert_eq!(by_second(&world, 1).await, [100], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_26_a_suspect_on_a_ramp_is_ordered_last() {
    let world = setup("a1@a b1@b").models(|model| match model.name() {
        "a1" => model.breaker(trips_after(1).ramp(secs(1_000))),
        _ => model,
    });
    let world = world.build();
    used_to_answer(&world, SUSPECT_SUCCESSES).await;
    close(&world, "a1").await;
    world.script.play("b1", [503]);
    for _ in 0..6 {
        let _ = world.ask_of("b1").await;
    }
    world.script.play("b1", [200]);
    world.script.play("a1", [Act::Hang]);
    sleep(ms(1)).await;
    let _hanging = hang(&world, SUSPECT_CALLS).await;
    sleep(secs(2)).await;
    assert_eq!((world.model("a1").tier, world.model("b1").tier), (Tier::Suspect, Tier::Degraded));
    world.script.play("a1", [200]);
    assert_eq!(who(&world, 3, Duration::ZERO).await, ["b1"; 3]);
}
