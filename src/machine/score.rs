//! The health score of one model: how likely its next call is to succeed, by what came of the last ones; and less, if
//! latency counts and it has become [slow](super::latency): `H = q · λ`.
//!
//! `q = (S + m·p₀) / (N + m)`, the mean of a Beta distribution whose prior is worth [`PRIOR_WEIGHT`] calls of which
//! [`PRIOR_SUCCESS`] succeed. Successes `S` and outcomes `N` fade with time, and `N` is held down, so that the last
//! hundred calls of a busy model count as much as the last minute of a quiet one.
//!
//! All of `q` is one word, so that a read is one load and cannot see half of a change. A success of a model that has
//! nothing but successes changes nothing, and writes nothing: threads that call a healthy model do not fight over it.

use super::{Nanos, latency::Latency, nanos};
use crate::sync::{AtomicU64, Ordering};
use std::{fmt, sync::OnceLock, time::Duration};

/// In this time an outcome fades to 1/e of its weight: 60 s.
pub const SCORE_FADES: Duration = Duration::from_secs(60);
/// What is expected of a model that nothing is known of: 95 % of its calls succeed.
pub const PRIOR_SUCCESS: f64 = 0.95;
/// As many calls that expectation is worth: 5.
pub const PRIOR_WEIGHT: f64 = 5.0;
/// At most so many outcomes count: 100.
pub const MOST_OUTCOMES: u32 = 100;
/// So many outcomes are left of what was before, once a breaker has closed: 5.
pub const OUTCOMES_AFTER_CLOSING: u32 = 5;
/// With fewer outcomes than this a model is not called degraded: 5.
pub const LEAST_OUTCOMES: u32 = 5;
/// Below this score a model becomes degraded: 0.70.
pub const DEGRADED_BELOW: f64 = 0.70;
/// From this score on it may become healthy again: 0.85.
pub const HEALTHY_FROM: f64 = 0.85;
/// For so long it has to hold that score: 10 s.
pub const HEALTHY_FOR: Duration = Duration::from_secs(10);

/// One outcome, in fixed point.
const ONE: u64 = 1 << 12;
const CAP: u64 = MOST_OUTCOMES as u64 * ONE;
/// Wide enough for the cap and the outcome that exceeds it.
const COUNT_BITS: u32 = 19;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const TICK_BITS: u32 = 64 - 2 * COUNT_BITS;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;
/// A tick is 2²⁶ ns, 67 ms: nothing fades within it. They come round after 52 days.
const TICK: u32 = 26;
/// So many ticks back, over a minute, are a thread that was slow to get here; more are a long time ahead.
const LATE: u64 = 1 << 10;

/// How well a model does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// It answers.
    Healthy,
    /// Too many of its calls fail, or they are slow where [that counts](crate::Model::latency_counts): asked after the
    /// healthy ones.
    Degraded,
    /// Calls hang that should have been answered long ago: asked last.
    Suspect,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Suspect => "suspect",
        })
    }
}

#[derive(Debug)]
pub(crate) struct Score {
    /// See [`Counts`].
    counts: AtomicU64,
    /// 0 while healthy; else degraded: 1, or since when the score has been good again, plus 2.
    degraded: AtomicU64,
    /// Where latency counts, or did once.
    latency: OnceLock<Box<Measured>>,
}

#[derive(Debug)]
struct Measured {
    /// Whether it counts still: 0 or 1.
    counts: AtomicU64,
    latency: Latency,
}

/// Successes and outcomes as of a tick, in fixed point.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Counts {
    tick: u64,
    outcomes: u64,
    successes: u64,
}

impl Counts {
    #[inline]
    fn unpack(word: u64) -> Self {
        Self {
            tick: word >> (2 * COUNT_BITS),
            outcomes: (word >> COUNT_BITS) & COUNT_MASK,
            successes: word & COUNT_MASK,
        }
    }

    fn pack(self) -> u64 {
        (self.tick << (2 * COUNT_BITS)) | (self.outcomes << COUNT_BITS) | self.successes
    }

    /// What is left of them at a later tick. A little earlier one changes nothing.
    fn faded(self, tick: u64) -> Self {
        let passed = tick.wrapping_sub(self.tick) & TICK_MASK;
        if passed == 0 || passed > TICK_MASK - LATE {
            return self;
        }
        let factor = (-((passed << TICK) as f64) / nanos(SCORE_FADES) as f64).exp();
        self.scaled(factor, tick)
    }

