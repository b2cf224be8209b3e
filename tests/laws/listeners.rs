//! Law 8 and those who listen to events: none of them slows, breaks or sees anything half done; a slow one is told.

use crate::{
    events::{asks, degrade, told},
    logs::listen,
    script::{Act, Fault, scripted_panic},
    world::{World, answer, ms, secs, setup, trips_after, world},
};
use futures::{FutureExt, StreamExt, poll, stream};
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};
use tower_failover::{
    Budget, Cause, Command, Event, EventKind, Missed, Model, Models, Operation, Provider, State, Tier,
    defaults::EVENT_CAPACITY,
};

#[tokio::test(start_paused = true)]
async fn two_listeners_get_the_same_and_one_that_comes_later_nothing_from_before() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.trip("a1").await;
    let (mut one, mut two) = (world.models.events(), world.models.clone().events());
    world.command("a1", Command::Reset);
    let mut later = world.models.events();
    world.command("a1", Command::Disable);
    let told_one = told(&mut one);
    assert_eq!(told_one.len(), 4);
    assert_eq!(told(&mut two), told_one);
    assert_eq!(told(&mut later), told_one[2..]);
    drop(one);
    world.command("a1", Command::Reset);
    assert_eq!((told(&mut two).len(), told(&mut later).len()), (2, 2), "others go on");
}

fn capacity(events: usize) -> Models {
    let builder = Models::builder().provider(Provider::new("a")).model(Model::new("a1", "a"));
    builder.event_capacity(events).build().expect("a good configuration")
}

#[tokio::test(start_paused = true)]
async fn a_slow_listener_is_told_how_many_it_has_lost_and_goes_on_with_the_oldest_kept() {
    for (set, kept) in [(Some(1), 1_u64), (Some(5), 8), (Some(8), 8), (None, EVENT_CAPACITY as u64)] {
        let models = match set {
            Some(set) => capacity(set),
            None => setup("a1@a").registry(),
        };
        // Disabled, so that each cooldown is one event.
        models.command("a1", Command::Disable).expect("known");
        let (mut slow, mut quick) = (models.events(), models.events());
        let waited = |event: &Event| match event.kind {
            EventKind::Command { operation: Operation::CoolDown(wait), .. } => wait,
            _ => panic!("{event:?}"),
        };
        for wait in 1..=kept + 3 {
            models.cool_down("a1", secs(wait)).expect("known");
            let event = quick.recv().await.expect("one").expect("the quick one misses nothing");
            assert_eq!(waited(&event), secs(wait));
        }
        let missed = slow.recv().await.expect("there is more").expect_err("not all");
        assert_eq!((missed.count(), missed.to_string()), (3, "3 events missed".to_owned()));
        let waits: Vec<Duration> = told(&mut slow).iter().map(waited).collect();
        assert_eq!(waits, (4..=kept + 3).map(secs).collect::<Vec<_>>(), "{set:?}");
        models.cool_down("a1", secs(1)).expect("known");
        assert!(matches!(slow.try_recv(), Some(Ok(_))), "and that was that");
        assert!(slow.try_recv().is_none());
    }
}

