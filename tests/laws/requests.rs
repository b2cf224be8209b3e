//! What one request asks for itself, requests that cannot be sent twice, and what errors give back.

use crate::{
    script::{Act, Fault, Numbered, Script},
    world::{Req, World, answer, assert_about, fates, judge, ms, secs, served, setup, skip, tried, trips_after, world},
};
use std::time::Duration;
use tower::ServiceExt;
use tower_failover::{
    Attempts, Command, Error, FailoverLayer, Plan, PlanError, Resend, SendOnce, Served, Skip, WhenUnavailable, Whose,
    WithServed, classify,
};

/// A request that cannot be cloned.
#[derive(Debug)]
struct Once;

impl Numbered for Once {
    fn number(&self) -> u32 {
        0
    }
}

async fn send_once(world: &World) -> Result<(u16, Served), Error<Fault>> {
    let layer = FailoverLayer::builder(world.models.clone())
        .aim(Attempts)
        .classify(classify(judge))
        .resend(SendOnce)
        .finish(WithServed)
        .build()
        .unwrap();
    let script: &Script = &world.script;
    let engine = layer.by_provider(script.clients());
    engine.oneshot(Once).await
}

#[tokio::test(start_paused = true)]
async fn a_request_sent_once_loses_nothing_by_a_skip() {
    let world = world("a1@a b1@b c1@c");
    world.command("a1", Command::ForceOpen);
    world.script.ready("b", crate::script::Readiness::Fails);
    let (status, served) = answer(send_once(&world).await);
    assert_eq!((status, tried(&served)), (200, vec!["c1".to_owned()]));
    assert!(!served.could_fail_over());
}

