//! The services of this crate that are measured, and what they stand before.

use crate::bed::call;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{Empty, Full};
use std::{
    convert::Infallible,
    fmt,
    future::{Future, Ready, ready},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tower::{Layer, Service};
use tower_failover::{
    BreakerConfig, CircuitBreakerLayer, FailoverLayer, HealthLayer, HttpAim, Model, Models, ModelsBuilder, Plan,
    Provider, State, Trip, aim,
};

/// No breaker closes during a run.
pub const HOUR: Duration = Duration::from_secs(3600);

const MODELS: [&str; 3] = ["flux-schnell", "flux-dev", "sdxl"];

/// Answers at once, unless it is asked for 0: then it fails.
#[derive(Clone)]
pub struct Client;

impl Service<u64> for Client {
    type Response = u64;
    type Error = fmt::Error;
    type Future = Ready<Result<u64, fmt::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), fmt::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(if request > 0 { Ok(request) } else { Err(fmt::Error) })
    }
}

impl Service<Request<Full<Bytes>>> for Client {
    type Response = Response<Empty<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        ready(Ok(Response::default()))
    }
}

/// Always answers, or never.
#[derive(Clone)]
pub struct OnlyIf(pub bool);

impl Service<u64> for OnlyIf {
    type Response = u64;
    type Error = fmt::Error;
    type Future = Ready<Result<u64, fmt::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), fmt::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(if self.0 { Ok(request) } else { Err(fmt::Error) })
    }
}

/// Answers when it is asked for the second time.
#[derive(Clone)]
pub struct Late;

/// The answer of a [`Late`].
pub struct Later(Option<u64>, bool);

impl Service<u64> for Late {
    type Response = u64;
    type Error = fmt::Error;
    type Future = Later;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), fmt::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Later {
        Later(Some(request), true)
    }
}

impl Future for Later {
    type Output = Result<u64, fmt::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.1) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.0.take().expect("polled once more")))
    }
}

fn models() -> ModelsBuilder {
    let provider = Provider::new("nexa").base_url("http://nexa.internal/v1");
    MODELS.into_iter().fold(Models::builder().provider(provider), |models, name| models.model(Model::new(name, "nexa")))
}

/// The same, but each breaker opens with the first failure of its model.
fn fragile() -> Models {
    let at_once = BreakerConfig::default().trip([Trip::consecutive(1, Duration::ZERO)]).open_wait(HOUR, HOUR);
    let provider = Provider::new("nexa").breaker(BreakerConfig::default().trip([]));
    let models = MODELS.map(|name| Model::new(name, "nexa").breaker(at_once.clone()));
    let models = models.into_iter().fold(Models::builder().provider(provider), |builder, model| builder.model(model));
    models.build().expect("names are unique")
}

pub trait Calls<Req>: Service<Req, Error: fmt::Debug + fmt::Display, Future: Send> + Clone + Send + 'static {}

impl<Req, S> Calls<Req> for S where
    S: Service<Req, Error: fmt::Debug + fmt::Display, Future: Send> + Clone + Send + 'static
{
}

/// The breaker alone.
pub fn breaker() -> impl Calls<u64> {
    let models = models().build().expect("names are unique");
    CircuitBreakerLayer::new(models, "sdxl").expect("a model of the registry").layer(Client)
}

/// And the health score.
pub fn breaker_and_health() -> impl Calls<u64> {
    HealthLayer::new("sdxl").layer(breaker())
}

/// The breaker, open.
pub fn open_breaker() -> impl Calls<u64> {
    let models = fragile();
    let mut breaker = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("a model of the registry").layer(Client);
    assert!(call(&mut breaker, 0).is_err());
    assert_open(&models, "sdxl");
    breaker
}

/// The whole stack over three models.
pub fn failover<S>(client: S) -> impl Calls<u64>
where
    S: Service<u64, Response = u64, Error = fmt::Error, Future: Send> + Clone + Send + Sync + 'static,
{
    let models = models().build().expect("names are unique");
    let to_any = aim(|_: &Model, request: u64| Ok(request));
    FailoverLayer::builder(models).aim(to_any).build().expect("the defaults are valid").layer(client)
}

