//! Failures in a row: how many, since when, and whom they speak against.
//!
//! The count is one atomic, so that a success can end the run without a lock. Its upper half is the
//! generation, so that a late success ends no run of a later one, and a new generation begins without
//! failures. The witnesses belong to failures, which hold the breaker's lock.

use super::{Cause, Evidence};
use crate::{
    machine::{Nanos, nanos},
    sync::{AtomicU64, Ordering},
};
use std::time::Duration;

const COUNT_MASK: u64 = u32::MAX as u64;

/// How many failures there have been in a row, in which generation.
#[derive(Debug)]
pub(crate) struct Run(AtomicU64);

impl Run {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A success of this generation ends the run. While nothing fails this is one load.
    #[inline]
    pub(crate) fn reset(&self, generation: u64) {
        let begun = begun(generation);
        let mut word = self.0.load(Ordering::Relaxed);
        while word != begun && word & !COUNT_MASK == begun {
            match self.0.compare_exchange_weak(word, begun, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(current) => word = current,
            }
        }
    }

    /// Counts a failure of the breaker's present generation, inside its lock, and returns the new length.
    pub(crate) fn extend(&self, generation: u64) -> u32 {
        let begun = begun(generation);
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let length = if word & !COUNT_MASK == begun { word & COUNT_MASK } else { 0 };
            let longer = (length + 1).min(COUNT_MASK);
            match self.0.compare_exchange_weak(word, begun | longer, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return longer as u32,
                Err(current) => word = current,
            }
        }
    }

    pub(crate) fn length(&self, generation: u64) -> u32 {
        let word = self.0.load(Ordering::Relaxed);
        if word & !COUNT_MASK == begun(generation) { (word & COUNT_MASK) as u32 } else { 0 }
    }
}

fn begun(generation: u64) -> u64 {
    (generation & COUNT_MASK) << 32
}

/// Since when the run has been going on, and whom it speaks against.
#[derive(Debug, Default)]
pub(crate) struct Witnesses {
    since: Nanos,
    blamed: bool,
    member: Option<usize>,
    several: bool,
}

impl Witnesses {
    /// Hears the failure that made the run `length` long.
    pub(crate) fn hear(&mut self, length: u32, evidence: Evidence, now: Nanos) {
        if length == 1 {
            *self = Self { since: now, ..Self::default() };
        }
        match evidence {
            Evidence::Blame => self.blamed = true,
            Evidence::Member(member) => {
                self.several |= self.member.is_some_and(|other| other != member);
                self.member = Some(member);
            }
        }
    }

    /// Whether the run speaks against the breaker's own upstream, and not just against one of several members.
    pub(crate) fn agree(&self, members: u32) -> bool {
        self.blamed || self.several || members <= 1
    }

    /// Whether a run of this length breaks the rule of so many failures spanning so long.
    pub(crate) fn breaks(&self, length: u32, failures: u32, spanning: Duration, now: Nanos) -> Option<Cause> {
        let spans = now.saturating_sub(self.since);
        (length >= failures && spans >= nanos(spanning))
            .then(|| Cause::Consecutive { failures: length, spanning: Duration::from_nanos(spans) })
    }
}
