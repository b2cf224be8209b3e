//! Law 22: when nobody can be asked.

use crate::{
    script::{Act, Fault, Readiness},
    world::{World, answer, assert_about, attempts, fates, ms, secs, served, setup, skip, tried, trips_after, world},
};
use futures::{future::join_all, poll};
use tokio::time::{Instant, advance};
use tower_failover::{BreakerConfig, Cause, Command, Error, Plan, Skip, State, Whose, defaults::EARLY_PROBE_AFTER};

/// Models that have tripped, each after one failure, some for 10 s.
async fn outage(names: &str) -> World {
    let world = setup(names).breakers(trips_after(1)).build();
    let models: Vec<String> = world.models.iter().map(|model| model.name().to_owned()).collect();
    world.trip(&models.join(" ")).await;
    world
}

/// Takes every provider's last resort of this second, in vain.
async fn last_resorts_taken(names: &str) -> World {
    let world = outage(names).await;
    for model in world.models.iter() {
        world.script.play(model.name(), [503]);
    }
    let _ = world.ask().await;
    world
}

#[tokio::test(start_paused = true)]
async fn law_22_the_answer_comes_at_once_and_names_why_for_each() {
    let world = last_resorts_taken("a1@a b1@b c1@c d1@d").await;
    world.models.cool_down("b1", secs(50)).unwrap();
    world.command("c1", Command::ForceOpen);
    world.command("@d", Command::ForceOpen);
    world.command("d1", Command::Reset);
    let called = world.script.called().len();
    let error = world.ask().await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(world.script.called().len(), called);
    let served = error.served().unwrap();
    assert_eq!((served.elapsed(), served.attempts(), served.all_failed()), (ms(0), 0, false));
    assert_eq!(skip(served, "a1"), Skip::Open(Whose::Model, secs(10)));
    assert!(matches!(skip(served, "b1"), Skip::Cooldown(Whose::Model, wait) if wait >= secs(50)));
    assert_eq!(skip(served, "c1"), Skip::ForcedOpen(Whose::Model));
    assert_eq!(skip(served, "d1"), Skip::ForcedOpen(Whose::Provider));
    assert_eq!(error.retry_in(), Some(secs(10)));
}

#[tokio::test(start_paused = true)]
async fn law_22_it_tells_when_the_soonest_will_be_back() {
    let world = last_resorts_taken("a1@a b1@b").await;
    world.models.cool_down("a1", secs(40)).unwrap();
    advance(ms(300)).await;
    assert_eq!(world.ask().await.unwrap_err().retry_in(), Some(ms(9_700)));
}

#[tokio::test(start_paused = true)]
async fn law_22_it_tells_so_as_of_the_answer() {
    let world = setup("a1@a b1@b").layer(|layer| layer.attempt_timeout(secs(15))).build();
    world.models.cool_down("a1", secs(20)).unwrap();
    world.script.ready("b", Readiness::Never);
    let error = world.ask().await.unwrap_err();
    assert_about(error.served().unwrap().elapsed(), secs(15));
    assert_eq!(error.retry_in(), world.breaker("a1").retry_in);
}

