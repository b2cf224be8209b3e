//! reqwest's responses as HTTP's own, and back.

use ::reqwest::{Body, Response, ResponseBuilderExt, Url};

/// HTTP's own response, and the URL, for which it has no place.
pub(crate) fn into_http(response: Response) -> (Url, http::Response<Body>) {
    let url = response.url().clone();
    (url, response.into())
}

/// reqwest's response with this URL. All else stays: version, headers, extensions (the remote address is one), and of
/// the body its frames, trailers and size hint.
pub(crate) fn from_http<B>(url: Url, response: http::Response<B>) -> Response
where
    B: http_body::Body + Send + Sync + 'static,
    B::Data: Into<bytes::Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut response = response.map(Body::wrap);
    // The extension by which reqwest hands on a URL is nobody's but its own; only its builder makes one.
    if let Some(made) = http::Response::builder().url(url).extensions_mut() {
        response.extensions_mut().extend(std::mem::take(made));
    }
    response.into()
}
