//! Counters, gauges and histograms, through the [`metrics`] facade.
//!
//! Whoever installs a recorder (an exporter to Prometheus, StatsD or the like) gets them; there is nothing to switch on.
//! Without one all that they cost is a look whether there is one, and the feature `metrics`, which is on by default, leaves them out
//! altogether. A recorder that is installed late hears of everything from then on. Handles are taken once and kept.
//!
//! # Names
//!
//! | name | type | unit | labels | what |
//! | --- | --- | --- | --- | --- |
//! | `tower_failover_requests_total` | counter | count | `outcome` | requests of the engine that have ended |
//! | `tower_failover_request_duration_seconds` | histogram | seconds | `outcome` | from a request's first poll to its end: the response's head, or its commit |
//! | `tower_failover_attempts_total` | counter | count | `model`, `provider`, `outcome`, `status` | calls to a model that have ended, at their head or commit |
//! | `tower_failover_attempt_duration_seconds` | histogram | seconds | `model`, `provider`, `outcome` | from a call to its head or commit |
//! | `tower_failover_time_to_first_byte_seconds` | histogram | seconds | `model`, `provider` | from a call to the first byte of its body, where that is watched or read ahead |
//! | `tower_failover_bodies_total` | counter | count | `model`, `provider`, `outcome` | bodies that were [watched](crate::HttpFinish::watched) and have ended |
//! | `tower_failover_skips_total` | counter | count | `model`, `provider`, `reason` | models that were not asked although it was their turn |
//! | `tower_failover_breaker_transitions_total` | counter | count | `model`, `provider`, `from`, `to`, `cause` | changes of state of a model's breaker |
//! | `tower_failover_provider_breaker_transitions_total` | counter | count | `provider`, `from`, `to`, `cause` | changes of state of a provider's breaker |
//! | `tower_failover_cooldowns_total` | counter | count | `model`, `provider` | answers that asked to leave their model alone |
//! | `tower_failover_provider_cooldowns_total` | counter | count | `provider` | answers that asked to leave their provider alone |
//! | `tower_failover_cost_billionths_total` | counter | count | `model`, `provider` | [cost](crate::Model::cost) of the calls that were executed, in billionths of its unit |
//! | `tower_failover_cost_at_risk_billionths_total` | counter | count | `model`, `provider` | the same of the calls of which nobody knows whether they were executed |
//! | `tower_failover_breaker_state` | gauge | count | `model`, `provider`, `state` | 1 for the state of a model's breaker, 0 for every other |
//! | `tower_failover_provider_breaker_state` | gauge | count | `provider`, `state` | the same of a provider's |
//! | `tower_failover_cooldown_seconds` | gauge | seconds | `model`, `provider` | for how long a model is still to be left alone |
//! | `tower_failover_provider_cooldown_seconds` | gauge | seconds | `provider` | for how long a provider is still to be left alone |
//! | `tower_failover_health_score` | gauge | count | `model`, `provider` | the health score, from 0 to 1 |
//! | `tower_failover_calls_in_flight` | gauge | count | `model`, `provider` | calls under way, bodies that are watched included |
//! | `tower_failover_provider_budget_left_tokens` | gauge | count | `provider` | tokens left for paid failovers |
//! | `tower_failover_build_info` | gauge | count | `version` | always 1; says which version this is |
//!
//! An exporter to Prometheus shows these very names, whether it is told to add suffixes or not. (Money is counted in
//! billionths because a counter counts whole things: divide by 10⁹.)
//!
//! # Labels
//!
//! - `model` and `provider` are names of the configuration.
//! - `outcome` of a request: `answered`; `all_failed`, every model that was asked failed and the last one answered;
//!   `error`, the last one ended in an error of the client; `timed_out`; `unavailable`, nobody could be asked; `not_aimed`
//!   and `bad_plan`, the caller's own errors; `dropped`, nobody waited for it any longer.
//! - `outcome` of an attempt: `success`; `neutral`, nobody's fault; `limited`, a cooldown and nobody's fault, such as 429;
//!   `failure`, of the model; `provider_failure`; `unauthorized`, our credential was refused; `timed_out`; `lost`, another
//!   that was asked beside it was faster; `dropped`; `hung`, dropped after so long that it counts as a failure; `panicked`.
//! - `outcome` of a body: `ended`, `failed` (or stalled), `dropped`, `hung`, `panicked`. The attempt that it belongs to was
//!   counted as a `success` when it began.
//! - `status`: `1xx`, `2xx`, `3xx`, `4xx`, `429`, `5xx`, or `none` where there is none.
//! - `reason`: `model_open`, `provider_open`, `model_cooldown`, `provider_cooldown`, `model_probes_taken`,
//!   `provider_probes_taken`, `model_forced_open`, `provider_forced_open`, `model_full`, `provider_full`, `not_ready`,
//!   `not_aimed`, `budget`, `max_cost`. See [`Skip`](crate::Skip).
//! - `state`, `from`, `to`: `closed`, `open`, `half_open`, `forced_open`, `disabled`.
//! - `cause`: `consecutive`, `failure_rate`, `slow_call_rate`, `cooldown`, `wait_elapsed`, `probes_succeeded`,
//!   `probes_failed`, `provider_recovered`, `last_resort`, `command`. See [`Cause`](crate::Cause).
//!
//! No text of an error, no header, no key and nothing else that a caller or an upstream says becomes a label.
//!
//! # What adds up
//!
//! - Requests, by outcome, are all that have been polled and have ended. A [`CircuitBreakerLayer`](crate::CircuitBreakerLayer)
//!   has no requests: its calls are attempts, and those that it rejects are skips.
//! - Attempts are as many as the client was called, as soon as none is under way. They are as many as
//!   [`Served::attempts`](crate::Served::attempts) says, with those of the requests that were dropped.
//! - Skips are as many as the candidates of each [`Served`](crate::Served) that were skipped: one for each model and request,
//!   by why it was in the end.
//! - [`HealthLayer`](crate::HealthLayer) counts nothing here.
//!
//! # Gauges
//!
//! The state of a breaker is shown when it changes. Score, calls under way, tokens and cooldowns change by themselves, with
//! the time: they are set, with all states, by [`Models::record_metrics`], which whoever exports calls
//! before each scrape, or every few seconds. So no call pays for them.
//!
//! A model or provider that [`Models::apply`](crate::Models::apply) has taken out has all its gauges at 0, its state
//! included. A call to it that is still under way may yet set its state again.
//!
//! # Keys
//!
//! What happens under a [key](crate::Models::for_key) is counted under the model and provider as everything else, so that
//! the number of series does not grow with the number of tenants. Gauges show only what is there without a key.
//!
//! Two registries in one process whose models have the same names count together; their gauges show whoever came last.
//!
//! # Recorders
//!
//! A recorder is told outside of every lock, may call any command, and loses by a panic only what it was told. One that is
//! installed for a thread only, as tests do, is heard by a model from its first call on as long as that model lives.
//!
//! [`metrics`]: https://docs.rs/metrics
//! [`Models::record_metrics`]: crate::Models::record_metrics

mod meters;
mod names;
mod series;
mod words;

pub(crate) use meters::{Meters, ModelGauges, ProviderGauges};
pub(crate) use series::{is_heard, show_build_info};
