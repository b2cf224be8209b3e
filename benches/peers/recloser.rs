//! [recloser](https://docs.rs/recloser) around a service: its breaker for futures, which is no tower layer.

use super::{Settings, ours};
use recloser::{AnyError, AsyncRecloser, RecloserFuture};
use std::{
    task::{Context, Poll},
    time::Duration,
};
use tower::Service;

/// By default it judges the last 100 calls. It knows no time: as ours it judges the last 10.
pub fn breaker(settings: Settings, open: Option<Duration>) -> AsyncRecloser {
    let builder = ::recloser::Recloser::custom();
    let builder = match settings {
        Settings::Defaults => builder,
        Settings::AsOurs => builder
            .error_rate(ours::FAILURE_RATE)
            .closed_len(ours::MINIMUM_CALLS as usize)
            .half_open_len(2)
            .open_wait(ours::OPEN),
    };
    open.into_iter().fold(builder, |builder, open| builder.open_wait(open)).build().into()
}

/// A service whose calls go through the breaker.
#[derive(Clone)]
pub struct Recloser<S> {
    pub breaker: AsyncRecloser,
    pub inner: S,
}

impl<S, Req> Service<Req> for Recloser<S>
where
    S: Service<Req>,
{
    type Response = S::Response;
    type Error = recloser::Error<S::Error>;
    type Future = RecloserFuture<S::Future, AnyError>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(recloser::Error::Inner)
    }

    fn call(&mut self, request: Req) -> Self::Future {
        self.breaker.call(self.inner.call(request))
    }
}
