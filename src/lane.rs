//! A shared value with a reference count for each stripe, so that owning a handle for the length of a
//! call does not make threads fight over one counter.

use crate::machine::stripe::{self, Padded};
use arc_swap::ArcSwap;
use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{Ordering, fence},
    },
};

/// A shared value; [`local`](Self::local) gives a handle on the stripe of the calling thread.
#[derive(Debug)]
pub(crate) struct Striped<T> {
    lanes: Arc<[Lane<T>]>,
}

/// A handle that counts on a cache line of its own stripe.
#[derive(Debug)]
pub(crate) struct Lane<T>(Arc<Counted<T>>);

/// A value whose handles of one stripe count here.
type Counted<T> = Padded<Arc<T>>;

impl<T> Striped<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { lanes: lanes(value, stripe::count()).collect() }
    }

    pub(crate) fn local(&self) -> Lane<T> {
        self.lanes[stripe::mine(self.lanes.len())].clone()
    }
}

impl<T> Clone for Striped<T> {
    fn clone(&self) -> Self {
        Self { lanes: Arc::clone(&self.lanes) }
    }
}

impl<T> Deref for Striped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lanes[0]
    }
}

impl<T> Clone for Lane<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Lane<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}

/// A [`Striped`] value that can be exchanged for another. Who has a handle keeps the value that it got.
pub(crate) struct Swap<T> {
    lanes: Arc<[Padded<ArcSwap<Counted<T>>>]>,
}

impl<T> Swap<T> {
    pub(crate) fn new(value: T) -> Self {
        Self::with(stripe::count(), value)
    }

    /// With so many stripes, a power of two.
    pub(crate) fn with(stripes: usize, value: T) -> Self {
        Self { lanes: lanes(value, stripes).map(|lane| Padded(ArcSwap::new(lane.0))).collect() }
    }

    pub(crate) fn stripes(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn local(&self) -> Lane<T> {
        Lane(self.lanes[stripe::mine(self.lanes.len())].0.load_full())
    }

    /// Looks at it without owning a handle.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.lanes[stripe::mine(self.lanes.len())].0.load().0)
    }

    /// Once this has returned, nobody gets the value of before.
    pub(crate) fn set(&self, value: T) {
        for (place, lane) in self.lanes.iter().zip(lanes(value, self.lanes.len())) {
            place.0.store(lane.0);
        }
    }

    /// Whether nobody has another handle or a value: then nobody can get one but from this.
    pub(crate) fn is_alone(&self) -> bool {
        let only = |place: &Padded<ArcSwap<_>>| Arc::strong_count(&place.0.load()) == 1;
        let alone = Arc::strong_count(&self.lanes) == 1 && self.lanes.iter().all(only);
        // What others wrote before they let go of theirs is seen from here on.
        fence(Ordering::Acquire);
        alone
    }
}

impl<T> Clone for Swap<T> {
    fn clone(&self) -> Self {
        Self { lanes: Arc::clone(&self.lanes) }
    }
}

impl<T: fmt::Debug> fmt::Debug for Swap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Swap").field(&*self.local()).finish()
    }
}

fn lanes<T>(value: T, stripes: usize) -> impl Iterator<Item = Lane<T>> {
    let value = Arc::new(value);
    (0..stripes).map(move |_| Lane(Arc::new(Padded(Arc::clone(&value)))))
}