    /// Failures are rounded down, so that in the end nothing is left of one, and successes are nothing new again.
    fn scaled(self, factor: f64, tick: u64) -> Self {
        let outcomes = (self.outcomes as f64 * factor).round() as u64;
        let failures = ((self.outcomes - self.successes) as f64 * factor) as u64;
        Self { tick, outcomes, successes: outcomes - failures }
    }

    fn held_below(self, most: u64) -> Self {
        if self.outcomes <= most { self } else { self.scaled(most as f64 / self.outcomes as f64, self.tick) }
    }

    fn with(self, success: bool) -> Self {
        let successes = self.successes + if success { ONE } else { 0 };
        Self { outcomes: self.outcomes + ONE, successes, ..self }.held_below(CAP)
    }

    fn score(self) -> f64 {
        let weigh = |count: u64| count as f64 / ONE as f64;
        (weigh(self.successes) + PRIOR_WEIGHT * PRIOR_SUCCESS) / (weigh(self.outcomes) + PRIOR_WEIGHT)
    }

    fn are_enough(self) -> bool {
        self.outcomes >= u64::from(LEAST_OUTCOMES) * ONE
    }
}

#[inline]
fn tick(now: Nanos) -> u64 {
    (now >> TICK) & TICK_MASK
}

impl Score {
    pub(crate) fn new() -> Self {
        Self { counts: AtomicU64::new(0), degraded: AtomicU64::new(0), latency: OnceLock::new() }
    }

    /// Whether latency counts from now on. It begins anew where it did not before.
    pub(crate) fn set_latency_counts(&self, counts: bool) {
        if counts == self.counts_latency() {
            return;
        }
        let new = || Box::new(Measured { counts: AtomicU64::new(0), latency: Latency::new() });
        let measured = self.latency.get_or_init(new);
        measured.latency.reset();
        measured.counts.store(u64::from(counts), Ordering::Relaxed);
    }

    /// Counts an outcome. Says the tier if that has changed by it.
    #[inline]
    pub(crate) fn record(&self, success: bool, now: Nanos) -> Option<Tier> {
        if success && self.cannot_be_better(now) {
            return None;
        }
        self.record_news(success, now)
    }

    /// Whether it is healthy, and there have been nothing but successes, as many as count, the last of them within this tick.
    /// Where latency counts, [`began`](Self::began) has said what there is to say of that.
    #[inline]
    fn cannot_be_better(&self, now: Nanos) -> bool {
        self.is_best(now) && self.degraded.load(Ordering::Relaxed) == 0
    }

    #[inline]
    fn is_best(&self, now: Nanos) -> bool {
        let best = Counts { tick: tick(now), outcomes: CAP, successes: CAP };
        self.counts.load(Ordering::Relaxed) == best.pack()
    }

    #[inline(never)]
    fn record_news(&self, success: bool, now: Nanos) -> Option<Tier> {
        if !success || !self.is_best(now) {
            self.change(|counts| counts.faded(tick(now)).with(success));
        }
        self.judge(success, now)
    }

    /// Whether it is to be told what successes take.
    #[inline]
    pub(crate) fn counts_latency(&self) -> bool {
        self.latency().is_some()
    }

    #[inline]
    fn latency(&self) -> Option<&Latency> {
        let measured = self.latency.get()?;
        (measured.counts.load(Ordering::Relaxed) != 0).then_some(&measured.latency)
    }

    /// A success took so long to its first byte, which came just now. Says the tier if that has changed by it. Nothing
    /// where latency does not count.
    pub(crate) fn began(&self, took: Nanos, now: Nanos) -> Option<Tier> {
        self.latency()?.record(took, now);
        self.judge(true, now)
    }

    /// Says the tier if it has changed. A success alone makes nobody degraded who is not slow.
    #[inline]
    fn judge(&self, success: bool, now: Nanos) -> Option<Tier> {
        if (success && self.latency_factor(now) >= 1.0) || self.degraded.load(Ordering::Relaxed) != 0 {
            return self.tier(now).1;
        }
        let counts = self.counts(now);
        let degrades = counts.are_enough() && counts.score() * self.latency_factor(now) < DEGRADED_BELOW;
        (degrades && self.turn(0, 1)).then_some(Tier::Degraded)
    }

    /// A breaker has closed: what was before counts for little.
    pub(crate) fn closed(&self, now: Nanos) {
        self.change(|counts| counts.faded(tick(now)).held_below(u64::from(OUTCOMES_AFTER_CLOSING) * ONE));
    }

    /// Back to knowing nothing. Says the tier if that has changed by it.
    pub(crate) fn reset(&self) -> Option<Tier> {
        self.counts.store(0, Ordering::Relaxed);
        let was_degraded = self.degraded.swap(0, Ordering::Relaxed) != 0;
        if let Some(latency) = self.latency() {
            latency.reset();
        }
        was_degraded.then_some(Tier::Healthy)
    }

