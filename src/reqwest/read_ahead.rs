//! Reading ahead in reqwest's own responses.

use super::response::{from_http, into_http};
use crate::{
    Resumed,
    classify::transport::words,
    read_ahead::response::{Response as Readable, sealed::Sealed},
};
use ::reqwest::{Body, Error, Response, Url};
use http::response::Parts;
use std::error::Error as _;

impl Sealed for Response {
    type Rest = Url;
}

impl Readable for Response {
    type Body = Body;
    type Resumed = Response;

    fn apart(self) -> (Parts, Body, Url) {
        let (url, response) = into_http(self);
        let (parts, body) = response.into_parts();
        (parts, body, url)
    }

    fn together(parts: Parts, body: Resumed<Body>, url: Url) -> Response {
        from_http(url, http::Response::from_parts(parts, body))
    }

    /// What lies below reqwest's own words, for these may tell the URL.
    fn words(error: &Error) -> Box<str> {
        error.source().map_or_else(|| "broken off".into(), words)
    }
}
