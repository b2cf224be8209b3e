//! A provider on loopback, some of whose models are down.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::{io, sync::Arc};
use tokio::net::TcpListener;

/// Starts a provider and gives its base URL. `down` is a list of models, or `all`.
pub async fn start(down: &str) -> io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let down: Arc<str> = down.into();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let down = Arc::clone(&down);
            let service = service_fn(move |request| answer(request, Arc::clone(&down)));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(format!("http://{address}/v1"))
}

async fn answer(request: Request<Incoming>, down: Arc<str>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    let model = asked["model"].as_str().unwrap_or_default();
    let is_down = &*down == "all" || down.split(',').any(|name| name == model);
    let (status, body) = if is_down {
        (StatusCode::SERVICE_UNAVAILABLE, json!({"error": "overloaded"}))
    } else {
        (StatusCode::OK, json!({"url": format!("https://images.example/{model}/1.png")}))
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    Ok(response)
}
