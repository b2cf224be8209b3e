//! The service, for one model and for a key.

use super::{
    error::{Error, Refusal},
    future::ResponseFuture,
};
use crate::{
    classify::Classify,
    failover::ATTEMPT_TIMEOUT,
    lane::{Kept, Lane, Local, Striped},
    machine::Nanos,
    models::{self, Models, Registry, UnknownName},
    permit::{Closed, Permit},
};
use std::{
    fmt,
    task::{Context, Poll, ready},
    time::Duration,
};
use tower::Service;

/// What the calls of one layer share.
pub(crate) struct Guard<W, K> {
    pub(crate) models: Models,
    pub(crate) which: W,
    pub(crate) classify: K,
}

/// One model.
#[derive(Debug, Clone)]
pub struct Fixed(pub(super) models::Named);

/// The model whose name a closure finds in the request.
#[derive(Clone, Copy)]
pub struct Named<F>(pub(super) F);

impl<F> fmt::Debug for Named<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Named")
    }
}

/// One model, for the key that a closure finds in the request.
#[derive(Clone)]
pub struct Keyed<F>(pub(super) models::Named, pub(super) F);

impl<F> fmt::Debug for Keyed<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyed")
    }
}

/// A service behind a circuit breaker; see the [module](super).
///
/// For one model, readiness is that of the service inside, but an open breaker is ready at once, as its answer needs no
/// service. For a name or a key, which only the request tells, it is always ready, and each call readies a clone.
pub struct CircuitBreaker<S, W, K> {
    guard: Striped<Guard<W, K>>,
    inner: S,
    /// With the model's number there, if it is there still.
    registry: Kept<Registry, Option<usize>>,
    /// What the breaker said when readiness was asked for: the service inside was not readied then.
    refusal: Option<Refusal>,
}

