//! How many calls are under way.

use super::stripe::Stripes;
use crate::sync::{AtomicU64, Ordering};

/// Calls begun and ended, striped.
#[derive(Debug)]
pub(crate) struct Flow {
    stripes: Stripes<[AtomicU64; 2]>,
}

impl Flow {
    pub(crate) fn new(stripes: usize) -> Self {
        Self { stripes: Stripes::new(stripes, || [AtomicU64::new(0), AtomicU64::new(0)]) }
    }

    /// How many stripes it has.
    pub(crate) fn stripes(&self) -> usize {
        self.stripes.iter().count()
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
        let (mine, counts) = self.stripes.mine();
        mine.add(&counts[which], 1);
    }

    fn sum(&self, which: usize) -> u64 {
        self.stripes.iter().map(|counts| counts[which].load(Ordering::Relaxed)).sum()
    }
}
