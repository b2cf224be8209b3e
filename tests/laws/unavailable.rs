//! When nobody can be asked, and when somebody has as much to do as it may.

use crate::{
    script::{Act, Fault, Readiness},
    world::{Outcome, World, answer, assert_about, ms, secs, served, setup, skip, tried, trips_after},
};
use futures::future::join_all;
use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Waker},
};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, service_fn};
use tower_failover::{Attempt, Command, Error, FailoverLayer, Plan, Skip, State, WhenUnavailable, Whose};

/// Everybody open for ten seconds, the turn as a last resort of this second taken.
async fn all_open(share: f64) -> World {
    let waits = setup("a1@a b1@b").breakers(trips_after(1)).layer(move |layer| {
        layer.when_unavailable(WhenUnavailable::Wait(share)).deadline(secs(40)).protect_probes(false)
    });
    let world = waits.build();
    world.trip("a1 b1").await;
    for name in ["a1", "b1"] {
        world.script.play(name, [503]);
    }
    let _ = world.ask().await;
    for name in ["a1", "b1"] {
        world.script.play(name, [200]);
    }
    world.script.forget();
    world
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_the_first_that_will_be_back_within_its_share_of_the_deadline() {
    // The turns as last resort come again within a second: it does not take the whole ten.
    let world = all_open(0.25).await;
    let (_, served) = answer(world.ask().await);
    assert!(served.elapsed() > ms(400) && served.elapsed() < ms(1_200), "{:?}", served.elapsed());

    // Ten seconds are a quarter of the deadline, and no more than it.
    for (share, waits) in [(0.25, true), (0.24, false)] {
        let world = all_open(share).await;
        world.command("a1", Command::ForceOpen);
        let begun = Instant::now();
        let outcome = world.ask().await;
        assert_eq!(outcome.is_ok(), waits, "{share}: {outcome:?}");
        assert_eq!(begun.elapsed().is_zero(), !waits);
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_noticed_soon_when_somebody_is_back_before_that() {
    let world = setup("a1@a").layer(|layer| layer.when_unavailable(WhenUnavailable::Wait(1.0))).build();
    world.models.cool_down("a1", secs(60)).expect("known");
    let asking = tokio::spawn(world.begin());
    sleep(secs(5)).await;
    world.command("a1", Command::Reset);
    let (_, served) = answer(asking.await.expect("no panic"));
    assert!(served.elapsed() <= secs(5) + ms(102), "{:?}", served.elapsed());
}

#[tokio::test(start_paused = true)]
async fn law_17_nobody_goes_into_a_cooldown_by_waiting() {
    let world = setup("a1@a").layer(|layer| layer.when_unavailable(WhenUnavailable::Wait(1.0))).build();
    world.models.cool_down("a1", secs(60)).expect("known");
    let (_, served) = answer(world.ask().await);
    assert!(served.elapsed() >= secs(60) && served.elapsed() <= secs(67), "{:?}", served.elapsed());
}

#[tokio::test(start_paused = true)]
async fn law_22_who_does_not_wait_hears_at_once_why_and_when() {
    let world = setup("a1@a b1@b").layer(|layer| layer.when_unavailable(WhenUnavailable::Wait(0.1))).build();
    world.models.cool_down("a1", secs(200)).expect("known");
    world.command("b1", Command::ForceOpen);
    let Err(error @ Error::Unavailable { .. }) = world.ask().await else { panic!("nobody is there") };
    assert!(error.retry_in().expect("known") >= secs(200));
    assert_eq!(skip(error.served().expect("told"), "b1"), Skip::ForcedOpen(Whose::Model));
}

#[tokio::test(start_paused = true)]
async fn law_03_of_those_who_wait_one_carries_the_probe() {
    let waits = setup("a1@a").breakers(trips_after(1).close_after(1, 1));
    let world = waits.layer(|layer| layer.when_unavailable(WhenUnavailable::Wait(0.5))).build();
    world.trip("a1").await;
    world.models.cool_down("a1", secs(12)).expect("known");
    world.script.play("a1", [Act::Answer(200, secs(1))]);
    let wait = world.breaker("a1").retry_in.expect("open");
    let asking: Vec<_> = (0..20).map(|_| tokio::spawn(world.begin())).collect();
    sleep(wait + ms(900)).await;
    assert_eq!((world.script.under_way(), world.breaker("a1").probes), (1, 1));
    for asking in asking {
        answer(asking.await.expect("no panic"));
    }
    assert_eq!(world.state("a1"), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn by_default_nobody_waits() {
    let world = setup("a1@a").build();
    world.models.cool_down("a1", ms(200)).expect("known");
    assert!(matches!(world.ask().await, Err(Error::Unavailable { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_model_with_as_many_calls_as_it_may_is_skipped_and_it_is_nobodys_fault() {
    let world = setup("a1@a b1@b").models(|model| match model.name() {
        "a1" => model.max_in_flight(2),
        _ => model,
    });
    let world = world.build();
    world.script.play("a1", [Act::Answer(200, secs(5))]);
    let asking: Vec<_> = (0..2).map(|_| tokio::spawn(world.begin())).collect();
    sleep(ms(1)).await;
    let (_, served) = answer(world.ask().await);
    assert_eq!((tried(&served), skip(&served, "a1")), (vec!["b1".to_owned()], Skip::Full(Whose::Model)));
    assert_eq!((world.failures("a1"), world.model("a1").outcomes), (0, 0.0));
    for asking in asking {
        answer(asking.await.expect("no panic"));
    }
    assert_eq!(tried(&answer(world.ask().await).1), ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_with_as_many_calls_as_it_may_is_skipped_with_all_its_models() {
    let world = setup("a1@a a2@a b1@b").providers(|provider| match provider.name() {
        "a" => provider.max_in_flight(1),
        _ => provider,
    });
    let world = world.build();
    world.script.play("a1", [Act::Hang]);
    let hanging = tokio::spawn(world.begin());
    sleep(ms(1)).await;
    let (_, served) = answer(world.ask().await);
    assert_eq!(tried(&served), ["b1"]);
    assert!(["a1", "a2"].iter().all(|name| skip(&served, name) == Skip::Full(Whose::Provider)));
    // Dropped, it leaves its place at once.
    hanging.abort();
    sleep(ms(1)).await;
    world.script.play("a1", [200]);
    assert_eq!(tried(&answer(world.ask().await).1), ["a1"]);
}

#[tokio::test(start_paused = true)]
async fn law_22_full_is_full_for_a_last_resort_too() {
    let world = setup("a1@a").breakers(trips_after(1)).models(|model| model.max_in_flight(1)).build();
    world.trip("a1").await;
    world.script.play("a1", [Act::Hang]);
    let hanging = tokio::spawn(world.begin());
    sleep(secs(2)).await;
    assert_eq!(world.script.under_way(), 1);
    let served = served(world.ask().await);
    assert_eq!((served.attempts(), world.script.under_way()), (0, 1));
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn law_02_a_place_is_free_again_however_a_call_ends() {
    for act in [Act::PanicInCall, Act::PanicInPoll, Act::Answer(503, secs(1)), Act::Hang] {
        let world = setup("a1@a").models(|model| model.max_in_flight(1)).build();
        world.script.play("a1", [act]);
        let asking = tokio::spawn(world.begin_with(Plan::new().deadline(secs(3))));
        advance(secs(4)).await;
        let _ = asking.await;
        world.script.play("a1", [200]);
        answer(world.ask().await);
    }
}

#[test]
fn a_share_that_is_none_is_refused() {
    for share in [0.0, -1.0, 1.1, f64::NAN, f64::INFINITY] {
        let layer = FailoverLayer::builder(setup("a1@a").registry()).when_unavailable(WhenUnavailable::Wait(share));
        assert_eq!(layer.build().expect_err("no share").field(), "when_unavailable");
    }
}

/// How often a request is polled to its end.
async fn polls(world: &World, plan: Plan) -> (Outcome, usize) {
    let (mut request, mut polls) = (world.begin_with(plan), 0);
    let outcome = poll_fn(|cx| {
        polls += 1;
        request.as_mut().poll(cx)
    });
    (outcome.await, polls)
}

#[tokio::test(start_paused = true)]
async fn law_22_nobody_is_waited_for_who_would_cost_too_much() {
    let costly = setup("a1@a b1@b").models(|model| match model.name() {
        "a1" => model.cost(5.0),
        _ => model,
    });
    let world = costly.layer(|layer| layer.when_unavailable(WhenUnavailable::Wait(1.0))).build();
    world.models.cool_down("a1", secs(5)).expect("known");
    world.command("b1", Command::ForceOpen);
    let (outcome, polls_of) = polls(&world, Plan::new().max_cost(1.0)).await;
    assert!(matches!(&outcome, Err(Error::Unavailable { .. })), "{outcome:?} after {polls_of} polls");
    assert_eq!((served(outcome).elapsed(), polls_of), (ms(0), 1));

    // Who else will be back is, and without a spin once the dear one is.
    world.command("b1", Command::Reset);
    world.models.cool_down("b1", secs(60)).expect("known");
    let (outcome, polls) = polls(&world, Plan::new().max_cost(1.0)).await;
    assert_eq!(tried(&answer(outcome).1), ["b1"]);
    assert!(polls < 700, "{polls} in a minute");
}

#[tokio::test(start_paused = true)]
async fn who_waits_does_so_while_somebody_else_carries_the_probe() {
    let waits = setup("a1@a").breakers(trips_after(1).close_after(1, 1));
    // The probe may take far longer than anybody waits.
    let patient = waits.layer(|layer| layer.when_unavailable(WhenUnavailable::Wait(0.25)).deadline(secs(100)));
    let world = patient.build();
    for (takes, answered) in [(secs(1), 5), (secs(40), 1)] {
        world.models.cool_down("a1", secs(12)).expect("known");
        world.script.play("a1", [Act::Answer(200, takes)]);
        let begun = Instant::now();
        let outcomes = join_all((0..5).map(|_| world.ask())).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), answered, "{takes:?}: {outcomes:?}");
        assert!(begun.elapsed() < secs(14) + takes, "{:?}", begun.elapsed());
        for refused in outcomes.into_iter().filter(Result::is_err) {
            assert_about(served(refused).elapsed() / 100, ms(250));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_does_so_for_a_place() {
    let full = setup("a1@a").models(|model| model.max_in_flight(2));
    let patient = full.layer(|layer| layer.when_unavailable(WhenUnavailable::Wait(0.5)).deadline(secs(10)));
    let world = patient.build();
    world.script.play("a1", [Act::Answer(200, secs(2))]);
    let begun = Instant::now();
    let outcomes = join_all((0..8).map(|_| world.ask())).await;
    // Two at 2 s, two at 4 s, two that begin before 5 s; and for the last two it is too late.
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 6, "{outcomes:?}");
    assert!(begun.elapsed() < secs(7), "{:?}", begun.elapsed());
}

#[test]
fn law_02_of_many_threads_no_more_are_under_way_than_may_be_and_every_place_is_free_again() {
    let bounded = setup("a1@a a2@a").models(|model| model.max_in_flight(3));
    let models = bounded.providers(|provider| provider.max_in_flight(4)).registry();
    // Of both models in one word.
    let inside: Arc<AtomicU64> = Arc::default();
    let layer = FailoverLayer::builder(models.clone()).build().expect("valid");
    let service = service_fn({
        let inside = inside.clone();
        move |attempt: Attempt<usize>| {
            let one = if attempt.model().name() == "a1" { 1 } else { 1 << 32 };
            let before = inside.fetch_add(one, Ordering::SeqCst);
            let leaves = Leaves(inside.clone(), one);
            let (a1, a2) = (before % (1 << 32), before >> 32);
            assert!(a1 + a2 < 4 && before / one % (1 << 32) < 3, "{a1} and {a2}");
            async move {
                let _leaves = leaves;
                for _ in 0..attempt.get_ref() % 4 {
                    tokio::task::yield_now().await;
                }
                if attempt.get_ref() % 7 == 0 { Err(Fault::Reset) } else { Ok(()) }
            }
        }
    });
    let mut engine = layer.layer(service);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (mut engine, handle) = (engine.clone(), runtime.handle().clone());
            std::thread::spawn(move || {
                let _guard = handle.enter();
                let mut cx = Context::from_waker(Waker::noop());
                let mut calls = VecDeque::new();
                for request in 0..5_000 {
                    let mut call = Box::pin(engine.call(request));
                    if call.as_mut().poll(&mut cx).is_pending() {
                        calls.push_back(call);
                    }
                    // Some are given up, and some go on.
                    if calls.len() > request % 3
                        && let Some(mut call) = calls.pop_front()
                        && request % 5 != 0
                    {
                        while call.as_mut().poll(&mut cx).is_pending() {}
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let snapshot = models.snapshot();
    assert!(snapshot.models.iter().all(|model| model.in_flight == 0 && model.calls > 100), "{snapshot:?}");

    // Four may be under way now, three of them with the first, and not a fifth.
    let _guard = runtime.enter();
    let mut cx = Context::from_waker(Waker::noop());
    let mut calls: Vec<_> = (0..5).map(|_| Box::pin(engine.call(3))).collect();
    let pending: Vec<bool> = calls.iter_mut().map(|call| call.as_mut().poll(&mut cx).is_pending()).collect();
    assert_eq!(pending, [true, true, true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_once_a_clients_own_error_is_there_to_be_told() {
    let world = setup("a1@a b1@b").layer(|layer| layer.when_unavailable(WhenUnavailable::Wait(1.0))).build();
    world.models.cool_down("a1", secs(20)).expect("known");
    world.script.ready("b", Readiness::Fails);
    let error = world.ask().await.expect_err("nobody is there");
    assert!(matches!(error, Error::Upstream { error: Fault::Unready, .. }), "{error:?}");
    assert_eq!(error.served().expect("told").elapsed(), ms(0));
}

/// Counts a call out when it is dropped.
struct Leaves(Arc<AtomicU64>, u64);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Ordering::SeqCst);
    }
}