#[tokio::test(start_paused = true)]
async fn a_request_sent_once_that_failed_is_final() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [503]);
    let (status, served) = answer(send_once(&world).await);
    assert_eq!((status, served.attempts(), served.all_failed(), served.could_fail_over()), (503, 1, true, false));
    world.script.play("a1", [Act::from(Fault::Reset)]);
    let error = send_once(&world).await.unwrap_err();
    assert!(!error.served().unwrap().could_fail_over());
    assert_eq!(error.into_inner().unwrap(), Fault::Reset);
    assert_eq!((world.script.calls_of("b1"), world.failures("a1")), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn law_15_a_request_sent_once_may_use_all_the_time() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [Act::Answer(200, secs(119))]);
    assert_eq!(answer(send_once(&world).await).0, 200);
    let short = FailoverLayer::builder(world.models.clone())
        .classify(classify(judge))
        .resend(SendOnce)
        .finish(WithServed)
        .deadline(secs(40))
        .build()
        .unwrap();
    world.script.play("a1", [Act::Answer(200, secs(39))]);
    let engine = short.by_provider(world.script.clients());
    assert_eq!(engine.clone().oneshot(Once).await.unwrap().0, 200);
    // Before it was sent it could have gone to another, and the wait for its client left a reserve.
    world.script.ready("a", crate::script::Readiness::After(secs(1)));
    world.script.play("a1", [Act::Answer(200, secs(38))]);
    assert_eq!(engine.oneshot(Once).await.unwrap().0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cloned_could_fail_over() {
    for most in 1..=3 {
        let world = setup("a1@a b1@b").layer(move |layer| layer.max_attempts(most)).build();
        assert!(answer(world.ask().await).1.could_fail_over(), "{most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_lists_its_models_in_its_own_order() {
    let world = world("a1@a b1@b c1@c");
    world.script.play("c1", [503]);
    assert_eq!(tried(&answer(world.ask_of("c1 a1").await).1), ["c1", "a1"]);
    world.script.play("a1", [503]);
    assert_eq!(tried(&served(world.ask_of("c1 a1").await)), ["c1", "a1"], "and no others");
}

#[tokio::test(start_paused = true)]
async fn a_plan_puts_one_first() {
    let world = world("a1@a b1@b c1@c");
    for model in ["a1", "b1", "c1"] {
        world.script.play(model, [503]);
    }
    assert_eq!(tried(&served(world.send(Plan::new().first("b1")).await)), ["b1", "a1", "c1"]);
    assert_eq!(tried(&served(world.send(Plan::new().models(["c1", "a1"]).first("a1")).await)), ["a1", "c1"]);
    assert_eq!(tried(&served(world.send(Plan::new().models(["c1", "a1"]).first("b1")).await)), ["b1", "c1", "a1"]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_without_fallback_asks_its_first_or_nobody() {
    let world = world("a1@a b1@b");
    world.script.play("b1", [503]);
    let (status, served) = answer(world.send(Plan::new().first("b1").no_fallback()).await);
    assert_eq!((status, tried(&served), served.all_failed()), (503, vec!["b1".to_owned()], true));
    world.command("b1", Command::ForceOpen);
    let error = world.send(Plan::new().first("b1").no_fallback()).await.unwrap_err();
    let expected = [("b1".to_owned(), Some(Skip::ForcedOpen(Whose::Model)))];
    assert_eq!(fates(error.served().unwrap()), expected);
    assert!(matches!(error, Error::Unavailable { .. }));
    assert_eq!(world.script.calls_of("a1"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_plans_deadline_is_shorter_or_longer_than_the_layers() {
    let world = setup("a1@a").layer(|layer| layer.deadline(secs(10)).attempt_timeout(secs(100))).build();
    world.script.play("a1", [Act::Hang]);
    for (plan, ends) in [(Plan::new(), 10), (Plan::new().deadline(secs(3)), 3), (Plan::new().deadline(secs(50)), 50)] {
        assert_about(served(world.send(plan).await).elapsed(), secs(ends));
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_asks_for_nothing_changes_nothing() {
    let world = world("a1@a b1@b");
    world.script.play("a1", [503]);
    assert_eq!(tried(&answer(world.send(Plan::new()).await).1), ["a1", "b1"]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_cannot_be_followed_is_a_typed_error_and_nobody_is_asked() {
    let world = world("a1@a b1@b");
    let none: [&str; 0] = [];
    let unknown =
        |error: &PlanError, name: &str| matches!(error, PlanError::Unknown(unknown) if unknown.name() == name);
    let is_max_cost = |error: &PlanError| matches!(error, PlanError::MaxCost(_));
    type Check<'a> = Box<dyn Fn(&PlanError) -> bool + 'a>;
    let cases: Vec<(Plan, Check<'_>)> = vec![
        (Plan::new().models(none), Box::new(|error| *error == PlanError::Empty)),
        (Plan::new().models(none).first("a1"), Box::new(|error| *error == PlanError::Empty)),
        (Plan::new().models(["a1", "x9"]), Box::new(|error| unknown(error, "x9"))),
        (Plan::new().first("x9"), Box::new(|error| unknown(error, "x9"))),
        (Plan::new().first("x9").no_fallback(), Box::new(|error| unknown(error, "x9"))),
        (Plan::new().models([""]), Box::new(|error| unknown(error, ""))),
        (Plan::new().models(["A1"]), Box::new(|error| unknown(error, "A1"))),
        (Plan::new().models(["a1", "b1", "a1"]), Box::new(|error| *error == PlanError::Duplicate("a1".to_owned()))),
        (
            Plan::new().models(["a1", "a1"]).first("a1"),
            Box::new(|error| *error == PlanError::Duplicate("a1".to_owned())),
        ),
        (Plan::new().deadline(ms(0)), Box::new(|error| *error == PlanError::Deadline)),
        (Plan::new().max_cost(-1.0), Box::new(is_max_cost)),
        (Plan::new().max_cost(f64::NAN), Box::new(is_max_cost)),
        (Plan::new().max_cost(f64::INFINITY), Box::new(is_max_cost)),
    ];
    for (plan, is_right) in cases {
        let shown = format!("{plan:?}");
        match world.send(plan).await {
            Err(Error::Plan(error)) => assert!(is_right(&error), "{shown}: {error:?}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
    assert!(world.script.calls().is_empty());
    assert_eq!(world.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn errors_give_back_the_clients_own_or_themselves() {
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.script.play("a1", [Act::from(Fault::Reset)]);
    let error = world.ask().await.unwrap_err();
    assert_eq!(error.get_ref(), Some(&Fault::Reset));
    assert_eq!(error.into_inner().unwrap(), Fault::Reset);
    world.command("a1", Command::ForceOpen);
    let error = world.ask().await.unwrap_err();
    assert_eq!(error.get_ref(), None);
    assert!(matches!(error.into_inner(), Err(Error::Unavailable { .. })));
    world.command("a1", Command::Disable);
    world.script.play("a1", [Act::Hang]);
    assert!(matches!(world.ask().await.unwrap_err().into_inner(), Err(Error::TimedOut { .. })));
}

#[tokio::test(start_paused = true)]
async fn errors_say_in_words_what_became_of_each_candidate() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.command("a1", Command::ForceOpen);
    world.script.play("b1", [Act::from(Fault::Reset)]);
    let error = world.ask().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no model answered: a1: skipped, model forced open; b1: broken off: reset after 0 ms"
    );
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "Reset");
}

#[tokio::test(start_paused = true)]
async fn odd_names_are_names_like_any_other() {
    let names = [
        "a b",
        "ä/ö?#",
        "\n\r\0",
        "{}{0}%s",
        "../../etc",
        "🦀",
        "\"quoted\"",
        " ",
        "a1\u{202e}",
        "x".repeat(9_999).leak(),
    ];
    let builder = tower_failover::Models::builder().provider(tower_failover::Provider::new("\t\"p{}\n"));
    let models = names.iter().fold(builder, |all, name| all.model(tower_failover::Model::new(*name, "\t\"p{}\n")));
    let models = models.build().unwrap();
    let script = Script::default();
    let layer = FailoverLayer::builder(models.clone()).classify(classify(judge)).resend(crate::world::Planned);
    let engine = layer.finish(WithServed).build().unwrap().by_provider(script.clients());
    for name in names {
        models.command(name, Command::Reset).unwrap();
        script.play(name, [503]);
        let plan = Plan::new().models([name]);
        let (status, served) = engine.clone().oneshot(plan.into()).await.unwrap();
        assert_eq!((status, served.model().unwrap().name()), (503, name));
        assert!(format!("{served} {served:?} {:?} {models:?} {engine:?}", models.snapshot()).contains("answered"));
        models.command(name, Command::ForceOpen).unwrap();
        let error = engine.clone().oneshot(Plan::new().models([name]).into()).await.unwrap_err();
        assert!(!format!("{error} {error:?}").is_empty());
        assert!(matches!(skip(error.served().unwrap(), name), Skip::ForcedOpen(_)));
    }
}

/// A request that can never be sent again, and keeps a copy all the same.
#[derive(Debug, Clone, Copy)]
struct NeverWhole;

impl Resend<Req> for NeverWhole {
    type Request = Req;

    fn prepare(&self, request: Req) -> Req {
        request
    }

    fn keep(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }

    fn whole(&self, _: &Req) -> bool {
        false
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_never_whole_is_sent_once() {
    let world = world("a1@a b1@b");
    world.models.cool_down("a1", secs(5)).expect("known");
    world.script.play("b1", [503]);
    let layer = FailoverLayer::builder(world.models.clone()).resend(NeverWhole).classify(classify(judge));
    let layer = layer.when_unavailable(WhenUnavailable::Wait(1.0)).finish(WithServed).build().expect("valid");
    let engine = layer.by_provider(world.script.clients());
    let (status, served) = engine.oneshot(Req::default()).await.expect("an answer");
    assert_eq!((status, tried(&served), served.could_fail_over()), (503, vec!["b1".to_owned()], false));
    assert_eq!(served.elapsed(), Duration::ZERO);
}
