//! What is kept of a reqwest request.

use crate::{Recorded, ReplayBody, Resend, Verdict, classify::transport::upload_failed};
use ::reqwest::{Body, Request};

/// Keeps a copy of a reqwest request, which has one unless its body is a stream. A stream is sent once, and
/// [`Served::could_fail_over`](crate::Served::could_fail_over) is then false; [`Recorded`] keeps a recording of it.
///
/// A reqwest request carries no [`Plan`](crate::Plan): give it to a clone of the service, by
/// [`Failover::plan`](crate::Failover::plan), or put it into the extensions of a reqwest-middleware request.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReqwestResend;

impl Resend<Request> for ReqwestResend {
    type Request = Request;

    fn prepare(&self, request: Request) -> Request {
        request
    }

    fn keep(&self, request: &Request) -> Option<Request> {
        request.try_clone()
    }
}

/// A reqwest request with a recording of its body, if that is a stream; made by [`Recorded`].
///
/// [`HttpAim`](crate::HttpAim) aims it, and an [`Aim`](crate::Aim) of your own does so with what [`into_request`] gives.
///
/// [`into_request`]: Self::into_request
#[derive(Debug)]
pub struct RecordedRequest {
    /// Without its body if that is a stream.
    request: Request,
    upload: Option<ReplayBody<Body>>,
}

impl RecordedRequest {
    /// As the client takes it.
    pub fn into_request(mut self) -> Request {
        if let Some(upload) = self.upload {
            *self.request.body_mut() = Some(Body::wrap(upload));
        }
        self.request
    }

    fn is_whole(&self) -> bool {
        self.upload.as_ref().is_none_or(ReplayBody::is_whole)
    }
}

impl Resend<Request> for Recorded {
    type Request = RecordedRequest;

    fn prepare(&self, mut request: Request) -> RecordedRequest {
        let streams = request.body().is_some_and(|body| body.as_bytes().is_none());
        let upload = if streams { request.body_mut().take() } else { None };
        RecordedRequest { request, upload: upload.map(|body| ReplayBody::new(body, self.cap())) }
    }

    fn keep(&self, kept: &RecordedRequest) -> Option<RecordedRequest> {
        if !kept.is_whole() {
            return None;
        }
        Some(RecordedRequest { request: kept.request.try_clone()?, upload: kept.upload.clone() })
    }

    fn whole(&self, kept: &RecordedRequest) -> bool {
        kept.is_whole()
    }

    fn callers_fault(&self, kept: &RecordedRequest) -> Option<Verdict> {
        kept.upload.as_ref().and_then(ReplayBody::error).map(|error| upload_failed(&error))
    }
}
