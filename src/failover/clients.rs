//! Which client an attempt goes through.

use crate::{aim::Target, model::Provider};
use arc_swap::ArcSwap;
use std::{fmt, sync::Arc};
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
pub struct ByProvider<S> {
    clients: Arc<Made<S>>,
}

struct Made<S> {
    /// By the provider's number, as far as that has not changed.
    known: ArcSwap<Vec<(Box<str>, S)>>,
    make: Box<dyn Fn(&Provider) -> S + Send + Sync>,
}

impl<S> ByProvider<S> {
    pub(crate) fn new<'a>(
        providers: impl Iterator<Item = &'a Provider>,
        make: impl Fn(&Provider) -> S + Send + Sync + 'static,
    ) -> Self {
        let known = providers.map(|provider| (provider.name().into(), make(provider))).collect();
        Self { clients: Arc::new(Made { known: ArcSwap::from_pointee(known), make: Box::new(make) }) }
    }
}

impl<S: Clone> Made<S> {
    fn client(&self, target: Target<'_>) -> S {
        let name = target.provider().name();
        let find = |known: &[(Box<str>, S)]| {
            let usual = known.get(target.provider_index()).filter(|(other, _)| **other == *name);
            usual.or_else(|| known.iter().find(|(other, _)| **other == *name)).map(|(_, client)| client.clone())
        };
        find(&self.known.load()).unwrap_or_else(|| {
            let made = (self.make)(target.provider());
            self.known.rcu(|known| {
                // Somebody else may have made one meanwhile: that stays.
                let mut known: Vec<_> = known.iter().filter(|(name, _)| target.has_provider(name)).cloned().collect();
                if find(&known).is_none() {
                    known.push((name.into(), made.clone()));
                }
                known
            });
            find(&self.known.load()).unwrap_or(made)
        })
    }
}

impl<S> Clone for ByProvider<S> {
    fn clone(&self) -> Self {
        Self { clients: Arc::clone(&self.clients) }
    }
}

impl<S: fmt::Debug> fmt::Debug for ByProvider<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.clients.known.load().iter().map(|(name, client)| (name, client))).finish()
    }
}

impl<Req, S: Service<Req> + Clone> Clients<Req> for ByProvider<S> {
    type Service = S;

    fn client(&self, target: Target<'_>) -> S {
        self.clients.client(target)
    }
}
