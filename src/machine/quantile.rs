//! How long a model's successes take at their slowest: quantiles over the last one to two minutes.
//!
//! A histogram with eight buckets to each doubling (as HdrHistogram has it), in two banks that take turns by the minute.
//! A cell is one word, the minute and a count, so that an old one is told from a new one without being cleared. Striped
//! over threads, and made at the first success.
//!
//! A single stripe, as each key has, writes down the first few different ones without a histogram, a word for each bucket
//! and minute. Once one finds no word a histogram is made, to which all go from then on.

use super::{
    Nanos, nanos,
    stripe::{self, Mine},
};
use crate::sync::{AtomicU64, Ordering};
use std::{sync::OnceLock, time::Duration};

/// Each bank counts for so long, and is then read for as long again.
const BANK: Duration = Duration::from_secs(60);

/// Buckets to each doubling.
const STEPS: usize = 8;
/// All below 2¹⁹ ns, half a millisecond, is one bucket.
const FIRST: u32 = 19;
/// All from 2⁴¹ ns on, 37 minutes, is one bucket.
const DOUBLINGS: usize = 22;
const BUCKETS: usize = STEPS * DOUBLINGS + 2;

const COUNT_BITS: u32 = 32;

/// So many words tell what a single stripe has seen, before it needs a histogram.
const FEW: usize = 8;

#[derive(Debug)]
pub(crate) struct Quantiles {
    histogram: OnceLock<Box<Histogram>>,
    /// Before that, where there is one stripe.
    few: [AtomicU64; FEW],
}

#[derive(Debug)]
struct Histogram {
    stripes: Box<[stripe::Padded<Banks>]>,
}

type Banks = [[AtomicU64; BUCKETS]; 2];

fn banks() -> Banks {
    std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0)))
}

