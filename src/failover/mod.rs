//! The engine: ordered fallback over models, inside one deadline.
//!
//! # The way of a request
//!
//! For each candidate, in the caller's order: **peek** (a model whose breaker would refuse costs nothing but a look) ▶
//! the **client** for this model, a clone of its own ▶ its **readiness** ▶ the **permit**, from the model's breaker and
//! its provider's ▶ **aim** ▶ **call**, with a timer ▶ one [`Verdict`](crate::Verdict), which settles the permit. If it
//! says *try next*, and the request may be sent again, the next candidate is looked at; else the result is the answer.
//!
//! Whoever owns the timer owns the permit: a timer in a layer of its own would drop the call and leave the breaker
//! blind. So attempt timeout and deadline are set here, and no `tower::timeout` is needed below.
//!
//! # Who is asked
//!
//! - A model whose breaker, or whose provider's, is open is skipped. So is one that is cooling down, one whose failover
//!   budget is used up, and one that would cost more than the request may.
//! - Within one request, a provider that was blamed, timed out or reset is asked again only when no other is left.
//! - At most [`MAX_ATTEMPTS`] models are asked, none of them twice.
//! - One that has as many calls under way [as it may](crate::Model::max_in_flight) is skipped, which is nobody's fault.
//! - When nobody can be asked the answer comes at once, and says why for each, unless it is to
//!   [wait](crate::WhenUnavailable::Wait). But one request a second for each
//!   provider goes through all the same, to the open model that has not been asked for longest, so that an outage never
//!   outlives itself by an open wait. It never goes into a cooldown or a forced-open. The first that is answered closes its
//!   breaker, and lets every other be probed.
//! - An open wait that has doubled ends early when a [thousand](crate::defaults::EARLY_PROBE_AFTER) requests have gone
//!   elsewhere meanwhile: one probe among them is felt by nobody. It is never shorter than the first wait.
//!
//! # In which order
//!
//! The caller's, inside tiers: *healthy* models, then *degraded* ones, then *suspect* ones.
//!
//! - A model's **score** is how likely its next call is to succeed, by what came of the last ones: those of the last
//!   minute, and of a busy model the last hundred. Below [0.70](crate::defaults::DEGRADED_BELOW) it becomes degraded, and
//!   healthy again once it has held [0.85](crate::defaults::HEALTHY_FROM) for 10 s. A degraded one still sees every
//!   fiftieth request, and one in 30 s, so that its recovery is noticed.
//! - Latency counts in the score of a model that is [told so](crate::Model::latency_counts): one that has become
//!   more than three times slower than usual is degraded, although it never fails. Less than that changes no place.
//! - A model is **suspect** when at least [five](crate::defaults::SUSPECT_CALLS) calls to it should have been answered
//!   long ago, and none begun later has been: it hangs, and that is known before any of them has run out of time. Any such
//!   answer clears it.
//! - After a breaker that had tripped has closed, traffic returns over a [ramp](crate::BreakerConfig::ramp): the requests that are not let
//!   through yet prefer another model.
//!
//! Nobody is refused by its tier, and nothing is cancelled. [`FailoverBuilder::in_listed_order`] leaves all this out.
//! Another [`Order`] can be had: [`CheapestFirst`], [`BestScoreFirst`], or one of your own, for all requests or by a
//! [`Plan`] for one.
//!
//! # Two at once
//!
//! A request that carries the probe of a half-open breaker starts the next model beside it after about a second, so that a
//! model which still hangs costs its user no more than that; the probe that loses has failed. The same can be had for every
//! request: [`FailoverBuilder::hedge`]. The first good answer wins, and the other call is dropped.
//!
//! # How long it takes
//!
//! An attempt ends after its own timeout ([`ATTEMPT_TIMEOUT`], or the model's), and every one but the last that can be
//! made leaves a reserve of the time to the deadline: a quarter, at most 30 s. Waiting for a client to become ready
//! counts, and is nobody's fault.
//!
//! # Traces
//!
//! A request is a span of `tracing` at DEBUG, `failover`, from its call to its end; in it each attempt is one, `attempt`, from
//! the call of the client to its head or commit. Both are entered while the client is called and polled, so that its own
//! spans are inside, and a trace shows the failover as a waterfall. Waiting for a client to become ready is in no attempt.
//! Fields that OpenTelemetry has names for have those:
//!
//! | field | of | what |
//! | --- | --- | --- |
//! | `gen_ai.request.model` | both | what its provider calls the model that is asked; of a request, that is asked first |
//! | `gen_ai.response.model` | request | the same of the model whose response this is |
//! | `gen_ai.provider.name` | attempt | the provider, as it is configured |
//! | `server.address` | attempt | the host of its base URL |
//! | `http.request.resend_count` | attempt | how many attempts came before, if any did |
//! | `http.response.status_code` | attempt | the status of its answer |
//! | `error.type` | both | if it failed: a status of 400 or above, or the `outcome` |
//! | `otel.kind`, `otel.status_code` | both | `client` for an attempt and `internal` for a request; `error` if it failed |
//! | `model` | attempt | the model, as it is configured |
//! | `outcome` | both | how it ended, in the words of the module `metrics`; nothing for an attempt that was dropped |
//! | `attempts` | request | how many models were asked |
//! | `key` | request | [whose](crate::Models::for_key) it is |
//!
//! So a subscriber has to be interested in DEBUG of this crate (`tower_failover=debug`), as for the spans of tower-http. Without
//! one that is, a span costs a look at one word.
//!
//! # A client for each provider
//!
//! ```
//! use tower::{ServiceExt, limit::ConcurrencyLimit, service_fn};
//! use tower_failover::{Attempt, FailoverLayer, Model, Models, Provider};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let models = Models::builder()
//!     .provider(Provider::new("nexa"))
//!     .provider(Provider::new("openai"))
//!     .model(Model::new("sdxl", "nexa"))
//!     .model(Model::new("dall-e-3", "openai"))
//!     .build()?;
//!
//! // A full nexa makes nobody wait for openai.
//! let client = FailoverLayer::builder(models).build()?.by_provider(|provider| {
//!     let limit = if provider.name() == "nexa" { 4 } else { 64 };
//!     let client = service_fn(|attempt: Attempt<&'static str>| async move {
//!         Ok::<_, std::io::Error>(format!("{}, by {}", attempt.get_ref(), attempt.model().name()))
//!     });
//!     ConcurrencyLimit::new(client, limit)
//! });
//! assert_eq!(client.oneshot("a dashboard").await?, "a dashboard, by sdxl");
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attempt;
mod clients;
mod error;
pub(crate) mod finish;
mod future;
mod guards;
mod hedge;
mod journey;
mod layer;
mod notes;
mod order;
mod plan;
mod resend;
mod runs;
mod served;
mod service;
mod settings;
mod skip;

pub use clients::{ByProvider, Clients, One};
pub use error::{Boxed, Error};
pub use finish::{Answer, Finish, OpenPermit, Plain, WithServed};
#[cfg(feature = "http")]
pub use finish::{AtEnd, AtHead, HttpFinish};
pub use future::ResponseFuture;
pub use hedge::{Hedge, PROTECT_FLOOR, PROTECT_QUANTILE};
pub use journey::PROBE_MARGIN;
pub use layer::{FailoverBuilder, FailoverLayer};
#[cfg(feature = "http")]
pub use layer::{HttpFailover, HttpFailoverLayer};
pub use order::{BestScoreFirst, CheapestFirst, Contender, Order};
pub use plan::{Plan, PlanError};
pub use resend::{Cloned, Resend, SendOnce};
#[cfg(feature = "http")]
pub use resend::{HttpResend, Recorded};
pub use served::{Candidate, Fate, Served, Tried};
pub use service::Failover;
#[cfg(feature = "serde")]
pub(crate) use settings::Settings;
pub use settings::{ATTEMPT_TIMEOUT, DEADLINE, MAX_ATTEMPTS};
pub use settings::{AllFailed, Replay, WhenUnavailable};
pub use skip::{Skip, Whose};
