//! Answers of the gateway's own: OpenAI's error object.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use std::time::Duration;
use tower_failover::{Error, HttpFinish, PlanError, Served};

/// An error that the gateway says itself. It shows names of models, and nothing else of what is behind.
#[derive(Debug)]
pub struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_in: Option<Duration>,
    attempts: Option<usize>,
    /// What is left of the request cannot be read.
    close: bool,
}

impl Refusal {
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_in: None, attempts: None, close: false }
    }

    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }

    pub fn saying(mut self, message: &str) -> Self {
        message.clone_into(&mut self.message);
        self
    }

    pub fn close(mut self) -> Self {
        self.close = true;
        self
    }

    /// No answer from anybody: the client may come again when the first of those that were skipped is back.
    pub fn failed(status: StatusCode, code: &'static str, message: &str, served: &Served) -> Self {
        let names: Vec<_> = served.candidates().map(|candidate| candidate.model.name().to_owned()).collect();
        Self {
            retry_in: Some(served.retry_in().unwrap_or_default()),
            attempts: Some(served.attempts()),
            ..Self::new(status, code, format!("{message}: {}", names.join(", ")))
        }
    }

    /// What the engine says. The list is the one that the request brought, if it did.
    pub fn engine<E>(error: &Error<E>, listed: bool) -> Self {
        match error {
            Error::Plan(PlanError::Unknown(unknown)) if !listed => {
                Self::new(StatusCode::NOT_FOUND, "model_not_found", unknown.to_string())
            }
            Error::Plan(error) => Self::bad_request("invalid_models", error.to_string()),
            Error::Aim { .. } => Self::bad_request("invalid_request", "the request cannot be passed on"),
            Error::TimedOut { served, .. } => {
                Self::failed(StatusCode::GATEWAY_TIMEOUT, "timed_out", "no model answered in time", served)
            }
            Error::Unavailable { served, .. } => {
                Self::failed(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "no model can be asked now", served)
            }
            other => match other.served() {
                Some(served) => Self::failed(StatusCode::BAD_GATEWAY, "all_failed", "every model failed", served),
                None => Self::new(StatusCode::BAD_GATEWAY, "all_failed", "every model failed"),
            },
        }
    }
}

/// In whole seconds, rounded up, at least one.
pub fn retry_after(retry_in: Duration) -> HeaderValue {
    HeaderValue::from((retry_in.as_nanos().div_ceil(1_000_000_000) as u64).max(1))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let kind = if self.status.is_server_error() { "server_error" } else { "invalid_request_error" };
        let error = json!({ "message": self.message, "type": kind, "param": null, "code": self.code });
        let mut response = Response::new(Body::from(json!({ "error": error }).to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(retry_in) = self.retry_in {
            headers.insert(header::RETRY_AFTER, retry_after(retry_in));
        }
        if let Some(attempts) = self.attempts {
            headers.insert(HttpFinish::ATTEMPTS, attempts.into());
        }
        if self.close {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_seconds_rounded_up_at_least_one() {
        for (ms, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            assert_eq!(retry_after(Duration::from_millis(ms)), seconds.to_string());
        }
    }
}
