//! The failover stack, and other tower layers, among the middlewares of reqwest-middleware.

use crate::{
    client::{ATTEMPT, BODY, plain, stacks_error},
    server::{Does, FINE, Server, models},
};
use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error as ClientError, Middleware, Next};
use std::{
    error::Error as _,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::{ServiceBuilder, limit::GlobalConcurrencyLimitLayer, timeout::TimeoutLayer};
use tower_failover::{
    Charge, CircuitBreakerLayer, Command, Error, FailoverLayer, FailoverMiddleware, Fate, HttpAim, HttpClassify, Model,
    Models, Plan, PlanError, Served, TowerMiddleware, circuit_breaker,
};

/// Notes who passes, in a list of its own and in the extensions, and what it finds there.
#[derive(Clone, Default)]
struct Trace {
    passed: Arc<Mutex<Vec<String>>>,
}

/// What the middlewares have written.
#[derive(Debug, Clone, Default, PartialEq)]
struct Notes(Vec<String>);

impl Trace {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.passed.lock().unwrap())
    }
}

#[async_trait]
impl Middleware for Trace {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, ClientError> {
        let found = extensions.get::<Notes>().cloned().unwrap_or_default().0;
        self.passed.lock().unwrap().push(format!("{} after [{}]", host(&request), found.join(", ")));
        note(extensions, &format!("saw {}", host(&request)));
        next.run(request, extensions).await
    }
}

pub(crate) fn host(request: &Request) -> String {
    request.url().host_str().unwrap_or("").to_owned()
}

fn note(extensions: &mut Extensions, text: &str) {
    extensions.get_or_insert_default::<Notes>().0.push(text.to_owned());
}

/// Stands for the upstreams: host `one.test` answers 503, all others 200.
pub(crate) struct Upstreams;

#[async_trait]
impl Middleware for Upstreams {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        _: Next<'_>,
    ) -> Result<Response, ClientError> {
        note(extensions, &format!("answered by {}", host(&request)));
        let status = if host(&request) == "one.test" { 503 } else { 200 };
        Ok(http::Response::builder().status(status).body("hello").expect("a response").into())
    }
}

/// Hands on the extensions that it sees after everything below it has run.
#[derive(Clone, Default)]
struct Keep(Arc<Mutex<Option<Extensions>>>);

#[async_trait]
impl Middleware for Keep {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, ClientError> {
        note(extensions, "above");
        let result = next.run(request, extensions).await;
        *self.0.lock().unwrap() = Some(extensions.clone());
        result
    }
}

impl Keep {
    fn notes(&self) -> Vec<String> {
        self.0.lock().unwrap().as_ref().and_then(|extensions| extensions.get::<Notes>()).expect("notes").0.clone()
    }
}

pub(crate) fn failover(models: &Models) -> FailoverMiddleware<HttpAim<tower_failover::JsonFields>> {
    let layer = FailoverLayer::reqwest_json(models.clone()).attempt_timeout(ATTEMPT);
    FailoverMiddleware::new(layer.build().expect("a layer"))
}

pub(crate) fn fakes() -> Models {
    models("http://one.test", "http://two.test")
}

async fn ask(client: &ClientWithMiddleware) -> Result<Response, ClientError> {
    client.post("http://models/images").body(BODY).send().await
}

pub(crate) fn served(response: &Response) -> &Served {
    response.extensions().get().expect("Served")
}

#[tokio::test(start_paused = true)]
async fn each_attempt_begins_with_the_extensions_of_the_request() {
    let (above, below, keep) = (Trace::default(), Trace::default(), Keep::default());
    let client = ClientBuilder::new(plain())
        .with(keep.clone())
        .with(above.clone())
        .with(failover(&fakes()))
        .with(below.clone())
        .with(Upstreams)
        .build();
    let response = ask(&client).await.expect("an answer");
    assert_eq!((response.status().as_u16(), served(&response).attempts()), (200, 2));
    assert_eq!(above.take(), ["models after [above]"]);
    assert_eq!(below.take(), ["one.test after [above, saw models]", "two.test after [above, saw models]"]);
    // What the winner left is there, of the loser nothing.
    assert_eq!(keep.notes(), ["above", "saw models", "saw two.test", "answered by two.test"]);
    // One and the same state for all requests.
    for _ in 0..20 {
        ask(&client).await.expect("an answer");
    }
    assert!(below.take().len() < 40, "the breaker of `a` has opened");
}

