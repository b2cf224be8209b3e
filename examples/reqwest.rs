//! Failover around a reqwest client, over two providers on loopback, one of which is down.
//!
//! `cargo run --example reqwest`

#[path = "generate_with_fallback/upstream.rs"]
#[allow(unreachable_pub, reason = "a module of a program")]
mod upstream;

use serde_json::{Value, json};
use std::{error::Error, time::Duration};
use tower::{Layer, ServiceExt};
use tower_failover::{FailoverLayer, Model, Models, Provider, Served};

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
        .model(Model::new("dall-e-3", "openai").field("quality", "hd"))
        .build()?;
    let http = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(1))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()?;
    let client = FailoverLayer::reqwest_json(models).build()?.layer(http.clone());

    // The host is that of the model's provider, whatever is written here.
    let body = json!({"model": "", "prompt": "a dashboard"});
    let request = http.post("http://models/images").json(&body).build()?;
    let response = client.clone().oneshot(request).await?;

    let served = response.extensions().get::<Served>().ok_or("every response has it")?.clone();
    let picture: Value = response.error_for_status()?.json().await?;
    Ok(format!("{} ({served})", picture["url"]))
}
