//! A page that shows how everybody is: a service for `GET`, to be mounted in axum, hyper or any other server.
//!
//! It answers JSON, or one HTML page that refreshes itself, by the request's `accept`. It only reads: it takes no command
//! and no parameter. Whoever may see it sees the names of models and providers, their states and their last errors; no
//! credential, no header and no body is among that. Who may see it is for the server to say.
//!
//! ```
//! use bytes::Bytes;
//! use http::Request;
//! use http_body_util::{BodyExt, Empty};
//! use tower::ServiceExt;
//! use tower_failover::{Model, Models, Provider, Status};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build()?;
//! let response = Status::new(models).oneshot(Request::get("/status").body(Empty::<Bytes>::new())?).await?;
//!
//! assert_eq!(response.headers()["content-type"], "application/json");
//! let status: serde_json::Value = serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?;
//! assert_eq!(status["models"][0]["name"], "sdxl");
//! assert_eq!(status["models"][0]["state"], "closed");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accept;
mod json;
mod page;
mod service;

pub use service::Status;
