//! A shared value with a reference count for each stripe, so that owning a handle for the length of a
//! call does not make threads fight over one counter.

use crate::machine::stripe::{self, Padded};
use std::{
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
pub(crate) struct Lane<T>(Arc<Padded<Arc<T>>>);

impl<T> Striped<T> {
    pub(crate) fn new(value: T) -> Self {
        Self::with(stripe::count(), value)
    }

    /// With so many stripes, a power of two.
    pub(crate) fn with(stripes: usize, value: T) -> Self {
        let value = Arc::new(value);
        let lane = || Lane(Arc::new(Padded(Arc::clone(&value))));
        Self { lanes: (0..stripes).map(|_| lane()).collect() }
    }

    /// Whether this is the only handle: nobody else can get one but from this.
    pub(crate) fn is_alone(&self) -> bool {
        let alone =
            Arc::strong_count(&self.lanes) == 1 && self.lanes.iter().all(|lane| Arc::strong_count(&lane.0) == 1);
        // What others wrote before they let go of theirs is seen from here on.
        fence(Ordering::Acquire);
        alone
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
