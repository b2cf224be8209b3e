//! What a call is expected to cost.

use crate::machine::Nanos;
use std::{cmp::Ordering, fmt};

/// What it takes to get a success of a call that begins now, in weighted seconds: less is better.
///
/// `latency · (in flight + 1) / score²`, where
///
/// - `latency` is what a success usually takes, a moving average. Failures do not count, or one that fails quickly would
///   look fast. Before the first success it is [`default_latency`](crate::HealthLayer::default_latency).
/// - `in flight + 1` are the calls that share the endpoint with this one, as if they queued: Finagle's and linkerd's peak
///   EWMA weighs the latency so. What is busy is avoided long before its latency tells.
/// - `1 / score` is how many attempts a success takes on average (a geometric distribution), if a failure is tried again.
/// - And once more, because calls that fail quickly leave early: with all the others' patience there would be up to
///   `in flight / score`. With one division only, an endpoint that fails every second call, and at once, still gets almost
///   as much as one that is well.
///
/// While nothing is in flight, `latency` fades to 1/e in each [`SCORE_FADES`](crate::defaults::SCORE_FADES) since a call
/// last ended, and before the first call it is 0. So among equals the one that was asked least recently is the cheapest,
/// an endpoint that was slow or failing once is asked again after minutes, and a new one at once; by one call at a time,
/// for the fading ends as soon as that is in flight. (Peak EWMA lets its average decay likewise.)
///
/// Comparing two endpoints drawn at random is enough to come close to the best of all: the power of two choices.
///
/// A cost is finite, not negative and never NaN, so that it has a total order.
///
/// ```
/// use tower_failover::HealthLayer;
///
/// let east = HealthLayer::new("east");
/// assert_eq!(east.cost().as_secs_f64(), 0.0, "nobody has asked it yet");
/// ```
///
/// Sources: [Finagle's `PeakEwma`](https://github.com/twitter/finagle/blob/develop/finagle-core/src/main/scala/com/twitter/finagle/loadbalancer/PeakEwma.scala);
/// M. Mitzenmacher, [*The Power of Two Choices in Randomized Load Balancing*](https://www.eecs.harvard.edu/~michaelm/postscripts/tpds2001.pdf),
/// IEEE Transactions on Parallel and Distributed Systems 12 (10), 2001.
#[derive(Clone, Copy)]
pub struct Cost(f64);

impl Cost {
    /// `score` is positive. A latency that has faded is faded already.
    pub(super) fn expected(latency: Nanos, in_flight: u64, score: f64) -> Self {
        Self(latency as f64 / 1e9 * (in_flight as f64 + 1.0) / (score * score))
    }

    /// In weighted seconds: those of a success, times what stands in its way.
    pub fn as_secs_f64(self) -> f64 {
        self.0
    }
}

impl PartialEq for Cost {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Cost {}

impl PartialOrd for Cost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Cost {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl fmt::Debug for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cost({})", self.0)
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The least and the most that a score can be: nothing but a hundred failures, and successes.
    const SCORES: std::ops::RangeInclusive<f64> = 4.75 / 105.0..=1.0;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_finite_and_grows_with_latency_calls_and_failures(
            latency in prop_oneof![0..10_000_000_000_u64, any::<u64>()],
            in_flight in prop_oneof![0..1_000_u64, any::<u64>()],
            score in SCORES,
            (slower, busier, worse) in (any::<u64>(), any::<u64>(), SCORES),
        ) {
            let cost = Cost::expected(latency, in_flight, score);
            prop_assert!(cost.as_secs_f64().is_finite() && cost.as_secs_f64().is_sign_positive(), "{cost:?}");
            prop_assert!(Cost::expected(latency.saturating_add(slower), in_flight, score) >= cost);
            prop_assert!(Cost::expected(latency, in_flight.saturating_add(busier), score) >= cost);
            prop_assert!(Cost::expected(latency, in_flight, score.min(worse)) >= cost);
        }
    }
}
