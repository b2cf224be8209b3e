//! What both clients share, and the one of the two that people write by hand: a loop over the
//! models with a timeout for each, which forgets everything with the request.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::schedule::{MODELS, Model, PROVIDERS};

/// How long one model may take.
pub const ATTEMPT: Duration = Duration::from_secs(1);
/// How long one request may take in all.
pub const TOTAL: Duration = Duration::from_secs(4);
const CONNECT: Duration = Duration::from_millis(500);

/// What one request came to, as the client saw it.
#[derive(Default)]
pub struct Outcome {
    /// Index of the model.
    pub answered_by: Option<usize>,
    /// In the order in which they were begun.
    pub attempts: Vec<Try>,
    /// Dollars.
    pub cost: f64,
}

/// One call to one model.
pub struct Try {
    pub model: usize,
    /// When it was begun, since the start of the run.
    pub at: Duration,
    /// Why it came to nothing, if it did.
    pub error: Option<String>,
    /// It never got a connection, so that no server can know of it.
    pub connect_error: bool,
}

/// Why a call came to nothing.
pub struct Failure {
    pub reason: String,
    pub connect: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Self { reason: cause.to_string(), connect: error.is_connect() }
    }
}

/// A client's way to its own servers.
pub struct Wire {
    pub http: Client<HttpConnector, Full<Bytes>>,
    /// The base URL of each provider.
    pub bases: [String; PROVIDERS.len()],
    /// The start of the run.
    pub start: Instant,
}

impl Wire {
    pub fn new(bases: [String; PROVIDERS.len()], start: Instant) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let http = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { http, bases, start }
    }

    /// Time since the start of the run.
    pub fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.start)
    }

    /// The request for a picture by `model`.
    pub fn request(&self, model: usize) -> Request<Full<Bytes>> {
        let Model { name, provider, .. } = MODELS[model];
        let body = json!({
            "model": name,
            "prompt": "a dashboard, dark, isometric",
            "width": 1024,
            "height": 1024,
        });
        Request::builder()
            .method(Method::POST)
            .uri(format!("{}/v1/images", self.bases[provider]))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body.to_string()))
            .expect("the base URL is the address of a server of ours")
    }

    /// Asks `model` and reads the answer to its end.
    pub async fn call(&self, model: usize) -> Result<Bytes, Failure> {
        let response = self.http.request(self.request(model)).await?;
        let status = response.status();
        let body = response.into_body().collect().await;
        if !status.is_success() {
            return Err(Failure { reason: status.to_string(), connect: false });
        }
        let body = body.map_err(|error| Failure { reason: error.to_string(), connect: false })?;
        Ok(body.to_bytes())
    }
}

/// The loop: each model in order, whatever happened to the request before.
pub async fn loop_once(wire: &Wire) -> Outcome {
    let deadline = Instant::now() + TOTAL;
    let mut outcome = Outcome::default();
    for (model, Model { cost, .. }) in MODELS.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let at = wire.now();
        let result = call_within(wire, model, left.min(ATTEMPT)).await;
        let failure = result.err();
        let answered = failure.is_none();
        outcome.attempts.push(Try {
            model,
            at,
            connect_error: failure.as_ref().is_some_and(|failure| failure.connect),
            error: failure.map(|failure| failure.reason),
        });
        if answered {
            outcome.answered_by = Some(model);
            outcome.cost += cost;
            break;
        }
    }
    outcome
}

/// [`Wire::call`] with a timeout.
async fn call_within(wire: &Wire, model: usize, limit: Duration) -> Result<Bytes, Failure> {
    timeout(limit, wire.call(model))
        .await
        .unwrap_or_else(|_| Err(Failure { reason: "timed out".to_owned(), connect: false }))
}
