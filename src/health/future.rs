//! The future of one counted call.

use super::call::Call;
use crate::classify::Classify;
use pin_project::pin_project;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

/// The future of one counted call. Dropping it drops the call.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, K> {
    #[pin]
    future: F,
    call: Option<Call<K>>,
}

impl<F, K> ResponseFuture<F, K> {
    pub(super) fn new(future: F, call: Call<K>) -> Self {
        Self { future, call: Some(call) }
    }
}

impl<F, K, Res, E> Future for ResponseFuture<F, K>
where
    F: Future<Output = Result<Res, E>>,
    K: Classify<Res, E>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let call = this.call.as_mut().expect("polled after completion");
        let polled = call.enter(|| this.future.poll(cx));
        call.waiting(polled.is_pending());
        let result = ready!(polled);
        if let Some(call) = this.call.take() {
            call.settle(result.as_ref());
        }
        Poll::Ready(result)
    }
}

impl<F, K> fmt::Debug for ResponseFuture<F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
