//! The layer.

use super::{
    cost::Cost,
    endpoint::{DEFAULT_LATENCY, Endpoint, HealthSnapshot, Shared},
    service::Health,
};
use crate::{classify::OkOrErr, lane::Striped, machine::nanos};
use std::{fmt, sync::Arc, time::Duration};
use tower::Layer;

/// Counts the calls to one endpoint into its health score; see the [module](super).
///
/// Every `Ok` is a success and every `Err` a failure, unless [`classify`](Self::classify) says otherwise. Cheap to clone;
/// all clones are one endpoint, whatever is set on them afterwards.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::{HealthLayer, Verdict, classify};
///
/// let plain = HealthLayer::new("east");
/// let tuned = HealthLayer::new("west")
///     .classify(classify(|result: Result<&u16, &std::io::Error>| match result {
///         Ok(500..) => Verdict::model_failed(),
///         Ok(400..) => Verdict::callers_fault(),
///         Ok(_) => Verdict::success(),
///         Err(_) => Verdict::provider_failed(),
///     }))
///     .default_latency(Duration::from_secs(20));
/// assert_eq!(plain.snapshot().score, 0.95, "the prior");
/// # let _ = tuned;
/// ```
pub struct HealthLayer<K = OkOrErr> {
    shared: Striped<Shared<K>>,
}

impl HealthLayer {
    /// The score of a new endpoint. Its name is for log lines, and for a classifier, which finds it as that of the model
    /// and of its provider.
    pub fn new(name: impl Into<String>) -> Self {
        Self::of(Arc::new(Endpoint::new(name.into())), Arc::new(OkOrErr), DEFAULT_LATENCY)
    }
}

impl<K> HealthLayer<K> {
    fn of(endpoint: Arc<Endpoint>, classify: Arc<K>, default_latency: Duration) -> Self {
        let default_latency = nanos(default_latency);
        Self { shared: Striped::new(Shared { endpoint, classify, default_latency }) }
    }

    /// What a result means. Only its charge is of use here. Default: [`OkOrErr`].
    pub fn classify<L>(self, classify: L) -> HealthLayer<L> {
        let default_latency = Duration::from_nanos(self.shared.default_latency);
        HealthLayer::of(self.shared.endpoint.clone(), Arc::new(classify), default_latency)
    }

    /// What a success is taken to last before the first one, for the [`Cost`]. Default:
    /// [`DEFAULT_LATENCY`](crate::defaults::DEFAULT_LATENCY), 1 s.
    ///
    /// About what a slow success takes: with far less, an endpoint that has only ever failed looks cheaper than those
    /// that answer; with far more, one whose first call has failed is left alone for minutes.
    pub fn default_latency(self, latency: Duration) -> Self {
        Self::of(self.shared.endpoint.clone(), self.shared.classify.clone(), latency)
    }

    /// How well the endpoint does, now.
    pub fn snapshot(&self) -> HealthSnapshot {
        self.shared.endpoint.snapshot()
    }

    /// What a call that begins now is expected to cost.
    pub fn cost(&self) -> Cost {
        self.shared.cost()
    }
}

impl<S, K> Layer<S> for HealthLayer<K> {
    type Service = Health<S, K>;

    fn layer(&self, inner: S) -> Self::Service {
        Health::new(self.shared.clone(), inner)
    }
}

impl<K> Clone for HealthLayer<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<K> fmt::Debug for HealthLayer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthLayer").field("name", &self.shared.endpoint.name()).finish_non_exhaustive()
    }
}
