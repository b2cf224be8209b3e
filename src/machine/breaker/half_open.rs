//! The probes of a half-open breaker: who holds a place until when, and what has come of them.

use crate::machine::{Nanos, nanos};
use smallvec::SmallVec;
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Probes {
    in_flight: SmallVec<[Probe; 2]>,
    next_id: u64,
    successes: u32,
    failures: u32,
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    id: u64,
    lease_ends: Nanos,
}

impl Probes {
    /// Takes a place, or says when the next lease ends. A lease that has elapsed exactly has elapsed.
    pub(crate) fn admit(&mut self, now: Nanos, lease: Duration, most: u32) -> Result<u64, Nanos> {
        self.in_flight.retain(|probe| probe.lease_ends > now);
        if self.in_flight.len() >= most as usize {
            return Err(self.place_at(most));
        }
        let id = self.next_id;
        self.next_id += 1;
        self.in_flight.push(Probe { id, lease_ends: now.saturating_add(nanos(lease)) });
        Ok(id)
    }

    /// Whether this probe still has its place.
    pub(crate) fn holds(&self, id: u64) -> bool {
        self.in_flight.iter().any(|probe| probe.id == id)
    }

    /// Gives a place back. False for a probe that had lost it.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.in_flight.len();
        self.in_flight.retain(|probe| probe.id != id);
        self.in_flight.len() < before
    }

    /// From when there is a place: 0 for now.
    pub(crate) fn place_at(&self, most: u32) -> Nanos {
        if self.in_flight.len() < most as usize {
            return 0;
        }
        self.in_flight.iter().map(|probe| probe.lease_ends).min().unwrap_or(0)
    }

    pub(crate) fn succeeded(&mut self) {
        self.successes += 1;
    }

    pub(crate) fn failed(&mut self) {
        self.failures += 1;
    }

    /// Good probes so far.
    pub(crate) fn successes(&self) -> u32 {
        self.successes
    }

    /// Failed probes so far.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Forgets everything but the numbering, so that no late result is taken for a new probe's.
    pub(crate) fn clear(&mut self) {
        self.in_flight.clear();
        self.successes = 0;
        self.failures = 0;
    }
}
