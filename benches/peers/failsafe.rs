//! [failsafe](https://docs.rs/failsafe) around a service: its breaker for futures, which is no tower layer.

use super::{Settings, ours};
use failsafe::{
    Any, Config, StateMachine, backoff,
    failure_policy::{
        ConsecutiveFailures, FailurePolicy, OrElse, SuccessRateOverTimeWindow, consecutive_failures,
        success_rate_over_time_window,
    },
    futures::{CircuitBreaker, ResponseFuture},
};
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tower::Service;

/// A share of successes within a time, or a number of failures in a row.
pub type RateOrRow =
    OrElse<SuccessRateOverTimeWindow<backoff::EqualJittered>, ConsecutiveFailures<backoff::EqualJittered>>;

/// By default 80 % of at least 5 calls in 30 s have to succeed, and 5 failures in a row open it. It has no other policies.
pub fn breaker(settings: Settings) -> StateMachine<RateOrRow, ()> {
    let wait = || backoff::equal_jittered(ours::OPEN, ours::LONGEST_OPEN);
    let successes = f64::from(1.0 - ours::FAILURE_RATE);
    match settings {
        Settings::Defaults => Config::new().build(),
        Settings::AsOurs => {
            let rate = success_rate_over_time_window(successes, ours::MINIMUM_CALLS, ours::WINDOW, wait());
            Config::new().failure_policy(rate.or_else(consecutive_failures(ours::FAILURES, wait()))).build()
        }
    }
}

/// Opens with the first failure, for so long.
pub fn opens_at_once(open: Duration) -> StateMachine<ConsecutiveFailures<backoff::Constant>, ()> {
    let policy = consecutive_failures(1, backoff::constant(open));
    Config::new().failure_policy(policy).build()
}

/// A service whose calls go through the breaker.
pub struct Failsafe<S, P> {
    pub breaker: StateMachine<P, ()>,
    pub inner: S,
}

impl<S: Clone, P> Clone for Failsafe<S, P> {
    fn clone(&self) -> Self {
        Self { breaker: self.breaker.clone(), inner: self.inner.clone() }
    }
}

impl<S, P, Req> Service<Req> for Failsafe<S, P>
where
    S: Service<Req>,
    P: FailurePolicy + Send + Sync,
{
    type Response = S::Response;
    type Error = failsafe::Error<S::Error>;
    type Future = ResponseFuture<S::Future, P, (), Any>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(failsafe::Error::Inner)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.breaker.call(self.inner.call(request))
    }
}
