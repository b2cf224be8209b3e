//! The service.

use super::{commit::Commit, future::ResponseFuture, layer::Settings, response::Response};
use std::{
    fmt,
    task::{Context, Poll},
};
use tower::Service;

/// A client whose responses have begun; see the [module](super).
#[derive(Clone)]
pub struct ReadAhead<S, C> {
    inner: S,
    commit: C,
    settings: Settings,
}

impl<S, C> ReadAhead<S, C> {
    pub(super) fn new(inner: S, commit: C, settings: Settings) -> Self {
        Self { inner, commit, settings }
    }

    /// The client inside.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The client inside, to be changed.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The client alone.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, C, Req> Service<Req> for ReadAhead<S, C>
where
    S: Service<Req>,
    S::Response: Response,
    C: Commit + Clone,
{
    type Response = <S::Response as Response>::Resumed;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Response, C>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        ResponseFuture::new(self.inner.call(request), self.commit.clone(), self.settings)
    }
}

impl<S: fmt::Debug, C> fmt::Debug for ReadAhead<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = f.debug_struct("ReadAhead");
        f.field("inner", &self.inner).field("settings", &self.settings).finish_non_exhaustive()
    }
}
