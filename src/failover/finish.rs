//! What the caller gets: where the permit and [`Served`] go.

use super::served::Served;
#[cfg(feature = "http")]
use crate::{
    body::{IDLE_GAP, Watched},
    classify::Charge,
    machine::config::{self, ConfigError},
    permit::Committed,
};
use crate::{classify::Verdict, permit::Permit};
#[cfg(feature = "http")]
use std::time::Duration;

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

/// A permit whose call has been answered and that still has to be settled. One that is dropped instead is neutral: then
/// no success is ever counted, and a breaker that is half-open never closes.
#[derive(Debug)]
pub struct OpenPermit {
    pub(crate) permit: Permit,
    pub(crate) now: u64,
}

impl OpenPermit {
    /// The head of a success has come; its body decides.
    #[cfg(feature = "http")]
    fn commit(self, verdict: &Verdict) -> Committed {
        self.permit.commit(verdict, self.now)
    }

    /// Settles it by this verdict, as of the moment when the answer came.
    pub fn settle(mut self, verdict: &Verdict) {
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

    fn finish(&self, mut answer: Answer<Res>) -> Res {
        settle(&mut answer.permit, &answer.verdict);
        answer.response
    }
}

/// Gives the response together with [`Served`].
#[derive(Debug, Clone, Copy, Default)]
pub struct WithServed;

impl<Res> Finish<Res> for WithServed {
    type Response = (Res, Served);

    fn finish(&self, mut answer: Answer<Res>) -> (Res, Served) {
        settle(&mut answer.permit, &answer.verdict);
        (answer.response, answer.served)
    }
}

/// Settles it where it is.
#[inline]
pub(crate) fn settle(permit: &mut Option<OpenPermit>, verdict: &Verdict) {
    if let Some(OpenPermit { permit, now }) = permit {
        permit.settle(verdict, true, *now);
    }
}

/// Notes what reading ahead has shown of a success, for its latencies.
#[cfg(feature = "http")]
pub(crate) fn opened(permit: &mut Option<OpenPermit>, verdict: &Verdict, extensions: &http::Extensions) {
    if let (Some(permit), Charge::Success, Some(opening)) = (permit, verdict.charge, extensions.get()) {
        permit.permit.opened(opening);
    }
}

/// Puts [`Served`] into the extensions of an HTTP response and, if asked to, says the main things in its headers.
///
/// A call is over at the response's head. With [`watched`](Self::watched) it is over when its body is.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy, Default)]
pub struct HttpFinish<W = AtHead> {
    headers: bool,
    watch: W,
}

/// A call is over at the response's head; the body is the client's own.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy, Default)]
pub struct AtHead;

/// A call is over when its body is; see [`body`](crate::body).
#[cfg(feature = "http")]
#[derive(Debug, Clone, Copy)]
pub struct AtEnd {
    idle_gap: Duration,
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

    /// Watches the response's body to its end: the caller gets a [`Watched`] one. Two frames may be
    /// [`IDLE_GAP`](crate::defaults::IDLE_GAP) apart. A response of reqwest stays reqwest's own, and its body is watched
    /// inside.
    pub fn watched(self) -> HttpFinish<AtEnd> {
        HttpFinish { headers: self.headers, watch: AtEnd { idle_gap: IDLE_GAP } }
    }
}

#[cfg(feature = "http")]
impl HttpFinish<AtEnd> {
    /// How far apart two frames of the body may be, and the head and the first. Default 60 s. A reader that takes its
    /// time does not count.
    ///
    /// # Errors
    ///
    /// When it is zero.
    pub fn idle_gap(mut self, gap: Duration) -> Result<Self, ConfigError> {
        config::positive("idle_gap", gap)?;
        self.watch.idle_gap = gap;
        Ok(self)
    }
}

#[cfg(feature = "http")]
impl<W> HttpFinish<W> {
    /// Sends the headers [`MODEL`](HttpFinish::MODEL) and [`ATTEMPTS`](HttpFinish::ATTEMPTS) as well.
    pub fn headers(mut self) -> Self {
        self.headers = true;
        self
    }

    /// Says the main things in the response's headers, if asked to.
    pub(crate) fn sign(&self, headers: &mut http::HeaderMap, served: &Served) {
        if self.headers {
            let name = served.model().and_then(|model| http::HeaderValue::from_str(model.name()).ok());
            headers.remove(HttpFinish::MODEL);
            if let Some(name) = name {
                headers.insert(HttpFinish::MODEL, name);
            }
            headers.insert(HttpFinish::ATTEMPTS, served.attempts().into());
        }
    }
}

#[cfg(feature = "http")]
impl<B> Finish<http::Response<B>> for HttpFinish {
    type Response = http::Response<B>;

    fn finish(&self, mut answer: Answer<http::Response<B>>) -> http::Response<B> {
        opened(&mut answer.permit, &answer.verdict, answer.response.extensions());
        settle(&mut answer.permit, &answer.verdict);
        self.sign(answer.response.headers_mut(), &answer.served);
        answer.response.extensions_mut().insert(answer.served);
        answer.response
    }
}

#[cfg(feature = "http")]
impl<B: http_body::Body> Finish<http::Response<B>> for HttpFinish<AtEnd> {
    type Response = http::Response<Watched<B>>;

    fn finish(&self, mut answer: Answer<http::Response<B>>) -> http::Response<Watched<B>> {
        let verdict = answer.verdict;
        opened(&mut answer.permit, &verdict, answer.response.extensions());
        let call = if verdict.charge == Charge::Success && verdict.cooldown.is_none() {
            answer.permit.map(|permit| permit.commit(&verdict))
        } else {
            settle(&mut answer.permit, &verdict);
            None
        };
        let mut response = answer.response.map(|body| Watched::new(body, call, self.watch.idle_gap));
        self.sign(response.headers_mut(), &answer.served);
        response.extensions_mut().insert(answer.served);
        response
    }
}
