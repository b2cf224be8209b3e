//! The service.

use super::{
    clients::{Clients, One},
    error::Error,
    finish::Finish,
    future::ResponseFuture,
    plan::Plan,
    resend::Resend,
    settings::Settings,
};
use crate::{
    aim::Aim,
    classify::Classify,
    lane::{Kept, Striped},
    models::{Models, Registry},
};
use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};
use tower::Service;

/// Everything that the requests of one layer share.
pub(crate) struct Engine<A, K, R, F> {
    pub(crate) models: Models,
    pub(crate) aim: A,
    pub(crate) classify: K,
    pub(crate) resend: R,
    pub(crate) finish: F,
    pub(crate) settings: Settings,
}

/// Asks one model after another until one answers; see the [module](super).
///
/// It is always ready: which client an attempt needs is known only then, so each attempt readies a clone of its own,
/// within its own time. Back-pressure of the client thus makes requests wait inside, up to their deadline; to refuse
/// or queue earlier, put a `tower::limit::ConcurrencyLimit` around this service, and `tower::load_shed` around that.
pub struct Failover<C, A, K, R, F> {
    engine: Striped<Engine<A, K, R, F>>,
    clients: C,
    plan: Option<Arc<Plan>>,
    /// `None` before the first call: a service that is cloned for one request keeps nothing for the next.
    registry: Option<Kept<Registry>>,
}

impl<C, A, K, R, F> Failover<C, A, K, R, F> {
    pub(crate) fn new(engine: Striped<Engine<A, K, R, F>>, clients: C) -> Self {
        Self { engine, clients, plan: None, registry: None }
    }

    /// Follows this plan with every request that carries none: for requests that cannot carry one, such as reqwest's,
    /// on a clone of the service.
    ///
    /// ```
    /// use tower::{Layer, ServiceExt, service_fn};
    /// use tower_failover::{Attempt, FailoverLayer, Model, Models, Plan, Provider};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let models = Models::builder()
    ///     .provider(Provider::new("nexa"))
    ///     .model(Model::new("sdxl", "nexa"))
    ///     .model(Model::new("flux-dev", "nexa"))
    ///     .build()?;
    /// let client = FailoverLayer::builder(models).build()?.layer(service_fn(|attempt: Attempt<()>| async move {
    ///     Ok::<_, std::io::Error>(attempt.model().name().to_owned())
    /// }));
    ///
    /// assert_eq!(client.clone().plan(Plan::new().first("flux-dev")).oneshot(()).await?, "flux-dev");
    /// assert_eq!(client.oneshot(()).await?, "sdxl");
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn plan(mut self, plan: Plan) -> Self {
        self.plan = Some(Arc::new(plan));
        self
    }

    /// The registry that it works on.
    pub fn models(&self) -> &Models {
        &self.engine.models
    }
}

impl<S, A, K, R, F> Failover<One<S>, A, K, R, F> {
    /// The client inside.
    pub fn get_ref(&self) -> &S {
        self.clients.get_ref()
    }

    /// The client inside, to be changed.
    pub fn get_mut(&mut self) -> &mut S {
        self.clients.get_mut()
    }

    /// The client alone.
    pub fn into_inner(self) -> S {
        self.clients.into_inner()
    }
}

impl<C: Clone, A, K, R, F> Clone for Failover<C, A, K, R, F> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), clients: self.clients.clone(), plan: self.plan.clone(), registry: None }
    }
}

impl<C: fmt::Debug, A, K, R, F> fmt::Debug for Failover<C, A, K, R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover")
            .field("models", &self.engine.models)
            .field("settings", &self.engine.settings)
            .field("clients", &self.clients)
            .finish_non_exhaustive()
    }
}

impl<Req, C, A, K, R, F> Service<Req> for Failover<C, A, K, R, F>
where
    R: Resend<Req>,
    A: Aim<R::Request>,
    C: Clients<A::Request> + Clone,
    K: Classify<<C::Service as Service<A::Request>>::Response, <C::Service as Service<A::Request>>::Error>,
    F: Finish<<C::Service as Service<A::Request>>::Response>,
{
    type Response = F::Response;
    type Error = Error<<C::Service as Service<A::Request>>::Error>;
    type Future = ResponseFuture<Req, C, A, K, R, F>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let engine = self.engine.local();
        let request = engine.resend.prepare(request);
        let registry = match &mut self.registry {
            Some(kept) => Some(engine.models.kept(kept, |_| ()).0.clone()),
            first @ None => {
                *first = Some(Kept::new());
                None
            }
        };
        ResponseFuture::new(engine, registry, self.clients.clone(), request, self.plan.clone())
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use crate::{FailoverLayer, Model, Models, Provider, aim};
    use std::{convert::Infallible, future::ready};
    use tower::{Layer, Service, service_fn};

    #[test]
    fn a_service_that_is_called_once_keeps_no_registry() {
        let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa"));
        let layer = FailoverLayer::builder(models.build().unwrap()).aim(aim(|_: &Model, number: u64| Ok(number)));
        let client = service_fn(|number: u64| ready(Ok::<_, Infallible>(number)));
        let mut service = layer.build().unwrap().layer(client);
        let keeps = [0, 1, 2].map(|number| {
            drop(service.call(number));
            service.registry.as_ref().is_some_and(|kept| !kept.is_empty())
        });
        assert_eq!(keeps, [false, true, true]);
        assert!(service.clone().registry.is_none());
    }
}
