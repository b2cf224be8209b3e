//! What is kept of a request so that it can be sent again, and the plan that it carries.

use super::plan::Plan;

/// How a request is kept for the next model.
///
/// [`Cloned`] for whatever is `Clone`; [`SendOnce`] for what is not, which then cannot fail over once it has been
/// sent; for HTTP, [`HttpResend`] over either, which finds the [`Plan`] in the request's extensions.
pub trait Resend<Req> {
    /// The request as the engine holds it.
    type Request;

    /// Takes the request in.
    fn prepare(&self, request: Req) -> Self::Request;

    /// A copy to be sent again, or `None` if there can be none: then the request is sent once, and
    /// [`Served::could_fail_over`](crate::Served::could_fail_over) is false.
    fn keep(&self, request: &Self::Request) -> Option<Self::Request>;

    /// Whether a kept request is still whole. Default: it is.
    fn whole(&self, request: &Self::Request) -> bool {
        let _ = request;
        true
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

/// Finds the [`Plan`] in the extensions of an HTTP request, and keeps the request as `K` does.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpResend<K = Cloned>(pub K);

#[cfg(feature = "http")]
impl<B, K> Resend<http::Request<B>> for HttpResend<K>
where
    K: Resend<http::Request<B>, Request = http::Request<B>>,
{
    type Request = http::Request<B>;

    fn prepare(&self, request: http::Request<B>) -> http::Request<B> {
        self.0.prepare(request)
    }

    fn keep(&self, request: &http::Request<B>) -> Option<http::Request<B>> {
        self.0.keep(request)
    }

    fn whole(&self, request: &http::Request<B>) -> bool {
        self.0.whole(request)
    }

    fn plan(&self, request: &http::Request<B>) -> Option<Plan> {
        request.extensions().get::<Plan>().cloned()
    }
}
