//! Bridges to [reqwest] and reqwest-middleware.
//!
//! # Around a client
//!
//! A [`reqwest::Client`] is a tower service as it is. [`FailoverLayer::reqwest`] and
//! [`FailoverLayer::reqwest_json`] make the layer around it, with the same [`HttpAim`], [`HttpClassify`] and
//! [`HttpFinish`] as for HTTP's own types: what is said there holds here.
//!
//! ```
//! use tower::{Layer, ServiceExt};
//! use tower_failover::{FailoverLayer, Model, Models, Plan, Provider, Served};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let nexa = tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
//! let models = Models::builder()
//!     .provider(Provider::new("nexa").base_url(format!("http://{nexa}/v1")))
//!     .model(Model::new("flux-schnell", "nexa"))
//!     .model(Model::new("sdxl", "nexa"))
//!     .build()?;
//! let http = reqwest::Client::builder()
//!     .connect_timeout(std::time::Duration::from_secs(1))
//!     .redirect(reqwest::redirect::Policy::none())
//!     .no_proxy()
//!     .build()?;
//! let client = FailoverLayer::reqwest_json(models).build()?.layer(http.clone());
//!
//! // The host is that of the model's provider, whatever is written here.
//! let request = http.post("http://models/images").body(r#"{"model": ""}"#).build()?;
//! // One request's own plan: a reqwest request cannot carry one, so it goes with a clone of the service.
//! let plan = Plan::new().first("sdxl").no_fallback();
//! match client.clone().plan(plan).oneshot(request).await {
//!     Ok(response) => println!("{}: {}", response.url(), response.extensions().get::<Served>().expect("Served")),
//!     Err(error) => println!("{error}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Uploads
//!
//! A body that streams (`Body::wrap_stream`, a file, a multipart form) is sent once, unless the layer is told to keep a
//! recording of it, [up to a cap](crate::Recorded): `FailoverLayer::reqwest(models).resend(Recorded::new())`. A body that
//! is there as a whole stays so, and takes the fields of [`FailoverLayer::reqwest_json`] as ever.
//!
//! # Errors
//!
//! | error of reqwest | next | blames | executed |
//! | --- | --- | --- | --- |
//! | `is_connect`: DNS, TCP, TLS, and their timeout | try next | provider | no |
//! | `is_timeout` | try next | model | maybe |
//! | `status`: made by `error_for_status` | as the status | as the status | as the status |
//! | `is_builder`: was never sent | return | nobody | no |
//! | [`ReplayError`](crate::ReplayError): the upload itself failed | return | nobody | maybe |
//! | `is_redirect`: in circles, too many, forbidden | try next | model | maybe |
//! | any other: reset, closed, garbage | try next | model | maybe |
//!
//! The first row that fits counts, out of file descriptors or local ports before all (try next, nobody, no).
//! A redirect that cannot be followed is the fault of the model that sent it, and has been executed for all we know.
//! What `Served` and the log say of an error is what lies below reqwest's own words, for these tell the URL, whose query
//! may hold a key.
//!
//! # Bodies
//!
//! [`HttpFinish::watched`] works here too, and in a stack of reqwest-middleware: the response stays reqwest's own, with
//! its URL, and however its body is read (`bytes`, `json`, `chunk`, a stream), it is watched to its end. A stall is an
//! error of which `is_timeout` is true, and which holds a [`BodyError`](crate::BodyError):
//!
//! ```
//! use std::{error::Error, time::Duration};
//! use tower_failover::{BodyError, FailoverLayer, HttpFinish, Model, Models, Provider};
//!
//! /// Whether the model fell silent in the middle of its answer, and for how long it was waited for.
//! fn stalled(error: &reqwest::Error) -> Option<Duration> {
//!     let mut below = error.source();
//!     while let Some(error) = below {
//!         if let Some(BodyError::Stalled(gap)) = error.downcast_ref::<BodyError<reqwest::Error>>() {
//!             return Some(*gap);
//!         }
//!         below = error.source();
//!     }
//!     None
//! }
//!
//! # let models =
//! #     Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build()?;
//! let watched = HttpFinish::new().watched().idle_gap(Duration::from_secs(20))?;
//! let layer = FailoverLayer::reqwest_json(models).finish(watched).build()?;
//! # let _ = (layer, stalled as fn(&reqwest::Error) -> _);
//! # Ok::<(), Box<dyn Error>>(())
//! ```
//!
//! [`ReadAheadLayer`](crate::ReadAheadLayer) works around a client of reqwest as around any other, and in a stack of
//! reqwest-middleware as `TowerMiddleware::new(ReadAheadLayer::new().first_event())`, right after the
//! `FailoverMiddleware`: until the body has begun, the next model is asked.
//!
//! # What to set at the client
//!
//! `connect_timeout`, to a second or so; redirects off, or same host only; no retries of its own, which means
//! `retry(reqwest::retry::never())` where it may speak HTTP/2: a request that is refused there it sends again. Its
//! `default_headers` and cookies are added after aiming, so keep credentials out of them: they would go to every
//! provider.

mod aim;
mod classify;
mod finish;
#[cfg(feature = "reqwest-middleware")]
mod middleware;
mod read_ahead;
mod resend;
mod response;

pub use resend::{RecordedRequest, ReqwestResend};

#[cfg(feature = "reqwest-middleware")]
pub use middleware::{FailoverMiddleware, NextFuture, NextService, TowerMiddleware};

use crate::{Failover, FailoverBuilder, FailoverLayer, HttpAim, HttpClassify, HttpFinish, JsonFields, Models, One};

/// A [`FailoverLayer`] for reqwest, to be named in a struct: as [`FailoverLayer::reqwest`] makes it, or with another aim,
/// or another way to keep a request.
pub type ReqwestFailoverLayer<A = HttpAim, R = ReqwestResend> = FailoverLayer<A, HttpClassify, R, HttpFinish>;

/// The service that a [`ReqwestFailoverLayer`] makes around a client.
pub type ReqwestFailover<A = HttpAim, S = ::reqwest::Client, R = ReqwestResend> =
    Failover<One<S>, A, HttpClassify, R, HttpFinish>;

impl FailoverLayer<HttpAim, HttpClassify, ReqwestResend, HttpFinish> {
    /// Describes a layer for `reqwest::Request` and `reqwest::Response`: base URL and credential of the provider, the
    /// [table of statuses](HttpClassify), and [`Served`](crate::Served) in the response's extensions. See the
    /// [module](crate::reqwest).
    pub fn reqwest(models: Models) -> FailoverBuilder<HttpAim, HttpClassify, ReqwestResend, HttpFinish> {
        FailoverLayer::builder(models)
            .aim(HttpAim::new())
            .classify(HttpClassify::new())
            .resend(ReqwestResend)
            .finish(HttpFinish::new())
    }

    /// The same for upstreams that read the model's name from the field `model` of a JSON body.
    pub fn reqwest_json(
        models: Models,
    ) -> FailoverBuilder<HttpAim<JsonFields>, HttpClassify, ReqwestResend, HttpFinish> {
        Self::reqwest(models).aim(HttpAim::new().json_field("model"))
    }
}
