//! The examples do what they say.

#![cfg(feature = "reqwest-middleware")]
#![allow(unreachable_pub, dead_code, clippy::duplicate_mod, reason = "modules of programs, which share one")]

#[path = "../examples/balance.rs"]
mod balance_example;
#[path = "../examples/reqwest.rs"]
mod reqwest_example;
#[path = "../examples/reqwest_middleware.rs"]
mod reqwest_middleware_example;
#[path = "../examples/streaming.rs"]
mod streaming_example;

use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn balance() {
    let [east, west, north] = balance_example::run().await.expect("all calls are made").map(|(_, health)| health);
    assert_eq!(east.calls + west.calls + north.calls, 1_000);
    assert!(east.score > 0.98 && west.score > 0.98 && (0.3..0.7).contains(&north.score), "{}", north.score);
    assert!(north.calls * 3 < east.calls + west.calls, "{} of 1000", north.calls);
    assert!(north.calls > 50, "it sees some still: {}", north.calls);
}

#[tokio::test]
async fn reqwest() {
    let line = reqwest_example::run().await.expect("a picture");
    assert!(line.starts_with(r#""https://images.example/dall-e-3/1.png" (flux-schnell: status 503"#), "{line}");
}

#[tokio::test]
async fn reqwest_middleware() {
    let line = reqwest_middleware_example::run().await.expect("a picture");
    assert!(line.starts_with(r#""https://images.example/dall-e-3/1.png" (sdxl: status 503"#), "{line}");
}

#[tokio::test]
async fn streaming() {
    let (mut tokens, mut times) = (Vec::new(), Vec::new());
    let print = |token: &str| {
        tokens.push(token.to_owned());
        times.push(Instant::now());
    };
    let served = streaming_example::run(print).await.expect("a stream");
    assert_eq!(tokens.join(" "), "Here comes one word at a time.");
    assert!(served.to_string().starts_with("llama: broken off: "), "{served}");
    assert_eq!((served.attempts(), served.model().map(|model| model.name())), (2, Some("gpt")));
    // The server lets 50 ms go by after each.
    let late = times[tokens.len() - 1] - times[0];
    assert!(late >= Duration::from_millis(200), "all at once: {late:?}");
}
