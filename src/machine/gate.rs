//! How many calls may be under way at once.

use crate::sync::{AtomicU32, Ordering};

/// A bound on calls under way, or none, which costs nothing.
#[derive(Debug)]
pub(crate) struct Gate {
    /// The bound; [`UNBOUNDED`] for none.
    most: AtomicU32,
    inside: AtomicU32,
}

/// So many calls cannot be under way.
const UNBOUNDED: u32 = u32::MAX;

impl Gate {
    pub(crate) fn new(most: Option<u32>) -> Self {
        Self { most: AtomicU32::new(bound(most)), inside: AtomicU32::new(0) }
    }

    /// Another bound from now on. Those inside stay; calls that began while there was none are not counted.
    pub(crate) fn set(&self, most: Option<u32>) {
        self.most.store(bound(most), Ordering::Relaxed);
    }

    /// Whether there is a bound at all.
    #[inline]
    pub(crate) fn is_bounded(&self) -> bool {
        self.most.load(Ordering::Relaxed) != UNBOUNDED
    }

    /// Whether one more would be too many. Changes nothing.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        most != UNBOUNDED && self.inside.load(Ordering::Relaxed) >= most
    }

    /// Lets one more in, unless it would be too many.
    pub(crate) fn enter(&self) -> bool {
        let most = self.most.load(Ordering::Relaxed);
        let enters = |inside| (inside < most).then_some(inside + 1);
        self.inside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enters).is_ok()
    }

    /// One that was let in is out again.
    pub(crate) fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::Relaxed);
    }
}

fn bound(most: Option<u32>) -> u32 {
    most.unwrap_or(UNBOUNDED)
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_are_inside() {
        let gate = Gate::new(Some(2));
        assert!(gate.enter() && !gate.is_full() && gate.enter());
        assert!(gate.is_full() && !gate.enter());
        gate.leave();
        assert!(!gate.is_full() && gate.enter() && !gate.enter());
    }

    #[test]
    fn a_bound_that_changes_counts_those_inside() {
        let gate = Gate::new(None);
        assert!(gate.enter() && gate.enter());
        gate.set(Some(2));
        assert!(gate.is_full() && !gate.enter());
        gate.set(Some(3));
        assert!(gate.enter() && gate.is_full());
        gate.set(None);
        (0..3).for_each(|_| gate.leave());
        gate.set(Some(1));
        assert!(!gate.is_full() && gate.enter());
    }

    #[test]
    fn without_a_bound_everybody_is_let_in() {
        let gate = Gate::new(None);
        assert!((0..1_000).all(|_| gate.enter()) && !gate.is_full());
    }
}
