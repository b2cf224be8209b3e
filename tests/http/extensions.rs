//! What travels beside request and response: `Plan`, `Served`, and the two headers.

use crate::support::{
    Request, Sent, answered_by, ask, client, hang, host, model, request, served, status, tried, two_models,
};
use http::StatusCode;
use std::time::Duration;
use tower::Layer;
use tower_failover::{
    AllFailed, Error, Executed, FailoverLayer, HttpFinish, HttpResend, Model, Plan, PlanError, SendOnce, Served, Why,
};

fn with(plan: Plan) -> Request {
    let mut request = request();
    request.extensions_mut().insert(plan);
    request
}

#[tokio::test(start_paused = true)]
async fn a_plan_in_the_requests_extensions_is_followed() {
    let plan = Plan::new;
    let rows: [(Plan, &[&str]); 7] = [
        (plan(), &["one.test", "two.test"]),
        (plan().first("b"), &["two.test", "one.test"]),
        (plan().models(["b", "a"]), &["two.test", "one.test"]),
        (plan().models(["b"]), &["two.test"]),
        (plan().models(["b", "a"]).first("a"), &["one.test", "two.test"]),
        (plan().first("b").no_fallback(), &["two.test"]),
        // `a` may have cost 1, so `b` could bring it to 2.
        (plan().max_cost(1.5), &["one.test"]),
    ];
    for (plan, expected) in rows {
        let sent = Sent::default();
        let layer = FailoverLayer::http(two_models().build().expect("models")).build().expect("a layer");
        let outcome = ask(&layer.layer(client(&sent, |_| status(503))), with(plan.clone())).await;
        assert_eq!(sent.hosts(), expected, "{plan:?}");
        assert_eq!(served(&outcome).attempts(), expected.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_cannot_be_followed_is_sent_to_nobody() {
    let plan = Plan::new;
    type Expected = fn(&PlanError) -> bool;
    let rows: [(Plan, Expected); 6] = [
        (plan().first("nobody"), |error| matches!(error, PlanError::Unknown(name) if name.name() == "nobody")),
        (plan().models(["a", "nobody"]), |error| matches!(error, PlanError::Unknown(_))),
        (plan().models(["a", "a"]), |error| matches!(error, PlanError::Duplicate(name) if name == "a")),
        (plan().models(Vec::<String>::new()), |error| matches!(error, PlanError::Empty)),
        (plan().deadline(Duration::ZERO), |error| matches!(error, PlanError::Deadline)),
        (plan().max_cost(f64::NAN), |error| matches!(error, PlanError::MaxCost(_))),
    ];
    for (plan, expected) in rows {
        let sent = Sent::default();
        let layer = FailoverLayer::http(two_models().build().expect("models")).build().expect("a layer");
        let error = ask(&layer.layer(client(&sent, |_| status(200))), with(plan.clone())).await.expect_err("no plan");
        assert!(matches!(&error, Error::Plan(error) if expected(error)), "{plan:?}: {error:?}");
        assert!(sent.take().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_plans_deadline_holds() {
    let layer = FailoverLayer::http(two_models().build().expect("models")).build().expect("a layer");
    let service = layer.layer(client(&Sent::default(), |_| hang()));
    let began = tokio::time::Instant::now();
    let error = ask(&service, with(Plan::new().deadline(Duration::from_secs(4)))).await.expect_err("all hang");
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_eq!(began.elapsed(), Duration::from_secs(4));
    let served = error.served().expect("served");
    assert_eq!((tried(served, "a").took, tried(served, "b").took), (Duration::from_secs(3), Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn served_is_in_the_responses_extensions() {
    let layer = FailoverLayer::http(two_models().build().expect("models")).build().expect("a layer");
    let second = Duration::from_secs(1);
    let service = layer.layer(client(&Sent::default(), move |request| match host(request) {
        "one.test" => status(502).after(second),
        _ => status(200).after(2 * second),
    }));
    let response = ask(&service, request()).await.expect("b answers");
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key(HttpFinish::MODEL), "only if asked for");
    let served: &Served = response.extensions().get().expect("Served");
    assert_eq!(served.model().map(Model::name), Some("b"));
    assert_eq!((served.attempts(), served.all_failed(), served.elapsed()), (2, false, 3 * second));
    assert_eq!((served.cost(), served.cost_at_risk()), (1.0, 1.0));
    let [a, b] = [tried(served, "a"), tried(served, "b")];
    assert_eq!((&a.why, a.executed, a.took), (&Why::Status(502), Executed::Maybe, second));
    assert_eq!((&b.why, b.executed, b.took), (&Why::Status(200), Executed::Yes, 2 * second));
    assert_eq!(served.to_string(), "a: status 502 after 1000 ms; b: status 200 after 2000 ms");
}

#[tokio::test(start_paused = true)]
async fn the_last_response_of_all_that_failed_is_served_or_an_error() {
    let replies = |request: &Request| if host(request) == "one.test" { status(502) } else { status(503) };
    let builder = || FailoverLayer::http(two_models().build().expect("models"));

    let layer = builder().build().expect("a layer");
    let outcome = ask(&layer.layer(client(&Sent::default(), replies)), request()).await;
    assert_eq!((answered_by(&outcome), served(&outcome).all_failed()), (Some("b"), true));
    assert_eq!(outcome.expect("a response").status(), 503);

    let layer = builder().all_failed(AllFailed::Error).build().expect("a layer");
    let error = ask(&layer.layer(client(&Sent::default(), replies)), request()).await.expect_err("all failed");
    assert!(matches!(error, Error::AllFailed { .. }));
    assert_eq!(error.served().expect("served").attempts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_kept_is_sent_once() {
    let sent = Sent::default();
    let layer = FailoverLayer::http(two_models().build().expect("models")).resend(HttpResend(SendOnce));
    let layer = layer.build().expect("a layer");
    let outcome = ask(&layer.layer(client(&sent, |_| status(503))), with(Plan::new().first("b"))).await;
    assert_eq!(sent.hosts(), ["two.test"], "the plan is read all the same");
    assert!(!served(&outcome).could_fail_over());
}

async fn with_headers(name: &str, upstreams_own: bool) -> http::HeaderMap {
    let models = two_models().model(model(name, "two")).build().expect("models");
    let layer = FailoverLayer::http(models).finish(HttpFinish::new().headers()).build().expect("a layer");
    let service = layer.layer(client(&Sent::default(), move |request| match host(request) {
        "one.test" => status(503),
        _ if upstreams_own => status(200).header("x-failover-model", "inner").header("x-failover-attempts", "9"),
        _ => status(200),
    }));
    let response = ask(&service, with(Plan::new().models(["a", name]))).await.expect("an answer");
    let served: &Served = response.extensions().get().expect("Served");
    assert_eq!(served.model().map(Model::name), Some(name));
    response.headers().clone()
}

#[tokio::test(start_paused = true)]
async fn headers_say_the_main_things() {
    for upstreams_own in [false, true] {
        let headers = with_headers("black-forest/flux 1.1", upstreams_own).await;
        let lines = |name: &http::HeaderName| headers.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(lines(&HttpFinish::MODEL), ["black-forest/flux 1.1"]);
        assert_eq!(lines(&HttpFinish::ATTEMPTS), ["2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_no_header_value_is_left_out() {
    for name in ["a\nb", "a\r\nx-evil: 1", "\0"] {
        for upstreams_own in [false, true] {
            let headers = with_headers(name, upstreams_own).await;
            assert_eq!(headers[HttpFinish::ATTEMPTS], "2");
            assert!(!headers.contains_key("x-evil"));
            assert_eq!(headers.get(HttpFinish::MODEL), None, "{name:?}: nobody else's name either");
        }
    }
}
