//! Ordered failover over models and providers, as [tower] layers: a circuit breaker for each model and each provider,
//! one deadline, and an answer that says who served it.
//!
//! A call to an AI model, or to any upstream that can fail on its own, goes out through an ordered list of models. The
//! first that can answer, answers. One that fails is left alone until a probe finds it well again, one that asks for
//! quiet gets it, and a request is asked of another model only when it may be.
//!
//! ```text
//!             ┌─────────────────────── Failover, the engine ───────────────────────┐
//! Request ──▶ │ plan ▶ client for this model ▶ readiness ▶ permit ▶ aim ▶ call+timer │ ──▶ any client service
//!             │  ▲ try next?                                                   │     │
//! Response ◀──┼──┴──── one Verdict settles the permit: both breakers, the score ◀     │
//!             └─────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! - [`FailoverLayer`] is the engine, and what most people want: [`FailoverLayer::json`] and [`FailoverLayer::http`] for
//!   HTTP clients, [`FailoverLayer::builder`] for any other service.
//! - [`CircuitBreakerLayer`] is the same breaker standing alone around any service, or one for each key of the requests.
//! - [`HealthLayer`] is the same health score standing alone, around the endpoints of a balancer.
//! - `ReadAheadLayer`, directly below the engine, makes an attempt last until its response has begun, for answers that
//!   stream.
//! - [`Models`] is the registry that engine and breaker share: the ordered models with all their live state, and the handle
//!   that an operator reads and commands. With a key, such as a tenant, there is one for each ([`Models::for_key`]).
//! - [`Events`] tells any number of listeners what happens there, each [`Event`] typed and named ([`Models::events`]).
//! - A [`Verdict`] is what one result means, on three separate axes: what to do next, whom it credits or blames, and
//!   whether the upstream may have executed the request. [`HttpClassify`] gives it by the table of statuses.
//! - [`Served`] says who answered, and what became of every candidate before.
//!
//! # Example
//!
//! Any service that is `Clone` will do; the closure says how a request is pointed at a model.
//!
//! ```
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_failover::{FailoverLayer, Model, Models, Provider, WithServed, aim};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let models = Models::builder()
//!     .provider(Provider::new("nexa"))
//!     .provider(Provider::new("openai"))
//!     .model(Model::new("sdxl", "nexa"))
//!     .model(Model::new("dall-e-3", "openai"))
//!     .build()?;
//! let client = service_fn(|(model, prompt): (String, &'static str)| async move {
//!     if model == "sdxl" { Err(std::io::Error::other("out of order")) } else { Ok(format!("{prompt}, by {model}")) }
//! });
//! let client = FailoverLayer::builder(models)
//!     .aim(aim(|model: &Model, prompt: &'static str| Ok((model.name().to_owned(), prompt))))
//!     .finish(WithServed)
//!     .build()?
//!     .layer(client);
//!
//! let (picture, served) = client.oneshot("a dashboard").await?;
//! assert_eq!(picture, "a dashboard, by dall-e-3");
//! assert_eq!(served.attempts(), 2);
//! # Ok::<(), Box<dyn std::error::Error>>(()) })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Cancelling, panics, time
//!
//! Dropping a response future drops the attempt under way, which then counts for nobody; but a call that has waited for
//! far longer than its model usually takes was hanging, and has failed ([`defaults::HANG_MULTIPLE`]). (The wait is that
//! since the call, as of the last poll that found no answer: a future that nobody polls any more seems to wait.) A panic
//! that unwinds through a call is one failure of its model.
//!
//! Time is tokio's: a paused clock drives everything. Futures must be polled inside a tokio runtime with time enabled,
//! as [`tokio::time::sleep`] has it.
//!
//! # Features
//!
//! - `http` (default): everything that knows HTTP.
//! - `metrics` (default): counters, gauges and histograms, in the module `metrics`.
//! - `hyper-util`: tells hyper-util's connect errors (DNS, TCP, TLS) from later ones.
//! - `load`: [`Health`] is a tower `load::Load`, for `tower::balance::p2c`.
//! - `status`: a page that shows how everybody is, in the module `status`.
//! - `reqwest`: [`FailoverLayer`]s for reqwest's own requests and responses, in the module `reqwest`.
//! - `reqwest-middleware`: the failover stack, and any tower layer, as a middleware of reqwest-middleware.
//! - `serde`: models, providers and the settings of a layer from a file, in the module `config`.
//!
//! [tower]: https://docs.rs/tower
#![cfg_attr(not(feature = "http"), allow(rustdoc::broken_intra_doc_links))]

pub mod aim;
#[cfg(feature = "http")]
pub mod body;
pub mod circuit_breaker;
pub mod classify;
#[cfg(feature = "serde")]
pub mod config;
pub mod failover;
pub mod health;
mod lane;
mod log;
mod machine;
#[cfg(feature = "metrics")]
pub mod metrics;
#[cfg(not(feature = "metrics"))]
#[path = "metrics/none.rs"]
mod metrics;
mod model;
mod models;
mod outcome;
mod permit;
#[cfg(feature = "http")]
pub mod read_ahead;
#[cfg(feature = "reqwest")]
pub mod reqwest;
#[cfg(feature = "status")]
pub mod status;
mod sync;
mod trace;