/// The whole stack, all of whose models are open.
pub fn all_open() -> impl Calls<u64> {
    let models = fragile();
    let to_any = aim(|_: &Model, request: u64| Ok(request));
    let mut service = FailoverLayer::builder(models.clone()).aim(to_any).build().expect("valid").layer(Client);
    assert!(call(&mut service, 0).is_err());
    MODELS.into_iter().for_each(|model| assert_open(&models, model));
    service
}

/// The whole stack for HTTP: a host of its own for each provider, and nothing else to write.
pub fn http() -> impl Calls<Request<Full<Bytes>>> {
    let models = models().build().expect("names are unique");
    FailoverLayer::http(models).aim(HttpAim::new()).build().expect("the defaults are valid").layer(Client)
}

/// That, and the model's name in a field of a JSON body.
pub fn json() -> impl Calls<Request<Full<Bytes>>> {
    let models = models().build().expect("names are unique");
    FailoverLayer::json(models).build().expect("the defaults are valid").layer(Client)
}

/// What is asked of [`http`] and [`json`].
pub fn http_request() -> Request<Full<Bytes>> {
    let body = Full::from(r#"{"model": "", "prompt": "a dashboard"}"#);
    Request::post("/images/generations").header("content-type", "application/json").body(body).expect("valid")
}

/// Whose breakers are open.
#[derive(Clone, Copy)]
pub enum Open {
    Models { providers: usize },
    Provider,
}

/// The whole stack over so many candidates whose breakers are open, and a last one that answers.
pub fn skips(skipped: u32, open: Open) -> impl Calls<u64> {
    let trips_after = |failures| BreakerConfig::default().trip([Trip::consecutive(failures, Duration::ZERO)]);
    let never = BreakerConfig::default().trip([]);
    let (providers, of_models, of_providers) = match open {
        Open::Models { providers } => (providers, trips_after(1).open_wait(HOUR, HOUR), never),
        Open::Provider => (1, never, trips_after(skipped.clamp(1, 2)).open_wait(HOUR, HOUR)),
    };
    let provider = |index: usize| format!("provider-{}", index % providers);
    let mut builder = (0..providers).fold(Models::builder(), |builder, index| {
        builder.provider(Provider::new(provider(index)).breaker(of_providers.clone()))
    });
    for index in 0..skipped as usize {
        let model = Model::new(format!("model-{index}"), provider(index));
        builder = builder.model(model.breaker(of_models.clone()));
    }
    let last = match open {
        Open::Models { .. } => provider(skipped as usize),
        Open::Provider => "another".to_owned(),
    };
    let builder = if matches!(open, Open::Provider) { builder.provider(Provider::new("another")) } else { builder };
    let models = builder.model(Model::new("last", last)).build().expect("names are unique");
    let only_last = aim(|model: &Model, _: u64| Ok(u64::from(model.name() == "last")));
    let layer = FailoverLayer::builder(models.clone()).aim(only_last).build().expect("the defaults are valid");
    let service = layer.layer(Client);

    for model in models.iter().filter(|model| model.name() != "last") {
        let only = Plan::new().models([model.name()]);
        assert!(call(&mut service.clone().plan(only), 0).is_err());
    }
    for model in models.iter().filter(|model| model.name() != "last") {
        match open {
            Open::Models { .. } => assert_open(&models, model.name()),
            Open::Provider => {
                let snapshot = models.snapshot();
                let provider = snapshot.provider(model.provider()).map(|provider| provider.breaker.state);
                assert_eq!(provider, Some(State::Open));
            }
        }
    }
    service
}

fn assert_open(models: &Models, model: &str) {
    assert_eq!(models.snapshot().model(model).map(|model| model.breaker.state), Some(State::Open));
}
