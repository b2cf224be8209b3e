//! In which order the candidates of one request are asked.

use super::plan::Candidates;
use crate::{
    machine::{
        Nanos,
        config::{self, ConfigError},
        score::{PRIOR_WEIGHT, Tier},
    },
    model::Model,
    models::Registry,
};
use smallvec::SmallVec;
use std::{
    cmp::Ordering::{self, Equal},
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

/// A model that one request may be sent to, as it stands now.
#[derive(Debug)]
#[non_exhaustive]
pub struct Contender<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its place in the caller's order, from 0.
    pub position: usize,
    /// Its tier, as far as this request is concerned: a degraded model whose turn it is to see one is healthy, and so is
    /// one whose breaker is not closed, so that its probe goes where it would.
    pub tier: Tier,
    /// Its health score, in [0, 1]: how likely its next call is to succeed, and less if it is slow and [latency
    /// counts](Model::latency_counts).
    pub score: f64,
    /// On how many outcomes that rests, at most 100.
    pub outcomes: f64,
    /// What a success usually takes to its head, if there has been one.
    pub usual_latency: Option<Duration>,
    /// What its first byte usually takes, where that is known.
    pub usual_first_byte: Option<Duration>,
    /// Calls under way.
    pub in_flight: u64,
    /// How likely its next call is to succeed, however slow it is.
    success: f64,
    index: usize,
    number: usize,
}

impl Contender<'_> {
    /// A cautious guess at the share of its calls that succeed: the lower end of what nine in ten such records come from,
    /// never below 0.01. Latency does not count in it.
    ///
    /// The normal approximation to the Beta distribution of the score.
    pub fn success_at_least(&self) -> f64 {
        let spread = (self.success * (1.0 - self.success) / (self.outcomes + PRIOR_WEIGHT + 1.0)).sqrt();
        (self.success - 1.28 * spread).clamp(0.01, 1.0)
    }
}

/// In which order the candidates of one request are asked.
///
/// By default the caller's, inside tiers; see the [engine](crate::failover). An order of your own sorts the slice in
/// place. It sees no request, must not block, and runs once for each request, outside every lock. Models that cannot be
/// asked are skipped whatever their place, and within one request those of a provider that could not be reached, timed
/// out or broke off come after all others.
///
/// ```
/// use tower_failover::{Contender, FailoverLayer, Model, Models, Order, Provider};
///
/// /// Whoever has the fewest calls under way.
/// #[derive(Debug)]
/// struct LeastBusy;
///
/// impl Order for LeastBusy {
///     fn order(&self, contenders: &mut [Contender<'_>]) {
///         contenders.sort_by_key(|contender| (contender.tier, contender.in_flight));
///     }
/// }
///
/// let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build()?;
/// let layer = FailoverLayer::builder(models).order(LeastBusy).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Order: fmt::Debug + Send + Sync {
    /// Sorts them, the first to be asked first.
    fn order(&self, contenders: &mut [Contender<'_>]);
}

impl<O: Order + ?Sized> Order for Arc<O> {
    fn order(&self, contenders: &mut [Contender<'_>]) {
        (**self).order(contenders);
    }
}

/// Tier after tier the cheapest first: by the expected cost of a success, which is the model's cost over a
/// [cautious guess](Contender::success_at_least) at the share of its calls that succeed. Failed calls are taken to cost as
/// much as others.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheapestFirst {
    cost_of_a_second: f64,
}

impl CheapestFirst {
    /// By cost alone; of those that cost the same, in the caller's order.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a second of waiting is worth, in the currency of [`Model::cost`]: added for each second that the model's
    /// successes usually take, to the first byte where that is known. Default 0.
    ///
    /// # Errors
    ///
    /// When it is negative or no finite number.
    pub fn a_second_costs(mut self, cost: f64) -> Result<Self, ConfigError> {
        config::finite("a_second_costs", cost)?;
        self.cost_of_a_second = cost;
        Ok(self)
    }

    fn expected_cost(&self, contender: &Contender<'_>) -> f64 {
        let latency = contender.usual_first_byte.or(contender.usual_latency).unwrap_or_default();
        contender.model.get_cost() / contender.success_at_least() + self.cost_of_a_second * latency.as_secs_f64()
    }
}

impl Order for CheapestFirst {
    fn order(&self, contenders: &mut [Contender<'_>]) {
        contenders.sort_by(|one, other| {
            let by_cost = self.expected_cost(one).total_cmp(&self.expected_cost(other));
            one.tier.cmp(&other.tier).then(by_cost).then(one.position.cmp(&other.position))
        });
    }
}

/// Tier after tier the best score first. The first of the last request stays first until another's score is better by a
/// margin, so that two that are about as good do not take turns.
#[derive(Debug)]
pub struct BestScoreFirst {
    margin: f64,
    /// The number of the model that was first, plus one; 0 for none.
    first: AtomicUsize,
}

impl BestScoreFirst {
    /// By how much another must be better: 0.05.
    pub const MARGIN: f64 = 0.05;

    /// With a margin of [`MARGIN`](Self::MARGIN).
    pub fn new() -> Self {
        Self { margin: Self::MARGIN, first: AtomicUsize::new(0) }
    }

    /// With another margin.
    ///
    /// # Errors
    ///
    /// When it does not lie between 0 and 1.
    pub fn margin(mut self, margin: f64) -> Result<Self, ConfigError> {
        config::share("margin", margin)?;
        self.margin = margin;
        Ok(self)
    }
}

impl Default for BestScoreFirst {
    fn default() -> Self {
        Self::new()
    }
}

impl Order for BestScoreFirst {
    fn order(&self, contenders: &mut [Contender<'_>]) {
        let first = self.first.load(Relaxed).checked_sub(1);
        let by_score = |one: &Contender<'_>, other: &Contender<'_>| -> Ordering {
            let tiers = one.tier.cmp(&other.tier);
            tiers.then(other.score.total_cmp(&one.score)).then(one.position.cmp(&other.position))
        };
        contenders.sort_by(by_score);
        let before = contenders.iter().position(|contender| Some(contender.number) == first);
        if let (Some(before), Some(best)) = (before, contenders.first()) {
            let held = &contenders[before];
            if held.tier.cmp(&best.tier) == Equal && best.score - held.score <= self.margin {
                contenders[..=before].rotate_right(1);
            }
        }
        // A request that does not name it says nothing of who is first.
        if let (Some(best), true) = (contenders.first(), first.is_none() || before.is_some()) {
            self.first.store(best.number + 1, Relaxed);
        }
    }
}

/// The candidates in this order.
pub(super) fn ordered(order: &dyn Order, candidates: &Candidates, registry: &Registry, now: Nanos) -> Candidates {
    let contender = |position| {
        let index = candidates.get(position);
        let live = &registry.models[index];
        Contender {
            model: &live.model,
            position,
            tier: registry.tier_for_one(index, now),
            score: live.score.score(now),
            success: live.score.success(now),
            outcomes: live.score.outcomes(now),
            usual_latency: live.calls.usual_head().map(Duration::from_nanos),
            usual_first_byte: live.calls.usual_first_byte().map(Duration::from_nanos),
            in_flight: live.calls.in_flight(),
            index,
            number: live.number,
        }
    };
    let mut contenders: SmallVec<[Contender<'_>; 8]> = (0..candidates.len()).map(contender).collect();
    order.order(&mut contenders);
    Candidates::Listed(contenders.iter().map(|contender| contender.index).collect())
}
