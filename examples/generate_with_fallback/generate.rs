//! The whole of it, to be copied: the chosen model first, then the list, each behind its breaker.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use serde_json::{Value, json};
use std::error::Error;
use tower::{Layer, ServiceExt};
use tower_failover::{FailoverLayer, HttpAim, HttpFailover, JsonFields, Model, Models, Plan, Provider, Served};

pub type Client = HttpFailover<legacy::Client<HttpConnector, Full<Bytes>>, HttpAim<JsonFields>>;

pub fn client(nexa: &str, openai: &str) -> Result<Client, Box<dyn Error>> {
    let models = Models::builder()
        .provider(Provider::new("nexa").base_url(nexa))
        .provider(Provider::new("openai").base_url(openai))
        .model(Model::new("flux-schnell", "nexa"))
        .model(Model::new("flux-dev", "nexa"))
        .model(Model::new("sdxl", "nexa"))
        .model(Model::new("dall-e-3", "openai"))
        .build()?;
    let http = legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    Ok(FailoverLayer::json(models).max_attempts(4).build()?.layer(http))
}

pub async fn generate_with_fallback(client: &Client, prompt: &str, primary: &str) -> Result<String, Box<dyn Error>> {
    let body = json!({"model": primary, "prompt": prompt}).to_string();
    let mut request = Request::post("/images").body(Full::from(body))?;
    request.extensions_mut().insert(Plan::new().first(primary));
    let response = client.clone().oneshot(request).await?;
    let served = response.extensions().get::<Served>().ok_or("every response has it")?.clone();
    if !response.status().is_success() {
        return Err(format!("all models failed: {served}").into());
    }
    let answer: Value = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
    Ok(format!("{} made by {}", answer["url"].as_str().unwrap_or("?"), served.model().map_or("?", Model::name)))
}
