//! First byte, then commit: the beginning of a response, read before the response is handed on.
//!
//! An answer that streams is good as long as it has not begun: `200 OK` comes at once, and then the model dies before its
//! first token. [`ReadAheadLayer`], directly below the failover stack, makes an attempt last until the body has begun.
//! Until then a cut, a stall or an error in the stream fails the attempt, and the next model is asked; after it nothing
//! fails over, and nothing is buffered.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_failover::{FailoverLayer, HttpFinish, Model, Models, Provider, ReadAheadLayer, Served};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let models = Models::builder()
//!     .provider(Provider::new("nexa").base_url("http://nexa.internal"))
//!     .provider(Provider::new("openai").base_url("http://openai.internal"))
//!     .model(Model::new("small", "nexa"))
//!     .model(Model::new("gpt", "openai"))
//!     .build()?;
//! // A client, one of whose hosts gives up before the first token.
//! let client = service_fn(|request: Request<Full<_>>| async move {
//!     let events: &[u8] = match request.uri().host() {
//!         Some("nexa.internal") => b"event: error\ndata: {\"error\": {\"code\": \"server_error\"}}\n\n",
//!         _ => b"data: Hello\n\ndata: world\n\n",
//!     };
//!     let response = Response::builder().header("content-type", "text/event-stream");
//!     Ok::<_, std::io::Error>(response.body(Full::<bytes::Bytes>::from(events)).expect("a response"))
//! });
//!
//! let client = ServiceBuilder::new()
//!     .layer(FailoverLayer::json(models).finish(HttpFinish::new().watched()).build()?)
//!     .layer(ReadAheadLayer::new().first_event().error_bodies())
//!     .service(client);
//! let request = Request::post("/chat").body(Full::from(r#"{"model": "", "stream": true}"#))?;
//! let response = client.oneshot(request).await?;
//! assert_eq!(response.extensions().get::<Served>().unwrap().model().unwrap().name(), "gpt");
//! // What was read ahead is there all the same.
//! assert_eq!(response.into_body().collect().await?.to_bytes(), "data: Hello\n\ndata: world\n\n");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it reads
//!
//! - Of a 2xx answer, up to where it [commits](Commit): at the [first byte](ReadAheadLayer::first_byte), the
//!   [first event](ReadAheadLayer::first_event) that is content, or [where you say](ReadAheadLayer::until).
//! - Of a 4xx or 5xx answer, [if asked to](ReadAheadLayer::error_bodies), the whole: what an error says of itself tells
//!   "too long for this model" from a plain 400, and "no such model" from a plain 404.
//! - At most [`READ_AHEAD`], 64 KiB, and no longer than the attempt has time. Everything that was read is given back, as
//!   it came: the body of the response is a [`Resumed`](crate::Resumed) one (over reqwest, reqwest's own).
//! - An answer without a body (`204`, a `content-length` of zero) is committed to at its head.
//!
//! What came of it is an [`Opening`](crate::Opening) in the response's extensions, by which
//! [`HttpClassify`](crate::HttpClassify) judges: a body that breaks off or ends before the commit is the row
//! [`Broken`](crate::Row::Broken), one that stalls [`TimedOut`](crate::Row::TimedOut), an error in the stream
//! [`ErrorEvent`](crate::Row::ErrorEvent), unless its code says it better. When every model has failed so, the caller
//! gets the last response as it came, broken body and all, as from a client without this crate.
//!
//! # Where to put it
//!
//! Directly below [`FailoverLayer`](crate::FailoverLayer) or a [`CircuitBreakerLayer`](crate::CircuitBreakerLayer), above
//! the client. In reqwest-middleware, as `TowerMiddleware` right after the `FailoverMiddleware`. Above
//! the failover stack it comes too late to change anything. After the commit the body is watched by
//! [`HttpFinish::watched`](crate::HttpFinish::watched): use both.

mod commit;
mod events;
mod future;
mod layer;
pub(crate) mod response;
mod service;

pub use commit::{Commit, EventReader, FirstByte, FirstEvent, Head, Says, content_or_error};
pub use events::Event;
pub use future::ResponseFuture;
pub use layer::{ERROR_BODY_TIMEOUT, READ_AHEAD, ReadAheadLayer};
pub use response::Response;
pub use service::ReadAhead;
