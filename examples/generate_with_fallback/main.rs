//! What the classic helper of every blog post does, but with breakers: asks the chosen model first, then the others,
//! warns of each failure, and says in the end which model made the picture, or why none did.
//!
//! `cargo run --example generate_with_fallback -- --primary sdxl "a dashboard"`
//!
//! It brings its own upstreams on loopback. `--down sdxl,flux-schnell` says which of their models are down; `all` is
//! allowed. The code to copy is in `generate.rs`.

#![allow(unreachable_pub, reason = "modules of a program")]

mod generate;
mod upstream;

use std::{env, process::ExitCode};

const USAGE: &str = "usage: generate_with_fallback [--primary MODEL] [--down MODEL,MODEL,…|all] PROMPT";

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    match run().await {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<String, Box<dyn std::error::Error>> {
    let (mut primary, mut down, mut prompt) = ("flux-schnell".to_owned(), "sdxl,flux-schnell".to_owned(), None);
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--primary" => primary = arguments.next().ok_or(USAGE)?,
            "--down" => down = arguments.next().ok_or(USAGE)?,
            option if option.starts_with("--") => return Err(USAGE.into()),
            _ => prompt = Some(argument),
        }
    }
    let prompt = prompt.ok_or(USAGE)?;
    let nexa = upstream::start(&down).await?;
    let openai = upstream::start(&down).await?;
    let client = generate::client(&nexa, &openai)?;
    generate::generate_with_fallback(&client, &prompt, &primary).await
}
