//! The future of one guarded call.

use super::{
    error::{Error, Refusal, Rejected},
    service::{Guard, call},
};
use crate::{
    classify::{Aimed, Classify, Ours},
    lane::{Lane, Local},
    models::{Registry, UnknownName},
    permit::Permit,
};
use pin_project::pin_project;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tower::Service;

/// The future of one guarded call. Dropping it drops the call.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<S, Req, W, K>
where
    S: Service<Req>,
{
    #[pin]
    step: Step<S, Req, W, K>,
}

#[pin_project(project = StepProj)]
enum Step<S, Req, W, K>
where
    S: Service<Req>,
{
    Unknown(Option<UnknownName>),
    Rejected(Option<Lane<Registry>>, usize, Refusal),
    Ready(Option<Local<Guard<W, K>>>, Lane<Registry>, usize, S, Option<Req>),
    Call(Local<Guard<W, K>>, #[pin] S::Future, Permit),
}

impl<S, Req, W, K> ResponseFuture<S, Req, W, K>
where
    S: Service<Req>,
{
    pub(super) fn unknown(unknown: UnknownName) -> Self {
        Self { step: Step::Unknown(Some(unknown)) }
    }

    #[inline(always)]
    pub(super) fn rejected(registry: Lane<Registry>, index: usize, refusal: Refusal) -> Self {
        refusal.count(&registry, index);
        Self { step: Step::Rejected(Some(registry), index, refusal) }
    }

    pub(super) fn ready(guard: Local<Guard<W, K>>, registry: Lane<Registry>, index: usize, inner: S, req: Req) -> Self {
        Self { step: Step::Ready(Some(guard), registry, index, inner, Some(req)) }
    }

    #[inline(always)]
    pub(super) fn call(guard: Local<Guard<W, K>>, future: S::Future, permit: Permit) -> Self {
        Self { step: Step::Call(guard, future, permit) }
    }
}

impl<S, Req, W, K> Step<S, Req, W, K>
where
    S: Service<Req>,
{
    /// Makes the call that is still to be made, or says why there is none.
    #[cold]
    #[inline(never)]
    fn begin(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error<S::Error>>> {
        match self.as_mut().project() {
            StepProj::Call(..) | StepProj::Rejected(..) => {}
            StepProj::Unknown(unknown) => {
                return Poll::Ready(Err(Error::Unknown(unknown.take().expect("polled after completion"))));
            }
            StepProj::Ready(guard, registry, index, inner, request) => {
                ready!(inner.poll_ready(cx)).map_err(Error::Inner)?;
                let (guard, request) = guard.take().zip(request.take()).expect("polled after completion");
                match call(registry, *index, || inner.call(request)) {
                    Ok((permit, future)) => self.set(Step::Call(guard, future, permit)),
                    Err(refusal) => {
                        refusal.count(registry, *index);
                        let rejected = Rejected::new(registry.clone(), *index, refusal);
                        return Poll::Ready(Err(Error::Rejected(rejected)));
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S, Req, W, K> Future for ResponseFuture<S, Req, W, K>
where
    S: Service<Req>,
    K: Classify<S::Response, S::Error>,
{
    type Output = Result<S::Response, Error<S::Error>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut step = self.project().step;
        if !matches!(*step, Step::Call(..)) {
            if let StepProj::Rejected(registry, index, refusal) = step.as_mut().project() {
                let registry = registry.take().expect("polled after completion");
                return Poll::Ready(Err(Error::Rejected(Rejected::new(registry, *index, *refusal))));
            }
            ready!(step.as_mut().begin(cx))?;
        }
        let StepProj::Call(guard, future, permit) = step.project() else { unreachable!("it is called by now") };
        assert!(!permit.is_settled(), "polled after completion");
        let polled = permit.enter(|| future.poll(cx));
        permit.waiting(polled.is_pending());
        let result = ready!(polled);
        let aimed = Aimed { model: permit.of(), ours: Ours::default() };
        let verdict = guard.classify.classify(aimed, result.as_ref());
        let now = permit.now();
        permit.settle(&verdict, result.is_ok(), now);
        Poll::Ready(result.map_err(Error::Inner))
    }
}

impl<S, Req, W, K> fmt::Debug for ResponseFuture<S, Req, W, K>
where
    S: Service<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
