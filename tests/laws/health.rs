//! Tiers within the caller's order: the health score, and law 26.

use crate::{
    script::{Act, Fault},
    world::{Setup, World, answer, fates, ms, secs, setup, trips_after, world},
};
use std::time::Duration;
use tokio::time::{advance, sleep, timeout};
use tower_failover::{
    BestScoreFirst, CheapestFirst, Command, Plan, Skip, State, Tier, Whose,
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
async fn a_degraded_model_that_a_breaker_refuses_is_passed_over_in_its_place() {
    let world = world("a1@a b1@b c1@c");
    degrade(&world).await;
    world.models.command_provider("a", Command::ForceOpen).unwrap();
    for _ in 0..2 * EXPLORE_EVERY {
        let (_, served) = answer(world.ask().await);
        let passed_over = ("a1".to_owned(), Some(Skip::ForcedOpen(Whose::Provider)));
        assert_eq!(fates(&served), [passed_over, ("b1".to_owned(), None)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_degraded_model_that_is_full_waits_for_the_healthy_ones_all_the_same() {
    let world = setup("a1@a b1@b c1@c").models(|model| model.max_in_flight(1)).build();
    degrade(&world).await;
    world.script.play("a1", [Act::Hang]);
    let mut hanging = world.begin_with(Plan::new().models(["a1"]));
    assert!(futures::poll!(&mut hanging).is_pending());
    let (_, served) = answer(world.ask().await);
    assert_eq!(fates(&served), [("b1".to_owned(), None)]);
    // By its turn it has room.
    drop(hanging);
    world.script.play("a1", [200]);
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
    for status in [503, 200] {
        let world = setup("a1@a b1@b").breakers(trips_after(100)).build();
        world.script.play("a1", [Act::Answer(status, secs(1))]);
        let call = world.begin();
        let call = tokio::spawn(call);
        sleep(ms(500)).await;
        world.command("a1", Command::Reset);
        let _ = call.await.expect("no panic");
        assert_eq!((world.model("a1").outcomes, world.model("a1").usual_latency), (0.0, None), "{status}");
    }
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

/// `a1`, whose latency counts, has taken 100 ms for five minutes, asked ten times a second; before `b1`.
async fn fast(setup: Setup) -> World {
    let world = setup.models(|model| if model.name() == "a1" { model.latency_counts() } else { model }).build();
    takes(&world, ms(100));
    assert_eq!(of(&stream(&world, 3_000, ms(100)).await, "a1"), 3_000);
    let a1 = world.model("a1");
    assert!(a1.latency_factor == 1.0 && a1.score > 0.99, "{a1:?}");
    world
}

fn takes(world: &World, time: Duration) {
    world.script.play("a1", [Act::Answer(200, time)]);
}

/// Who answers so many requests, which come this far apart whoever still waits, in the order in which they came.
async fn stream(world: &World, requests: usize, apart: Duration) -> Vec<String> {
    let mut calls = Vec::new();
    for _ in 0..requests {
        calls.push(tokio::spawn(world.begin()));
        sleep(apart).await;
    }
    let mut who = Vec::new();
    for call in calls {
        who.push(answer(call.await.expect("no panic")).1.model().expect("somebody").name().to_owned());
    }
    who
}

#[tokio::test(start_paused = true)]
async fn a_model_ten_times_slower_is_degraded_within_five_seconds_and_its_fallback_serves() {
    let world = fast(setup("a1@a b1@b")).await;
    takes(&world, secs(1));
    let who = stream(&world, 600, ms(100)).await;
    let first = who.iter().position(|model| model == "b1").expect("the fallback");
    // A second until the first slow answer, and then three.
    assert!((35..45).contains(&first), "{first}");
    assert!(of(&who[first..], "a1") <= 600 / EXPLORE_EVERY as usize, "but for the few that explore");
    let a1 = world.model("a1");
    assert_eq!((a1.tier, a1.breaker.state, a1.breaker.consecutive_failures), (Tier::Degraded, State::Closed, 0));
    assert!(a1.latency_factor == 0.5 && (0.49..0.5).contains(&a1.score), "{a1:?}");
    assert_eq!(world.model("b1").latency_factor, 1.0);
    // Nobody is refused by its tier.
    world.command("b1", Command::ForceOpen);
    assert_eq!(of(&stream(&world, 3, ms(100)).await, "a1"), 3);
}

#[tokio::test(start_paused = true)]
async fn a_few_callers_who_wait_for_each_answer_see_it_in_a_quarter_of_a_minute() {
    let world = fast(setup("a1@a b1@b")).await;
    takes(&world, secs(1));
    let since = tokio::time::Instant::now();
    let seen = who(&world, 30, Duration::ZERO).await.iter().position(|model| model == "b1");
    assert!(seen.is_some_and(|seen| (13..18).contains(&seen)), "{seen:?} answers, in {:?}", since.elapsed());
}

#[tokio::test(start_paused = true)]
async fn where_latency_does_not_count_a_slow_model_keeps_its_place() {
    let world = world("a1@a b1@b");
    takes(&world, ms(100));
    stream(&world, 3_000, ms(100)).await;
    takes(&world, secs(1));
    assert_eq!(of(&stream(&world, 600, ms(100)).await, "a1"), 600);
    let a1 = world.model("a1");
    assert!(a1.tier == Tier::Healthy && a1.latency_factor == 1.0 && a1.score > 0.99, "{a1:?}");
}

#[tokio::test(start_paused = true)]
async fn twice_as_slow_changes_nothing() {
    let world = fast(setup("a1@a b1@b")).await;
    takes(&world, ms(200));
    for _ in 0..60 {
        assert_eq!(of(&stream(&world, 100, ms(100)).await, "a1"), 100);
        assert_eq!((world.model("a1").tier, world.model("a1").latency_factor), (Tier::Healthy, 1.0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_model_that_has_recovered_is_first_again() {
    // How far apart requests come, and how many seconds it takes: to be asked, to be seen to be fast, and that for 10 s.
    for (apart, within) in [(ms(10), 12..20), (ms(100), 20..60), (secs(1), 70..130), (secs(30), 80..160)] {
        let world = fast(setup("a1@a b1@b")).await;
        takes(&world, secs(1));
        stream(&world, 1_200, ms(100)).await;
        assert_eq!(world.model("a1").tier, Tier::Degraded);
        takes(&world, ms(100));
        let since = tokio::time::Instant::now();
        while world.model("a1").tier == Tier::Degraded && since.elapsed() < secs(1_000) {
            stream(&world, 1, apart).await;
        }
        assert!(within.contains(&since.elapsed().as_secs()), "{apart:?}: {:?}", since.elapsed());
        assert_eq!(of(&stream(&world, 100, apart).await, "a1"), 100, "{apart:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_stays_slow_stays_degraded_until_a_reset_makes_that_normal() {
    let world = fast(setup("a1@a b1@b")).await;
    takes(&world, secs(1));
    stream(&world, 100, ms(100)).await;
    for minute in 0..60 {
        // Not more often than one in 30 s sees it.
        assert!(of(&stream(&world, 60, secs(1)).await, "a1") <= 3, "minute {minute}");
        let a1 = world.model("a1");
        assert!(a1.tier == Tier::Degraded && a1.latency_factor < 0.75, "minute {minute}: {a1:?}");
    }
    world.command("a1", Command::Reset);
    assert_eq!((world.model("a1").tier, world.model("a1").latency_factor), (Tier::Healthy, 1.0));
    assert_eq!(of(&stream(&world, 3_000, ms(100)).await, "a1"), 3_000);
    assert_eq!((world.model("a1").tier, world.model("a1").latency_factor), (Tier::Healthy, 1.0));
    // Slow begins where twice of that ends.
    takes(&world, secs(10));
    for _ in 0..5 {
        answer(world.ask_of("a1").await);
    }
    assert!(world.model("a1").latency_factor < 1.0);
}

#[tokio::test(start_paused = true)]
async fn one_that_no_request_reaches_is_slow_no_longer() {
    let world = fast(setup("a1@a b1@b")).await;
    takes(&world, secs(1));
    stream(&world, 100, ms(100)).await;
    assert_eq!(world.model("a1").tier, Tier::Degraded);
    for _ in 0..100 {
        advance(secs(1)).await;
        world.models.snapshot();
    }
    assert_eq!(world.model("a1").tier, Tier::Healthy);
    // But the first slow answer tells.
    assert_eq!(of(&who(&world, 2, Duration::ZERO).await, "b1"), 1);
}

#[tokio::test(start_paused = true)]
async fn latency_alone_never_reorders_inside_a_tier() {
    let world = fast(setup("a1@a b1@b")).await;
    takes(&world, ms(260));
    for _ in 0..10 {
        assert_eq!(of(&stream(&world, 100, ms(100)).await, "a1"), 100);
    }
    let (a1, b1) = (world.model("a1"), world.model("b1"));
    assert!(a1.tier == Tier::Healthy && (0.7..0.9).contains(&a1.score) && a1.score < b1.score, "{a1:?}");
    assert!((a1.score - a1.latency_factor * (100.0 + 4.75) / 105.0).abs() < 0.01, "{a1:?}");
}

#[tokio::test(start_paused = true)]
async fn the_best_score_counts_latency_and_what_a_success_costs_does_not() {
    let best = fast(setup("a1@a b1@b").layer(|layer| layer.order(BestScoreFirst::new()))).await;
    let priced = setup("a1@a b1@b").models(|model| {
        let cost = if model.name() == "a1" { 1.0 } else { 1.1 };
        model.cost(cost)
    });
    let cheapest = fast(priced.layer(|layer| layer.order(CheapestFirst::new()))).await;
    for (world, expected) in [(best, "b1"), (cheapest, "a1")] {
        takes(&world, ms(260));
        stream(&world, 600, ms(100)).await;
        let a1 = world.model("a1");
        // It is never degraded. Once nobody asks it any more it gets better, by and by.
        assert!(a1.tier == Tier::Healthy && (0.7..0.95).contains(&a1.score), "{a1:?}");
        assert_eq!(of(&stream(&world, 10, ms(100)).await, expected), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn only_successes_say_what_a_model_takes() {
    let world = fast(setup("a1@a b1@b").layer(|layer| layer.attempt_timeout(secs(5)))).await;
    for act in [Act::Answer(503, secs(4)), Act::Answer(400, secs(4)), Act::Fail(Fault::Reset, secs(4)), Act::Hang] {
        world.script.play("a1", [act]);
        for _ in 0..10 {
            let _ = world.ask_of("a1").await;
        }
        assert_eq!(world.model("a1").latency_factor, 1.0, "{act:?}");
    }
    takes(&world, secs(4));
    let _ = world.ask_of("a1").await;
    assert!(world.model("a1").latency_factor < 1.0);
}

#[tokio::test(start_paused = true)]
async fn law_01_a_late_success_does_not_touch_the_averages() {
    let world = fast(setup("a1@a b1@b")).await;
    takes(&world, secs(60));
    let late: Vec<_> = (0..50).map(|_| tokio::spawn(world.begin())).collect();
    sleep(ms(1)).await;
    world.command("a1", Command::Reset);
    takes(&world, ms(100));
    assert_eq!(of(&stream(&world, 500, ms(100)).await, "a1"), 500);
    for call in late {
        assert_eq!(answer(call.await.expect("no panic")).0, 200);
    }
    assert_eq!(world.model("a1").latency_factor, 1.0);
}
