//! What is kept of a request so that it can be sent again, and the plan that it carries.

use super::plan::Plan;
use crate::classify::Verdict;

#[cfg(feature = "http")]
use crate::{
    body::{REPLAY_CAP, ReplayBody},
    classify::transport::upload_failed,
};
#[cfg(feature = "http")]
use http_body::Body;
#[cfg(feature = "http")]
use std::error::Error;

/// How a request is kept for the next model.
///
/// [`Cloned`] for whatever is `Clone`; `Recorded` for an upload that streams; [`SendOnce`] for what is neither, which then
/// cannot fail over once it has been sent; for HTTP, [`HttpResend`] over any of them, which finds the [`Plan`] in the
/// request's extensions.
pub trait Resend<Req> {
    /// The request as the engine holds it.
    type Request;

    /// Takes the request in.
    fn prepare(&self, request: Req) -> Self::Request;

    /// A copy to be sent again, or `None` if there can be none: then the request is sent once, and
    /// [`Served::could_fail_over`](crate::Served::could_fail_over) is false.
    fn keep(&self, request: &Self::Request) -> Option<Self::Request>;

    /// Whether a kept request is still whole. Asked after each attempt; if it is not, the request is not sent again, and
    /// [`Served::could_fail_over`](crate::Served::could_fail_over) is false. Default: it is.
    fn whole(&self, request: &Self::Request) -> bool {
        let _ = request;
        true
    }

    /// What it means that an attempt ended in an error, if the request itself brought that about, whatever the client
    /// tells of it. Asked of the copy that is kept, if there is one. Default: what the classifier says.
    fn callers_fault(&self, request: &Self::Request) -> Option<Verdict> {
        let _ = request;
        None
    }

    /// What the request asks for itself. Default: nothing.
    fn plan(&self, request: &Self::Request) -> Option<Plan> {
        let _ = request;
        None
    }
}

/// Keeps a clone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cloned;

impl<Req: Clone> Resend<Req> for Cloned {
    type Request = Req;

    fn prepare(&self, request: Req) -> Req {
        request
    }

    fn keep(&self, request: &Req) -> Option<Req> {
        Some(request.clone())
    }
}

/// Keeps nothing: a request is sent once. A model that is skipped costs nothing; a model that fails is the last.
#[derive(Debug, Clone, Copy, Default)]
pub struct SendOnce;

impl<Req> Resend<Req> for SendOnce {
    type Request = Req;

    fn prepare(&self, request: Req) -> Req {
        request
    }

    fn keep(&self, _: &Req) -> Option<Req> {
        None
    }
}

/// Keeps a recording of the body, made while it streams to the first model, up to a cap.
///
/// For HTTP requests with any body, as `.resend(HttpResend(Recorded::new()))`, and, with the feature `reqwest`, for
/// reqwest's, as `.resend(Recorded::new())`. The body becomes a [`ReplayBody`], whose page says what happens at the cap.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy)]
pub struct Recorded {
    cap: usize,
}

#[cfg(feature = "http")]
impl Recorded {
    /// Keeps up to [`REPLAY_CAP`] of each request.
    pub const fn new() -> Self {
        Self::up_to(REPLAY_CAP)
    }

    /// Keeps up to so many bytes of each request. Zero keeps none, so that a request is sent to nobody else once anything of
    /// its body has been read.
    pub const fn up_to(bytes: usize) -> Self {
        Self { cap: bytes }
    }

    #[cfg(feature = "reqwest")]
    pub(crate) fn cap(self) -> usize {
        self.cap
    }
}

#[cfg(feature = "http")]
impl Default for Recorded {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(feature = "http")]
impl<B> Resend<http::Request<B>> for Recorded
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Request = http::Request<ReplayBody<B>>;

    fn prepare(&self, request: http::Request<B>) -> Self::Request {
        request.map(|body| ReplayBody::new(body, self.cap))
    }

    fn keep(&self, request: &Self::Request) -> Option<Self::Request> {
        request.body().is_whole().then(|| request.clone())
    }

    fn whole(&self, request: &Self::Request) -> bool {
        request.body().is_whole()
    }

    fn callers_fault(&self, request: &Self::Request) -> Option<Verdict> {
        request.body().error().map(|error| upload_failed(&error))
    }
}

/// Finds the [`Plan`] in the extensions of an HTTP request, and keeps the request as `K` does.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpResend<K = Cloned>(pub K);

#[cfg(feature = "http")]
impl<B, Kept, K> Resend<http::Request<B>> for HttpResend<K>
where
    K: Resend<http::Request<B>, Request = http::Request<Kept>>,
{
    type Request = http::Request<Kept>;

    fn prepare(&self, request: http::Request<B>) -> http::Request<Kept> {
        self.0.prepare(request)
    }

    fn keep(&self, request: &http::Request<Kept>) -> Option<http::Request<Kept>> {
        self.0.keep(request)
    }

    fn whole(&self, request: &http::Request<Kept>) -> bool {
        self.0.whole(request)
    }

    fn callers_fault(&self, request: &http::Request<Kept>) -> Option<Verdict> {
        self.0.callers_fault(request)
    }

    fn plan(&self, request: &http::Request<Kept>) -> Option<Plan> {
        request.extensions().get::<Plan>().cloned()
    }
}
