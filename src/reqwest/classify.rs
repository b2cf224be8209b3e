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
        let Some(reqwests) = reqwests(error) else {
            let mut verdict = self.failed(trouble(error), error);
            if let Why::Connect(words) | Why::Broken(words) | Why::Local(words) = &mut verdict.why {
                *words = without_urls(words);
            }
            return verdict;
        };
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
            Trouble::Local | Trouble::Upload => self.failed(trouble, below),
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

/// The words without the URLs, whose queries may hold a key: an error may speak with the mouth of reqwest's and not be
/// known for it, as one of reqwest-retry that was not retried.
fn without_urls(words: &str) -> Box<str> {
    const BEGINS: &str = " for url (";
    let mut rest = words;
    let mut without = String::with_capacity(words.len());
    while let Some((before, url)) = rest.split_once(BEGINS) {
        without.push_str(before);
        // No URL holds a blank, but what follows in brackets may be followed by a colon.
        let end = url.find(char::is_whitespace).unwrap_or(url.len());
        without.push_str(if url[..end].ends_with(':') { ":" } else { "" });
        rest = &url[end..];
    }
    (without + rest).into()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_left_out_and_nothing_else_is() {
        let rows = [
            ("reset", "reset"),
            ("error sending request for url (http://a/b?key=secret)", "error sending request"),
            ("no answer for url (http://a/?key=(secret)): reset: x", "no answer: reset: x"),
            ("one for url (http://a/?s): two for url (http://b/?s): x", "one: two: x"),
            ("cut off for url (http://a/?key=secr", "cut off"),
        ];
        for (words, left) in rows {
            assert_eq!(&*without_urls(words), left);
        }
    }
}
