//! The health score alone, around any service, and a load metric that knows of failures.
//!
//! A balancer that goes by latency or by calls under way alone sends most to an endpoint that fails quickly: it answers
//! at once, and is never busy ([linkerd2-proxy met it][biaser]). [`HealthLayer`] counts what comes of the calls to one
//! endpoint into the same score as the [failover](crate::failover) engine has for a model, and [`Cost`] divides by it.
//! (Latency never counts in this score, as it does in the cost.)
//! With the feature `load`, [`Health`] is a tower `load::Load` by that cost, for `tower::balance::p2c`.
//!
//! Each endpoint has a layer of its own, which needs no [`Models`](crate::Models): endpoints of a balancer come and go.
//! The layer is the endpoint's handle too. Clones of it, and all services that it makes, are one endpoint.
//!
//! A call is counted once, by its [`Verdict`](crate::Verdict):
//!
//! - a success, and a failure, by its [charge](crate::Charge). The endpoint is its own provider: what would be charged to
//!   that, or to its credential, is a failure of the endpoint. What is nobody's fault adds nothing.
//! - A panic that unwinds through the call is a failure.
//! - A call that is dropped undecided adds nothing. But one that has waited for [`HANG_MULTIPLE`] times what a success
//!   usually takes, and for [`HANG_FLOOR`] at least, while no call begun later has been answered, was hanging: that is a
//!   failure.
//!
//! Nothing is refused, cooldowns are not kept, and readiness is that of the service inside, uncounted. A call is in flight
//! until its response comes, and not until the end of the response's body. A
//! [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) keeps calls from an endpoint that is down; put it inside, and what
//! it refuses counts as failures here.
//!
//! ```
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_failover::{HealthLayer, Tier};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let layer = HealthLayer::new("east");
//! let mut east = layer.layer(service_fn(|n: u32| async move {
//!     if n % 2 == 0 { Ok(n) } else { Err(std::io::Error::other("odd")) }
//! }));
//! for n in 0..10 {
//!     let _ = east.ready().await?.call(n).await;
//! }
//! let health = layer.snapshot();
//! // Five of ten, and the prior: 95 % of five.
//! assert!((health.score - (5.0 + 0.95 * 5.0) / (10.0 + 5.0)).abs() < 0.01);
//! assert_eq!(health.tier, Tier::Degraded);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`HANG_MULTIPLE`]: crate::defaults::HANG_MULTIPLE
//! [`HANG_FLOOR`]: crate::defaults::HANG_FLOOR
//! [biaser]: https://github.com/linkerd/linkerd2-proxy/pull/4537

mod call;
mod cost;
mod endpoint;
mod future;
mod layer;
mod service;

pub use cost::Cost;
pub use endpoint::{DEFAULT_LATENCY, HealthSnapshot};
pub use future::ResponseFuture;
pub use layer::HealthLayer;
pub use service::Health;
