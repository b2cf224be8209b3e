//! The circuit breaker alone, around any service: for one fixed model, for one that the request names, or for a key that
//! is taken from the request, such as its host.
//!
//! It is the same breaker as the [failover](crate::failover) engine's, on the same registry: whoever shares the
//! [`Models`](crate::Models) shares its state. A call takes a permit from the model's breaker and its provider's, and
//! one [`Verdict`](crate::Verdict) settles both.
//!
//! There is no timer in here. A service that hangs still opens its breaker when somebody else's timer drops the calls:
//! one dropped after three times what the model usually takes, and after a second at least, was hanging and has failed.
//!
//! ```
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_failover::{CircuitBreakerLayer, Command, Model, Models, Provider, circuit_breaker::Error};
//!
//! # tokio_test(async {
//! let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build()?;
//! let client = service_fn(|prompt: &'static str| async move { Ok::<_, std::io::Error>(prompt.len()) });
//!
//! let mut client = CircuitBreakerLayer::new(models.clone(), "sdxl")?.layer(client);
//! assert_eq!(client.ready().await?.call("a dashboard").await?, 11);
//!
//! models.command("sdxl", Command::ForceOpen)?;
//! let refused = client.ready().await?.call("a dashboard").await.unwrap_err();
//! assert!(matches!(refused, Error::Rejected(rejected) if rejected.model().name() == "sdxl"));
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! # fn tokio_test<T>(f: impl Future<Output = T>) -> T {
//! #     tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(f)
//! # }
//! ```

mod error;
mod future;
mod layer;
mod service;

pub use error::{Error, Rejected};
pub use future::ResponseFuture;
pub use layer::CircuitBreakerLayer;
pub use service::{CircuitBreaker, Fixed, Keyed, Named};
