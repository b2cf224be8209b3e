//! reqwest's own requests, responses and errors.

use crate::{
    client::{ATTEMPT, BODY, plain},
    server::{Does, FINE, Server, models},
};
use reqwest::{Body, Client, Request, Response, dns, redirect::Policy};
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::{Layer, Service, ServiceExt, service_fn, timeout::Timeout};
use tower_failover::{
    AimError, BoxedError, Change, Charge, Credential, Error, Executed, FailoverLayer, Fate, HttpAim, HttpClassify,
    HttpFinish, Model, Models, Next, Plan, Provider, Row, Served, Tried, Why,
};

fn only(provider: Provider, model: &str) -> Models {
    let model = Model::new(model, "one").field("quality", "hd");
    Models::builder().provider(provider).model(model).build().expect("models")
}

fn one() -> Provider {
    Provider::new("one").base_url("https://one.test/v1/").credential(Credential::bearer("key-one"))
}

fn post(url: &str, body: impl Into<Body>) -> Request {
    Client::new().post(url).body(body).build().expect("a request")
}

fn stream() -> Body {
    Body::wrap_stream(futures::stream::iter([Ok::<_, io::Error>(BODY)]))
}

fn status(status: u16) -> Response {
    http::Response::builder().status(status).body("hello").expect("a response").into()
}

type Sent = Arc<Mutex<Vec<Request>>>;

/// A client that answers 200 and keeps what it was sent.
fn answers(
    sent: &Sent,
) -> impl Service<Request, Response = Response, Error = reqwest::Error, Future: Send> + Clone + use<> {
    let sent = sent.clone();
    service_fn(move |request: Request| {
        sent.lock().unwrap().push(request);
        async { Ok(status(200)) }
    })
}

/// What one model is sent.
async fn aimed(models: Models, aim: HttpAim, request: Request) -> Result<Request, Error<reqwest::Error>> {
    let sent = Sent::default();
    let layer = FailoverLayer::reqwest(models).aim(aim).build().expect("a layer");
    layer.layer(answers(&sent)).oneshot(request).await?;
    let request = sent.lock().unwrap().pop();
    Ok(request.expect("sent"))
}

async fn aimed_json(request: Request) -> Result<Request, Error<reqwest::Error>> {
    let sent = Sent::default();
    let layer = FailoverLayer::reqwest_json(only(one(), "a")).build().expect("a layer");
    layer.layer(answers(&sent)).oneshot(request).await?;
    let request = sent.lock().unwrap().pop();
    Ok(request.expect("sent"))
}

#[tokio::test(start_paused = true)]
async fn the_url_is_the_providers() {
    let rows = [
        ("http://models/images?n=1", "https://one.test/v1/images?n=1"),
        ("http://models:8080/", "https://one.test/v1/"),
        ("https://models/a%2Fb/%7B?q=%3F#fragment", "https://one.test/v1/a%2Fb/%7B?q=%3F"),
        ("http://models/images?", "https://one.test/v1/images?"),
        ("http://user:pass@models/images", "https://one.test/v1/images"),
    ];
    for (from, to) in rows {
        // Not by a builder, which makes a header of user and password.
        let request = Request::new(http::Method::POST, from.parse().expect("a URL"));
        let request = aimed(only(one(), "a"), HttpAim::new(), request).await.expect("aimed");
        assert_eq!(request.url().as_str(), to, "{from}");
        assert!(request.body().is_none(), "{from}");
    }
    let homeless = only(Provider::new("one"), "a");
    let request = aimed(homeless, HttpAim::new(), post("http://models/images#x", "")).await.expect("aimed");
    assert_eq!(request.url().as_str(), "http://models/images#x");
}

