//! How many calls may be under way at once.

use crate::sync::{AtomicU64, Ordering};

/// A bound on calls under way, or none, which costs nothing.
#[derive(Debug)]
pub(crate) struct Gate {
    most: Option<u64>,
    inside: AtomicU64,
}

impl Gate {
    pub(crate) fn new(most: Option<u32>) -> Self {
        Self { most: most.map(u64::from), inside: AtomicU64::new(0) }
    }

    /// Whether there is a bound at all.
    pub(crate) fn is_bounded(&self) -> bool {
        self.most.is_some()
    }

    /// Whether one more would be too many. Changes nothing.
    pub(crate) fn is_full(&self) -> bool {
        self.most.is_some_and(|most| self.inside.load(Ordering::Relaxed) >= most)
    }

    /// Lets one more in, unless it would be too many.
    pub(crate) fn enter(&self) -> bool {
        let Some(most) = self.most else { return true };
        let enters = |inside| (inside < most).then_some(inside + 1);
        self.inside.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enters).is_ok()
    }

    /// One that was let in is out again.
    pub(crate) fn leave(&self) {
        if self.most.is_some() {
            self.inside.fetch_sub(1, Ordering::Relaxed);
        }
    }
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
    fn without_a_bound_everybody_is_let_in() {
        let gate = Gate::new(None);
        assert!((0..1_000).all(|_| gate.enter()) && !gate.is_full());
    }
}
