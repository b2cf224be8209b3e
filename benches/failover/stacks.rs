//! The stacks: a client, a primary, a fallback and a timeout for each attempt, as each crate's documentation puts them
//! together, each with the memory of its own that it is born with. All of them take a 5xx for a failure.

use crate::contender::{Contender, Http, Request, below, request};
use http::{Response, Uri};
use hyper::body::Incoming;
use std::{
    future::{Ready, ready},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, retry::Policy};
use tower_failover::{FailoverLayer, Model, Models, Provider};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;
use tower_resilience_fallback::FallbackLayer;
use tower_resilience_timelimiter::TimeLimiterLayer;

/// The base URLs to ask, in this order, and how long each may take.
pub(crate) struct Upstreams<'a> {
    pub(crate) primary: &'a Uri,
    pub(crate) fallback: &'a Uri,
    pub(crate) attempt: Duration,
}

/// One of each, newly made.
pub(crate) fn all(client: &Http, upstreams: &Upstreams<'_>) -> Vec<Contender> {
    vec![
        failover(client, upstreams),
        resilience(client, upstreams),
        retry(client, upstreams),
        hand_written(client, upstreams),
    ]
}

/// Three models at two base URLs.
fn failover(client: &Http, upstreams: &Upstreams<'_>) -> Contender {
    let models = Models::builder()
        .provider(Provider::new("nexa").base_url(upstreams.primary.to_string()))
        .provider(Provider::new("openai").base_url(upstreams.fallback.to_string()))
        .model(Model::new("flux-schnell", "nexa"))
        .model(Model::new("dall-e-3", "openai"))
        .model(Model::new("gpt-image-1", "openai"))
        .build()
        .expect("names are unique");
    let layer = FailoverLayer::http(models).attempt_timeout(upstreams.attempt).build().expect("a timeout");
    let path = Uri::from_static(crate::contender::PATH);
    Contender::service("tower-failover", layer.layer(client.clone()), request(path))
}

/// A fallback around a breaker around a time limiter. The breaker is its preset `standard`: half of the last 100 calls.
fn resilience(client: &Http, upstreams: &Upstreams<'_>) -> Contender {
    let limiter = TimeLimiterLayer::builder().timeout_duration(upstreams.attempt).build();
    let at = |base: &Uri| {
        let (client, uri) = (client.clone(), below(base));
        let client = client.map_request(move |mut request: Request| {
            *request.uri_mut() = uri.clone();
            request
        });
        limiter.layer(client)
    };
    let breaker = CircuitBreakerLayer::standard()
        .failure_classifier(|result: &Result<Response<Incoming>, _>| result.as_ref().map_or(true, is_failure))
        .build()
        .expect("a preset");
    let primary = breaker.layer(at(upstreams.primary));
    let fallback = FallbackLayer::tower_service(at(upstreams.fallback)).handle_response(is_failure);
    Contender::service("tower-resilience", fallback.layer(primary), request(below(upstreams.primary)))
}

/// Without a budget, which would forbid most requests their second attempt while the primary is dead.
fn retry(client: &Http, upstreams: &Upstreams<'_>) -> Contender {
    let policy = NextUpstream { fallbacks: Arc::from([below(upstreams.fallback)]), asked: 0 };
    let service = ServiceBuilder::new().retry(policy).timeout(upstreams.attempt).service(client.clone());
    Contender::service("tower::retry", service, request(below(upstreams.primary)))
}

/// Retries at the next upstream.
#[derive(Clone)]
struct NextUpstream {
    fallbacks: Arc<[Uri]>,
    asked: usize,
}

impl Policy<Request, Response<Incoming>, BoxError> for NextUpstream {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        request: &mut Request,
        result: &mut Result<Response<Incoming>, BoxError>,
    ) -> Option<Self::Future> {
        if !result.as_ref().map_or(true, is_failure) {
            return None;
        }
        *request.uri_mut() = self.fallbacks.get(self.asked)?.clone();
        self.asked += 1;
        Some(ready(()))
    }

    fn clone_request(&mut self, request: &Request) -> Option<Request> {
        Some(request.clone())
    }
}

/// Each in order, with a timeout, nothing remembered.
fn hand_written(client: &Http, upstreams: &Upstreams<'_>) -> Contender {
    let uris: Arc<[Uri]> = [upstreams.primary, upstreams.fallback].map(below).into();
    let (client, attempt, first) = (client.clone(), upstreams.attempt, request(uris[0].clone()));
    Contender::new("hand-written loop", move || {
        let (client, uris, request) = (client.clone(), uris.clone(), first.clone());
        async move {
            let mut last: BoxError = "nobody to ask".into();
            for uri in uris.iter() {
                let mut request = request.clone();
                *request.uri_mut() = uri.clone();
                match timeout(attempt, client.request(request)).await {
                    Ok(Ok(response)) if !is_failure(&response) => return Ok(response),
                    Ok(Ok(response)) => last = response.status().to_string().into(),
                    Ok(Err(error)) => last = error.into(),
                    Err(elapsed) => last = elapsed.into(),
                }
            }
            Err(last)
        }
    })
}

fn is_failure(response: &Response<Incoming>) -> bool {
    response.status().is_server_error()
}
