//! Whether a model has become slow: the factor λ of its score, where latency is made to count.
//!
//! `λ = clamp(2 · L_long / L_short, 0.5, 1)`, over two averages of what its successes take to their first byte: what is
//! usual, and how it is now. Up to twice as slow changes nothing. While λ is below 1 the long average stands still, so that
//! slow does not become normal, however long it lasts: only a reset makes it so.
//!
//! An average is the mean of its samples, each with a weight of `exp(−Δt/τ)`. So the first samples set it, and a steady
//! stream of calls shows the same whatever its rate. Where calls are rarer than τ it would be the last one alone: there a
//! single one is held to a fifth of it; but while the model is slow to a half, so that the few calls which it still sees
//! can bring it back.
//!
//! Without any samples λ goes back to 1 for those who read it, as outcomes fade. The averages stay: one slow sample more,
//! and it is where it was.
//!
//! A reader loads λ, and no more while that is 1. One thread at a time writes, and who comes meanwhile goes on without:
//! nobody waits, and an average can bear the loss.

use super::{Nanos, nanos, score::SCORE_FADES, stripe::Padded};
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use std::time::Duration;

/// The short average of latencies forgets with this time constant: 10 s.
///
/// Long enough that a hiccup of a second changes nothing, however bad; and of a model that has been well for some minutes and
/// becomes ten times slower, three seconds of slow answers are enough to make it degraded; four times slower, eleven.
pub const LATENCY_SHORT: Duration = Duration::from_secs(10);
/// The long one: 300 s. What becomes slow more slowly than that becomes normal.
pub const LATENCY_LONG: Duration = Duration::from_secs(300);
/// So many times what is usual is not slow yet: 2.
pub const LATENCY_MULTIPLE: u32 = 2;
/// The factor by which latency lowers a score is never below this: 0.5.
pub const LEAST_LATENCY_FACTOR: f64 = 0.5;
/// After so many successes it is known what is usual: 20.
pub const LATENCY_KNOWN_AFTER: u32 = 20;
/// Once so many are known, one call is never more than a fifth of the short average, or a half while the model is slow,
pub const LATENCY_LAST: u32 = 5;
/// and a hundredth of the long one.
pub const LATENCY_LAST_LONG: u32 = 100;
/// No call counts for more than eight times what is usual, so that one straggler is not taken for many slow calls. From four
/// times on the factor is at its least.
pub const LATENCY_MOST_MULTIPLE: u32 = 8;
/// All below 1 ms is 1 ms: nobody feels a difference there.
pub const LATENCY_FLOOR: Duration = Duration::from_millis(1);

/// [`LATENCY_LAST`] of a model that is slow.
const LAST_WHILE_SLOW: u32 = 2;