#[tokio::test(start_paused = true)]
async fn the_models_name_goes_into_path_and_header() {
    let aim = || HttpAim::new().path_placeholder("{model}").header(http::HeaderName::from_static("x-model"));
    let url = "http://models/of/{model}/images?of={model}";
    let rows = [("a", "a"), ("org/a b?", "org%2Fa%20b%3F"), ("...", "..."), ("%2e", "%252e")];
    for (name, segment) in rows {
        for (provider, base) in [(one(), "https://one.test/v1"), (Provider::new("one"), "http://models")] {
            let request = aimed(only(provider, name), aim(), post(url, "")).await.expect("aimed");
            assert_eq!(request.url().as_str(), format!("{base}/of/{segment}/images?of={{model}}"));
            assert_eq!(request.headers()["x-model"], name);
        }
    }
    for name in [".", ".."] {
        let error = aimed(only(one(), name), aim(), post(url, "")).await.expect_err("no URL");
        assert!(matches!(&error, Error::Aim { error: AimError::NotAUrl { .. }, .. }), "{name}: {error:?}");
    }
    let error = aimed(only(one(), "a"), aim(), post("http://models/", "")).await.expect_err("no placeholder");
    assert!(matches!(&error, Error::Aim { error: AimError::NoPlaceholder { .. }, .. }), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn law_25_credentials_for_somewhere_else_are_removed() {
    let others = ["authorization", "cookie", "x-api-key", "api-key", "x-goog-api-key", "openai-organization"];
    let request = || {
        let mut request = post("http://models/", "");
        for name in others.into_iter().chain(["host", "x-mine"]) {
            request.headers_mut().insert(name, "caller's".parse().expect("a value"));
        }
        request
    };
    let ours = aimed(only(one(), "a"), HttpAim::new(), request()).await.expect("aimed");
    assert_eq!(ours.headers()["authorization"], "Bearer key-one");
    assert_eq!(ours.headers()["x-mine"], "caller's");
    for name in others.into_iter().skip(1).chain(["host"]) {
        assert!(!ours.headers().contains_key(name), "{name}");
    }
    let theirs = only(one().credential_from_request(), "a");
    let theirs = aimed(theirs, HttpAim::new(), request()).await.expect("aimed");
    assert!(others.into_iter().all(|name| theirs.headers()[name] == "caller's"), "{theirs:?}");
}

#[tokio::test(start_paused = true)]
async fn fields_of_a_json_body_are_written_and_its_length_follows() {
    let mut request = post("http://models/", r#"{ "model":"any","n":1.0 }"#);
    request.headers_mut().insert("content-length", 25.into());
    let request = aimed_json(request).await.expect("aimed");
    let body = request.body().and_then(Body::as_bytes).expect("a body");
    assert_eq!(body, br#"{ "model":"a","n":1.0,"quality":"hd" }"#);
    assert_eq!(request.headers()["content-length"], body.len().to_string());

    let request = aimed_json(post("http://models/", r#"{"model":"a","quality":"hd"}"#)).await.expect("aimed");
    assert_eq!(request.body().and_then(Body::as_bytes), Some(&br#"{"model":"a","quality":"hd"}"#[..]));
    assert!(!request.headers().contains_key("content-length"));

    for body in ["", "[]", r#"{"n":1}"#] {
        let error = aimed_json(post("http://models/", body)).await.expect_err("no such object");
        assert!(matches!(&error, Error::Aim { error: AimError::Json(_), .. }), "{body}: {error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_no_fields_and_is_sent_once() {
    let error = aimed_json(post("http://models/", stream())).await.expect_err("a stream");
    assert!(matches!(&error, Error::Aim { error: AimError::Streaming, .. }), "{error:?}");
    assert!(error.to_string().contains("stream"), "{error}");

    let models = models("http://one.test", "http://two.test");
    let layer = FailoverLayer::reqwest(models).build().expect("a layer");
    let client = layer.layer(service_fn(async |_: Request| Ok::<_, reqwest::Error>(status(503))));
    for (body, attempts) in [(Body::from(BODY), 2), (stream(), 1)] {
        let response = client.clone().oneshot(post("http://models/", body)).await.expect("an answer");
        let served = response.extensions().get::<Served>().expect("Served");
        assert_eq!((served.attempts(), served.could_fail_over()), (attempts, attempts == 2), "{served}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_plan_goes_with_a_clone_of_the_service() {
    let sent = Sent::default();
    let client = FailoverLayer::reqwest(models("http://one.test", "http://two.test")).build().expect("a layer");
    let client = client.layer(answers(&sent));
    for (client, expected) in [(client.clone().plan(Plan::new().first("b")), "b"), (client.clone(), "a")] {
        for _ in 0..2 {
            let response = client.clone().oneshot(post("http://models/", BODY)).await.expect("an answer");
            let served = response.extensions().get::<Served>().expect("Served");
            assert_eq!(served.model().map(Model::name), Some(expected));
        }
    }
    let nobody = client.plan(Plan::new().first("c"));
    let error = nobody.oneshot(post("http://models/", BODY)).await.expect_err("no such model");
    assert!(matches!(error, Error::Plan(_)), "{error:?}");
    assert_eq!(sent.lock().unwrap().len(), 4);
}

#[tokio::test]
async fn the_response_keeps_its_url_and_says_who_served() {
    let (a, b) = (Server::start(Does::Reset).await, Server::start(FINE).await);
    let layer = FailoverLayer::reqwest_json(models(&a.url(), &b.url())).finish(HttpFinish::new().headers());
    let client = layer.build().expect("a layer").layer(plain());
    let response = client.oneshot(post("http://models/images?n=1", BODY)).await.expect("an answer");
    assert_eq!(response.url().as_str(), format!("{}/images?n=1", b.url()));
    assert_eq!(response.headers()["x-failover-model"], "b");
    assert_eq!(response.headers()["x-failover-attempts"], "2");
    assert_eq!(response.extensions().get::<Served>().and_then(Served::model).map(Model::name), Some("b"));
}

fn first(served: &Served) -> &Tried {
    match served.candidates().next().expect("a candidate").fate {
        Fate::Tried(tried) => tried,
        skipped => panic!("{skipped}"),
    }
}

/// What the first of two models comes to, when all fail in the same way.
async fn tried<S>(client: S, base: &str, classify: HttpClassify) -> (Tried, usize)
where
    S: Service<Request, Response = Response, Error = reqwest::Error> + Clone,
{
    let layer = FailoverLayer::reqwest_json(models(base, base)).attempt_timeout(ATTEMPT * 3).classify(classify);
    let request = post("http://models/images?key=secret", BODY);
    let result = layer.build().expect("a layer").layer(client).oneshot(request).await;
    let served = match &result {
        Ok(response) => response.extensions().get::<Served>().expect("Served"),
        Err(error) => error.served().expect("Served"),
    };
    assert!(!served.to_string().contains("secret"), "{served}");
    (first(served).clone(), served.attempts())
}

/// A client whose resolver fails so, or never ends.
fn resolves_to(error: Option<fn() -> io::Error>) -> Client {
    struct Fails(Option<fn() -> io::Error>);
    impl dns::Resolve for Fails {
        fn resolve(&self, _: dns::Name) -> dns::Resolving {
            match self.0 {
                Some(error) => Box::pin(async move { Err(error().into()) }),
                None => Box::pin(std::future::pending()),
            }
        }
    }
    let client = Client::builder().no_proxy().connect_timeout(Duration::from_millis(50));
    client.dns_resolver(Arc::new(Fails(error))).build().expect("a client")
}

#[tokio::test]
async fn errors_of_reqwest_mean_what_the_table_says() {
    let builder = || Client::builder().no_proxy();
    let hang = Server::start(Does::Hang).await.url();
    let refuse = Server::start(Does::Refuse).await;
    let reset = Server::start(Does::Reset).await.url();
    let circle = Server::start(Does::Answer("302 Again\r\nlocation: /x")).await;
    let nowhere = resolves_to(Some(|| io::Error::other("no such host")));
    let no_files = resolves_to(Some(|| io::Error::from_raw_os_error(24)));
    let nameless = resolves_to(None);
    let hasty = builder().timeout(Duration::from_millis(50)).build().expect("a client");
    let forbids = builder().redirect(Policy::custom(|attempt| attempt.error("no"))).build().expect("a client");
    let (refused, looped) = (refuse.url(), circle.url());
    let somewhere = "http://one.test";
    use Charge::{Model, Nobody, Provider};
    use Executed::{Maybe, No};
    type Check = fn(&Why) -> bool;
    let connect: Check = |why| matches!(why, Why::Connect(_));
    let broken: Check = |why| matches!(why, Why::Broken(_));
    #[rustfmt::skip]
    let rows: [(&str, Client, &str, Charge, Executed, Check); 7] = [
        ("refused",          plain(),  &refused,  Provider, No,    |why| matches!(why, Why::Connect(words) if words.contains("refused"))),
        ("no such host",     nowhere,  somewhere, Provider, No,    connect),
        ("connect timeout",  nameless, somewhere, Provider, No,    connect),
        ("no more files",    no_files, somewhere, Nobody,   No,    |why| matches!(why, Why::Local(_))),
        ("its own timeout",  hasty,    &hang,     Model,    Maybe, |why| *why == Why::TimedOut),
        ("reset",            plain(),  &reset,    Model,    Maybe, broken),
        ("redirect refused", forbids,  &looped,   Model,    Maybe, broken),
    ];
    for (what, client, base, charge, executed, why) in rows {
        let (tried, asked) = tried(client, base, HttpClassify::new()).await;
        assert_eq!((tried.charge, tried.executed, asked), (charge, executed, 2), "{what}: {tried:?}");
        assert!(why(&tried.why), "{what}: {tried:?}");
    }
    // Rows can be changed.
    let change = HttpClassify::new().change(Row::Connect, Change::default().next(Next::Return));
    assert_eq!(tried(plain(), &refuse.url(), change).await.1, 1);
    let change = HttpClassify::new().change(Row::Broken, Change::default().next(Next::Return));
    assert_eq!(tried(plain(), &reset, change).await.1, 1);
}

#[tokio::test]
async fn law_16_what_was_never_sent_is_the_callers_fault() {
    let models = Models::builder()
        .provider(Provider::new("one"))
        .model(Model::new("a", "one"))
        .model(Model::new("b", "one"))
        .build()
        .expect("models");
    let layer = FailoverLayer::reqwest(models.clone()).build().expect("a layer");
    let error =
        layer.layer(plain()).oneshot(post("ftp://one.test/?key=secret", BODY)).await.expect_err("no such scheme");
    assert!(error.get_ref().is_some_and(reqwest::Error::is_builder), "{error:?}");
    let served = error.served().expect("Served");
    let tried = first(served);
    assert_eq!((tried.charge, tried.executed, served.attempts()), (Charge::Nobody, Executed::No, 1), "{served}");
    assert!(!served.to_string().contains("secret"), "{served}");
    assert_eq!(models.snapshot().providers[0].breaker.consecutive_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn an_error_made_of_a_status_is_judged_by_it() {
    let rows = [
        (503, Charge::Model, Executed::Maybe, 2),
        (429, Charge::Nobody, Executed::No, 2),
        (404, Charge::Model, Executed::No, 2),
        (400, Charge::Nobody, Executed::No, 1),
    ];
    for (code, charge, executed, attempts) in rows {
        let client = service_fn(move |_: Request| async move { status(code).error_for_status() });
        let (tried, asked) = tried(client, "http://one.test", HttpClassify::new()).await;
        assert_eq!((tried.charge, tried.executed, asked), (charge, executed, attempts), "{code}");
        assert_eq!(tried.why, Why::Status(code));
    }
    // An answer that closes the provider's row of failures, as the same status in a response would.
    let models = models("http://one.test", "http://two.test");
    let layer = FailoverLayer::reqwest(models.clone()).build().expect("a layer");
    for (code, failures) in [(503, 1), (400, 0)] {
        let client = service_fn(move |_: Request| async move { status(code).error_for_status() });
        let _ = layer.layer(client).oneshot(post("http://models/", BODY)).await;
        assert_eq!(models.snapshot().providers[0].breaker.consecutive_failures, failures, "{code}");
    }
}

/// tower's own layers box the error of what they wrap.
#[tokio::test]
async fn a_boxed_error_is_looked_into() {
    for (does, charge) in [(Does::Refuse, Charge::Provider), (Does::Reset, Charge::Model), (Does::Hang, Charge::Model)]
    {
        let (a, b) = (Server::start(does).await, Server::start(FINE).await);
        let layer = FailoverLayer::reqwest_json(models(&a.url(), &b.url()));
        let layer = layer.classify(HttpClassify::new().errors::<BoxedError>()).build().expect("a layer");
        let client = layer.layer(Timeout::new(plain(), ATTEMPT));
        let response = client.oneshot(post("http://models/", BODY)).await.expect("an answer");
        let served = response.extensions().get::<Served>().expect("Served");
        assert_eq!((first(served).charge, served.attempts()), (charge, 2), "{does:?}: {served}");
    }
}