impl<S, W, K> CircuitBreaker<S, W, K> {
    pub(super) fn new(guard: Striped<Guard<W, K>>, inner: S) -> Self {
        Self { guard, inner, registry: Kept::new(), refusal: None }
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

impl<S: Clone, W, K> CircuitBreaker<S, W, K> {
    /// A call that readies a clone of its own, unless the breaker would refuse it.
    fn oneshot<Req>(
        &self,
        guard: Local<Guard<W, K>>,
        registry: Lane<Registry>,
        index: usize,
        now: Nanos,
        request: Req,
    ) -> ResponseFuture<S, Req, W, K>
    where
        S: Service<Req>,
    {
        match Permit::peek(&registry, index, now) {
            Ok(()) => ResponseFuture::ready(guard, registry, index, self.inner.clone(), request),
            Err(refused) => ResponseFuture::rejected(registry, index, Refusal::new(refused, now)),
        }
    }
}

impl<S: Clone, W, K> Clone for CircuitBreaker<S, W, K> {
    fn clone(&self) -> Self {
        Self::new(self.guard.clone(), self.inner.clone())
    }
}

impl<S: fmt::Debug, W, K> fmt::Debug for CircuitBreaker<S, W, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("models", &self.guard.models)
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

/// A probe's lease: as long as an attempt may take.
fn lease(registry: &Registry, index: usize) -> Duration {
    registry.models[index].model.get_attempt_timeout().unwrap_or(ATTEMPT_TIMEOUT)
}

/// Makes the call, if both breakers admit it.
pub(super) fn call<T>(
    registry: &Lane<Registry>,
    index: usize,
    call: impl FnOnce() -> T,
) -> Result<(Permit, T), Refusal> {
    let now = registry.now();
    match Closed::find(registry, index) {
        Some(closed) => Ok(closed.call(registry, index, now, call)),
        None => call_otherwise(registry, index, now, call),
    }
}

/// Where they are not simply closed.
#[cold]
#[inline(never)]
fn call_otherwise<T>(
    registry: &Lane<Registry>,
    index: usize,
    now: Nanos,
    call: impl FnOnce() -> T,
) -> Result<(Permit, T), Refusal> {
    let admitted = Permit::admit(registry, index, now, lease(registry, index));
    let mut permit = admitted.map_err(|refused| Refusal::new(refused, now))?;
    let result = permit.call(call);
    Ok((permit, result))
}

/// What a breaker that is not closed says to a call. Changes nothing.
#[cold]
#[inline(never)]
fn peek(registry: &Registry, index: usize) -> Option<Refusal> {
    let now = registry.now();
    let live = &registry.models[index];
    let refused = Permit::peek_at(live, &registry.providers[live.provider], now).err()?;
    Some(Refusal::new(refused, now))
}

impl<S, Req, K> Service<Req> for CircuitBreaker<S, Fixed, K>
where
    S: Service<Req> + Clone,
    K: Classify<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, Req, Fixed, K>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        let named = &self.guard.which.0;
        let (registry, index) = self.guard.models.kept(&mut self.registry, |registry| named.index(registry));
        let registry = registry.lane();
        // One that is there no longer is told of by the call.
        self.refusal = match *index {
            Some(index) if !Permit::is_closed(registry, index) => peek(registry, index),
            _ => None,
        };
        if self.refusal.is_none() {
            ready!(self.inner.poll_ready(cx)).map_err(Error::Inner)?;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        if let (Some(refusal), Some((registry, Some(index)))) = (self.refusal, self.registry.last()) {
            return ResponseFuture::rejected(registry.clone(), *index, refusal);
        }
        let named = &self.guard.which.0;
        let (registry, index) = self.guard.models.kept(&mut self.registry, |registry| named.index(registry));
        let registry = registry.lane();
        let Some(index) = *index else {
            self.inner = self.inner.clone();
            return ResponseFuture::unknown(named.unknown());
        };
        let (guard, inner) = (&self.guard, &mut self.inner);
        let now = registry.now();
        // What is most often the case is finished here: where ways meet again, all that they may bring is moved.
        if let Some(closed) = Closed::find(registry, index) {
            let (permit, (future, guard)) = closed.call(registry, index, now, || (inner.call(request), guard.local()));
            return ResponseFuture::call(guard, future, permit);
        }
        match call_otherwise(registry, index, now, || inner.call(request)) {
            Ok((permit, future)) => ResponseFuture::call(guard.local(), future, permit),
            Err(refusal) => {
                // What has been readied and is not called must not keep what it may have reserved.
                self.inner = self.inner.clone();
                ResponseFuture::rejected(registry.clone(), index, refusal)
            }
        }
    }
}

impl<S, Req, F, K> Service<Req> for CircuitBreaker<S, Named<F>, K>
where
    S: Service<Req> + Clone,
    F: Fn(&Req) -> &str,
    K: Classify<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, Req, Named<F>, K>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let guard = self.guard.local();
        let registry = guard.models.local();
        let name = (guard.which.0)(&request);
        let Some(index) = registry.find(name) else {
            let unknown = UnknownName::model(name);
            return ResponseFuture::unknown(unknown);
        };
        let now = registry.now();
        self.oneshot(guard, registry, index, now, request)
    }
}

impl<S, Req, F, K> Service<Req> for CircuitBreaker<S, Keyed<F>, K>
where
    S: Service<Req> + Clone,
    F: Fn(&Req) -> &str,
    K: Classify<S::Response, S::Error>,
{
    type Response = S::Response;
    type Error = Error<S::Error>;
    type Future = ResponseFuture<S, Req, Keyed<F>, K>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let guard = self.guard.local();
        let Keyed(model, key) = &guard.which;
        let now = guard.models.read(Registry::now);
        let registry = guard.models.local_for(key(&request), now);
        match model.index(&registry) {
            Some(index) => self.oneshot(guard, registry, index, now, request),
            None => ResponseFuture::unknown(model.unknown()),
        }
    }
}
