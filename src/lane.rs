//! A shared value with a reference count for each stripe, so that owning a handle for the length of a
//! call does not make threads fight over one counter.

use crate::machine::stripe::{self, Padded};
use std::{ops::Deref, sync::Arc};

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
        let value = Arc::new(value);
        let lane = || Lane(Arc::new(Padded(Arc::clone(&value))));
        Self { lanes: (0..stripe::count()).map(|_| lane()).collect() }
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
