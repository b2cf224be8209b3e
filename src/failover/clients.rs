//! Which client an attempt goes through.

use crate::{aim::Target, model::Provider};
use std::sync::Arc;
use tower::Service;

/// Gives each attempt a client of its own, picked before its readiness is asked for: otherwise one provider's full
/// client would be charged to another's model.
pub trait Clients<Req> {
    /// The client.
    type Service: Service<Req>;

    /// A client for this target, not yet ready.
    fn client(&self, target: Target<'_>) -> Self::Service;
}

/// One client for all models, cloned for each attempt.
#[derive(Debug, Clone)]
pub struct One<S>(pub(crate) S);

impl<S> One<S> {
    pub(crate) fn get_ref(&self) -> &S {
        &self.0
    }

    pub(crate) fn get_mut(&mut self) -> &mut S {
        &mut self.0
    }

    pub(crate) fn into_inner(self) -> S {
        self.0
    }
}

impl<Req, S: Service<Req> + Clone> Clients<Req> for One<S> {
    type Service = S;

    fn client(&self, _: Target<'_>) -> S {
        self.0.clone()
    }
}

/// A client for each provider.
#[derive(Debug)]
pub struct ByProvider<S> {
    /// By the provider's number; never empty, as every model has a provider.
    clients: Arc<[S]>,
}

impl<S> ByProvider<S> {
    pub(crate) fn new<'a>(providers: impl Iterator<Item = &'a Provider>, client: impl FnMut(&Provider) -> S) -> Self {
        Self { clients: providers.map(client).collect() }
    }
}

impl<S> Clone for ByProvider<S> {
    fn clone(&self) -> Self {
        Self { clients: Arc::clone(&self.clients) }
    }
}

impl<Req, S: Service<Req> + Clone> Clients<Req> for ByProvider<S> {
    type Service = S;

    fn client(&self, target: Target<'_>) -> S {
        self.clients[target.provider_index()].clone()
    }
}
