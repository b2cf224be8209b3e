//! How traffic returns after a breaker has closed: not all at once, for what has just recovered may be cold.

use super::{
    Nanos,
    breaker::{Cause, State, Transition},
    nanos,
};
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// After a breaker has closed traffic returns over 10 s.
pub const RAMP: Duration = Duration::from_secs(10);
/// It begins with every tenth request.
pub const RAMP_FROM: f64 = 0.1;

/// One request, in fixed point.
const ONE: u64 = 1 << 32;

#[derive(Debug)]
pub(crate) struct Ramp {
    length: AtomicU64,
    /// Whether there was a trip to come back from: 1, or 0 where there was a cooldown at most.
    tripped: AtomicU64,
    /// When it began, plus one; 0 when there is none.
    began: AtomicU64,
    /// What is left over of the shares of the requests so far, in fixed point: whose share makes it whole, is let through.
    rest: AtomicU64,
}

impl Ramp {
    /// A length of zero is no ramp.
    pub(crate) fn new(length: Duration) -> Self {
        Self {
            length: AtomicU64::new(nanos(length)),
            tripped: AtomicU64::new(0),
            began: AtomicU64::new(0),
            rest: AtomicU64::new(0),
        }
    }

    /// Another length from now on, of one that is under way as well.
    pub(crate) fn set(&self, length: Duration) {
        self.length.store(nanos(length), Ordering::Relaxed);
    }

    fn length(&self) -> Nanos {
        self.length.load(Ordering::Relaxed)
    }

    /// The breaker has changed.
    pub(crate) fn turned(&self, transition: &Transition, now: Nanos) {
        match transition.to {
            State::Open => self.opened(transition.cause),
            State::Closed => self.closed(now),
            _ => {}
        }
    }

    /// The breaker has opened for this cause.
    fn opened(&self, cause: Cause) {
        if !matches!(cause, Cause::Cooldown | Cause::Command(_)) {
            self.tripped.store(1, Ordering::Relaxed);
        }
    }

    /// The breaker has closed.
    fn closed(&self, now: Nanos) {
        if self.tripped.swap(0, Ordering::Relaxed) != 0 && self.length() > 0 {
            self.rest.store(0, Ordering::Relaxed);
            self.began.store(now.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// All come at once.
    pub(crate) fn end(&self) {
        self.tripped.store(0, Ordering::Relaxed);
        self.began.store(0, Ordering::Relaxed);
    }

    /// Which share of the requests is let through now; `None` for all.
    #[inline]
    pub(crate) fn share(&self, now: Nanos) -> Option<f64> {
        let word = self.began.load(Ordering::Relaxed);
        let passed = now.saturating_sub(word.checked_sub(1)?);
        let length = self.length();
        if passed >= length {
            // Unless another has begun meanwhile.
            let _ = self.began.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed);
            return None;
        }
        Some(RAMP_FROM + (1.0 - RAMP_FROM) * (passed as f64 / length as f64))
    }

    /// A request comes by. Whether it is within this share.
    pub(crate) fn takes(&self, share: f64) -> bool {
        let share = (share * ONE as f64) as u64;
        let before = self.rest.fetch_add(share, Ordering::Relaxed);
        (before % ONE) + share >= ONE
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn tripped_and_closed(ramp: &Ramp, now: Nanos) {
        ramp.opened(Cause::ProbesFailed);
        ramp.closed(now);
    }

    /// How many of a hundred requests in each second after the close are let through.
    fn by_second(ramp: &Ramp, closed: Nanos) -> Vec<usize> {
        let takes = |now| ramp.share(now).is_none_or(|share| ramp.takes(share));
        let second = |second: u64| {
            let at = move |request: u64| closed + second * SECOND + request * SECOND / 100;
            (0..100).filter(|request| takes(at(*request))).count()
        };
        (0..12).map(second).collect()
    }

    #[test]
    fn traffic_returns_evenly_over_the_ramp() {
        let ramp = Ramp::new(RAMP);
        tripped_and_closed(&ramp, 7 * SECOND);
        let seen = by_second(&ramp, 7 * SECOND);
        for (second, seen) in seen.iter().enumerate() {
            let expected = (10.0 + 9.0 * (second as f64 + 0.5)).min(100.0);
            assert!((*seen as f64 - expected).abs() <= 1.5, "{seen} in second {second}, not {expected}");
        }
    }

    #[test]
    fn before_and_without_one_everybody_is_let_through() {
        assert_eq!(by_second(&Ramp::new(RAMP), 0), [100; 12]);
        let none = Ramp::new(Duration::ZERO);
        tripped_and_closed(&none, 0);
        assert_eq!(by_second(&none, 0), [100; 12]);
    }

    #[test]
    fn there_is_none_after_a_cooldown() {
        let ramp = Ramp::new(RAMP);
        ramp.opened(Cause::Cooldown);
        ramp.closed(0);
        assert_eq!(by_second(&ramp, 0), [100; 12]);
        // And after a trip there is one.
        tripped_and_closed(&ramp, 0);
        assert!(by_second(&ramp, 0)[0] < 20);
    }

    #[test]
    fn a_lone_request_comes_through_soon() {
        let ramp = Ramp::new(RAMP);
        tripped_and_closed(&ramp, 0);
        let first = (0..)
            .find(|second| ramp.share(second * SECOND).is_none_or(|share| ramp.takes(share)))
            .expect("before long");
        assert!(first <= 4, "{first}");
    }
}
