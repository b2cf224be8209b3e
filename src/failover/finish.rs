//! What the caller gets: where the permit and [`Served`] go.

use super::served::Served;
use crate::{classify::Verdict, permit::Permit};

/// One answer on its way to the caller, with everything that is known of it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Answer<Res> {
    /// The response.
    pub response: Res,
    /// What it means.
    pub verdict: Verdict,
    /// The permit of its call, not settled yet; `None` for a failure that was settled before other models were tried.
    pub permit: Option<OpenPermit>,
    /// Who served.
    pub served: Served,
}

/// A permit whose call has been answered and that still has to be settled.
#[derive(Debug)]
pub struct OpenPermit {
    pub(crate) permit: Permit,
    pub(crate) now: u64,
}

impl OpenPermit {
    /// Settles it by this verdict, as of the moment when the answer came.
    pub fn settle(self, verdict: &Verdict) {
        self.permit.settle(verdict, true, self.now);
    }
}

/// Turns an answer into what the caller gets, and settles its permit.
pub trait Finish<Res> {
    /// What the caller gets.
    type Response;

    /// Finishes one answer.
    fn finish(&self, answer: Answer<Res>) -> Self::Response;
}

/// Gives the response as it is; [`Served`] is dropped.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plain;

impl<Res> Finish<Res> for Plain {
    type Response = Res;

    fn finish(&self, answer: Answer<Res>) -> Res {
        settle(answer.permit, &answer.verdict);
        answer.response
    }
}

/// Gives the response together with [`Served`].
#[derive(Debug, Clone, Copy, Default)]
pub struct WithServed;

impl<Res> Finish<Res> for WithServed {
    type Response = (Res, Served);

    fn finish(&self, answer: Answer<Res>) -> (Res, Served) {
        settle(answer.permit, &answer.verdict);
        (answer.response, answer.served)
    }
}

fn settle(permit: Option<OpenPermit>, verdict: &Verdict) {
    if let Some(permit) = permit {
        permit.settle(verdict);
    }
}

/// Puts [`Served`] into the extensions of an HTTP response and, if asked to, says the main things in its headers.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpFinish {
    headers: bool,
}

#[cfg(feature = "http")]
impl HttpFinish {
    /// The header with the name of the model that answered.
    pub const MODEL: http::HeaderName = http::HeaderName::from_static("x-failover-model");
    /// The header with the number of models that were asked.
    pub const ATTEMPTS: http::HeaderName = http::HeaderName::from_static("x-failover-attempts");

    /// Extensions only.
    pub fn new() -> Self {
        Self::default()
    }

    /// Settles the permit, and writes what is to be said into the response's head.
    pub(crate) fn tell<Res>(
        self,
        answer: Answer<Res>,
        headers: impl FnOnce(&mut Res) -> &mut http::HeaderMap,
    ) -> (Res, Served) {
        settle(answer.permit, &answer.verdict);
        let (mut response, served) = (answer.response, answer.served);
        if self.headers {
            let headers = headers(&mut response);
            headers.remove(Self::MODEL);
            let name = served.model().and_then(|model| http::HeaderValue::from_str(model.name()).ok());
            if let Some(name) = name {
                headers.insert(Self::MODEL, name);
            }
            headers.insert(Self::ATTEMPTS, served.attempts().into());
        }
        (response, served)
    }

    /// Sends the headers [`MODEL`](Self::MODEL) and [`ATTEMPTS`](Self::ATTEMPTS) as well.
    pub fn headers(mut self) -> Self {
        self.headers = true;
        self
    }
}

#[cfg(feature = "http")]
impl<B> Finish<http::Response<B>> for HttpFinish {
    type Response = http::Response<B>;

    fn finish(&self, answer: Answer<http::Response<B>>) -> http::Response<B> {
        let (mut response, served) = self.tell(answer, http::Response::headers_mut);
        response.extensions_mut().insert(served);
        response
    }
}
