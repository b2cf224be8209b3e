//! An answer that streams, over two providers on loopback, one of which dies before its first token.
//!
//! `cargo run --example streaming`

#[path = "streaming/upstream.rs"]
#[allow(unreachable_pub, reason = "a module of a program")]
mod upstream;

use std::{error::Error, io::Write};
use tower::{ServiceBuilder, ServiceExt};
use tower_failover::{FailoverLayer, HttpFinish, Model, Models, Provider, ReadAheadLayer, Served};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let print = |token: &str| {
        print!("{token} ");
        let _ = std::io::stdout().flush();
    };
    println!("\n({})", run(print).await?);
    Ok(())
}

pub(crate) async fn run(mut print: impl FnMut(&str)) -> Result<Served, Box<dyn Error>> {
    let nexa = upstream::start(&[]).await?;
    let openai = upstream::start(&["Here", "comes", "one", "word", "at", "a", "time."]).await?;
    let models = Models::builder()
        .provider(Provider::new("nexa").base_url(nexa))
        .provider(Provider::new("openai").base_url(openai))
        .model(Model::new("llama", "nexa"))
        .model(Model::new("gpt", "openai"))
        .build()?;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
    let client = ServiceBuilder::new()
        .layer(FailoverLayer::reqwest_json(models).finish(HttpFinish::new().watched()).build()?)
        .layer(ReadAheadLayer::new().first_event().error_bodies())
        .service(http.clone());

    let request = http.post("http://models/chat").body(r#"{"model": "", "stream": true}"#).build()?;
    let mut response = client.oneshot(request).await?.error_for_status()?;
    let mut unread = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        unread.extend_from_slice(&chunk);
        while let Some(end) = unread.windows(2).position(|bytes| bytes == b"\n\n") {
            let event: Vec<u8> = unread.drain(..end + 2).collect();
            print(String::from_utf8_lossy(&event).trim_start_matches("data: ").trim_end());
        }
    }
    Ok(response.extensions().get::<Served>().ok_or("every response has it")?.clone())
}
