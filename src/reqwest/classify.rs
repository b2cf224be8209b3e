//! What a result of reqwest means, by the same [`HttpClassify`].

use crate::{
    Aimed, AsError, Charge, Classify, HttpClassify, Verdict, Vouches, Why,
    classify::transport::{Trouble, chain, trouble, words},
};
use ::reqwest::Response;
use http::{Extensions, HeaderMap};
use std::error::Error;

impl<E, V: AsError<E>> Classify<Response, E> for HttpClassify<V> {
    fn classify(&self, aimed: Aimed<'_>, result: Result<&Response, &E>) -> Verdict {
        match result {
            Ok(response) => self.answered(aimed, response.status(), response.headers(), response.extensions()),
            Err(error) => self.error(aimed, V::as_error(error)),
        }
    }

    fn timed_out(&self, _: Aimed<'_>) -> Verdict {
        self.out_of_time()
    }
}

impl<V> HttpClassify<V> {
    fn error(&self, aimed: Aimed<'_>, error: &(dyn Error + 'static)) -> Verdict {
        let Some(reqwests) = reqwests(error) else { return self.failed(trouble(error), error) };
        // Below its own words, which tell the URL.
        let below = reqwests.source().unwrap_or(&Silent);
        let trouble = trouble(below);
        if reqwests.is_builder() {
            return Verdict::callers_fault().because(Why::Other(format!("never sent: {}", words(below)).into()));
        }
        if let Some(status) = reqwests.status() {
            let mut verdict = self.answered(aimed, status, &HeaderMap::new(), &Extensions::new());
            // It was an answer, though it is an `Err` by now; that of a failed model stays evidence.
            if matches!(verdict.charge, Charge::Success | Charge::Nobody) {
                verdict.vouches = verdict.vouches.or(Some(Vouches::Fully));
            }
            return verdict;
        }
        match trouble {
            Trouble::Local => self.failed(Trouble::Local, below),
            _ if reqwests.is_connect() => self.failed(Trouble::Connect, below),
            _ if reqwests.is_timeout() => self.out_of_time(),
            trouble => self.failed(trouble, below),
        }
    }
}

/// reqwest's own error, however deep below those of layers and middlewares.
fn reqwests<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ::reqwest::Error> {
    chain(error).find_map(|error| error.downcast_ref().or_else(|| below_middlewares(error)))
}

/// The error of reqwest-middleware speaks with the mouth of the one inside, which is thus no source of it.
#[cfg(feature = "reqwest-middleware")]
fn below_middlewares<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a ::reqwest::Error> {
    match error.downcast_ref()? {
        ::reqwest_middleware::Error::Reqwest(error) => Some(error),
        ::reqwest_middleware::Error::Middleware(error) => reqwests(error.as_ref()),
    }
}

#[cfg(not(feature = "reqwest-middleware"))]
fn below_middlewares<'a>(_: &'a (dyn Error + 'static)) -> Option<&'a ::reqwest::Error> {
    None
}

/// The source of an error that has none.
#[derive(Debug)]
struct Silent;

impl std::fmt::Display for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("for no reason given")
    }
}

impl Error for Silent {}