#[tokio::test(start_paused = true)]
async fn nobody_answers_and_the_extensions_are_as_they_were() {
    let keep = Keep::default();
    let models = fakes();
    for name in ["a", "b"] {
        models.command(name, Command::ForceOpen).expect("a model");
    }
    let client = ClientBuilder::new(plain()).with(keep.clone()).with(failover(&models)).with(Upstreams).build();
    let error = stacks_error(ask(&client).await.expect_err("nobody"));
    assert!(matches!(&error, Error::Unavailable { .. }), "{error:?}");
    assert_eq!(keep.notes(), ["above"]);
}

#[tokio::test(start_paused = true)]
async fn a_plan_comes_with_the_extensions() {
    let client = ClientBuilder::new(plain()).with(failover(&fakes())).with(Upstreams).build();
    let planned = async |plan: Plan| client.post("http://models/").body(BODY).with_extension(plan).send().await;
    let response = planned(Plan::new().first("b")).await.expect("an answer");
    assert_eq!(served(&response).attempts(), 1);
    let response = planned(Plan::new().no_fallback()).await.expect("an answer");
    assert_eq!((response.status().as_u16(), served(&response).attempts()), (503, 1));
    let error = stacks_error(planned(Plan::new().first("c")).await.expect_err("no such model"));
    assert!(matches!(error, Error::Plan(PlanError::Unknown(_))), "{error:?}");
}

#[tokio::test]
async fn the_error_of_the_stack_holds_that_of_the_client() {
    let (a, b) = (Server::start(Does::Refuse).await, Server::start(Does::Reset).await);
    let client = ClientBuilder::new(plain()).with(failover(&models(&a.url(), &b.url()))).build();
    let error = stacks_error(ask(&client).await.expect_err("two faults"));
    assert_eq!(error.served().expect("Served").attempts(), 2);
    let inner = error.into_inner().expect("the client's own");
    assert!(inner.is_request() && !inner.is_connect(), "{inner:?}");
}

/// Wraps the error of what is below.
#[derive(Debug, Clone, Copy)]
enum Wraps {
    /// As reqwest-retry does when it gives up.
    Typed,
    /// As a `?` in a middleware does that speaks anyhow.
    Anyhow,
}

#[derive(Debug)]
struct GaveUp(ClientError);

impl std::fmt::Display for GaveUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("gave up")
    }
}

