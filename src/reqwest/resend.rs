//! What is kept of a reqwest request.

use crate::Resend;
use ::reqwest::Request;

/// Keeps a copy of a reqwest request, which has one unless its body is a stream. A stream is sent once, and
/// [`Served::could_fail_over`](crate::Served::could_fail_over) is then false.
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
