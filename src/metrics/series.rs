//! Handles of a recorder: taken when they are needed first and a recorder is there, and kept.

use super::names::{self, BUILD_INFO, Metric};
use crate::{log::say, machine::Nanos};
use metrics::{Counter, Gauge, Histogram, IntoF64, Key, Label, Level, Metadata, Recorder, SharedString, with_recorder};
use std::{
    cell::Cell,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

static METADATA: Metadata<'_> = Metadata::new("tower_failover", Level::INFO, Some("tower_failover"));

/// Whether there is, or has been, a recorder. While there is none, this is all that a metric costs.
#[inline]
pub(crate) fn is_heard() -> bool {
    HEARD.load(Ordering::Relaxed) || !with_recorder(is_known_deaf) && look()
}

static HEARD: AtomicBool = AtomicBool::new(false);
/// The address of the stand-in, once it is known. It has a place of its own, where no recorder ever is.
static DEAF: AtomicUsize = AtomicUsize::new(0);

#[inline]
fn is_known_deaf(recorder: &dyn Recorder) -> bool {
    size_of_val(recorder) == 0 && address(recorder) == DEAF.load(Ordering::Relaxed)
}

#[cold]
fn look() -> bool {
    say(|| {
        with_recorder(|recorder| {
            if is_live(recorder) {
                HEARD.store(true, Ordering::Relaxed);
            } else {
                DEAF.store(address(recorder), Ordering::Relaxed);
            }
        });
    });
    HEARD.load(Ordering::Relaxed)
}

fn address(recorder: &dyn Recorder) -> usize {
    std::ptr::from_ref(recorder).cast::<()>() as usize
}

/// The stand-in that the facade has while there is no recorder cannot be asked what it is. But it has no size, and its
/// handles do not even look at what they are given.
#[inline]
fn is_live(recorder: &dyn Recorder) -> bool {
    size_of_val(recorder) > 0 || set_build_info(recorder)
}

pub(crate) fn show_build_info() {
    say(|| {
        with_recorder(set_build_info);
    });
}

/// Whether the handle has taken it.
fn set_build_info(recorder: &dyn Recorder) -> bool {
    struct One<'a>(&'a Cell<bool>);
    impl IntoF64 for One<'_> {
        fn into_f64(self) -> f64 {
            self.0.set(true);
            1.0
        }
    }
    static LABELS: [Label; 1] = [Label::from_static_parts("version", env!("CARGO_PKG_VERSION"))];
    static KEY: Key = Key::from_static_parts(BUILD_INFO.name, &LABELS);
    let taken = Cell::new(false);
    recorder.register_gauge(&KEY, &METADATA).set(One(&taken));
    taken.get()
}

/// The recorder, by its address, that one family of registries has described its metrics to.
#[derive(Debug, Clone, Default)]
pub(super) struct Described(Arc<AtomicUsize>);

/// What the series of one model, of one provider or of all requests have in common.
#[derive(Debug)]
pub(super) struct Series {
    labels: Box<[Label]>,
    described: Described,
}

impl Series {
    pub(super) fn new(labels: &[(&'static str, &str)], described: &Described) -> Self {
        let label =
            |(name, value): &(&'static str, &str)| Label::new(*name, SharedString::from(Arc::<str>::from(*value)));
        Self { labels: labels.iter().map(label).collect(), described: described.clone() }
    }

    pub(super) fn counter(&self, metric: &Metric, labels: &[(&'static str, &'static str)]) -> Option<Counter> {
        self.register(metric, labels, |recorder, key| recorder.register_counter(key, &METADATA))
    }

    pub(super) fn gauge(&self, metric: &Metric, labels: &[(&'static str, &'static str)]) -> Option<Gauge> {
        self.register(metric, labels, |recorder, key| recorder.register_gauge(key, &METADATA))
    }

    pub(super) fn histogram(&self, metric: &Metric, labels: &[(&'static str, &'static str)]) -> Option<Histogram> {
        self.register(metric, labels, |recorder, key| recorder.register_histogram(key, &METADATA))
    }

    /// None while there is no recorder: a handle that is taken then stays dead.
    #[cold]
    fn register<T>(
        &self,
        metric: &Metric,
        labels: &[(&'static str, &'static str)],
        register: impl FnOnce(&dyn Recorder, &Key) -> T,
    ) -> Option<T> {
        with_recorder(|recorder| {
            if !is_live(recorder) {
                return None;
            }
            let address = address(recorder);
            if self.described.0.swap(address, Ordering::Relaxed) != address {
                names::describe_all(recorder);
                set_build_info(recorder);
            }
            let more = labels.iter().map(|(name, value)| Label::from_static_parts(name, value));
            let labels: Vec<Label> = self.labels.iter().cloned().chain(more).collect();
            Some(register(recorder, &Key::from_parts(metric.name, labels)))
        })
    }
}

/// A handle, once it has been taken.
#[derive(Debug)]
pub(super) struct Kept<T>(OnceLock<T>);

impl<T> Kept<T> {
    #[inline]
    fn get_or(&self, take: impl FnOnce() -> Option<T>) -> Option<&T> {
        if let Some(handle) = self.0.get() {
            return Some(handle);
        }
        // Not by the cell itself, which would be locked meanwhile: a recorder may come back to here.
        let _ = self.0.set(take()?);
        self.0.get()
    }
}

impl Kept<Counter> {
    #[inline]
    pub(super) fn add(&self, value: u64, take: impl FnOnce() -> Option<Counter>) {
        if let Some(counter) = self.get_or(take) {
            counter.increment(value);
        }
    }

    #[inline]
    pub(super) fn add_one(&self, take: impl FnOnce() -> Option<Counter>) {
        self.add(1, take);
    }
}

impl Kept<Histogram> {
    /// A time, in seconds.
    #[inline]
    pub(super) fn record(&self, took: Nanos, take: impl FnOnce() -> Option<Histogram>) {
        if let Some(histogram) = self.get_or(take) {
            histogram.record(Duration::from_nanos(took).as_secs_f64());
        }
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(OnceLock::new())
    }
}