impl std::error::Error for GaveUp {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[async_trait]
impl Middleware for Wraps {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response, ClientError> {
        next.run(request, extensions).await.map_err(|error| match (self, error) {
            (Self::Anyhow, ClientError::Reqwest(error)) => ClientError::Middleware(error.into()),
            (_, error) => ClientError::middleware(GaveUp(error)),
        })
    }
}

#[tokio::test]
async fn an_error_is_recognized_below_other_middlewares() {
    let rows = [
        (Does::Refuse, Wraps::Typed, Charge::Provider),
        (Does::Refuse, Wraps::Anyhow, Charge::Provider),
        (Does::Reset, Wraps::Typed, Charge::Model),
        (Does::Reset, Wraps::Anyhow, Charge::Model),
    ];
    for (does, wraps, charge) in rows {
        let (a, b) = (Server::start(does).await, Server::start(FINE).await);
        let models = models(&a.url(), &b.url());
        let client = ClientBuilder::new(plain()).with(failover(&models)).with(wraps).build();
        let send = client.post("http://models/images?key=secret").body(BODY).send();
        let response = send.await.expect("an answer");
        assert!(!served(&response).to_string().contains("secret"), "{wraps:?}: {}", served(&response));
        let Fate::Tried(tried) = served(&response).candidates().next().expect("`a`").fate else { panic!("skipped") };
        assert_eq!(tried.charge, charge, "{does:?} {wraps:?}");
    }
}

#[tokio::test]
async fn any_tower_layer_is_a_middleware() {
    let a = Server::start(Does::Hang).await;
    let layers = ServiceBuilder::new().layer(GlobalConcurrencyLimitLayer::new(1)).layer(TimeoutLayer::new(ATTEMPT));
    let client = ClientBuilder::new(plain()).with(TowerMiddleware::new(layers.into_inner())).build();
    let send = || client.post(a.url()).body(BODY).send();
    let (one, two) = tokio::join!(send(), tokio::time::timeout(ATTEMPT / 2, send()));
    let ClientError::Middleware(error) = one.expect_err("too slow") else { panic!("no error of a layer") };
    let error = error.downcast::<Box<dyn std::error::Error + Send + Sync>>().expect("boxed");
    assert!(error.is::<tower::timeout::error::Elapsed>(), "{error}");
    assert!(two.is_err());
    assert_eq!(a.requests().len(), 1, "the limit is one for all requests");
}

#[tokio::test]
async fn this_crates_other_layers_are_middlewares_too() {
    let (a, b) = (Server::start(Does::Refuse).await, Server::start(FINE).await);
    let fakes = models(&a.url(), &b.url());
    let keep = Keep::default();
    let breaker = CircuitBreakerLayer::new(fakes.clone(), "a").expect("`a`").classify(HttpClassify::new());
    let client = ClientBuilder::new(plain()).with(keep.clone()).with(TowerMiddleware::new(breaker)).build();
    let send = |url: String| client.post(url).body(BODY).send();
    let ClientError::Middleware(error) = send(a.url()).await.expect_err("refused") else { panic!("the layer's") };
    let error = error.downcast::<circuit_breaker::Error<ClientError>>().expect("typed");
    assert!(matches!(&error, circuit_breaker::Error::Inner(ClientError::Reqwest(error)) if error.is_connect()));
    assert_eq!(fakes.snapshot().providers[0].breaker.consecutive_failures, 1);

    fakes.command("a", Command::ForceOpen).expect("`a`");
    let ClientError::Middleware(error) = send(b.url()).await.expect_err("open") else { panic!("the layer's") };
    assert!(matches!(error.downcast_ref(), Some(circuit_breaker::Error::<ClientError>::Rejected(_))), "{error}");
    assert!(b.requests().is_empty());

    let layer = FailoverLayer::reqwest_json(fakes.clone()).build().expect("a layer");
    let client = ClientBuilder::new(plain()).with(TowerMiddleware::new(layer)).with(Trace::default()).build();
    let response = ask(&client).await.expect("an answer");
    assert_eq!(served(&response).model().map(Model::name), Some("b"));
    fakes.command("b", Command::ForceOpen).expect("`b`");
    let error = stacks_error(ask(&client).await.expect_err("nobody"));
    assert!(matches!(error, Error::Unavailable { .. }));
}

/// A layer that hands on what it wraps changes nothing, its error least of all.
#[tokio::test]
async fn the_clients_own_error_comes_back_as_it_was() {
    let a = Server::start(Does::Refuse).await;
    let layers = ServiceBuilder::new().layer(TimeoutLayer::new(Duration::from_secs(3))).into_inner();
    let client = ClientBuilder::new(plain()).with(TowerMiddleware::new(layers)).build();
    let error = client.post(a.url()).body(BODY).send().await.expect_err("refused");
    assert!(error.is_connect(), "{error:?}");
    let mut below: Option<&(dyn std::error::Error + 'static)> = error.source();
    while let Some(error) = below {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
            return;
        }
        below = error.source();
    }
    panic!("no source tells");
}
