//! The breakers that are compared, each as near to ours with its defaults as it can be.
//!
//! Ours opens on 5 failures in a row that span 1 s, on 20 in a row, and on half of at least 10 calls in 60 s.
//!
//! - `tower-resilience, count window`: half of the calls, from 100 on. That is its default, and as its window does not
//!   slide, its size is no more than where it begins to judge.
//! - `tower-resilience, time window`: half of at least 10 calls in 60 s.
//! - `tower-resilience, consecutive`: 20 in a row. One breaker of its has either a rate or this.
//! - `failsafe, defaults`: a moving average of successes over 30 s below 0.8, or 5 failures in a row.
//! - `failsafe, consecutive`: 5 in a row, its default.
//! - `failsafe, success rate`: a moving average over 60 s below 0.5, of at least 10 calls.
//! - `recloser`: half of the last 100, its default.
//!
//! All wait 10 s when they have opened.

use failsafe::{
    StateMachine,
    backoff::{EqualJittered, equal_jittered},
    failure_policy::{
        ConsecutiveFailures, FailurePolicy, OrElse, SuccessRateOverTimeWindow, success_rate_over_time_window,
    },
    futures::CircuitBreaker as _,
};
use recloser::{AsyncRecloser, Recloser};
use std::{
    fmt,
    future::{Ready, ready},
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tower::{Layer, Service};
use tower_failover::{
    CircuitBreaker, CircuitBreakerLayer, Model, Models, OkOrErr, Provider,
    circuit_breaker::{self, Fixed, Keyed},
};
use tower_resilience_circuitbreaker::{
    CircuitBreaker as TowerResilience, CircuitBreakerError, CircuitBreakerLayer as TowerResilienceLayer,
    DefaultClassifier, SlidingWindowType,
};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
const OPEN_WAIT: Duration = Duration::from_secs(10);

/// A key, and whether all goes well.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request(pub(crate) &'static str, pub(crate) bool);

/// What a call comes to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Came {
    Well,
    Badly,
    Refused,
}

/// Ready at once, answers at once.
#[derive(Debug, Clone)]
pub(crate) struct Client;

impl Service<Request> for Client {
    type Response = ();
    type Error = fmt::Error;
    type Future = Ready<Result<(), fmt::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), fmt::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        ready(if request.1 { Ok(()) } else { Err(fmt::Error) })
    }
}

/// One of those compared; a clone is the same breaker.
pub(crate) trait Breaker: Clone + Send + Sync + 'static {
    fn call(&mut self, request: Request) -> Came;
}

/// A name, and how one is made.
pub(crate) struct Kind<B> {
    pub(crate) name: &'static str,
    pub(crate) make: Box<dyn Fn() -> B>,
}

impl<B> Kind<B> {
    fn new(name: &'static str, make: impl Fn() -> B + 'static) -> Self {
        Self { name, make: Box::new(make) }
    }
}

pub(crate) type Ours = CircuitBreaker<Client, Fixed, OkOrErr>;
/// For each key.
pub(crate) type OursKeyed = CircuitBreaker<Client, Keyed<fn(&Request) -> &str>, OkOrErr>;
type Policies = OrElse<SuccessRateOverTimeWindow<EqualJittered>, ConsecutiveFailures<EqualJittered>>;

pub(crate) const OURS: &str = "tower-failover";

fn models(keys: usize) -> Models {
    let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).max_keys(keys);
    models.build().expect("names are unique")
}

pub(crate) fn ours() -> Kind<Ours> {
    let make = || CircuitBreakerLayer::new(models(1), "sdxl").expect("a model of the registry").layer(Client);
    Kind::new(OURS, make)
}

/// With room for so many keys.
pub(crate) fn ours_keyed(keys: usize) -> (Models, OursKeyed) {
    let models = models(keys);
    let key: fn(&Request) -> &str = |request| request.0;
    let layer = CircuitBreakerLayer::keyed(models.clone(), "sdxl", key).expect("a model of the registry");
    (models, layer.layer(Client))
}

type TowerResilienceKind = Kind<TowerResilience<Client, DefaultClassifier>>;