#[test]
fn a_capacity_that_cannot_work() {
    for (events, good) in [(0, false), (1, true), (1 << 20, true), ((1 << 20) + 1, false), (usize::MAX, false)] {
        let builder = Models::builder().provider(Provider::new("a")).model(Model::new("a1", "a"));
        match builder.event_capacity(events).build() {
            Ok(_) => assert!(good, "{events}"),
            Err(error) => {
                assert!(!good, "{events}");
                let says = (error.field(), error.value(), error.problem());
                assert_eq!(says, ("event_capacity", &*events.to_string(), "must lie between 1 and 1,048,576"));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_when_nobody_has_the_registry_any_more_and_all_is_heard() {
    let world = world("a1@a");
    let mut events = world.models.events();
    let (_, served) = answer(world.ask().await);
    world.command("a1", Command::ForceOpen);
    drop(world);
    let mut recv = Box::pin(async {
        let mut told = 0;
        while let Some(event) = events.recv().await {
            told += usize::from(event.is_ok());
        }
        told
    });
    assert!(poll!(&mut recv).is_pending(), "somebody keeps a `Served`");
    drop(served);
    assert_eq!(recv.await, 2);
    assert_eq!((events.try_recv(), events.recv().await), (None, None));
    assert_eq!(format!("{events:?}"), "Events { .. }");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_given_up_loses_nothing() {
    let world = world("a1@a");
    let mut events = world.models.events();
    assert!(events.recv().now_or_never().is_none());
    let mut recv = Box::pin(events.recv());
    assert!(poll!(&mut recv).is_pending());
    world.command("a1", Command::Reset);
    drop(recv);
    assert_eq!(told(&mut events).len(), 1);
}

/// Runs on the thread that tells, in the midst of it: the waker of one who waits for the next event.
struct Midst<F>(F);

impl<F: Fn() + Send + Sync> Wake for Midst<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// Does something with one who waits, and says how often that one ran.
async fn in_the_midst<F>(world: &World, ran: impl Fn() + Send + Sync + 'static, act: F) -> usize
where
    F: AsyncFnOnce(&World),
{
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let waker = Waker::from(Arc::new(Midst(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        ran();
    })));
    let mut events = world.models.events();
    let mut recv = Box::pin(events.recv());
    assert!(recv.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    act(world).await;
    count.load(Ordering::Relaxed)
}

/// Each kind of event, brought about in a world of its own.
async fn with_each_kind(ran: impl Fn(Models) -> Box<dyn Fn() + Send + Sync>, check: impl Fn(&World)) {
    let budget = Budget::default().burst(0.0).share_of_calls(0.0).per_second(0.0);
    let fresh = || {
        let described = setup("a1@a a2@a a3@a").judge(asks).breakers(trips_after(9)).provider_breakers(trips_after(9));
        described.providers(|provider| provider.budget(budget.clone())).build()
    };
    macro_rules! kind {
        ($act:expr) => {
            let world = fresh();
            let ran = ran(world.models.clone());
            assert_eq!(in_the_midst(&world, ran, $act).await, 1, "{}", stringify!($act));
            check(&world);
        };
    }
    kind!(async |world: &World| world.command("a1", Command::ForceOpen));
    kind!(async |world: &World| world.command("@a", Command::Reset));
    kind!(async |world: &World| world.models.cool_down("a1", secs(5)).expect("known"));
    kind!(async |world: &World| world.models.apply(setup("a1@a a2@a a3@a").described()).expect("good"));
    kind!(async |world: &World| degrade(world).await);
    kind!(async |world: &World| {
        world.script.play("a1", [1_020]);
        world.script.play("a2", [1_020]);
        answer(world.ask_of("a1 a2").await);
    });
    kind!(async |world: &World| {
        ["a1", "a2", "a3"].iter().for_each(|model| world.script.play(model, [503]));
        answer(world.ask().await);
    });
    kind!(async |world: &World| {
        world.script.play("a1", [Act::from(Fault::Connect)]);
        for _ in 0..9 {
            let _ = world.ask_of("a1").await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn law_08_one_who_runs_in_the_midst_of_telling_may_call_any_command() {
    let everything = |models: Models| -> Box<dyn Fn() + Send + Sync> {
        Box::new(move || {
            for command in [Command::ForceOpen, Command::Disable, Command::Shadow, Command::Reset] {
                models.command("a1", command).expect("known");
                models.command_provider("a", command).expect("known");
            }
            models.cool_down("a2", secs(5)).expect("known");
            models.cool_down_provider("a", secs(5)).expect("known");
            let _ = (models.snapshot(), models.events(), models.for_key("one").snapshot());
            models.apply(setup("a1@a a2@a a3@a").described()).expect("good");
            for name in ["a1", "a2", "a3"] {
                models.command(name, Command::Reset).expect("known");
            }
            models.command_provider("a", Command::Reset).expect("known");
        })
    };
    with_each_kind(everything, |world| assert_eq!(world.in_flight(), 0)).await;
}

#[tokio::test(start_paused = true)]
async fn law_08_one_whose_waker_panics_breaks_nothing() {
    with_each_kind(
        |_| Box::new(|| scripted_panic()),
        |world| {
            assert_eq!(world.in_flight(), 0);
            let mut events = world.models.events();
            world.command("a2", Command::ForceOpen);
            assert!(told(&mut events).len() >= 2, "others hear on");
        },
    )
    .await;
    // Nor is it too late when the registry goes.
    let world = world("a1@a");
    let mut events = world.models.events();
    let mut recv = Box::pin(events.recv());
    let waker = Waker::from(Arc::new(Midst(|| scripted_panic())));
    assert!(recv.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(world);
}

#[tokio::test(start_paused = true)]
async fn law_08_what_is_told_is_there_to_see() {
    let world = setup("a1@a a2@a").breakers(trips_after(5)).build();
    degrade(&world).await;
    world.script.play("a2", [503]);
    for _ in 0..5 {
        answer(world.ask_of("a2").await);
    }
    world.command("@a", Command::ForceOpen);
    assert_eq!(["a1", "a2"].map(|name| world.state(name)), [State::Open; 2]);

    let seen = Arc::new(Mutex::new(Vec::new()));
    let look = || {
        let (seen, models) = (seen.clone(), world.models.clone());
        move || seen.lock().expect("nobody panics").push(models.snapshot())
    };
    in_the_midst(&world, look(), async |world| world.command("a1", Command::Reset)).await;
    in_the_midst(&world, look(), async |world| world.command("@a", Command::Reset)).await;
    let seen = seen.lock().expect("nobody panics");
    let a1 = seen[0].model("a1").expect("known");
    assert_eq!((a1.breaker.state, a1.tier, a1.outcomes), (State::Closed, Tier::Healthy, 0.0));
    let a2 = seen[1].model("a2").expect("known");
    assert_eq!(a2.breaker.state, State::HalfOpen, "its provider is back");
}

#[tokio::test(start_paused = true)]
async fn law_08_what_a_line_of_log_brings_about_is_told_after_what_it_was_about() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    let mut events = world.models.events();
    let models = world.models.clone();
    {
        let _guard = listen(move |line| {
            if line.contains("to=open") {
                models.command("a1", Command::Reset).expect("known");
            }
        });
        world.script.play("a1", [503]);
        answer(world.ask().await);
    }
    let kinds: Vec<String> = told(&mut events).into_iter().map(|event| event.kind.to_string()).collect();
    let expected = [
        "closed to open, 1 failures in a row spanning 0ns, a probe in 10.000s",
        "command: reset",
        "open to closed, command: reset",
    ];
    assert_eq!(kinds, expected);
}

/// Whether somebody commanded it.
fn is_commanded(event: &Event) -> bool {
    match &event.kind {
        EventKind::Command { .. } => true,
        EventKind::Transition { cause, .. } => matches!(cause, Cause::Command(_)),
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn law_08_a_listener_that_commands_for_each_event_holds_nobody_up() {
    let breaker = trips_after(1);
    let world = setup("a1@a b1@b").breakers(breaker.clone()).provider_breakers(breaker).build();
    let (mut events, models) = (world.models.events(), world.models.clone());
    let listener = tokio::spawn(async move {
        let mut healed = 0;
        while let Some(event) = events.recv().await {
            let event = event.expect("not slow");
            if is_commanded(&event) {
                continue;
            }
            healed += 1;
            match (event.model(), event.provider()) {
                (Some(model), _) => models.command(model, Command::Reset).expect("known"),
                (None, Some(provider)) => models.command_provider(provider, Command::Reset).expect("known"),
                (None, None) => return healed,
            }
        }
        healed
    });
    world.script.play("a1", [503]);
    for _ in 0..50 {
        answer(world.ask().await);
        tokio::task::yield_now().await;
        assert_eq!((world.state("a1"), world.state("@a")), (State::Closed, State::Closed), "healed by the listener");
    }
    world.models.apply(setup("a1@a b1@b").described()).expect("good");
    assert!(listener.await.expect("no panic") >= 100);
}

#[test]
fn law_08_listeners_that_command_while_others_do_deadlock_nothing() {
    let breaker = trips_after(1);
    let models = setup("a1@a a2@a b1@b").breakers(breaker.clone()).provider_breakers(breaker).registry();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().expect("one");
    runtime.block_on(async {
        let listeners: Vec<_> = (0..2)
            .map(|_| {
                let (mut events, models) = (models.events(), models.clone());
                tokio::spawn(async move {
                    let (mut heard, mut missed) = (0, 0);
                    while let Some(event) = events.recv().await {
                        match event {
                            Err(lost) => missed += lost.count(),
                            Ok(event) if event.kind == EventKind::Applied => break,
                            Ok(event) => {
                                heard += 1;
                                if !is_commanded(&event) && event.model().is_some() {
                                    models.command_provider("a", Command::Reset).expect("known");
                                    let _ = models.snapshot();
                                }
                            }
                        }
                    }
                    (heard, missed)
                })
            })
            .collect();
        let commanders: Vec<_> = (0..2)
            .map(|number| {
                let models = if number == 0 { models.clone() } else { models.for_key("one") };
                tokio::task::spawn_blocking(move || {
                    for step in 0..2_000 {
                        let name = ["a1", "a2", "b1"][step % 3];
                        models.cool_down(name, ms(1)).expect("known");
                        models.command(name, [Command::ForceOpen, Command::Reset][step % 2]).expect("known");
                        models.command_provider("a", [Command::Disable, Command::Reset][step % 2]).expect("known");
                    }
                })
            })
            .collect();
        for commander in commanders {
            commander.await.expect("no panic");
        }
        // What the listeners bring about may push the end out before one of them has heard it.
        while !listeners.iter().all(|listener| listener.is_finished()) {
            models.apply(setup("a1@a a2@a b1@b").described()).expect("good");
            tokio::time::sleep(ms(1)).await;
        }
        for listener in listeners {
            let (heard, missed) = listener.await.expect("no panic");
            // Of each commander three commands a step, at the least.
            assert!(heard + missed >= 12_000, "{heard} and {missed} missed");
        }
    });
}

#[tokio::test(start_paused = true)]
async fn it_makes_a_stream() {
    let world = world("a1@a");
    let events =
        stream::unfold(world.models.events(), |mut events| async move { Some((events.recv().await?, events)) });
    world.command("a1", Command::ForceOpen);
    drop(world);
    let told: Vec<Result<Event, Missed>> = events.collect().await;
    assert_eq!(told.len(), 2);
}
