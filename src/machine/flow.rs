//! How many calls are under way.

use super::stripe::{Mine, Padded};
use crate::sync::{AtomicU64, Ordering};

/// Calls begun and ended, striped.
#[derive(Debug)]
pub(crate) struct Flow {
    stripes: Box<[Padded<[AtomicU64; 2]>]>,
}

impl Flow {
    pub(crate) fn new(stripes: usize) -> Self {
        Self { stripes: (0..stripes).map(|_| Padded([AtomicU64::new(0), AtomicU64::new(0)])).collect() }
    }

    #[inline]
    pub(crate) fn start(&self) {
        self.add(0);
    }

    #[inline]
    pub(crate) fn end(&self) {
        self.add(1);
    }

    pub(crate) fn started(&self) -> u64 {
        self.sum(0)
    }

    /// Calls under way. Ends are read first, so that it is never below the truth at some moment, nor below 0.
    pub(crate) fn in_flight(&self) -> u64 {
        let ended = self.sum(1);
        self.sum(0).saturating_sub(ended)
    }

    #[inline]
    fn add(&self, which: usize) {
        let mine = Mine::of(self.stripes.len());
        mine.add(&self.stripes[mine.index()].0[which], 1);
    }

    fn sum(&self, which: usize) -> u64 {
        self.stripes.iter().map(|stripe| stripe.0[which].load(Ordering::Relaxed)).sum()
    }
}
