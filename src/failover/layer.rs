//! The layer, and how it is made.

use super::{
    clients::{ByProvider, One},
    finish::Plain,
    hedge::Hedge,
    order::Order,
    resend::Cloned,
    service::{Engine, Failover},
    settings::{AllFailed, Replay, Settings, WhenUnavailable},
};
use crate::{
    aim::Attempts, classify::OkOrErr, lane::Striped, machine::config::ConfigError, model::Provider, models::Models,
};
use std::{fmt, sync::Arc, time::Duration};
use tower::Layer;

#[cfg(feature = "http")]
use crate::{HttpAim, HttpClassify, HttpFinish, HttpResend, JsonFields};

/// Asks one model after another until one answers; see the [module](super).
///
/// ```
/// use std::time::Duration;
/// use tower_failover::{Budget, FailoverLayer, Model, Models, Provider, Replay};
///
/// let models = Models::builder()
///     .provider(Provider::new("nexa").base_url("https://api.nexa.example/v1").budget(Budget::default().per_second(1.0)))
///     .model(Model::new("flux-schnell", "nexa").attempt_timeout(Duration::from_secs(20)))
///     .model(Model::new("sdxl", "nexa"))
///     .build()?;
/// let layer = FailoverLayer::json(models)
///     .deadline(Duration::from_secs(60))
///     .replay(Replay::NotExecuted)
///     .build()?;
/// # Ok::<(), tower_failover::ConfigError>(())
/// ```
pub struct FailoverLayer<A, K, R, F> {
    engine: Striped<Engine<A, K, R, F>>,
}

impl FailoverLayer<Attempts, OkOrErr, Cloned, Plain> {
    /// Describes a layer for any request that is `Clone`: the service inside gets an [`Attempt`](crate::Attempt),
    /// every `Ok` is a success, every `Err` a failure of the model.
    pub fn builder(models: Models) -> FailoverBuilder<Attempts, OkOrErr, Cloned, Plain> {
        FailoverBuilder {
            models,
            aim: Attempts,
            classify: OkOrErr,
            resend: Cloned,
            finish: Plain,
            settings: Settings::default(),
        }
    }
}

/// A [`FailoverLayer`] for HTTP, to be named in a struct: as [`FailoverLayer::http`] makes it, or with another aim, or
/// another way to keep a request.
#[cfg(feature = "http")]
pub type HttpFailoverLayer<A = HttpAim, R = HttpResend> = FailoverLayer<A, HttpClassify, R, HttpFinish>;

/// The service that an [`HttpFailoverLayer`] makes around the client `S`.
#[cfg(feature = "http")]
pub type HttpFailover<S, A = HttpAim, R = HttpResend> = Failover<One<S>, A, HttpClassify, R, HttpFinish>;

#[cfg(feature = "http")]
impl FailoverLayer<HttpAim, HttpClassify, HttpResend, HttpFinish> {
    /// Describes a layer for `http::Request` and `http::Response`: base URL and credential of the provider, the
    /// [table of statuses](HttpClassify), a [`Plan`](crate::Plan) from the request's extensions, and
    /// [`Served`](crate::Served) in the response's.
    pub fn http(models: Models) -> FailoverBuilder<HttpAim, HttpClassify, HttpResend, HttpFinish> {
        FailoverLayer::builder(models)
            .aim(HttpAim::new())
            .classify(HttpClassify::new())
            .resend(HttpResend::default())
            .finish(HttpFinish::new())
    }

    /// The same for upstreams that read the model's name from the field `model` of a JSON body.
    pub fn json(models: Models) -> FailoverBuilder<HttpAim<JsonFields>, HttpClassify, HttpResend, HttpFinish> {
        Self::http(models).aim(HttpAim::new().json_field("model"))
    }
}

impl<A, K, R, F> FailoverLayer<A, K, R, F> {
    /// Wraps a client for each provider instead of one for all, so that one provider's full client makes nobody else
    /// wait. For futures that are `Send` the clients must be `Sync`: `tower::util::BoxCloneSyncService` is,
    /// `BoxCloneService` is not.
    ///
    /// `client` makes one for each provider now, and one for each that [`Models::apply`](crate::Models::apply) brings when it is first needed. A
    /// provider that stays keeps its client.
    pub fn by_provider<S>(
        &self,
        client: impl Fn(&Provider) -> S + Send + Sync + 'static,
    ) -> Failover<ByProvider<S>, A, K, R, F> {
        let registry = self.engine.models.local();
        let clients = ByProvider::new(registry.providers.iter().map(|live| &*live.provider), client);
        Failover::new(self.engine.clone(), clients)
    }

    /// Wraps clients of your own making.
    pub fn clients<C>(&self, clients: C) -> Failover<C, A, K, R, F> {
        Failover::new(self.engine.clone(), clients)
    }

    /// The registry that it works on.
    pub fn models(&self) -> &Models {
        &self.engine.models
    }
}

impl<S, A, K, R, F> Layer<S> for FailoverLayer<A, K, R, F> {
    type Service = Failover<One<S>, A, K, R, F>;

    fn layer(&self, inner: S) -> Self::Service {
        Failover::new(self.engine.clone(), One(inner))
    }
}