impl Quantiles {
    pub(crate) fn new() -> Self {
        Self { histogram: OnceLock::new(), few: std::array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// Notes what a success took, on a stripe of so many, which are always as many.
    #[inline]
    pub(crate) fn record(&self, stripes: usize, mine: Mine, took: Nanos, now: Nanos) {
        let (minute, bucket) = (minute(now), bucket(took));
        match self.histogram.get().and_then(|histogram| histogram.stripes.get(mine.index())) {
            Some(stripe) => {
                let cell = &stripe.0[bank(minute)][bucket];
                mine.update(cell, |word| Some(one_more(word, minute)));
            }
            None => self.record_otherwise(stripes, mine, minute, bucket),
        }
    }

    #[inline(never)]
    fn record_otherwise(&self, stripes: usize, mine: Mine, minute: u64, bucket: usize) {
        if stripes == 1 && self.is_among_few(minute, bucket) {
            return;
        }
        let new = || Box::new(Histogram { stripes: (0..stripes).map(|_| stripe::Padded(banks())).collect() });
        let cell = &self.histogram.get_or_init(new).stripes[mine.index()].0[bank(minute)][bucket];
        mine.update(cell, |word| Some(one_more(word, minute)));
    }

    /// What so large a share of the successes took at the most, to the upper end of its bucket; `None` with fewer than
    /// `least` of them.
    pub(crate) fn quantile(&self, share: f64, least: u64, now: Nanos) -> Option<Nanos> {
        let mut counts = [0_u64; BUCKETS];
        let minute = minute(now);
        self.add_few(&mut counts, minute);
        for banks in self.histogram.get().iter().flat_map(|histogram| &histogram.stripes).map(|stripe| &stripe.0) {
            for minute in [minute, minute.wrapping_sub(1) & u64::from(u32::MAX)] {
                for (count, cell) in counts.iter_mut().zip(&banks[bank(minute)]) {
                    let word = cell.load(Ordering::Relaxed);
                    if word >> COUNT_BITS == minute {
                        *count += word & u64::from(u32::MAX);
                    }
                }
            }
        }
        let total: u64 = counts.iter().sum();
        if total < least.max(1) {
            return None;
        }
        let wanted = (total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        let slowest = counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        slowest.map(upper_end)
    }

    /// Counts one without a histogram, if it has a word or finds one. Several threads may come to have one each for the same.
    fn is_among_few(&self, minute: u64, bucket: usize) -> bool {
        let fresh = few(minute, bucket);
        let same = |word: u64| word & !FEW_COUNT_MASK == fresh && word & FEW_COUNT_MASK != FEW_COUNT_MASK;
        let free = |word: u64| !is_recent(word >> (FEW_COUNT_BITS + BUCKET_BITS), minute);
        let take = |cell: &AtomicU64, which: &dyn Fn(u64) -> bool, next: &dyn Fn(u64) -> u64| {
            let change = |word| which(word).then(|| next(word));
            cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).is_ok()
        };
        self.few.iter().any(|cell| take(cell, &same, &|word| word + 1))
            || self.few.iter().any(|cell| take(cell, &free, &|_| fresh + 1))
    }

    fn add_few(&self, counts: &mut [u64; BUCKETS], minute: u64) {
        for cell in &self.few {
            let word = cell.load(Ordering::Relaxed);
            let held = word >> (FEW_COUNT_BITS + BUCKET_BITS);
            if [minute, minute.wrapping_sub(1)].map(few_minute).contains(&held) {
                counts[(word >> FEW_COUNT_BITS) as usize % (1 << BUCKET_BITS)] += word & FEW_COUNT_MASK;
            }
        }
    }
}

/// Counted from 1, so that a fresh cell belongs to none. They come round after eight thousand years.
#[inline]
fn minute(now: Nanos) -> u64 {
    (now / nanos(BANK) + 1) & u64::from(u32::MAX)
}

/// A cell of a histogram with one more.
#[inline]
fn one_more(word: u64, minute: u64) -> u64 {
    if word >> COUNT_BITS == minute { word + 1 } else { (minute << COUNT_BITS) | 1 }
}

const BUCKET_BITS: u32 = 8;
const FEW_COUNT_BITS: u32 = 28;
const FEW_COUNT_MASK: u64 = (1 << FEW_COUNT_BITS) - 1;

/// The word of a bucket in one minute, with a count of 0.
fn few(minute: u64, bucket: usize) -> u64 {
    (few_minute(minute) << (FEW_COUNT_BITS + BUCKET_BITS)) | ((bucket as u64) << FEW_COUNT_BITS)
}

/// In 28 bits they come round after five hundred years.
fn few_minute(minute: u64) -> u64 {
    minute % (1 << (u64::BITS - FEW_COUNT_BITS - BUCKET_BITS))
}

/// Whether a word's minute is read still, or that of a thread whose clock is a little ahead.
fn is_recent(held: u64, minute: u64) -> bool {
    held != 0 && [minute.wrapping_sub(1), minute, minute + 1].map(few_minute).contains(&held)
}

#[inline]
fn bank(minute: u64) -> usize {
    usize::from(minute % 2 == 1)
}

#[inline]
fn bucket(took: Nanos) -> usize {
    let Some(doubling) = took.max(1).ilog2().checked_sub(FIRST) else { return 0 };
    let step = (took >> (doubling + FIRST - STEPS.ilog2())) as usize % STEPS;
    (1 + doubling as usize * STEPS + step).min(BUCKETS - 1)
}

/// The first time that belongs to the next bucket.
fn upper_end(bucket: usize) -> Nanos {
    let (doubling, step) = (bucket / STEPS, bucket % STEPS);
    ((STEPS + step) as Nanos) << (FIRST + doubling as u32 - STEPS.ilog2())
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Nanos = 1_000_000_000;
    const MILLI: Nanos = 1_000_000;

    fn record_in(quantiles: &Quantiles, stripes: usize, took: Nanos, now: Nanos) {
        quantiles.record(stripes, Mine::of(stripes), took, now);
    }

    fn record(quantiles: &Quantiles, took: Nanos, now: Nanos) {
        record_in(quantiles, 1, took, now);
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        assert_eq!((bucket(0), bucket((1 << FIRST) - 1), bucket(1 << FIRST)), (0, 0, 1));
        for index in 0..BUCKETS - 1 {
            let end = upper_end(index);
            assert_eq!((bucket(end - 1), bucket(end)), (index, index + 1), "{index}: {end}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn too_few_are_none() {
        let quantiles = Quantiles::new();
        assert_eq!(quantiles.quantile(0.99, 1, 0), None);
        (0..19).for_each(|_| record(&quantiles, MILLI, 0));
        assert_eq!(quantiles.quantile(0.99, 20, 0), None);
        record(&quantiles, MILLI, 0);
        assert!(quantiles.quantile(0.99, 20, 0).is_some());
    }

    #[test]
    fn what_is_two_minutes_old_is_forgotten() {
        let quantiles = Quantiles::new();
        (0..100).for_each(|_| record(&quantiles, 10 * SECOND, 0));
        (0..100).for_each(|_| record(&quantiles, MILLI, 60 * SECOND));
        assert!(quantiles.quantile(0.99, 1, 119 * SECOND) > Some(10 * SECOND));
        assert!(quantiles.quantile(0.99, 1, 120 * SECOND) < Some(2 * MILLI));
        assert_eq!(quantiles.quantile(0.99, 1, 180 * SECOND), None);
        (0..100).for_each(|_| record(&quantiles, SECOND, 1_000_000 * SECOND));
        assert!(quantiles.quantile(0.01, 1, 1_000_000 * SECOND) >= Some(SECOND), "nothing of old in a cell");
    }

    #[test]
    fn a_key_with_few_different_times_has_no_histogram() {
        let (quantiles, many) = (Quantiles::new(), Quantiles::new());
        record_in(&many, 2, MILLI, 0);
        assert!(many.histogram.get().is_some(), "threads would fight over its few words");
        for second in 0..3_600 {
            for bucket in 0..FEW as u64 / 2 {
                record(&quantiles, MILLI << bucket, second * SECOND);
            }
        }
        let has_histogram = || quantiles.histogram.get().is_some();
        assert!(!has_histogram());
        (0..=FEW as u64 / 2).for_each(|bucket| record(&quantiles, MILLI << bucket, 3_599 * SECOND));
        assert!(has_histogram());
        // Of two minutes, with each of the times 120 times and once, and one more.
        assert_eq!(quantiles.quantile(1.0, 485, 3_599 * SECOND), Some(upper_end(bucket(MILLI << 4))));
        assert_eq!(quantiles.quantile(1.0, 486, 3_599 * SECOND), None);
    }

    #[test]
    fn nothing_is_lost_between_threads() {
        let quantiles = Quantiles::new();
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let quantiles = &quantiles;
                scope.spawn(move || {
                    (0..1_000).for_each(|call| record(quantiles, MILLI << ((call + thread) % 12), 0));
                });
            }
        });
        assert!(quantiles.quantile(0.5, 4_000, 0).is_some());
        assert_eq!(quantiles.quantile(0.5, 4_001, 0), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_single_stripe_says_what_many_say(calls in prop::collection::vec((0..40_u64, 0..90 * SECOND), 1..200)) {
            let (one, many) = (Quantiles::new(), Quantiles::new());
            let mut now = 0;
            for (call, (took, pass)) in calls.into_iter().enumerate() {
                now += pass / if call % 3 == 0 { 1 } else { 100 };
                record(&one, took * 300 * MILLI, now);
                record_in(&many, 2, took * 300 * MILLI, now);
                for share in [0.01, 0.5, 0.99] {
                    for least in [1, 20] {
                        prop_assert_eq!(one.quantile(share, least, now), many.quantile(share, least, now));
                    }
                }
            }
        }

        #[test]
        fn it_is_at_most_an_eighth_above_the_exact_one(
            mut times in prop::collection::vec(MILLI..600 * SECOND, 1..300),
            share in 0.01..1.0_f64,
        ) {
            let quantiles = Quantiles::new();
            times.iter().for_each(|took| record(&quantiles, *took, 0));
            times.sort_unstable();
            let exact = times[((times.len() as f64 * share).ceil() as usize).max(1) - 1];
            let found = quantiles.quantile(share, 1, 0).expect("some");
            prop_assert!(found > exact && found <= exact + exact / 8 + 1, "{found} for {exact}");
        }
    }
}