#[tokio::test(start_paused = true)]
async fn law_22_it_tells_so_of_each_whenever_it_was_skipped() {
    let world = world("a1@a a2@a b1@b c1@c c2@c d1@d");
    for (name, wait) in [("a1", 100), ("a2", 2), ("c1", 200), ("c2", 6)] {
        world.models.cool_down(name, secs(wait)).unwrap();
    }
    world.script.play("b1", [Act::Fail(Fault::Reset, secs(5))]);
    world.script.play("d1", [Act::Answer(200, secs(3))]);
    let (_, served) = answer(world.ask().await);
    assert_eq!(tried(&served), ["b1", "d1"]);
    for name in ["a1", "a2", "c1", "c2"] {
        let retry_in = match name {
            "a2" | "c2" => Some(secs(0)),
            _ => world.breaker(name).retry_in,
        };
        assert_eq!(skip(&served, name).retry_in(), retry_in, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_22_a_model_is_not_back_before_its_provider_is() {
    let world = outage("a1@a").await;
    world.models.cool_down_provider("a", secs(600)).unwrap();
    let retry_in = world.ask().await.unwrap_err().retry_in();
    assert!(retry_in.unwrap() >= secs(600), "{retry_in:?}");
}

#[tokio::test(start_paused = true)]
async fn law_22_nobody_knows_when_a_forced_open_will_end() {
    for forced in ["a1", "@a"] {
        let world = outage("a1@a").await;
        world.command(forced, Command::ForceOpen);
        assert_eq!(world.ask().await.unwrap_err().retry_in(), None, "{forced}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_22_one_request_a_second_goes_through_as_a_last_resort() {
    let world = outage("a1@a").await;
    world.script.play("a1", [503]);
    for (wait, goes) in [(ms(0), true), (ms(0), false), (ms(999), false), (ms(1), true), (ms(500), false)] {
        advance(wait).await;
        let before = world.script.called().len();
        let served = served(world.ask().await);
        assert_eq!((served.attempts(), world.script.called().len() - before), (usize::from(goes), usize::from(goes)));
        assert!(attempts(&served).iter().all(|tried| tried.last_resort));
    }
}

#[tokio::test(start_paused = true)]
async fn law_22_of_many_concurrent_requests_one_goes_through() {
    let world = outage("a1@a a2@a").await;
    world.script.play("a1", [Act::Answer(503, ms(10))]);
    let before = world.script.called().len();
    join_all((0..20).map(|_| world.ask())).await;
    assert_eq!(world.script.called().len() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn law_22_each_provider_has_its_own_last_resort() {
    let world = outage("a1@a b1@b").await;
    world.script.play("a1", [503]);
    let (_, served) = answer(world.ask().await);
    assert_eq!(tried(&served), ["a1", "b1"]);
    assert!(attempts(&served).iter().all(|tried| tried.last_resort));
    assert_eq!(served.candidates().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn law_22_a_last_resort_is_only_for_when_nobody_can_be_asked() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.trip("a1").await;
    let (_, served) = answer(world.ask().await);
    assert_eq!(tried(&served), ["b1"]);
    world.script.play("b1", [Act::from(Fault::Reset)]);
    world.command("b1", Command::Disable);
    let error = world.ask().await.unwrap_err();
    assert_eq!(tried(error.served().unwrap()), ["b1"], "somebody was asked: no last resort");
}

#[tokio::test(start_paused = true)]
async fn law_22_never_into_a_cooldown() {
    for name in ["a1", "@a"] {
        let world = outage("a1@a").await;
        match name {
            "a1" => world.models.cool_down("a1", secs(5)).unwrap(),
            _ => world.models.cool_down_provider("a", secs(5)).unwrap(),
        }
        assert_eq!(served(world.ask().await).attempts(), 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_22_a_model_in_a_cooldown_takes_the_turn_of_no_other() {
    let world = outage("a1@a a2@a").await;
    world.models.cool_down("a1", secs(5)).unwrap();
    assert_eq!(tried(&answer(world.ask().await).1), ["a2"]);
}

#[tokio::test(start_paused = true)]
async fn law_22_never_into_a_forced_open() {
    for name in ["a1", "@a"] {
        let world = outage("a1@a").await;
        world.command(name, Command::ForceOpen);
        assert_eq!(served(world.ask().await).attempts(), 0, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_22_nor_where_all_probes_are_taken() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.half_open("a1").await;
    world.script.play("a1", [Act::Hang]);
    let mut probe = world.begin();
    assert!(poll!(&mut probe).is_pending());
    assert_eq!(served(world.ask().await).attempts(), 0);
}

#[tokio::test(start_paused = true)]
async fn law_22_nor_to_a_model_that_the_request_does_not_name() {
    let world = outage("a1@a a2@a").await;
    assert_eq!(tried(&served(world.ask_of("a2").await)), ["a2"]);
    advance(secs(1)).await;
    assert_eq!(tried(&served(world.send(Plan::new().first("a2").no_fallback()).await)), ["a2"]);
}

#[tokio::test(start_paused = true)]
async fn law_22_the_model_that_was_not_asked_for_longest_is_chosen() {
    let world = outage("a1@a a2@a a3@a").await;
    for model in ["a1", "a2", "a3"] {
        world.script.play(model, [503]);
    }
    let mut asked = Vec::new();
    for _ in 0..6 {
        asked.extend(tried(&served(world.ask().await)));
        advance(secs(1)).await;
    }
    assert_eq!(asked, ["a1", "a2", "a3", "a1", "a2", "a3"]);
}

#[tokio::test(start_paused = true)]
async fn law_22_a_last_resort_that_succeeds_brings_recovery() {
    let world = outage("a1@a").await;
    answer(world.ask().await);
    // One good answer is enough where nobody else can be asked.
    assert_eq!((world.state("a1"), world.breaker("a1").cause), (State::Closed, Some(Cause::LastResort)));
}

#[tokio::test(start_paused = true)]
async fn law_22_a_last_resort_that_fails_lengthens_nothing() {
    let world = outage("a1@a").await;
    let before = world.breaker("a1");
    for act in [Act::from(503), Act::from(Fault::Reset), Act::from(Fault::Connect), Act::from(400)] {
        world.script.play("a1", [act]);
        assert_eq!(served(world.ask().await).attempts(), 1);
        advance(secs(1)).await;
    }
    let after = world.breaker("a1");
    assert_eq!((after.state, after.open_wait_doublings), (State::Open, before.open_wait_doublings));
    assert_eq!(after.retry_in, before.retry_in.map(|wait| wait - secs(4)));
}

#[tokio::test(start_paused = true)]
async fn law_22_a_last_resort_that_is_limited_begins_a_cooldown() {
    let world = outage("a1@a").await;
    world.script.play("a1", [429]);
    answer(world.ask().await);
    assert!(world.breaker("a1").cooldown.is_some());
    assert_eq!(world.state("a1"), State::Open);
}

#[tokio::test(start_paused = true)]
async fn law_22_a_last_resort_through_an_open_provider_closes_it() {
    let world = setup("a1@a a2@a").provider_breakers(trips_after(1)).build();
    world.script.play("a1", [Act::from(Fault::Connect), Act::from(503)]);
    world.script.play("a2", [Act::from(Fault::Connect)]);
    let _ = world.ask_of("a1").await;
    assert_eq!(world.state("@a"), State::Open);
    let (_, served) = answer(world.ask_of("a1").await);
    assert!(attempts(&served)[0].last_resort);
    assert_eq!(world.state("@a"), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn law_22_a_last_resort_through_an_open_provider_that_fails_lengthens_nothing() {
    let world = setup("a1@a").provider_breakers(trips_after(1)).build();
    world.script.play("a1", [Act::from(Fault::Connect)]);
    let _ = world.ask().await;
    advance(secs(3)).await;
    assert_eq!(served(world.ask().await).attempts(), 1);
    let breaker = world.breaker("@a");
    assert_eq!((breaker.retry_in, breaker.open_wait_doublings), (Some(secs(7)), 1));
}

#[tokio::test(start_paused = true)]
async fn law_22_a_provider_that_closes_makes_its_open_models_half_open() {
    let world = setup("a1@a a2@a a3@a b1@b")
        .breakers(trips_after(1).open_wait(secs(1_000), secs(1_000)))
        .provider_breakers(trips_after(1))
        .build();
    world.command("@a", Command::Disable);
    world.trip("a1 a2 b1").await;
    world.models.cool_down("a2", secs(100)).unwrap();
    world.command("@a", Command::Reset);
    assert_eq!(world.state("a1"), State::HalfOpen);
    assert_eq!(world.breaker("a1").cause, Some(Cause::ProviderRecovered));
    // A cooldown stands, but the rest of the open wait need not be sat out.
    assert_eq!(world.state("a2"), State::Open);
    assert!(world.breaker("a2").retry_in.unwrap() <= secs(110));
    assert_eq!((world.state("a3"), world.state("b1")), (State::Closed, State::Open));
}

#[tokio::test(start_paused = true)]
async fn law_22_an_answer_through_a_half_open_provider_makes_its_open_models_half_open() {
    let world = setup("a1@a a2@a")
        .breakers(trips_after(1).open_wait(secs(1_000), secs(1_000)))
        .provider_breakers(trips_after(2))
        .build();
    world.script.play("a1", [503]);
    let _ = world.ask_of("a1").await;
    world.script.play("a2", [Act::from(Fault::Connect), Act::from(200)]);
    let _ = world.ask_of("a2").await;
    assert_eq!((world.state("@a"), world.state("a1"), world.state("a2")), (State::Open, State::Open, State::Closed));
    advance(secs(10)).await;
    answer(world.ask_of("a2").await);
    assert_eq!((world.state("@a"), world.state("a1")), (State::Closed, State::HalfOpen));
}

#[tokio::test(start_paused = true)]
async fn law_22_an_outage_never_outlives_itself_by_an_open_wait() {
    let world = setup("a1@a a2@a b1@b")
        .breakers(trips_after(1).open_wait(secs(300), secs(300)))
        .provider_breakers(trips_after(3))
        .build();
    let models = ["a1", "a2", "b1"];
    for model in models {
        world.script.play(model, [503]);
    }
    for _ in 0..40 {
        let _ = world.ask().await;
        advance(ms(250)).await;
    }
    for model in models {
        assert_eq!(world.state(model), State::Open);
        world.script.play(model, [200]);
    }
    let mut answered = 0;
    for _ in 0..12 {
        answered += usize::from(matches!(world.ask().await, Ok((200, _))));
        advance(ms(250)).await;
    }
    assert!(answered >= 8, "{answered} of 12 in the first three seconds");
}

#[tokio::test(start_paused = true)]
async fn law_22_one_that_is_back_meanwhile_is_asked_before_everyone_is_refused() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).layer(|layer| layer.attempt_timeout(secs(60))).build();
    world.trip("a1").await;
    world.script.ready("b", Readiness::Never);
    // Open for 10 s when the request comes, and b's client is waited for much longer.
    let (_, served) = answer(world.ask().await);
    assert_about(served.elapsed(), secs(60));
    assert_eq!(tried(&served), ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn law_22_each_candidate_is_told_once() {
    let world = outage("a1@a a2@a b1@b").await;
    world.script.play("a1", [503]);
    world.script.play("b1", [503]);
    let served = served(world.ask().await);
    let mut names: Vec<String> = fates(&served).into_iter().map(|(name, _)| name).collect();
    names.sort();
    assert_eq!(names, ["a1", "a2", "b1"]);
    assert!(matches!(skip(&served, "a2"), Skip::Open(Whose::Model, _)));
}

#[tokio::test(start_paused = true)]
async fn law_22_a_last_resort_that_is_answered_lets_all_others_be_probed() {
    let long = trips_after(1).open_wait(secs(300), secs(300));
    let world = setup("a1@a a2@a b1@b c1@c d1@d").breakers(long.clone());
    let world = world.providers(|provider| match provider.name() {
        "b" => provider.breaker(long.clone()),
        _ => provider,
    });
    let world = world.build();
    world.command("d1", Command::ForceOpen);
    world.models.cool_down("c1", secs(200)).unwrap();
    world.trip("a1 a2 b1").await;
    for name in ["a1", "a2", "b1", "c1", "@b"] {
        assert_eq!(world.state(name), State::Open, "{name}");
    }
    let (_, served) = answer(world.ask_of("a1 a2").await);
    assert!(attempts(&served)[0].last_resort);
    assert_eq!(
        (world.state("a1"), world.state("a2"), world.state("@b")),
        (State::Closed, State::HalfOpen, State::HalfOpen)
    );
    assert_eq!((world.state("b1"), world.breaker("b1").cause), (State::HalfOpen, Some(Cause::LastResort)));
    // What was asked for, or forced, stands.
    assert_eq!((world.state("c1"), world.state("d1")), (State::Open, State::ForcedOpen));
    // A probe that comes before its time does not lengthen the wait.
    let before = world.breaker("a2").open_wait_doublings;
    world.script.play("a2", [503]);
    let _ = world.ask_of("a2").await;
    assert_eq!((world.state("a2"), world.breaker("a2").open_wait_doublings), (State::Open, before));
}

#[tokio::test(start_paused = true)]
async fn law_22_one_provider_that_is_back_lets_the_others_be_probed() {
    let world = setup("a1@a b1@b c1@c d1@d").provider_breakers(trips_after(1)).build();
    for name in ["a1", "b1", "c1", "d1"] {
        world.script.play(name, [Act::from(Fault::Connect), Act::from(200)]);
        let _ = world.ask_of(name).await;
    }
    world.models.cool_down_provider("c", secs(60)).unwrap();
    world.command("@d", Command::ForceOpen);
    answer(world.ask().await);
    let states: Vec<State> = ["@a", "@b", "@c", "@d"].iter().map(|name| world.state(name)).collect();
    assert_eq!(states, [State::Closed, State::HalfOpen, State::Open, State::ForcedOpen]);
}

#[tokio::test(start_paused = true)]
async fn law_22_of_many_providers_each_has_one_last_resort_a_second_at_most_and_nobody_is_starved() {
    let names: Vec<String> = (0..40).map(|index| format!("m{index}@{index}")).collect();
    let world = setup(&names.join(" ")).breakers(trips_after(1).open_wait(secs(1_000), secs(1_000))).build();
    let models: Vec<String> = (0..40).map(|index| format!("m{index}")).collect();
    world.trip(&models.join(" ")).await;
    for (index, model) in models.iter().enumerate() {
        world.script.play(model, [Act::Answer(503, ms(7 * index as u64))]);
    }
    let mut asked = vec![Vec::new(); 40];
    for step in 0..60 {
        let before = world.script.called().len();
        join_all((0..20).map(|_| world.ask())).await;
        for model in &world.script.called()[before..] {
            asked[model[1..].parse::<usize>().unwrap()].push(step);
        }
        advance(ms(100)).await;
    }
    // The second after the first may be cut short.
    let most = world.breaker("m0").for_time.as_secs() as usize + 2;
    for (index, asked) in asked.iter().enumerate() {
        assert!(asked.len() <= most, "m{index}: {asked:?} in {most} s");
        assert!(asked.len() >= most / 3, "m{index}: {asked:?} in {most} s");
    }
}

#[tokio::test(start_paused = true)]
async fn law_22_nobody_waits_longer_than_a_second_for_the_next_last_resort_whenever_requests_come() {
    for longest in [20, 150, 400, 700, 1_100, 2_500] {
        let world = setup("a1@a b1@b c1@c d1@d e1@e").layer(|layer| layer.max_attempts(5));
        let world = world.breakers(trips_after(1).open_wait(secs(10_000), secs(10_000)));
        let world = world.provider_breakers(BreakerConfig::default().trip([])).build();
        world.trip("a1 b1 c1 d1 e1").await;
        for model in world.models.iter() {
            world.script.play(model.name(), [503]);
        }
        let began = Instant::now();
        let mut last = [began; 5];
        let mut asked = [0; 5];
        for step in 0..400_u64 {
            let before = world.script.called().len();
            let _ = world.ask().await;
            let called = world.script.called().split_off(before);
            for (place, model) in ["a1", "b1", "c1", "d1", "e1"].into_iter().enumerate() {
                let is_asked = called.iter().any(|called| called == model);
                let waited = last[place].elapsed();
                assert!(is_asked || waited < secs(1), "{model} after {waited:?}");
                if is_asked {
                    last[place] = Instant::now();
                    asked[place] += 1;
                }
            }
            advance(ms(step * 7_919 % longest)).await;
        }
        let most = began.elapsed().as_secs() + 2;
        assert!(asked.iter().all(|asked| *asked <= most), "{asked:?} in {most} s, every {longest} ms at the most");
    }
}

/// The breaker of `a1`, or of its provider, opened twice, so that the wait has doubled to 20 s; with another that answers.
async fn open_for_long(name: &str) -> World {
    let world = setup("a1@a b1@b");
    let (world, fails) = match name {
        "a1" => (world.breakers(trips_after(1)), Act::from(503)),
        _ => (world.provider_breakers(trips_after(1)), Act::from(Fault::Connect)),
    };
    let world = world.build();
    world.script.play("a1", [fails, fails, Act::from(200)]);
    for wait in [10, 20] {
        answer(world.ask().await);
        assert_about(world.breaker(name).retry_in.unwrap(), secs(wait));
        advance(secs(wait % 20)).await;
    }
    world
}

/// So many requests go elsewhere.
async fn skips(world: &World, requests: u64) {
    for _ in 0..requests {
        assert_eq!(tried(&answer(world.ask().await).1), ["b1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_open_wait_that_has_doubled_ends_after_a_thousand_skips_and_not_before_the_first_wait() {
    for name in ["a1", "@a"] {
        let world = open_for_long(name).await;
        advance(secs(10) - ms(1)).await;
        skips(&world, 2 * EARLY_PROBE_AFTER).await;
        advance(ms(1)).await;
        skips(&world, EARLY_PROBE_AFTER / 8).await;
        assert_eq!(tried(&answer(world.ask().await).1), ["a1"], "{name}: ten seconds and two thousand are enough");

        let world = open_for_long(name).await;
        advance(secs(11)).await;
        skips(&world, EARLY_PROBE_AFTER).await;
        assert_eq!(tried(&answer(world.ask().await).1), ["a1"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_skips_are_counted_anew_at_each_opening() {
    for name in ["a1", "@a"] {
        let world = open_for_long(name).await;
        skips(&world, EARLY_PROBE_AFTER - 1).await;
        world
            .script
            .play("a1", [if name == "a1" { Act::from(503) } else { Act::from(Fault::Connect) }, Act::from(200)]);
        advance(secs(20)).await;
        answer(world.ask().await);
        advance(secs(15)).await;
        skips(&world, EARLY_PROBE_AFTER).await;
        assert_eq!(tried(&answer(world.ask().await).1), ["a1"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_17_no_number_of_skips_ends_a_cooldown_nor_a_forced_open() {
    for name in ["a1", "@a"] {
        let world = open_for_long(name).await;
        match name {
            "a1" => world.models.cool_down("a1", secs(100)).unwrap(),
            _ => world.models.cool_down_provider("a", secs(100)).unwrap(),
        }
        advance(secs(15)).await;
        skips(&world, 2 * EARLY_PROBE_AFTER).await;
        world.command(name, Command::ForceOpen);
        skips(&world, 2 * EARLY_PROBE_AFTER).await;
        assert_eq!(world.state(name), State::ForcedOpen);
    }
}

#[tokio::test(start_paused = true)]
async fn law_22_the_providers_take_turns_within_the_second() {
    let world = setup("a1@a b1@b c1@c d1@d").breakers(trips_after(1).open_wait(secs(100), secs(100)));
    let world = world.layer(|layer| layer.max_attempts(1)).build();
    world.trip("a1 b1 c1 d1").await;
    for model in world.models.iter() {
        world.script.play(model.name(), [503]);
    }
    let (mut asked, mut since, mut longest) = (0, 0, 0);
    for step in 0..600 {
        let called = world.script.called().len();
        let _ = world.ask().await;
        if world.script.called().len() > called {
            longest = if step >= 200 { longest.max(step - since) } else { 0 };
            (asked, since) = (asked + 1, step);
        }
        advance(ms(10)).await;
    }
    assert!((24..=28).contains(&asked), "{asked} in six seconds, the first of which was cut short for three");
    assert!(longest <= 40, "nobody was asked for {longest} hundredths of a second");
}
