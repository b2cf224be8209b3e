//! The service.

use super::{accept::wants_page, json, page};
use crate::models::Models;
use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
    },
};
use http_body_util::Full;
use std::{
    convert::Infallible,
    future::{Ready, ready},
    task::{Context, Poll},
};
use tower::Service;

/// Shows how everybody is; see the [module](super).
///
/// Always ready, and never fails. Answers `GET` and `HEAD`, whatever the path; any other method is a 405.
#[derive(Debug, Clone)]
pub struct Status {
    models: Models,
}

impl Status {
    /// The status of these models, without that of their keys. For one key, give it what [`Models::for_key`] gives.
    pub fn new(models: Models) -> Self {
        Self { models }
    }

    fn respond(&self, method: &Method, page: bool) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(VARY, HeaderValue::from_static("accept"));
        if !matches!(*method, Method::GET | Method::HEAD) {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            return response;
        }
        let (snapshot, history) = self.models.status();
        let body = if page {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
            headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY));
            page::page(&snapshot, &history)
        } else {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            json::json(&snapshot, &history).to_string()
        };
        if *method == Method::GET {
            *response.body_mut() = Full::from(body);
        }
        response
    }
}

impl<B> Service<Request<B>> for Status {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(request.method(), wants_page(request.headers()))))
    }
}