/// One layer, whose breakers have their configuration in common.
fn tower_resilience(
    name: &'static str,
    builder: tower_resilience_circuitbreaker::CircuitBreakerConfigBuilder,
) -> TowerResilienceKind {
    let layer = builder.wait_duration_in_open(OPEN_WAIT).build().expect("valid");
    Kind::new(name, move || layer.layer(Client))
}

pub(crate) fn tower_resilience_count() -> TowerResilienceKind {
    let builder = TowerResilienceLayer::builder().failure_rate_threshold(0.5).sliding_window_size(100);
    tower_resilience("tower-resilience, count window", builder)
}

pub(crate) fn tower_resilience_time(window: Duration) -> TowerResilienceKind {
    let builder = TowerResilienceLayer::builder().failure_rate_threshold(0.5).minimum_number_of_calls(10);
    let builder = builder.sliding_window_type(SlidingWindowType::TimeBased).sliding_window_duration(window);
    tower_resilience("tower-resilience, time window", builder)
}

pub(crate) fn tower_resilience_consecutive() -> TowerResilienceKind {
    tower_resilience("tower-resilience, consecutive", TowerResilienceLayer::builder().consecutive_failures(20))
}

pub(crate) fn failsafe_defaults() -> Kind<StateMachine<Policies, ()>> {
    Kind::new("failsafe, defaults", || failsafe::Config::new().build())
}

pub(crate) fn failsafe_consecutive() -> Kind<StateMachine<ConsecutiveFailures<EqualJittered>, ()>> {
    let make = || failsafe::Config::new().failure_policy(ConsecutiveFailures::default()).build();
    Kind::new("failsafe, consecutive", make)
}

pub(crate) fn failsafe_success_rate() -> Kind<StateMachine<SuccessRateOverTimeWindow<EqualJittered>, ()>> {
    let backoff = || equal_jittered(OPEN_WAIT, Duration::from_secs(300));
    let policy = move || success_rate_over_time_window(0.5, 10, MINUTE, backoff());
    Kind::new("failsafe, success rate", move || failsafe::Config::new().failure_policy(policy()).build())
}

pub(crate) fn recloser() -> Kind<AsyncRecloser> {
    Kind::new("recloser", || AsyncRecloser::from(Recloser::custom().open_wait(OPEN_WAIT).build()))
}

/// Readies and calls: the error, if there is one.
fn serve<S: Service<Request, Response = ()>>(service: &mut S, request: Request) -> Result<(), S::Error> {
    let is_ready = service.poll_ready(&mut Context::from_waker(Waker::noop())).is_ready();
    assert!(is_ready);
    finish(service.call(request))
}

/// Polls to the end. One that is not ready at once waits for a lock, and the thread sleeps.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => futures::executor::block_on(future),
    }
}

fn came<E>(result: Result<(), E>, is_refusal: impl FnOnce(E) -> bool) -> Came {
    match result.map_err(is_refusal) {
        Ok(()) => Came::Well,
        Err(false) => Came::Badly,
        Err(true) => Came::Refused,
    }
}

impl Breaker for Ours {
    fn call(&mut self, request: Request) -> Came {
        came(serve(self, request), |error| !matches!(error, circuit_breaker::Error::Inner(_)))
    }
}

impl Breaker for OursKeyed {
    fn call(&mut self, request: Request) -> Came {
        came(serve(self, request), |error| !matches!(error, circuit_breaker::Error::Inner(_)))
    }
}

impl Breaker for TowerResilience<Client, DefaultClassifier> {
    fn call(&mut self, request: Request) -> Came {
        came(serve(self, request), |error| matches!(error, CircuitBreakerError::OpenCircuit))
    }
}

impl<P> Breaker for StateMachine<P, ()>
where
    P: FailurePolicy + Send + Sync + 'static,
{
    fn call(&mut self, request: Request) -> Came {
        let call = self.call_with(failsafe::Any, Client.call(request));
        came(finish(call), |error| matches!(error, failsafe::Error::Rejected))
    }
}

impl Breaker for AsyncRecloser {
    fn call(&mut self, request: Request) -> Came {
        let call = AsyncRecloser::call(self, Client.call(request));
        came(finish(call), |error| matches!(error, recloser::Error::Rejected))
    }
}