pub use crate::{
    aim::{Aim, AimError, AimFn, Attempt, Attempts, Target, aim},
    circuit_breaker::{CircuitBreaker, CircuitBreakerLayer},
    classify::{
        Aimed, Charge, Classify, ClassifyFn, Cooldown, Executed, Next, OkOrErr, Ours, Verdict, Vouches, Why, classify,
    },
    failover::{
        AllFailed, Answer, BestScoreFirst, ByProvider, Candidate, CheapestFirst, Clients, Cloned, Contender, Error,
        Failover, FailoverBuilder, FailoverLayer, Fate, Finish, Hedge, One, OpenPermit, Order, Plain, Plan, PlanError,
        Replay, Resend, SendOnce, Served, Skip, Tried, WhenUnavailable, Whose, WithServed,
    },
    health::{Health, HealthLayer, HealthSnapshot},
    machine::{
        breaker::{BreakerConfig, Cause, Command, State, Trip},
        budget::Budget,
        config::ConfigError,
        history::HistoryCell,
        score::Tier,
    },
    model::{Model, Provider},
    models::{
        BreakerSnapshot, Event, EventKind, Events, History, Missed, ModelSnapshot, Models, ModelsBuilder, Operation,
        Past, ProviderSnapshot, RecentError, SlowCallsSnapshot, Snapshot, UnknownName, WindowSnapshot,
    },
};

#[cfg(feature = "serde")]
pub use crate::config::Config;

#[cfg(feature = "http")]
pub use crate::{
    aim::{BodyAim, HttpAim, JsonError, JsonFields, Untouched, WholeBody},
    body::{BodyError, ReplayBody, ReplayError, Resumed, Watched},
    classify::{AsError, Begins, BoxedError, Change, HttpClassify, Opening, Row, StdError, retry_after},
    failover::{AtEnd, AtHead, HttpFailover, HttpFailoverLayer, HttpFinish, HttpResend, Recorded},
    model::Credential,
    read_ahead::{ReadAhead, ReadAheadLayer},
};

#[cfg(feature = "status")]
pub use crate::status::Status;

#[cfg(feature = "reqwest")]
pub use crate::reqwest::{RecordedRequest, ReqwestFailover, ReqwestFailoverLayer, ReqwestResend};

#[cfg(feature = "reqwest-middleware")]
pub use crate::reqwest::{FailoverMiddleware, TowerMiddleware};

/// Every default that is not a constant of the type it belongs to.
pub mod defaults {
    #[cfg(feature = "http")]
    pub use crate::{
        body::{IDLE_GAP, REPLAY_CAP},
        read_ahead::{ERROR_BODY_TIMEOUT, READ_AHEAD},
    };
    pub use crate::{
        failover::{ATTEMPT_TIMEOUT, DEADLINE, MAX_ATTEMPTS, PROBE_MARGIN, PROTECT_FLOOR, PROTECT_QUANTILE},
        health::DEFAULT_LATENCY,
        machine::{
            breaker::EARLY_PROBE_AFTER,
            calls::{HANG_FLOOR, HANG_MULTIPLE},
            cooldown::{
                COOLDOWN_JITTER, FIRST_COOLDOWN, LONGEST_GROWING_COOLDOWN, MAX_COOLDOWN, MIN_COOLDOWN,
                PROVIDER_LIMIT_WINDOW, UNPAID_COOLDOWN,
            },
            explore::{EXPLORE_AT_MOST, EXPLORE_EVERY, EXPLORE_WITHIN},
            history::{HISTORY_CELL, HISTORY_CELLS},
            latency::{
                LATENCY_FLOOR, LATENCY_KNOWN_AFTER, LATENCY_LAST, LATENCY_LAST_LONG, LATENCY_LONG,
                LATENCY_MOST_MULTIPLE, LATENCY_MULTIPLE, LATENCY_SHORT, LEAST_LATENCY_FACTOR,
            },
            plan::{LONGEST_RESERVE, RESERVE_SHARE},
            ramp::{RAMP, RAMP_FROM},
            score::{
                DEGRADED_BELOW, HEALTHY_FOR, HEALTHY_FROM, LEAST_OUTCOMES, MOST_OUTCOMES, OUTCOMES_AFTER_CLOSING,
                PRIOR_SUCCESS, PRIOR_WEIGHT, SCORE_FADES,
            },
        },
        models::{
            EVENT_CAPACITY, KEY_FORGOTTEN, KEY_IDLE, LAST_RESORT_EVERY, MAX_KEYS, RECENT_ERRORS, SUSPECT_CALLS,
            SUSPECT_FLOOR, SUSPECT_MULTIPLE, SUSPECT_SUCCESSES, UNAUTHORIZED_IN_A_ROW,
        },
    };
}

#[cfg(all(doctest, feature = "reqwest-middleware", feature = "serde"))]
#[doc = include_str!("../README.md")]
struct Readme;