    /// `H`, in [0, 1].
    pub(crate) fn score(&self, now: Nanos) -> f64 {
        self.success(now) * self.latency_factor(now)
    }

    /// `q`, in [0, 1].
    pub(crate) fn success(&self, now: Nanos) -> f64 {
        self.counts(now).score()
    }

    /// `λ`, in [0.5, 1]: 1 where latency does not count.
    #[inline]
    pub(crate) fn latency_factor(&self, now: Nanos) -> f64 {
        self.latency().map_or(1.0, |latency| latency.factor(now))
    }

    /// Outcomes that count still.
    pub(crate) fn outcomes(&self, now: Nanos) -> f64 {
        self.counts(now).outcomes as f64 / ONE as f64
    }

    /// Healthy or degraded; and the same once more if it has changed by the time that has passed.
    #[inline]
    pub(crate) fn tier(&self, now: Nanos) -> (Tier, Option<Tier>) {
        match self.degraded.load(Ordering::Relaxed) {
            0 => (Tier::Healthy, None),
            degraded => self.tier_of_degraded(degraded, now),
        }
    }

    #[cold]
    fn tier_of_degraded(&self, degraded: u64, now: Nanos) -> (Tier, Option<Tier>) {
        let good = self.score(now) >= HEALTHY_FROM;
        match degraded.checked_sub(2) {
            None if good => {
                self.turn(1, now.saturating_add(2));
            }
            Some(_) if !good => {
                self.turn(degraded, 1);
            }
            Some(since) if now.saturating_sub(since) >= nanos(HEALTHY_FOR) && self.turn(degraded, 0) => {
                return (Tier::Healthy, Some(Tier::Healthy));
            }
            _ => {}
        }
        (Tier::Degraded, None)
    }

