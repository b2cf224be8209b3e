//! The examples do what they say.

#![cfg(feature = "reqwest-middleware")]
#![allow(unreachable_pub, dead_code, clippy::duplicate_mod, reason = "modules of programs, which share one")]

#[path = "../examples/reqwest.rs"]
mod reqwest_example;
#[path = "../examples/reqwest_middleware.rs"]
mod reqwest_middleware_example;

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