impl<A, K, R, F> Clone for FailoverLayer<A, K, R, F> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone() }
    }
}

impl<A, K, R, F> fmt::Debug for FailoverLayer<A, K, R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverLayer")
            .field("models", &self.engine.models)
            .field("settings", &self.engine.settings)
            .finish_non_exhaustive()
    }
}

/// Describes a [`FailoverLayer`].
#[derive(Debug, Clone)]
#[must_use]
pub struct FailoverBuilder<A, K, R, F> {
    models: Models,
    aim: A,
    classify: K,
    resend: R,
    finish: F,
    pub(crate) settings: Settings,
}

impl<A, K, R, F> FailoverBuilder<A, K, R, F> {
    /// How a request is pointed at a model.
    pub fn aim<A2>(self, aim: A2) -> FailoverBuilder<A2, K, R, F> {
        let Self { models, classify, resend, finish, settings, .. } = self;
        FailoverBuilder { models, aim, classify, resend, finish, settings }
    }

    /// What a result means.
    pub fn classify<K2>(self, classify: K2) -> FailoverBuilder<A, K2, R, F> {
        let Self { models, aim, resend, finish, settings, .. } = self;
        FailoverBuilder { models, aim, classify, resend, finish, settings }
    }

    /// How a request is kept to be sent again.
    pub fn resend<R2>(self, resend: R2) -> FailoverBuilder<A, K, R2, F> {
        let Self { models, aim, classify, finish, settings, .. } = self;
        FailoverBuilder { models, aim, classify, resend, finish, settings }
    }

    /// What the caller gets.
    pub fn finish<F2>(self, finish: F2) -> FailoverBuilder<A, K, R, F2> {
        let Self { models, aim, classify, resend, settings, .. } = self;
        FailoverBuilder { models, aim, classify, resend, finish, settings }
    }

    /// How long one attempt may take to the response's head, waiting for its client included. Default 120 s.
    /// A model may have its own: [`Model::attempt_timeout`](crate::Model::attempt_timeout).
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.settings.attempt_timeout = timeout;
        self
    }

    /// How long everything together may take to the response's head, from the first poll. Default 300 s. Every attempt
    /// but the last leaves a reserve for the next: a quarter of the time left, at most 30 s.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.settings.deadline = deadline;
        self
    }

    /// How many models are asked for one request at most. Default 3; skipped ones do not count.
    pub fn max_attempts(mut self, attempts: u32) -> Self {
        self.settings.max_attempts = attempts;
        self
    }

    /// After which results another model is asked. Default [`Replay::Maybe`].
    pub fn replay(mut self, replay: Replay) -> Self {
        self.settings.replay = replay;
        self
    }

    /// What the caller gets when every model that was asked failed. Default [`AllFailed::LastResponse`].
    pub fn all_failed(mut self, all_failed: AllFailed) -> Self {
        self.settings.all_failed = all_failed;
        self
    }

    /// What to do when nobody can be asked, and it is not this request's turn to go through as a last resort. Default
    /// [`WhenUnavailable::Fail`].
    pub fn when_unavailable(mut self, what: WhenUnavailable) -> Self {
        self.settings.when_unavailable = what;
        self
    }

    /// Asks the next model beside one that is slow to answer. Default: never.
    ///
    /// The first good answer wins; the other call is dropped, and is nobody's fault. Each hedge is paid from the
    /// [budget](crate::Budget) of the provider that it goes to, counts as an attempt, and is never made under
    /// [`Replay::NotExecuted`].
    pub fn hedge(mut self, hedge: Hedge) -> Self {
        self.settings.hedge = Some(hedge);
        self
    }

    /// Whether the request that carries the probe of a half-open breaker is hedged. Default: it is, after what 95 % of the
    /// next model's successes take, and after 1 s at the least; so that a model which still hangs costs a user about a
    /// second. A probe that loses has failed. Paid and limited as any other [hedge](Self::hedge).
    pub fn protect_probes(mut self, protect: bool) -> Self {
        self.settings.protect_probes = protect.then(Hedge::of_probes);
        self
    }

    /// In which order the models are asked. Default: the caller's, inside tiers. A request that has
    /// [no fallback](crate::Plan::no_fallback) asks its first model in the caller's order all the same.
    pub fn order(mut self, order: impl Order + 'static) -> Self {
        self.settings.order = Some(Arc::new(order));
        self
    }

    /// Asks the models in the caller's order whatever their health score says. Default: degraded and suspect ones come
    /// after the others.
    pub fn in_listed_order(mut self) -> Self {
        self.settings.tiers = false;
        self
    }

    /// Checks the settings and makes the layer.
    ///
    /// # Errors
    ///
    /// When a timeout, the deadline or the number of attempts is zero. The error names the field and the value.
    pub fn build(self) -> Result<FailoverLayer<A, K, R, F>, ConfigError> {
        self.settings.check()?;
        let Self { models, aim, classify, resend, finish, settings } = self;
        let engine = Engine { models, aim, classify, resend, finish, settings };
        Ok(FailoverLayer { engine: Striped::new(engine) })
    }
}
