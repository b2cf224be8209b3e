//! The service.

use super::{
    call::Call,
    cost::Cost,
    endpoint::{HealthSnapshot, Shared},
    future::ResponseFuture,
};
use crate::{
    classify::{Classify, OkOrErr},
    lane::Striped,
};
use std::{
    fmt,
    task::{Context, Poll},
};
use tower::Service;

/// A service whose calls are counted into a health score; see the [module](super).
///
/// Its readiness and its errors are those of the service inside. With the feature `load` it is a tower `load::Load`,
/// whose metric is the [`Cost`]:
///
/// ```
/// use tower::{Layer, Service, ServiceExt, balance::p2c::Balance, discover::ServiceList, service_fn};
/// use tower_failover::HealthLayer;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
/// let client = |zone: &'static str| service_fn(move |(): ()| async move { Ok::<_, std::io::Error>(zone) });
/// let endpoints = ["east", "west"].map(|zone| HealthLayer::new(zone).layer(client(zone)));
/// let mut balance = Balance::new(ServiceList::new(endpoints));
///
/// let zone = balance.ready().await?.call(()).await?;
/// assert!(["east", "west"].contains(&zone));
/// # Ok::<(), tower::BoxError>(()) })?;
/// # Ok::<(), tower::BoxError>(())
/// ```
pub struct Health<S, K = OkOrErr> {
    shared: Striped<Shared<K>>,
    inner: S,
}

impl<S, K> Health<S, K> {
    pub(super) fn new(shared: Striped<Shared<K>>, inner: S) -> Self {
        Self { shared, inner }
    }

    /// How well the endpoint does, now.
    pub fn snapshot(&self) -> HealthSnapshot {
        self.shared.endpoint.snapshot()
    }

    /// What a call that begins now is expected to cost.
    pub fn cost(&self) -> Cost {
        self.shared.cost()
    }

    /// The service inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside, to be changed.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service alone.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S: Clone, K> Clone for Health<S, K> {
    fn clone(&self) -> Self {
        Self::new(self.shared.clone(), self.inner.clone())
    }
}

impl<S: fmt::Debug, K> fmt::Debug for Health<S, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("name", &self.shared.endpoint.name())
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, Req, K> Service<Req> for Health<S, K>
where
    S: Service<Req>,
    K: Classify<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let mut call = Call::begin(self.shared.local());
        let future = call.enter(|| self.inner.call(request));
        ResponseFuture::new(future, call)
    }
}

#[cfg(feature = "load")]
impl<S, K> tower::load::Load for Health<S, K> {
    type Metric = Cost;

    fn load(&self) -> Cost {
        self.cost()
    }
}
