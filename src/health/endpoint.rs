//! What is known of one endpoint.

use super::cost::Cost;
use crate::{
    log::say,
    machine::{
        Nanos,
        calls::Calls,
        nanos,
        score::{SCORE_FADES, Score, Tier},
        stripe::{self, Padded},
    },
    model::Model,
    sync::{AtomicU64, Ordering},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What a success of an endpoint is taken to last, before the first: 1 s.
pub const DEFAULT_LATENCY: Duration = Duration::from_secs(1);

/// One endpoint at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct HealthSnapshot {
    /// How likely its next call is to succeed, by what came of the last ones: in [0, 1].
    pub score: f64,
    /// On how many outcomes that rests: they fade with time, and are 100 at the most.
    pub outcomes: f64,
    /// In which tier that puts it: healthy or degraded. Calls that hang show in `in_flight`.
    pub tier: Tier,
    /// What a success usually takes to its response: a moving average. `None` before the first.
    pub usual_latency: Option<Duration>,
    /// Calls whose response has not come yet.
    pub in_flight: u64,
    /// Calls begun so far.
    pub calls: u64,
}

/// What the calls of one layer share.
pub(super) struct Shared<K> {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) classify: Arc<K>,
    pub(super) default_latency: Nanos,
}

impl<K> Shared<K> {
    /// What the next call is expected to cost.
    pub(super) fn cost(&self) -> Cost {
        self.endpoint.cost(self.default_latency, self.endpoint.now())
    }
}

#[derive(Debug)]
pub(super) struct Endpoint {
    /// What a classifier is told: it has the endpoint's name, and so has its provider.
    pub(super) model: Model,
    epoch: Instant,
    score: Score,
    calls: Calls,
    /// When a call last ended, plus one; 0 before the first. For each stripe.
    ended: Box<[Padded<AtomicU64>]>,
}

impl Endpoint {
    pub(super) fn new(name: String) -> Self {
        let stripes = stripe::count();
        Self {
            model: Model::new(name.clone(), name),
            epoch: Instant::now(),
            score: Score::new(),
            calls: Calls::new(stripes),
            ended: (0..stripes).map(|_| Padded(AtomicU64::new(0))).collect(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.model.name()
    }

    /// Nanoseconds since the endpoint was made.
    pub(super) fn now(&self) -> Nanos {
        nanos(Instant::now().saturating_duration_since(self.epoch))
    }

    /// A call begins.
    pub(super) fn started(&self) {
        self.calls.mine().count();
    }

    /// A call begun at `started` was answered, by a success or not.
    pub(super) fn answered(&self, started: Nanos, success: bool, now: Nanos) {
        self.calls.mine().answered(started, success.then_some(now.saturating_sub(started)));
    }

    /// Whether a call that is dropped now, without an answer, was hanging.
    pub(super) fn hung(&self, started: Nanos, now: Nanos) -> bool {
        self.calls.hung(started, started, now)
    }

    /// A call has ended; `None` is nobody's fault.
    pub(super) fn ended(&self, success: Option<bool>, now: Nanos) {
        // Before it is no longer in flight: whoever finds nothing in flight finds when that came to be.
        self.ended[stripe::mine(self.ended.len())].0.store(now.saturating_add(1), Ordering::Relaxed);
        self.calls.mine().end();
        self.tier_changed(success.and_then(|success| self.score.record(success, now)));
    }

    pub(super) fn snapshot(&self) -> HealthSnapshot {
        let now = self.now();
        let (tier, changed) = self.score.tier(now);
        self.tier_changed(changed);
        HealthSnapshot {
            score: self.score.score(now),
            outcomes: self.score.outcomes(now),
            tier,
            usual_latency: self.calls.usual().map(Duration::from_nanos),
            in_flight: self.calls.in_flight(),
            calls: self.calls.started(),
        }
    }

    fn cost(&self, default_latency: Nanos, now: Nanos) -> Cost {
        let in_flight = self.calls.in_flight();
        let latency = self.calls.usual().unwrap_or(default_latency);
        let latency = if in_flight == 0 { self.faded(latency, now) } else { latency };
        Cost::expected(latency, in_flight, self.score.score(now))
    }

    /// What is left of a latency after the time in which nothing was in flight.
    fn faded(&self, latency: Nanos, now: Nanos) -> Nanos {
        let ended = self.ended.iter().map(|stripe| stripe.0.load(Ordering::Relaxed)).max().unwrap_or(0);
        match ended.checked_sub(1) {
            None => 0,
            Some(ended) => {
                let idle = now.saturating_sub(ended) as f64 / nanos(SCORE_FADES) as f64;
                (latency as f64 * (-idle).exp()) as Nanos
            }
        }
    }

    fn tier_changed(&self, tier: Option<Tier>) {
        let Some(tier) = tier else { return };
        say(|| tracing::info!(endpoint = self.name(), tier = %tier, "tier changed"));
    }
}