#[derive(Debug)]
pub(crate) struct Latency {
    averages: Padded<Mutex<Averages>>,
    /// As of the last sample, the bits of a float. Apart from the averages, as every request reads it and hardly one
    /// changes it.
    factor: AtomicU64,
    /// When the last sample came, while the factor is below 1.
    at: AtomicU64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Averages {
    /// When the last sample came.
    at: Nanos,
    short: Average,
    long: Average,
    factor: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Average {
    weight: f64,
    mean: f64,
}

impl Latency {
    pub(crate) fn new() -> Self {
        Self {
            averages: Padded(Mutex::new(Averages::new())),
            factor: AtomicU64::new(1.0_f64.to_bits()),
            at: AtomicU64::new(0),
        }
    }

    /// A success `took` so long to its first byte, which came just now.
    pub(crate) fn record(&self, took: Nanos, now: Nanos) {
        let Ok(mut averages) = self.averages.0.try_lock() else { return };
        let before = averages.factor;
        averages.record(took, now);
        if averages.factor < 1.0 {
            self.at.store(averages.at, Ordering::Relaxed);
        }
        if averages.factor != before {
            // Whoever sees it sees of when it is, too; or a new one might have faded at once.
            self.factor.store(averages.factor.to_bits(), Ordering::Release);
        }
    }

    /// λ, in [0.5, 1]. Without new samples it goes back to 1, as what it rests on fades.
    pub(crate) fn factor(&self, now: Nanos) -> f64 {
        let factor = f64::from_bits(self.factor.load(Ordering::Acquire));
        if factor >= 1.0 {
            return 1.0;
        }
        let passed = now.saturating_sub(self.at.load(Ordering::Relaxed));
        1.0 - (1.0 - factor) * left(passed, SCORE_FADES)
    }

    /// Back to knowing nothing: what comes next is what is usual.
    pub(crate) fn reset(&self) {
        let mut averages = lock(&self.averages.0);
        *averages = Averages::new();
        self.factor.store(1.0_f64.to_bits(), Ordering::Release);
    }
}

impl Averages {
    fn new() -> Self {
        Self { at: 0, short: Average::default(), long: Average::default(), factor: 1.0 }
    }

    fn record(&mut self, took: Nanos, now: Nanos) {
        let passed = now.saturating_sub(self.at);
        self.at = self.at.max(now);
        let usual = (self.long.weight >= f64::from(LATENCY_KNOWN_AFTER)).then_some(self.long.mean);
        let took = took.max(nanos(LATENCY_FLOOR)) as f64;
        let took = usual.map_or(took, |usual| took.min(f64::from(LATENCY_MOST_MULTIPLE) * usual));
        let last = if self.factor < 1.0 { LAST_WHILE_SLOW } else { LATENCY_LAST };
        self.short.add(took, left(passed, LATENCY_SHORT), last);
        let factor = usual.map_or(1.0, |usual| f64::from(LATENCY_MULTIPLE) * usual / self.short.mean);
        self.factor = factor.clamp(LEAST_LATENCY_FACTOR, 1.0);
        if self.factor >= 1.0 {
            self.long.add(took, left(passed, LATENCY_LONG), LATENCY_LAST_LONG);
        }
    }
}

impl Average {
    /// Lets what is there fade to this share, though never so far that one sample would be more than one of so many `last`;
    /// then adds it. What has not gathered as much yet does not fade.
    fn add(&mut self, took: f64, share: f64, last: u32) {
        let kept = self.weight.min(f64::from(last) - 1.0);
        self.weight = (self.weight * share).max(kept) + 1.0;
        self.mean += (took - self.mean) / self.weight;
    }
}

/// What is left of a weight after this time.
fn left(passed: Nanos, fades: Duration) -> f64 {
    (-(passed as f64) / nanos(fades) as f64).exp()
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Nanos = 1_000_000_000;
    const MILLI: Nanos = 1_000_000;

    /// The same by the book: every sample is kept with its weight.
    #[derive(Default)]
    struct Model {
        at: Nanos,
        short: Samples,
        long: Samples,
        factor: Option<f64>,
    }

    #[derive(Default)]
    struct Samples(Vec<(f64, f64)>);

    impl Samples {
        fn weight(&self) -> f64 {
            self.0.iter().map(|(weight, _)| weight).sum()
        }

        fn mean(&self) -> f64 {
            self.0.iter().map(|(weight, took)| weight * took).sum::<f64>() / self.weight()
        }

        fn add(&mut self, took: f64, share: f64, last: f64) {
            let before = self.weight();
            let share = if before * share >= last - 1.0 { share } else { (last - 1.0).min(before) / before };
            self.0.iter_mut().for_each(|(weight, _)| *weight *= share);
            self.0.push((1.0, took));
        }
    }

    impl Model {
        fn record(&mut self, took: Nanos, now: Nanos) {
            let passed = (now - self.at) as f64 / 1e9;
            self.at = now;
            let known = self.long.0.len() >= 20;
            let mut took = (took as f64).max(1e6);
            if known && took > 8.0 * self.long.mean() {
                took = 8.0 * self.long.mean();
            }
            let was_slow = self.factor.is_some_and(|factor| factor < 1.0);
            self.short.add(took, (-passed / 10.0).exp(), if was_slow { 2.0 } else { 5.0 });
            let ratio = 2.0 * self.long.mean() / self.short.mean();
            self.factor = known.then_some(ratio.clamp(0.5, 1.0));
            if self.factor.is_none_or(|factor| factor == 1.0) {
                self.long.add(took, (-passed / 300.0).exp(), 100.0);
            }
        }

        fn factor(&self, now: Nanos) -> f64 {
            let factor = self.factor.unwrap_or(1.0);
            1.0 - (1.0 - factor) * (-((now - self.at) as f64) / 60e9).exp()
        }
    }

    /// So many samples of this length, this far apart, from a time on; until when.
    fn steady(latency: &Latency, from: Nanos, samples: u64, apart: Nanos, took: Nanos) -> Nanos {
        (0..samples).for_each(|sample| latency.record(took, from + sample * apart));
        from + samples * apart
    }

    /// After how many samples of this length the factor is at the bound, or beyond.
    fn until(latency: &Latency, from: Nanos, apart: Nanos, took: Nanos, reached: impl Fn(f64) -> bool) -> u64 {
        let samples = (0..100_000).find(|sample| {
            latency.record(took, from + sample * apart);
            reached(latency.factor(from + sample * apart))
        });
        samples.expect("reached") + 1
    }

    /// What makes a model that never fails degraded, and healthy again.
    fn degrades(factor: f64) -> bool {
        factor < 0.70
    }

    fn heals(factor: f64) -> bool {
        factor >= 0.85
    }

    fn averages(latency: &Latency) -> Averages {
        *lock(&latency.averages.0)
    }

    #[test]
    fn the_first_samples_set_it_and_twenty_are_needed() {
        let latency = Latency::new();
        latency.record(SECOND, 1_000 * SECOND);
        assert_eq!((averages(&latency).short.mean, averages(&latency).long.mean), (1e9, 1e9));
        latency.record(3 * SECOND, 1_000 * SECOND);
        assert_eq!((averages(&latency).short.mean, averages(&latency).long.mean), (2e9, 2e9));

        for (before, known) in [(19, false), (20, true)] {
            let latency = Latency::new();
            steady(&latency, 0, before, 0, SECOND / 10);
            latency.record(SECOND, 60 * SECOND);
            assert_eq!(latency.factor(60 * SECOND) < 1.0, known, "{before}");
        }
    }

    #[test]
    fn twice_as_slow_changes_nothing_and_four_times_is_as_bad_as_it_gets() {
        for (times, expected) in [(1.0, 1.0), (2.0, 1.0), (2.5, 0.8), (3.2, 0.62), (4.2, 0.5), (1e6, 0.5)] {
            let latency = Latency::new();
            let now = steady(&latency, 0, 50_000, SECOND / 50, SECOND / 10);
            let now = steady(&latency, now, 5_000, SECOND / 50, (1e8 * times) as Nanos);
            // The long average still moves until the short one is twice as long: by a twentieth at the most.
            let factor = latency.factor(now);
            assert!(factor >= expected && factor <= expected * 1.08, "{times}: {factor}");
        }
    }

    #[test]
    fn ten_times_slower_is_seen_within_seconds_at_any_rate() {
        for apart in [SECOND / 1_000, SECOND / 100, SECOND / 10, SECOND / 2] {
            for (times, within) in [(10, 3.0..=3.5), (4, 10.0..=12.0)] {
                let latency = Latency::new();
                let now = steady(&latency, 0, 600 * SECOND / apart, apart, SECOND / 10);
                let samples = until(&latency, now, apart, times * SECOND / 10, degrades);
                let took = (samples * apart) as f64 / 1e9;
                assert!(within.contains(&took), "{times} times, each {apart} ns: {took}");
            }
        }
    }

    #[test]
    fn a_hiccup_of_a_second_changes_nothing_however_bad() {
        for apart in [SECOND / 1_000, SECOND / 100, SECOND / 10] {
            let latency = Latency::new();
            let now = steady(&latency, 0, 600 * SECOND / apart, apart, SECOND / 10);
            let now = steady(&latency, now, SECOND / apart, apart, 1_000 * SECOND);
            assert_eq!(latency.factor(now), 1.0, "each {apart} ns");
        }
    }

    #[test]
    fn of_a_quiet_model_one_straggler_changes_little_and_a_few_are_seen() {
        for apart in [10 * SECOND, 100 * SECOND, 86_400 * SECOND] {
            for times in [10, 1_000_000] {
                let latency = Latency::new();
                let now = steady(&latency, 0, 100, apart, SECOND);
                latency.record(times * SECOND, now);
                assert!(!degrades(latency.factor(now)), "{times} times, each {apart} ns: {}", latency.factor(now));
                assert_eq!(until(&latency, now + apart, apart, times * SECOND, degrades), 1);
            }
            let latency = Latency::new();
            let now = steady(&latency, 0, 100, apart, SECOND);
            assert!((3..=4).contains(&until(&latency, now, apart, 4 * SECOND, degrades)), "each {apart} ns");
        }
    }

    #[test]
    fn slow_does_not_become_normal() {
        for times in [3, 10, 1_000] {
            for apart in [SECOND / 100, SECOND, 30 * SECOND] {
                let (latency, took) = (Latency::new(), times * SECOND / 10);
                let now = steady(&latency, 0, (600 * SECOND / apart).max(200), apart, SECOND / 10);
                let samples = until(&latency, now, apart, took, |factor| factor < 1.0);
                let (now, long) = (now + samples * apart, averages(&latency).long);
                assert!(long.mean < 1.1e8, "{times} times, each {apart} ns: {long:?}");
                // For a day or more.
                let now = steady(&latency, now, 90_000, apart.max(SECOND), took) - apart.max(SECOND);
                assert_eq!(averages(&latency).long, long, "{times} times, each {apart} ns");
                assert!(latency.factor(now) < 0.75, "{times} times, each {apart} ns: {}", latency.factor(now));
                latency.reset();
                let now = steady(&latency, now, 100, apart, took);
                let long = averages(&latency).long.mean;
                assert!(latency.factor(now) == 1.0 && (long - took as f64).abs() < 1.0, "now it is normal");
            }
        }
    }

    #[test]
    fn one_that_has_recovered_comes_back_at_any_rate() {
        // As often as before; a fiftieth of that, as a degraded model sees; one in 30 s; one in 300 s.
        for (before, after, within) in [
            (SECOND / 100, SECOND / 100, 17..21),
            (SECOND / 100, SECOND / 2, 50..65),
            (SECOND / 1_000, SECOND / 20, 50..65),
            (SECOND, 30 * SECOND, 60..121),
            (30 * SECOND, 300 * SECOND, 300..901),
        ] {
            let latency = Latency::new();
            let now = steady(&latency, 0, (600 * SECOND / before).max(200), before, SECOND / 10);
            let now = steady(&latency, now, (100 * SECOND / before).max(10), before, SECOND);
            assert!(degrades(latency.factor(now - before)));
            let samples = until(&latency, now + after, after, SECOND / 10, |factor| factor >= 1.0);
            let took = samples * after / SECOND;
            assert!(within.contains(&took), "{before} and {after} ns apart: {took}");
        }
    }

    #[test]
    fn one_lucky_answer_does_not_bring_a_slow_model_back() {
        let latency = Latency::new();
        let now = steady(&latency, 0, 1_000, SECOND, SECOND / 10);
        let now = steady(&latency, now, 100, SECOND, SECOND);
        for call in 1..80 {
            let now = now + call * 30 * SECOND;
            latency.record(if call % 4 == 0 { SECOND / 10 } else { SECOND }, now);
            assert!(degrades(latency.factor(now)), "{call}");
        }
    }

    #[test]
    fn without_samples_it_is_slow_no_longer() {
        let latency = Latency::new();
        let now = steady(&latency, 0, 1_000, SECOND, SECOND / 10);
        let now = steady(&latency, now, 100, SECOND, SECOND) - SECOND;
        assert_eq!(latency.factor(now), 0.5);
        assert!((latency.factor(now + 60 * SECOND) - (1.0 - 0.5 / std::f64::consts::E)).abs() < 1e-9);
        let heals = (0..).find(|seconds| heals(latency.factor(now + seconds * SECOND)));
        assert_eq!(heals, Some(73));
        assert!(latency.factor(now + 3_600 * SECOND) > 0.999_999);
        // But that is soon over when it turns out to be as slow as ever.
        latency.record(SECOND, now + 3_600 * SECOND);
        assert_eq!(latency.factor(now + 3_600 * SECOND), 0.5);
    }

    #[test]
    fn below_a_millisecond_nothing_is_slow() {
        let latency = Latency::new();
        let now = steady(&latency, 0, 1_000, SECOND / 10, 0);
        let now = steady(&latency, now, 1_000, SECOND / 10, 2 * MILLI);
        assert_eq!(latency.factor(now), 1.0);
        let now = steady(&latency, now, 1_000, SECOND / 10, 50 * MILLI);
        assert!(latency.factor(now) < 0.51);
    }

    #[test]
    fn a_sample_that_comes_late_does_not_turn_time_back() {
        let latency = Latency::new();
        let now = steady(&latency, 0, 100, SECOND, SECOND);
        latency.record(SECOND, now - 10 * SECOND);
        assert_eq!(averages(&latency).at, now - SECOND);
    }

    #[test]
    fn nobody_waits_for_another_writer() {
        let latency = Latency::new();
        let held = lock(&latency.averages.0);
        latency.record(SECOND, 0);
        assert_eq!(latency.factor(0), 1.0);
        drop(held);
        assert_eq!(averages(&latency), Averages::new(), "that sample is lost");
    }

    /// Mostly as usual, with slow spells; seldom and often.
    fn samples() -> impl Strategy<Value = Vec<(Nanos, Nanos)>> {
        let spell = (1_u64..40, 1_usize..40, 1..4_000 * MILLI);
        prop::collection::vec(spell, 1..12).prop_map(|spells| {
            let spell = |(times, samples, pause): (u64, usize, Nanos)| {
                (0..samples as u64).map(move |sample| (times * (50 + sample % 7) * MILLI, pause + sample * MILLI))
            };
            spells.into_iter().flat_map(spell).collect()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_follows_the_formula(samples in samples(), idle in 0..200 * SECOND) {
            let (latency, mut model, mut now) = (Latency::new(), Model::default(), 0);
            for (took, pause) in samples {
                now += pause;
                latency.record(took, now);
                model.record(took, now);
                let (fast, slow) = (latency.factor(now + idle), model.factor(now + idle));
                prop_assert!((fast - slow).abs() < 1e-6, "{fast} against {slow}");
            }
        }

        #[test]
        fn a_steady_stream_shows_the_same_at_any_rate(
            times in 1.0..8.0_f64,
            apart in MILLI..SECOND / 2,
            seconds in 1_u64..40,
        ) {
            let latency = Latency::new();
            let now = steady(&latency, 0, 100 * SECOND / apart, apart, SECOND);
            let now = steady(&latency, now, seconds * SECOND / apart, apart, (times * 1e9) as Nanos) - apart;
            let passed = (now - 99 * SECOND).min(now) as f64 / 1e9 - 1.0;
            let averages = averages(&latency);
            if averages.factor >= 1.0 {
                let expected = 1.0 + (times - 1.0) * (1.0 - (-passed / 10.0).exp());
                let short = averages.short.mean / 1e9;
                prop_assert!((short - expected).abs() < 0.08 * times, "{short} against {expected}");
            }
        }

        #[test]
        fn it_is_finite_and_in_its_range_whatever_comes(
            calls in prop::collection::vec((0..20_u8, any::<u64>(), any::<u64>(), any::<u64>()), 0..300),
            small in any::<bool>(),
        ) {
            let latency = Latency::new();
            for (what, took, now, look) in calls {
                let (took, now) = if small { (took % SECOND, now % (100 * SECOND)) } else { (took, now) };
                match what {
                    0 => latency.reset(),
                    _ => latency.record(took, now),
                }
                let Averages { short, long, .. } = averages(&latency);
                for average in [short, long] {
                    prop_assert!(average.mean.is_finite() && (0.0..=301.0).contains(&average.weight), "{average:?}");
                }
                for now in [now, look] {
                    let factor = latency.factor(now);
                    prop_assert!((0.5..=1.0).contains(&factor), "{factor}");
                }
            }
        }
    }
}

#[cfg(all(test, tower_failover_loom))]
mod loom_tests {
    use super::*;
    use loom::{sync::Arc, thread};

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn loom_whoever_sees_a_factor_sees_of_when_it_is() {
        loom::model(|| {
            let latency = Arc::new(Latency::new());
            (0..LATENCY_KNOWN_AFTER).for_each(|_| latency.record(SECOND, 0));
            let now = 600 * SECOND;
            let writers = [(); 2].map(|()| {
                let latency = Arc::clone(&latency);
                thread::spawn(move || latency.record(100 * SECOND, now))
            });
            let seen = latency.factor(now);
            // 1, or that of one call of eight times what is usual among five, or of two among six, with nothing faded.
            let of = [1.0, 2.0 / (1.0 + 7.0 / 5.0), 2.0 / (1.0 + 14.0 / 6.0)];
            assert!(of.iter().any(|factor| (seen - factor).abs() < 1e-6), "{seen} is none of {of:?}");
            writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
            assert!(latency.factor(now) < 1.0, "one of them at the least was not turned away");
        });
    }
}
