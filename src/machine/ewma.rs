//! How long a model usually takes, and whether anything begun later has been answered: what tells a
//! hang from a caller who lost patience.

use super::{Nanos, nanos, stripe::Stripes};
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// A call that is dropped after this many times what its model usually takes was hanging: 3.
pub const HANG_MULTIPLE: u32 = 3;
/// The least that a call must have waited to have been hanging: 1 s.
pub const HANG_FLOOR: Duration = Duration::from_secs(1);

/// The weight of one call in the moving average.
const WEIGHT: u64 = 8;

#[derive(Debug)]
pub(crate) struct Pace {
    stripes: Stripes<Stripe>,
}

#[derive(Debug)]
struct Stripe {
    /// Moving average of the time that an attempt takes, in nanoseconds; 0 before the first.
    usual: AtomicU64,
    /// The same to the head, where an attempt lasts longer than that.
    head: AtomicU64,
    /// The same to the first byte of the body, where bodies are watched or read ahead.
    first_byte: AtomicU64,
    /// The latest beginning of a call that was answered, plus one; 0 before the first.
    answered: AtomicU64,
}

impl Pace {
    pub(crate) fn new(stripes: usize) -> Self {
        let stripe = || {
            let [usual, head, first_byte, answered] = std::array::from_fn(|_| AtomicU64::new(0));
            Stripe { usual, head, first_byte, answered }
        };
        Self { stripes: Stripes::new(stripes, stripe) }
    }

    /// Notes that a call begun at `started` was answered, and for a success how long that took.
    ///
    /// Two threads that share a stripe may lose one of two samples; an average can bear it.
    #[inline]
    pub(crate) fn answered(&self, started: Nanos, took: Option<Nanos>) {
        let (mine, stripe) = self.stripes.mine();
        mine.update(&stripe.answered, |latest| (latest <= started).then(|| started.saturating_add(1)));
        if let Some(took) = took {
            average(&stripe.usual, took);
        }
    }

    /// Notes how long the head took of an attempt that lasted longer.
    #[cfg(feature = "http")]
    pub(crate) fn head(&self, took: Nanos) {
        average(&self.stripes.mine().1.head, took);
    }

    /// Notes how long the first byte took.
    #[cfg(feature = "http")]
    pub(crate) fn first_byte(&self, took: Nanos) {
        average(&self.stripes.mine().1.first_byte, took);
    }

    /// What a success usually takes, to its head or to the commit, if there has been one.
    pub(crate) fn usual(&self) -> Option<Nanos> {
        self.mean(|stripe| &stripe.usual)
    }

    /// What a success usually takes to its head, if there has been one.
    pub(crate) fn usual_head(&self) -> Option<Nanos> {
        self.mean(|stripe| &stripe.head).or_else(|| self.usual())
    }

    /// What the first byte usually takes, if one has been seen.
    pub(crate) fn usual_first_byte(&self) -> Option<Nanos> {
        self.mean(|stripe| &stripe.first_byte)
    }

    fn mean(&self, which: impl Fn(&Stripe) -> &AtomicU64) -> Option<Nanos> {
        let known = self.stripes.iter().map(|stripe| which(stripe).load(Ordering::Relaxed)).filter(|ns| *ns > 0);
        let (sum, count) = known.fold((0_u64, 0_u64), |(sum, count), ns| (sum.saturating_add(ns), count + 1));
        sum.checked_div(count)
    }

    /// Whether a call begun after `started` has been answered.
    pub(crate) fn answered_since(&self, started: Nanos) -> bool {
        self.stripes.iter().any(|stripe| stripe.answered.load(Ordering::Relaxed) > started.saturating_add(1))
    }

    /// Whether a call begun at `started` that has waited for its upstream since `since`, and is dropped now, was hanging.
    pub(crate) fn hung(&self, started: Nanos, since: Nanos, now: Nanos) -> bool {
        let usual = self.usual().unwrap_or(0);
        let far = usual.saturating_mul(HANG_MULTIPLE.into()).max(nanos(HANG_FLOOR));
        now.saturating_sub(since) >= far && !self.answered_since(started)
    }

    /// The latest beginning of a call that was answered; 0 before the first.
    pub(crate) fn latest_answered(&self) -> Nanos {
        let answered = self.stripes.iter().map(|stripe| stripe.answered.load(Ordering::Relaxed));
        answered.max().unwrap_or(0).saturating_sub(1)
    }
}

#[inline]
fn average(cell: &AtomicU64, took: Nanos) {
    let usual = cell.load(Ordering::Relaxed);
    let next = if usual == 0 { took } else { usual - usual / WEIGHT + took / WEIGHT };
    cell.store(next.max(1), Ordering::Relaxed);
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_what_calls_take() {
        let pace = Pace::new(1);
        assert_eq!(pace.usual(), None);
        pace.answered(0, Some(800));
        assert_eq!(pace.usual(), Some(800));
        for call in 0..100 {
            pace.answered(call, Some(80));
        }
        let usual = pace.usual().expect("known");
        assert!((72..=96).contains(&usual), "{usual}");
    }

    #[test]
    fn only_calls_begun_later_count_as_answered_since() {
        let pace = Pace::new(2);
        pace.answered(10, None);
        assert!(pace.answered_since(9));
        assert!(!pace.answered_since(10));
        assert!(!pace.answered_since(11));
    }
}
