//! Other rules for a breaker that is at work.

use super::{Breaker, BreakerConfig, word::Word};
use crate::{
    machine::rng::Rng,
    sync::{Ordering, lock},
};

impl Breaker {
    /// A breaker of another configuration that goes on from the state of this one: what is open stays open until then, what
    /// is forced stays forced. It counts from here on, and what comes back to this one changes nothing any more.
    pub(crate) fn renewed(&self, config: BreakerConfig, stripes: usize) -> Self {
        let mut locked = lock(&self.locked);
        let word = self.word();
        let renewed = Self::new(config, locked.members, stripes, locked.rng.next_u64());
        {
            let mut next = lock(&renewed.locked);
            next.level = locked.level;
            next.tripped = locked.tripped;
            next.slower_than = locked.slower_than;
            next.after_cooldown = locked.after_cooldown;
            next.growing = locked.growing;
            next.cause = locked.cause;
            next.since = locked.since;
            next.rng = Rng::new(locked.rng.next_u64());
        }
        for (to, from) in [
            (&renewed.open_until, &self.open_until),
            (&renewed.cooldown_until, &self.cooldown_until),
            (&renewed.shadowed, &self.shadowed),
        ] {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        let generation = word.generation + 1;
        renewed.counters.iter().for_each(|counter| counter.begin(generation));
        renewed.word.store(Word { generation, ..word }.pack(), Ordering::Release);

        self.counters.iter().for_each(|counter| counter.begin(generation));
        locked.probes.clear();
        self.place_at.store(0, Ordering::Relaxed);
        self.word.store(Word { generation, ..word }.pack(), Ordering::Release);
        renewed
    }

    /// It guards so many upstreams from now on.
    pub(crate) fn set_members(&self, members: usize) {
        lock(&self.locked).members = members;
    }

    pub(crate) fn config(&self) -> &BreakerConfig {
        &self.config
    }
}
