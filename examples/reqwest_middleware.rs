//! Failover as a middleware of reqwest-middleware, over two providers on loopback, one of which is down.
//!
//! `cargo run --example reqwest_middleware`

#[path = "generate_with_fallback/upstream.rs"]
#[allow(unreachable_pub, reason = "a module of a program")]
mod upstream;

use reqwest_middleware::ClientBuilder;
use serde_json::{Value, json};
use std::error::Error;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_failover::{FailoverLayer, FailoverMiddleware, Model, Models, Plan, Provider, Served, TowerMiddleware};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    println!("{}", run().await?);
    Ok(())
}

pub(crate) async fn run() -> Result<String, Box<dyn Error>> {
    let models = Models::builder()
        .provider(Provider::new("nexa").base_url(upstream::start("all").await?))
        .provider(Provider::new("openai").base_url(upstream::start("").await?))
        .model(Model::new("flux-schnell", "nexa"))
        .model(Model::new("sdxl", "nexa"))
        .model(Model::new("dall-e-3", "openai").field("quality", "hd"))
        .build()?;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
    let client = ClientBuilder::new(http)
        // What stands here sees one request and one answer: at most 64 requests at a time.
        .with(TowerMiddleware::new(GlobalConcurrencyLimitLayer::new(64)))
        .with(FailoverMiddleware::new(FailoverLayer::reqwest_json(models).build()?))
        // What stands here sees each attempt: a trace, a signature.
        .build();

    // The host is that of the model's provider, whatever is written here.
    let request = client.post("http://models/images").json(&json!({"model": "", "prompt": "a dashboard"}));
    let response = request.with_extension(Plan::new().first("sdxl")).send().await?;

    let served = response.extensions().get::<Served>().ok_or("every response has it")?.clone();
    let picture: Value = response.error_for_status()?.json().await?;
    Ok(format!("{} ({served})", picture["url"]))
}
