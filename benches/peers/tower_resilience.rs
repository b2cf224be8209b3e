//! [tower-resilience](https://docs.rs/tower-resilience): its breaker, and its stack of fallback, breaker and time limiter.

use super::{Settings, ours};
use std::time::Duration;
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::{
    CircuitBreakerConfigBuilder, CircuitBreakerLayer, DefaultClassifier, SlidingWindowType,
};
use tower_resilience_fallback::FallbackLayer;
use tower_resilience_timelimiter::{FixedTimeout, TimeLimiterLayer};

/// A breaker that wants its `build`. The default is half of the last 100 calls.
///
/// As ours it looks at each call of the last 60 s whenever one ends.
pub fn breaker(settings: Settings) -> CircuitBreakerConfigBuilder<DefaultClassifier> {
    let builder = CircuitBreakerLayer::builder();
    match settings {
        Settings::Defaults => builder,
        Settings::AsOurs => builder
            .sliding_window_type(SlidingWindowType::TimeBased)
            .sliding_window_duration(ours::WINDOW)
            .minimum_number_of_calls(ours::MINIMUM_CALLS as usize)
            .failure_rate_threshold(f64::from(ours::FAILURE_RATE))
            .wait_duration_in_open(ours::OPEN),
    }
}

/// The bound on one attempt: 5 s, or 120 s.
pub fn limiter(settings: Settings) -> TimeLimiterLayer<FixedTimeout> {
    match settings {
        Settings::Defaults => TimeLimiterLayer::standard().build(),
        Settings::AsOurs => TimeLimiterLayer::builder().timeout_duration(ours::ATTEMPT).build(),
    }
}

/// One upstream behind a limiter and a breaker. The breaker stays open for as long as it does by itself, or for `open`.
pub fn guarded<S, Req>(
    settings: Settings,
    open: Option<Duration>,
    upstream: S,
) -> impl Service<Req, Response = S::Response, Error: Send + Sync + 'static, Future: Send + 'static> + Clone + Send + 'static
where
    S: Service<Req, Response: Send + 'static, Error: Send + Sync + 'static, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
    Req: Send + 'static,
{
    let breaker = open.into_iter().fold(breaker(settings), |breaker, open| breaker.wait_duration_in_open(open));
    breaker.build().expect("valid").layer(limiter(settings).layer(upstream))
}

/// The stack of the composition guide without its retries: a fallback over a breaker over a limiter, and the same for
/// the fallback's own service.
pub fn stack<S, Req>(
    open: Option<Duration>,
    [first, second]: [S; 2],
) -> impl Service<Req, Response = S::Response, Error: Send + 'static, Future: Send + 'static> + Clone + Send + 'static
where
    S: Service<Req, Response: Send + 'static, Error: Send + Sync + 'static, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
    Req: Clone + Send + 'static,
{
    let second = guarded(Settings::Defaults, None, second);
    FallbackLayer::tower_service(second).layer(guarded(Settings::Defaults, open, first))
}

/// The stack for three models, each with its breaker and its limiter, all within a deadline.
pub fn stack_as_ours<S, Req>(
    [first, second, third]: [S; 3],
) -> impl Service<Req, Response = S::Response, Error: Send + 'static, Future: Send + 'static> + Clone + Send + 'static
where
    S: Service<Req, Response: Send + 'static, Error: Send + Sync + 'static, Future: Send + 'static>
        + Clone
        + Send
        + 'static,
    Req: Clone + Send + 'static,
{
    let [first, second, third] = [first, second, third].map(|model| guarded(Settings::AsOurs, None, model));
    let others = FallbackLayer::tower_service(third).layer(second);
    let all = FallbackLayer::tower_service(others).layer(first);
    TimeLimiterLayer::builder().timeout_duration(ours::DEADLINE).build().layer(all)
}
