//! The status page while a model comes and goes: after 10 s it is down for 15 s, and so again every 80 s.
//!
//! `cargo run --example status`, or `-- 127.0.0.1:8080` for an address of your choice, and open what it prints. It brings
//! its own upstream on loopback.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header::HOST};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use serde_json::Value;
use std::{env, error::Error, io, time::Duration};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use tower::{Layer, ServiceExt};
use tower_failover::{FailoverLayer, Model, Models, Provider, Status};

/// Seconds of every so many.
const DOWN: std::ops::Range<u64> = 10..25;
const EVERY: u64 = 80;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let upstream = upstream().await?;
    let models = Models::builder()
        .provider(Provider::new("nexa").base_url(&upstream))
        .provider(Provider::new("openai").base_url(&upstream))
        .model(Model::new("flux-schnell", "nexa"))
        .model(Model::new("sdxl", "nexa"))
        .model(Model::new("dall-e-3", "openai"))
        .build()?;
    tokio::spawn(ask(models.clone()));

    let listener = TcpListener::bind(address).await?;
    println!("http://{}/", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        let status = TowerToHyperService::new(Status::new(models.clone()));
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), status));
    }
}

/// Twenty requests a second.
async fn ask(models: Models) -> Result<(), Box<dyn Error + Send + Sync>> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let client = FailoverLayer::json(models).build()?.layer(client);
    loop {
        let request = Request::post("/images").header(HOST, "models").body(Full::from(r#"{"model": ""}"#))?;
        let client = client.clone();
        tokio::spawn(async move { client.oneshot(request).await.map(drop) });
        sleep(Duration::from_millis(50)).await;
    }
}

/// Starts an upstream whose `flux-schnell` comes and goes.
async fn upstream() -> io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let (address, began) = (listener.local_addr()?, Instant::now());
    let answer = move |request: Request<Incoming>| async move {
        let body = request.into_body().collect().await?.to_bytes();
        let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
        let down = asked["model"] == "flux-schnell" && DOWN.contains(&(began.elapsed().as_secs() % EVERY));
        sleep(Duration::from_millis(30)).await;
        let mut response = Response::new(Full::<Bytes>::from("{}"));
        *response.status_mut() = if down { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        Ok::<_, hyper::Error>(response)
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
        }
    });
    Ok(format!("http://{address}"))
}
