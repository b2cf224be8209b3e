//! Requests that go elsewhere while a breaker is open.

use super::{Breaker, Skips, State};
use crate::{
    machine::{Nanos, nanos},
    sync::Ordering,
};

/// An open wait that has doubled ends early, when so many requests have gone elsewhere meanwhile: 1 000, of which one
/// probe is a thousandth. But it is never shorter than the first. They are counted in batches of 25 for each thread.
pub const EARLY_PROBE_AFTER: u64 = 1_000;

impl Breaker {
    /// A request goes elsewhere, as this is open. Ends the wait once there were so many that a probe is hardly one of them.
    #[inline(always)]
    pub(crate) fn went_elsewhere(&self, now: Nanos) {
        let elsewhere = self.rest().elsewhere.get_or_init(|| Skips::new(self.stripes()));
        if let Some(count) = elsewhere.add() {
            self.probe_early(count, elsewhere, now);
        }
    }

    /// Looks only at every few, as it takes a lock.
    #[cold]
    #[inline(never)]
    fn probe_early(&self, count: u64, elsewhere: &Skips, now: Nanos) {
        let due = count >= EARLY_PROBE_AFTER && count % (EARLY_PROBE_AFTER / 8) == 0;
        if due && self.end_wait(now) {
            elsewhere.reset();
        }
    }

    /// Ends an open wait that has doubled, once the first would have elapsed. Whether it has; a cooldown stands.
    pub(super) fn end_wait(&self, now: Nanos) -> bool {
        let locked = self.lock();
        let waits = self.word().state == State::Open && self.rest().open_until.load(Ordering::Relaxed) > now;
        let ends = waits && now.saturating_sub(locked.since) >= nanos(self.config.open_wait);
        if ends {
            self.rest().open_until.store(now, Ordering::Relaxed);
        }
        ends
    }
}
