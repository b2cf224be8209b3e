//! The layer.

use super::service::{CircuitBreaker, Fixed, Guard, Keyed, Named};
use crate::{
    classify::OkOrErr,
    lane::Striped,
    models::{self, Models, UnknownName},
};
use std::fmt;
use tower::Layer;

/// Puts a circuit breaker around a service; see the [module](super).
///
/// Every `Ok` is a success and every `Err` a failure of the model, unless [`classify`](Self::classify) says otherwise.
pub struct CircuitBreakerLayer<W, K = OkOrErr> {
    guard: Striped<Guard<W, K>>,
}

impl CircuitBreakerLayer<Fixed> {
    /// The breaker of one model.
    ///
    /// # Errors
    ///
    /// When no model has this name.
    pub fn new(models: Models, model: &str) -> Result<Self, UnknownName> {
        let model = models::Named::find(&models, model)?;
        Ok(Self::of(models, Fixed(model), OkOrErr))
    }
}

impl<F> CircuitBreakerLayer<Named<F>> {
    /// The breaker of the model that the request names. A name that no model has is
    /// [`Error::Unknown`](super::Error::Unknown).
    ///
    /// ```
    /// use tower_failover::{CircuitBreakerLayer, Model, Models, Provider};
    ///
    /// struct Prompt { model: String }
    ///
    /// let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build()?;
    /// let layer = CircuitBreakerLayer::by_name(models, |prompt: &Prompt| &prompt.model);
    /// # Ok::<(), tower_failover::ConfigError>(())
    /// ```
    pub fn by_name<Req>(models: Models, name: F) -> Self
    where
        F: Fn(&Req) -> &str,
    {
        Self::of(models, Named(name), OkOrErr)
    }
}

impl<F> CircuitBreakerLayer<Keyed<F>> {
    /// A breaker for each key, such as a host or a tenant, made on demand as the model has it; see [`Models::for_key`].
    ///
    /// ```
    /// use http::Request;
    /// use tower_failover::{CircuitBreakerLayer, Model, Models, Provider};
    ///
    /// let models = Models::builder()
    ///     .provider(Provider::new("any"))
    ///     .model(Model::new("host", "any"))
    ///     .max_keys(1_000)
    ///     .build()?;
    /// let layer = CircuitBreakerLayer::keyed(models, "host", |request: &Request<String>| {
    ///     request.uri().host().unwrap_or_default()
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// When no model has this name.
    pub fn keyed<Req>(models: Models, model: &str, key: F) -> Result<Self, UnknownName>
    where
        F: Fn(&Req) -> &str,
    {
        let model = models::Named::find(&models, model)?;
        Ok(Self::of(models, Keyed(model, key), OkOrErr))
    }
}

impl<W> CircuitBreakerLayer<W> {
    /// What a result means: its charge, its cooldown, and what it proves of the provider.
    pub fn classify<K>(self, classify: K) -> CircuitBreakerLayer<W, K>
    where
        W: Clone,
    {
        CircuitBreakerLayer::of(self.guard.models.clone(), self.guard.which.clone(), classify)
    }
}

impl<W, K> CircuitBreakerLayer<W, K> {
    fn of(models: Models, which: W, classify: K) -> Self {
        Self { guard: Striped::new(Guard { models, which, classify }) }
    }
}

impl<S, W, K> Layer<S> for CircuitBreakerLayer<W, K> {
    type Service = CircuitBreaker<S, W, K>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(self.guard.clone(), inner)
    }
}

impl<W, K> Clone for CircuitBreakerLayer<W, K> {
    fn clone(&self) -> Self {
        Self { guard: self.guard.clone() }
    }
}

impl<W, K> fmt::Debug for CircuitBreakerLayer<W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer").field("models", &self.guard.models).finish_non_exhaustive()
    }
}
