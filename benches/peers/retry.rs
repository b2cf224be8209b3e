//! `tower::retry` with a budget, by itself and with `tower::timeout`.

use super::{Settings, ours};
use std::{
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};
use tower::{
    BoxError, Layer, Service,
    retry::{
        Policy, Retry,
        budget::{Budget, TpsBudget},
    },
    timeout::{Timeout, TimeoutLayer},
};

/// The policy of tower's own documentation: whatever fails is tried again, while the budget lasts.
#[derive(Clone, Debug)]
pub struct Budgeted(pub Arc<TpsBudget>);

impl Budgeted {
    /// 20 % of the calls, and 10 a second by default, or 3.
    pub fn new(settings: Settings) -> Self {
        let budget = match settings {
            Settings::Defaults => TpsBudget::default(),
            Settings::AsOurs => TpsBudget::new(Duration::from_secs(10), ours::RETRIES_PER_SECOND, ours::RETRIES),
        };
        Self(Arc::new(budget))
    }
}

impl<Req: Clone, Res, E> Policy<Req, Res, E> for Budgeted {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut Req, result: &mut Result<Res, E>) -> Option<Ready<()>> {
        match result {
            Ok(_) => {
                self.0.deposit();
                None
            }
            Err(_) => self.0.withdraw().then(|| ready(())),
        }
    }

    fn clone_request(&mut self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

/// Without a timeout.
pub fn retry<S>(settings: Settings, inner: S) -> Retry<Budgeted, S> {
    Retry::new(Budgeted::new(settings), inner)
}

/// With one for each attempt.
pub fn with_timeout<S>(settings: Settings, inner: S) -> Retry<Budgeted, Timeout<S>> {
    retry(settings, Timeout::new(inner, ours::ATTEMPT))
}

/// With one for each attempt, and one for all of them.
pub fn with_timeouts<S, Req>(
    settings: Settings,
    inner: S,
) -> impl Service<Req, Response = S::Response, Error = BoxError, Future: Send> + Clone + Send + 'static
where
    S: Service<Req, Response: Send, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
    Req: Clone + Send + 'static,
{
    TimeoutLayer::new(ours::DEADLINE).layer(with_timeout(settings, inner))
}
