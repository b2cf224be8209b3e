//! Law 8: log lines, classifiers and aims may call any command, and break nothing.

use crate::{
    script::{Act, Fault, Readiness, scripted_panic},
    traces::Eye,
    world::{Req, World, answer, judge, ms, secs, setup, trips_after, world},
};
use futures::FutureExt;
use std::{
    cell::RefCell,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::{Arc, Mutex, Once},
};
use tower::ServiceExt;
use tower_failover::{Command, FailoverLayer, Hedge, Model, Models, State, Tier, WithServed, aim, classify};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

const COMMANDS: [Command; 4] = [Command::ForceOpen, Command::Disable, Command::Shadow, Command::Reset];

fn command_everything(models: &Models) {
    for command in COMMANDS {
        models.command("a1", command).unwrap();
        models.command_provider("a", command).unwrap();
    }
    models.cool_down("a1", secs(5)).unwrap();
    models.cool_down_provider("a", secs(5)).unwrap();
    models.command("a1", Command::Reset).unwrap();
    models.command_provider("a", Command::Reset).unwrap();
    assert_eq!(models.snapshot().models.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn law_08_a_classifier_may_call_any_command() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [503]);
    let models = world.models.clone();
    let classify = classify(move |result: Result<&u16, &Fault>| {
        command_everything(&models);
        judge(result)
    });
    let layer = FailoverLayer::builder(world.models.clone()).classify(classify).finish(WithServed).build().unwrap();
    let engine = layer.by_provider(world.script.clients());
    assert_eq!(engine.oneshot(Req::default()).await.unwrap().0, 200);
    // The resets began another generation, to which the failure says nothing.
    assert_eq!((world.in_flight(), world.failures("a1"), world.failures("b1")), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_08_an_aim_may_call_any_command() {
    let world = world("a1@a b1@b");
    let models = world.models.clone();
    let aim = aim(move |_: &Model, request: Req| {
        command_everything(&models);
        Ok(request)
    });
    let service = tower::service_fn(|_: Req| async { Err::<(), _>(Fault::Reset) });
    let layer = FailoverLayer::builder(world.models.clone()).aim(aim).build().unwrap();
    let error = tower::Layer::layer(&layer, service).oneshot(Req::default()).await.unwrap_err();
    assert_eq!((error.served().unwrap().attempts(), world.in_flight(), world.failures("a1")), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_08_commands_do_what_they_say_in_every_state() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.trip("a1").await;
    for (command, state) in [
        (Command::ForceOpen, State::ForcedOpen),
        (Command::Disable, State::Disabled),
        (Command::Shadow, State::Closed),
        (Command::ForceOpen, State::ForcedOpen),
        (Command::Reset, State::Closed),
    ] {
        world.command("a1", command);
        assert_eq!(world.state("a1"), state, "{command}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_08_a_reset_while_closed_clears_the_counts() {
    let world = setup("a1@a").breakers(trips_after(2)).provider_breakers(trips_after(2)).build();
    for _ in 0..3 {
        world.script.play("a1", [503]);
        answer(world.ask().await);
        assert_eq!((world.failures("a1"), world.failures("@a")), (1, 1));
        world.command("a1", Command::Reset);
        world.command("@a", Command::Reset);
        assert_eq!((world.failures("a1"), world.failures("@a")), (0, 0));
    }
    assert_eq!((world.state("a1"), world.state("@a")), (State::Closed, State::Closed));
}

#[tokio::test(start_paused = true)]
async fn law_08_a_disabled_breaker_admits_and_counts_nothing() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.command("a1", Command::Disable);
    world.script.play("a1", [503]);
    for _ in 0..5 {
        answer(world.ask().await);
    }
    world.command("a1", Command::Reset);
    assert_eq!((world.script.calls_of("a1"), world.failures("a1")), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn law_08_a_shadow_refuses_nothing() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.command("a1", Command::Shadow);
    world.script.play("a1", [400, 503, 400]);
    for _ in 0..3 {
        answer(world.ask().await);
    }
    let breaker = world.breaker("a1");
    assert_eq!((breaker.state, breaker.shadow, breaker.shadowed), (State::Open, true, 1));
    assert_eq!(world.script.calls_of("a1"), 3);
}

type Listener = Rc<dyn Fn(&str)>;

thread_local! {
    static LISTENER: RefCell<Option<Listener>> = const { RefCell::new(None) };
}

/// Hears each log line of the crate, and gives it to the listener of this thread. One for the whole process: tracing
/// remembers for each line whether anybody listens, and a subscriber of one thread may come too late for that.
struct Ear;

impl<S: tracing::Subscriber> Layer<S> for Ear {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        struct Line(String);
        impl tracing::field::Visit for Line {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
                self.0 += &format!("{}={value:?} ", field.name());
            }
        }
        /// Listens again, whatever happened, and not before: what a listener does may be told, but not to itself.
        struct Again(Listener);
        impl Drop for Again {
            fn drop(&mut self) {
                LISTENER.set(Some(self.0.clone()));
            }
        }
        if !event.metadata().target().starts_with("tower_failover") {
            return;
        }
        if let Some(listener) = LISTENER.take().map(Again) {
            let mut line = Line(String::new());
            event.record(&mut line);
            (listener.0)(&line.0);
        }
    }
}

/// Ends the listening.
pub(crate) struct Listening;

impl Drop for Listening {
    fn drop(&mut self) {
        LISTENER.set(None);
    }
}

/// The one subscriber of the process.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    let subscriber = || tracing_subscriber::registry().with(Ear).with(Eye);
    ONCE.call_once(|| tracing::subscriber::set_global_default(subscriber()).unwrap());
}

pub(crate) fn listen(listener: impl Fn(&str) + 'static) -> Listening {
    install();
    LISTENER.set(Some(Rc::new(listener)));
    Listening
}

#[tokio::test(start_paused = true)]
async fn law_08_each_change_of_state_and_each_failed_attempt_is_told_once() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = lines.clone();
    let _guard = listen(move |line| heard.lock().unwrap().push(line.to_owned()));
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.script.play("a1", [503]);
    answer(world.ask().await);
    answer(world.ask().await);
    world.command("a1", Command::Reset);
    let lines = lines.lock().unwrap();
    let expected = [
        ["model=\"a1\"", "from=closed to=open"],
        ["model=\"a1\"", "next=\"b1\""],
        ["model=\"a1\"", "from=open to=closed"],
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:?}");
    for (line, parts) in lines.iter().zip(expected) {
        assert!(parts.iter().all(|part| line.contains(part)), "{line} lacks one of {parts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_08_a_tier_that_latency_has_changed_is_told_once_and_outside_of_every_lock() {
    for resets in [false, true] {
        let world = setup("a1@a b1@b").models(Model::latency_counts).build();
        let (lines, models) = (Arc::new(Mutex::new(Vec::new())), world.models.clone());
        let heard = lines.clone();
        let _guard = listen(move |line| {
            let tier = models.snapshot().model("a1").unwrap().tier;
            heard.lock().unwrap().push((line.contains("tier changed") && line.contains("model=\"a1\""), tier));
            if resets {
                models.command("a1", Command::Reset).unwrap();
            }
        });
        for (calls, took) in [(300, ms(100)), (30, secs(1)), (100, ms(100))] {
            world.script.play("a1", [Act::Answer(200, took)]);
            for _ in 0..calls {
                answer(world.ask_of("a1").await);
                tokio::time::advance(secs(1) - took).await;
            }
        }
        let expected =
            if resets { &[(true, Tier::Degraded)][..] } else { &[(true, Tier::Degraded), (true, Tier::Healthy)] };
        assert_eq!(*lines.lock().unwrap(), expected);
        assert_eq!(world.model("a1").latency_factor, 1.0);
    }
}

#[tokio::test(start_paused = true)]
async fn law_08_a_listener_may_call_any_command() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    let models = world.models.clone();
    let _guard = listen(move |_| command_everything(&models));
    world.script.play("a1", [503]);
    answer(world.ask().await);
    assert_eq!((world.state("a1"), world.in_flight()), (State::Closed, 0));
}

async fn ask_and_catch(world: &World) {
    let _ = AssertUnwindSafe(world.ask()).catch_unwind().await;
}

#[tokio::test(start_paused = true)]
async fn law_08_a_listener_that_panics_loses_no_probe() {
    for provider in [false, true] {
        let world = setup("a1@a").breakers(trips_after(1)).provider_breakers(trips_after(1)).build();
        if provider {
            world.script.play("a1", [Act::from(Fault::Connect), Act::from(200)]);
        } else {
            world.command("@a", Command::Disable);
            world.script.play("a1", [503, 200]);
        }
        let _ = world.ask().await;
        tokio::time::advance(secs(10)).await;
        {
            let _guard = listen(|_| scripted_panic());
            ask_and_catch(&world).await;
        }
        assert_eq!((world.breaker("a1").probes, world.breaker("@a").probes), (0, 0), "provider: {provider}");
        assert_eq!(world.in_flight(), 0);
        assert_eq!(answer(world.ask().await).0, 200);
    }
}

#[tokio::test(start_paused = true)]
async fn law_08_a_listener_that_panics_leaves_no_breaker_half_settled() {
    // The failure opens both breakers; the first one's line must not cost the second its failure.
    let world = setup("a1@a").breakers(trips_after(1)).provider_breakers(trips_after(1)).build();
    world.script.play("a1", [503]);
    {
        let _guard = listen(|_| scripted_panic());
        assert_eq!(answer(world.ask().await).0, 503);
    }
    assert_eq!((world.state("a1"), world.state("@a"), world.in_flight()), (State::Open, State::Open, 0));
}

#[tokio::test(start_paused = true)]
async fn law_08_a_failed_attempt_names_who_is_tried_next_and_not_who_was_not_ready() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = lines.clone();
    let _guard = listen(move |line| heard.lock().unwrap().push(line.to_owned()));
    let world = setup("a1@a b1@b c1@c").layer(|layer| layer.hedge(Hedge::after(secs(1)))).build();
    world.script.play("a1", [Act::Answer(503, secs(2))]);
    world.script.ready("b", Readiness::Never);
    answer(world.ask().await);
    let lines = lines.lock().unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("next=\"c1\""), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn law_08_the_last_failed_attempt_is_told_at_the_end_and_not_when_the_future_is_dropped() {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let heard = lines.clone();
    let _guard = listen(move |line| heard.lock().unwrap().push(line.to_owned()));
    let world = setup("a1@a").build();
    world.script.play("a1", [503]);
    let mut call = world.begin();
    assert!(futures::poll!(&mut call).is_ready());
    assert!(lines.lock().unwrap().iter().any(|line: &String| line.contains("next=\"nobody\"")), "{lines:?}");
    drop(call);
    assert_eq!(lines.lock().unwrap().len(), 1, "{lines:?}");
}
