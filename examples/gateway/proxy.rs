//! One request on its way through the gateway.

use super::{
    asked::{self, Asked},
    clients::Clients,
    headers::remove_hop_by_hop,
    refusal::{Refusal, retry_after},
};
use axum::{body::Body, extract::State, response::IntoResponse};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use std::sync::Arc;
use tokio::time::timeout;
use tower::ServiceExt;
use tower_failover::{HttpFinish, Plan, Served};

/// The header with the name of the provider that answered.
pub const PROVIDER: HeaderName = HeaderName::from_static("x-failover-provider");

/// Answers one request.
pub async fn pass(State(clients): State<Arc<Clients>>, request: Request<Body>) -> Response<Body> {
    answer(&clients, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn answer(clients: &Clients, request: Request<Body>) -> Result<Response<Body>, Refusal> {
    let (mut parts, body) = request.into_parts();
    if parts.method == Method::CONNECT {
        return Err(Refusal::bad_request("invalid_method", "CONNECT is not passed on"));
    }
    parts.uri = asked::path(&parts.uri)
        .ok_or_else(|| Refusal::bad_request("invalid_path", "the path must not have segments of dots"))?;
    let listed = asked::list(&parts.headers)
        .map_err(|()| Refusal::bad_request("invalid_models", format!("{} is no text", asked::MODELS)))?;
    let body = read(clients, body).await?;
    clean(&mut parts.headers, body.len());
    match (asked::model(&body), listed) {
        (Asked::Model(model), listed) => guarded(clients, parts, body, &model, listed).await,
        (Asked::NoName, _) => Err(Refusal::bad_request("invalid_model", "the model must be a string")),
        (Asked::Nothing, None) => unguarded(clients, parts, body).await,
        (Asked::Nothing, Some(_)) => {
            let message = format!("{} goes with a JSON body that has a model", asked::MODELS);
            Err(Refusal::bad_request("invalid_models", message))
        }
    }
}

/// The whole body, so that it can be sent again.
async fn read(clients: &Clients, body: Body) -> Result<Bytes, Refusal> {
    let settings = clients.settings();
    let too_long = || {
        let message = format!("the body must not have more than {} bytes", settings.max_body);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", message).close()
    };
    if http_body::Body::size_hint(&body).lower() > settings.max_body as u64 {
        return Err(too_long());
    }
    match timeout(settings.upload_timeout, Limited::new(body, settings.max_body).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
        Ok(Err(_)) => Err(Refusal::bad_request("invalid_body", "the body could not be read").close()),
        Err(_) => {
            let message = "the body did not come in time";
            Err(Refusal::new(StatusCode::REQUEST_TIMEOUT, "upload_too_slow", message).close())
        }
    }
}

/// What was for the gateway stays here.
fn clean(headers: &mut HeaderMap, length: usize) {
    remove_hop_by_hop(headers);
    for name in [header::HOST, header::EXPECT, asked::MODELS] {
        headers.remove(name);
    }
    // The body is no stream any more: what it was sent as does not matter.
    if headers.contains_key(header::CONTENT_LENGTH) || length > 0 {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
}

async fn guarded(
    clients: &Clients,
    mut parts: Parts,
    body: Bytes,
    model: &str,
    listed: Option<Vec<String>>,
) -> Result<Response<Body>, Refusal> {
    // What is compressed cannot be read ahead.
    parts.headers.remove(header::ACCEPT_ENCODING);
    let has_list = listed.is_some();
    parts.extensions.insert(match listed {
        Some(names) => Plan::new().models(names),
        None => Plan::new().first(model),
    });
    let request = Request::from_parts(parts, Full::new(body));
    let response = clients.guarded().oneshot(request).await;
    finish(response.map_err(|error| Refusal::engine(&error, has_list))?)
}

async fn unguarded(clients: &Clients, parts: Parts, body: Bytes) -> Result<Response<Body>, Refusal> {
    let (method, path) = (parts.method.clone(), parts.uri.path().to_owned());
    let request = Request::from_parts(parts, Full::new(body));
    let response = clients.unguarded().oneshot(request).await;
    let served = match &response {
        Ok(response) => response.extensions().get::<Served>(),
        Err(error) => error.served(),
    };
    let served = served.map(ToString::to_string).unwrap_or_default();
    tracing::info!(%method, path, served, "without a model: passed once to the first provider, unguarded");
    let response = response.map_err(|error| Refusal::engine(&error, false));
    let mut response = response.and_then(finish).map_err(|error| error.saying("the provider has failed"))?;
    response.headers_mut().remove(HttpFinish::MODEL);
    Ok(response)
}

/// Says who served. The last failure of all is passed on as it came, if it is one that a client can read.
fn finish(mut response: Response<Body>) -> Result<Response<Body>, Refusal> {
    remove_hop_by_hop(response.headers_mut());
    // It speaks of the provider's own host.
    response.headers_mut().remove(header::ALT_SVC);
    let Some(served) = response.extensions_mut().remove::<Served>() else { return Ok(response) };
    if served.all_failed() && (response.status().is_success() || !is_json(response.headers())) {
        let status = if response.status().is_success() { StatusCode::BAD_GATEWAY } else { response.status() };
        return Err(Refusal::failed(status, "all_failed", "every model failed", &served));
    }
    let provider = served.model().and_then(|model| HeaderValue::from_str(model.provider()).ok());
    let failed = response.status().is_server_error() && served.all_failed();
    let headers = response.headers_mut();
    headers.remove(PROVIDER);
    headers.extend(provider.map(|provider| (PROVIDER, provider)));
    if failed && !headers.contains_key(header::RETRY_AFTER) {
        headers.insert(header::RETRY_AFTER, retry_after(served.retry_in().unwrap_or_default()));
    }
    Ok(response)
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json")
}
