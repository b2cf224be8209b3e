//! Other rules for a breaker that is at work.

use super::{Breaker, BreakerConfig, word::Word};
use crate::sync::Ordering;
use std::sync::Arc;

impl Breaker {
    /// A breaker of another configuration that goes on from the state of this one: what is open stays open until then, what
    /// is forced stays forced. It counts from here on, and what comes back to this one changes nothing any more.
    pub(crate) fn renewed(&self, config: impl Into<Arc<BreakerConfig>>) -> Self {
        let mut locked = self.lock();
        let word = self.word();
        let members = self.members.load(Ordering::Relaxed) as usize;
        let renewed = Self::new(config, members, self.stripes(), locked.rng.next_u64());
        // One that has never changed leaves nothing behind.
        if locked.cause.is_some() {
            let mut next = renewed.lock();
            next.level = locked.level;
            next.tripped = locked.tripped;
            next.slower_than = locked.slower_than;
            next.after_cooldown = locked.after_cooldown;
            next.growing = locked.growing;
            next.cause = locked.cause;
            next.since = locked.since;
            for (to, from) in [
                (&renewed.rest().open_until, &self.rest().open_until),
                (&renewed.rest().cooldown_until, &self.rest().cooldown_until),
                (&renewed.rest().shadowed, &self.rest().shadowed),
            ] {
                to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
            }
        }
        let generation = word.generation + 1;
        renewed.counters.iter().for_each(|counter| counter.begin(generation));
        renewed.word.store(Word { generation, ..word }.pack(), Ordering::Release);

        self.counters.iter().for_each(|counter| counter.begin(generation));
        locked.probes.clear();
        self.rest().place_at.store(0, Ordering::Relaxed);
        self.word.store(Word { generation, ..word }.pack(), Ordering::Release);
        renewed
    }

    /// It guards so many upstreams from now on.
    pub(crate) fn set_members(&self, members: usize) {
        self.members.store(members as u32, Ordering::Relaxed);
    }

    pub(crate) fn stripes(&self) -> usize {
        self.stripes as usize
    }

    pub(crate) fn config(&self) -> &BreakerConfig {
        &self.config
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;

    #[test]
    fn it_counts_over_as_many_stripes_as_before() {
        let breaker = Breaker::new(BreakerConfig::default(), 0, 5, 7);
        let renewed = breaker.renewed(BreakerConfig::default().probes(2));
        assert_eq!([breaker.stripes(), renewed.stripes()], [5, 5]);
    }
}