    fn turn(&self, from: u64, to: u64) -> bool {
        self.degraded.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn counts(&self, now: Nanos) -> Counts {
        Counts::unpack(self.counts.load(Ordering::Relaxed)).faded(tick(now))
    }

    fn change(&self, change: impl Fn(Counts) -> Counts) {
        let mut word = self.counts.load(Ordering::Relaxed);
        loop {
            let changed = change(Counts::unpack(word)).pack();
            match self.counts.compare_exchange_weak(word, changed, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(found) => word = found,
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Nanos = 1_000_000_000;

    /// The same by the book, with every outcome kept in floating point.
    #[derive(Default)]
    struct Model {
        at: Nanos,
        outcomes: f64,
        successes: f64,
    }

    impl Model {
        fn fade(&mut self, now: Nanos) {
            let factor = (-((now - self.at) as f64) / 60e9).exp();
            (self.outcomes, self.successes, self.at) = (self.outcomes * factor, self.successes * factor, now);
        }

        fn hold(&mut self, most: f64) {
            if self.outcomes > most {
                (self.outcomes, self.successes) = (most, self.successes * most / self.outcomes);
            }
        }

        fn record(&mut self, success: bool, now: Nanos) {
            self.fade(now);
            self.outcomes += 1.0;
            self.successes += f64::from(u8::from(success));
            self.hold(100.0);
        }

        fn score(&mut self, now: Nanos) -> f64 {
            self.fade(now);
            (self.successes + 5.0 * 0.95) / (self.outcomes + 5.0)
        }
    }

    #[test]
    fn nothing_known_is_the_prior() {
        let score = Score::new();
        assert_eq!(score.score(0), 0.95);
        assert_eq!(score.tier(u64::MAX), (Tier::Healthy, None));
    }

    #[test]
    fn a_failure_is_forgotten_in_the_end_and_successes_write_nothing_again() {
        for every in [SECOND / 10, SECOND / 100, SECOND / 100_000] {
            let score = Score::new();
            let mut now = 0;
            let mut later = |score: &Score, success| {
                now += every;
                score.record(success, now);
                now
            };
            (0..1_000).for_each(|_| _ = later(&score, true));
            later(&score, false);
            let forgotten = (0..1_000).any(|_| {
                let now = later(&score, true);
                score.cannot_be_better(now)
            });
            assert!(forgotten, "{:?}", score.counts(now));
        }
    }

    #[test]
    fn who_has_done_well_for_long_enough_is_healthy_at_that_moment_and_not_a_tick_later() {
        let score = Score::new();
        (0..5).for_each(|_| _ = score.record(false, 0));
        // The ten seconds are over within a tick.
        let good = (1_000 << TICK) + (1 << (TICK - 1));
        let over = good + nanos(HEALTHY_FOR);
        assert_eq!(tick(over - 1_000_000), tick(over));
        (0..10_000).for_each(|_| assert_eq!(score.record(true, good), None));
        (0..10_000).for_each(|_| assert_eq!(score.record(true, over - 1_000_000), None));
        assert_eq!(score.record(true, over), Some(Tier::Healthy));
    }

    #[test]
    fn five_outcomes_are_needed_to_be_degraded() {
        let score = Score::new();
        for failures in 1..=4 {
            assert_eq!(score.record(false, failures), None, "{failures}");
        }
        assert!(score.score(4) < DEGRADED_BELOW);
        assert_eq!(score.record(false, 5), Some(Tier::Degraded));
        assert_eq!(score.record(false, 6), None, "said once");
    }

    #[test]
    fn healthy_again_after_a_good_score_for_ten_seconds() {
        let score = Score::new();
        (0..10).for_each(|_| assert!(score.record(false, 0).is_none_or(|tier| tier == Tier::Degraded)));
        let mut now = 0;
        while score.score(now) < HEALTHY_FROM {
            now += SECOND / 10;
            assert_eq!(score.record(true, now), None);
        }
        assert_eq!(score.tier(now + 10 * SECOND - 1), (Tier::Degraded, None));
        assert_eq!(score.tier(now + 10 * SECOND), (Tier::Healthy, Some(Tier::Healthy)));
        assert_eq!(score.tier(now + 10 * SECOND), (Tier::Healthy, None));
    }

    #[test]
    fn a_relapse_begins_the_ten_seconds_anew() {
        let score = Score::new();
        (0..10).for_each(|_| {
            score.record(false, 0);
        });
        (0..90).for_each(|_| {
            score.record(true, SECOND);
        });
        assert!(score.score(SECOND) >= HEALTHY_FROM);
        (0..20).for_each(|_| {
            score.record(false, 9 * SECOND);
        });
        assert!(score.score(9 * SECOND) < HEALTHY_FROM);
        (0..80).for_each(|_| {
            score.record(true, 10 * SECOND);
        });
        assert_eq!(score.tier(12 * SECOND).0, Tier::Degraded, "eleven seconds after it was good first");
        assert_eq!(score.tier(20 * SECOND), (Tier::Healthy, Some(Tier::Healthy)));
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let score = Score::new();
        (0..100).for_each(|_| {
            score.record(false, 0);
        });
        assert!(score.score(0) < 0.05);
        let mut now = 0;
        while score.tier(now).0 == Tier::Degraded {
            now += SECOND;
        }
        // (0 + 4.75) / (100 e^(-t/60) + 5) is 0.85 after 308 s, and then for ten.
        assert!((318..321).contains(&(now / SECOND)), "{} s", now / SECOND);
        for days in [1, 20, 30, 51, 300, 100_000] {
            assert!((score.score(days * 86_400 * SECOND) - 0.95).abs() < 1e-3, "{days}");
        }
    }

    #[test]
    fn closing_leaves_five_outcomes_in_proportion() {
        let score = Score::new();
        (0..80).for_each(|call| {
            score.record(call % 4 != 0, 0);
        });
        score.closed(0);
        assert!((score.outcomes(0) - 5.0).abs() < 0.01);
        assert!((score.score(0) - (3.75 + 4.75) / 10.0).abs() < 0.01);
        score.closed(0);
        assert!((score.outcomes(0) - 5.0).abs() < 0.01, "and no less");
    }

    #[test]
    fn a_busy_model_counts_its_last_hundred() {
        let score = Score::new();
        (0..1_000_000).for_each(|call| {
            score.record(true, call);
        });
        assert!((score.outcomes(1_000_000) - 100.0).abs() < 0.01);
        let failures = (1..).take_while(|_| {
            score.record(false, 1_000_000);
            score.score(1_000_000) >= DEGRADED_BELOW
        });
        assert!((20..40).contains(&failures.count()));
    }

    /// Well for ten minutes, a call in each second, each a tenth of a second long.
    fn well(score: &Score) -> Nanos {
        (0..600).for_each(|second| {
            assert_eq!(score.began(SECOND / 10, second * SECOND), None);
            assert_eq!(score.record(true, second * SECOND), None);
        });
        600 * SECOND
    }

    fn with_latency(counts: bool) -> Score {
        let score = Score::new();
        score.set_latency_counts(counts);
        score
    }

    #[test]
    fn where_latency_does_not_count_it_changes_nothing() {
        let did_once = with_latency(true);
        did_once.set_latency_counts(false);
        for score in [Score::new(), did_once] {
            assert!(!score.counts_latency());
            let now = well(&score);
            (0..100).for_each(|_| assert_eq!(score.began(100 * SECOND, now), None));
            assert_eq!((score.latency_factor(now), score.tier(now)), (1.0, (Tier::Healthy, None)));
            assert_eq!(score.score(now), score.success(now));
        }
    }

    #[test]
    fn latency_that_counts_again_begins_anew() {
        let score = with_latency(true);
        let now = well(&score);
        (0..10).for_each(|second| {
            score.began(SECOND, now + second * SECOND);
        });
        let now = now + 9 * SECOND;
        score.set_latency_counts(true);
        assert!(score.latency_factor(now) < 0.7, "as it did before");
        score.set_latency_counts(false);
        assert_eq!(score.latency_factor(now), 1.0);
        score.set_latency_counts(true);
        assert_eq!(score.latency_factor(now), 1.0);
    }

    #[test]
    fn a_slow_success_makes_degraded_and_fast_ones_healthy() {
        for by_outcome in [false, true] {
            let score = with_latency(true);
            let now = well(&score);
            let mut tiers = Vec::new();
            for second in 0..10 {
                let now = now + second * SECOND;
                let began = score.began(SECOND, now);
                tiers.extend(if by_outcome { score.record(true, now) } else { None });
                tiers.extend(began);
            }
            assert_eq!(tiers, [Tier::Degraded], "said once");
            let now = now + 9 * SECOND;
            let factor = score.latency_factor(now);
            assert!(factor < 0.7 && (score.score(now) - score.success(now) * factor).abs() < 1e-12);
            assert!(score.success(now) > 0.99);

            let healthy = (1..).find(|second| {
                let now = now + second * SECOND;
                score.began(SECOND / 10, now) == Some(Tier::Healthy)
            });
            let good = healthy.expect("some time") - nanos(HEALTHY_FOR) / SECOND;
            assert!(score.score(now + good * SECOND) >= HEALTHY_FROM && (8..25).contains(&good), "{good}");
        }
    }

    #[test]
    fn a_slow_one_of_which_little_is_known_is_not_degraded() {
        let score = with_latency(true);
        (0..20).for_each(|second| assert_eq!(score.began(SECOND / 10, second * SECOND), None));
        (0..100).for_each(|_| assert_eq!(score.began(SECOND, 60 * SECOND), None));
        assert!(score.score(60 * SECOND) < DEGRADED_BELOW);
        (0..4).for_each(|_| assert_eq!(score.record(true, 60 * SECOND), None));
        assert_eq!(score.record(true, 60 * SECOND), Some(Tier::Degraded), "five outcomes");
    }

    #[test]
    fn a_reset_makes_normal_what_is_so_now() {
        let score = with_latency(true);
        let now = well(&score);
        (0..100).for_each(|_| {
            score.began(SECOND, now + SECOND);
        });
        assert_eq!(score.tier(now + SECOND).0, Tier::Degraded);
        score.reset();
        assert_eq!((score.score(now + SECOND), score.tier(now + SECOND)), (0.95, (Tier::Healthy, None)));
        (0..100).for_each(|_| assert_eq!(score.began(SECOND, now + SECOND), None));
        assert_eq!(score.latency_factor(now + SECOND), 1.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_follows_the_formula(calls in prop::collection::vec((any::<bool>(), 0_u64..20 * SECOND), 1..400)) {
            let (score, mut model, mut now) = (Score::new(), Model::default(), 0);
            for (success, pause) in calls {
                now += pause;
                score.record(success, now);
                model.record(success, now);
                let (fast, slow) = (score.score(now), model.score(now));
                prop_assert!((fast - slow).abs() < 0.01, "{fast} against {slow}");
            }
        }

        #[test]
        fn it_is_finite_and_in_its_range_whatever_comes(
            calls in prop::collection::vec((0..9_u8, any::<u64>(), any::<u64>()), 0..200),
            latency_counts in any::<bool>(),
        ) {
            let score = with_latency(latency_counts);
            for (what, took, now) in calls {
                match what {
                    0 => score.closed(now),
                    1 => {
                        score.reset();
                    }
                    2 => {
                        score.tier(now);
                    }
                    3 | 4 => {
                        score.record(what == 3, now);
                    }
                    _ => {
                        score.began(took, now);
                    }
                }
                let (q, h) = (score.success(now), score.score(now));
                prop_assert!((0.0..=1.0).contains(&q) && (0.5 * q..=q).contains(&h), "{q} and {h}");
                let outcomes = score.outcomes(now);
                prop_assert!((0.0..=100.01).contains(&outcomes), "{outcomes}");
            }
        }
    }
}
