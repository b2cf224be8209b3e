//! What became of the candidates of one request, in a buffer that a later request takes over.
//!
//! Most requests note one candidate, the one that answers, or one more. Those have their place inside. Those that note more take a spare
//! buffer of their thread's stripe, if there is one, and whoever drops the notes gives theirs back to his own. So skipping
//! allocates nothing in the long run. The spare buffers are few and short, hold nothing, and nobody waits for one.

use super::{served::Fate, skip::Skip};
use crate::{
    machine::{
        Nanos,
        stripe::{self, MAX_STRIPES, Padded},
    },
    permit::Refused,
};
use smallvec::SmallVec;
use std::{
    ops::{Deref, DerefMut},
    sync::Mutex,
};

/// So many candidates have their place inside: one that is skipped, and the next, which answers.
const FEW: usize = 2;

/// So many spare buffers are kept for each stripe: 32.
const MOST_SPARES: usize = 32;
/// One with room for more candidates is not kept: 128.
const LONGEST_SPARE: usize = 128;

static SPARES: [Padded<Spares>; MAX_STRIPES] = [const { Padded(Spares::new()) }; MAX_STRIPES];

/// The candidates that were looked at, in that order.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// All of them, while they fit.
    few: SmallVec<[Entry; FEW]>,
    /// All of them, where there are more.
    many: Vec<Entry>,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) model: usize,
    pub(super) fate: Fate,
    /// When that was.
    pub(super) at: Nanos,
    /// From when on one that was refused may be asked again, where that is known. Its fate is told of it at the end.
    pub(super) retry_at: Nanos,
}

impl Entry {
    #[inline(always)]
    pub(super) fn new(model: usize, fate: Fate, at: Nanos) -> Self {
        Self { model, fate, at, retry_at: 0 }
    }

    #[inline(always)]
    pub(super) fn refused(model: usize, refused: Refused, at: Nanos) -> Self {
        Self { model, fate: Fate::Skipped(Skip::refused(refused)), at, retry_at: refused.retry_at() }
    }
}

impl Notes {
    #[inline(always)]
    pub(super) fn push(&mut self, entry: Entry) {
        if self.many.is_empty() {
            if self.few.len() < FEW {
                return self.few.push(entry);
            }
            self.begin_many();
        }
        self.many.push(entry);
    }

    /// Puts it before the last one.
    pub(super) fn insert_before_last(&mut self, entry: Entry) {
        self.push(entry);
        if let [.., last, new] = &mut **self {
            std::mem::swap(last, new);
        }
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Entry) -> bool) {
        self.few.retain(|entry| keep(entry));
        self.many.retain(keep);
    }

    #[cold]
    fn begin_many(&mut self) {
        if self.many.capacity() == 0 {
            self.many = Spares::local().take().unwrap_or_default();
        }
        self.many.extend(self.few.drain(..));
    }
}

impl Drop for Notes {
    fn drop(&mut self) {
        if self.many.capacity() > 0 {
            Spares::local().give(std::mem::take(&mut self.many));
        }
    }
}

impl Deref for Notes {
    type Target = [Entry];

    fn deref(&self) -> &[Entry] {
        if self.many.is_empty() { &self.few } else { &self.many }
    }
}

impl DerefMut for Notes {
    fn deref_mut(&mut self) -> &mut [Entry] {
        if self.many.is_empty() { &mut self.few } else { &mut self.many }
    }
}

/// Empty buffers.
struct Spares(Mutex<Vec<Vec<Entry>>>);

impl Spares {
    const fn new() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    fn local() -> &'static Self {
        &SPARES[stripe::mine(stripe::count())].0
    }

    fn take(&self) -> Option<Vec<Entry>> {
        self.0.try_lock().ok()?.pop()
    }

    /// Keeps the buffer, without what is in it, unless there are enough or somebody else is at it just now.
    fn give(&self, mut buffer: Vec<Entry>) {
        buffer.clear();
        if buffer.capacity() > LONGEST_SPARE {
            return;
        }
        if let Ok(mut spares) = self.0.try_lock() {
            if spares.len() < MOST_SPARES {
                spares.push(buffer);
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entry(model: usize) -> Entry {
        Entry::new(model, Fate::Skipped(Skip::NotReady), 0)
    }

    fn buffer(capacity: usize) -> Vec<Entry> {
        let mut buffer = Vec::with_capacity(capacity);
        buffer.push(entry(7));
        buffer
    }

    fn capacities(spares: &Spares) -> Vec<usize> {
        std::iter::from_fn(|| spares.take()).map(|buffer| buffer.capacity()).collect()
    }

    #[test]
    fn spare_buffers_are_few() {
        let spares = Spares::new();
        (0..10 * MOST_SPARES).for_each(|_| spares.give(buffer(4)));
        assert_eq!(capacities(&spares), [4; MOST_SPARES]);
    }

    #[test]
    fn spare_buffers_are_short_and_empty() {
        let spares = Spares::new();
        [LONGEST_SPARE + 1, LONGEST_SPARE, 100_000].into_iter().for_each(|capacity| spares.give(buffer(capacity)));
        let kept = spares.take().expect("one of them");
        assert_eq!((kept.len(), kept.capacity()), (0, LONGEST_SPARE));
        assert!(spares.take().is_none());
    }

    #[test]
    fn nobody_waits_for_a_spare_buffer() {
        let spares = Spares::new();
        spares.give(buffer(4));
        let other = spares.0.lock().expect("no panic");
        assert!(spares.take().is_none());
        spares.give(buffer(4));
        drop(other);
        assert_eq!(capacities(&spares), [4]);
    }

    #[derive(Debug, Clone)]
    enum Op {
        Push(usize),
        InsertBeforeLast(usize),
        Forget(usize),
        Clone,
        Drop,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0_usize..100).prop_map(Op::Push),
            1 => (0_usize..100).prop_map(Op::InsertBeforeLast),
            1 => (0_usize..100).prop_map(Op::Forget),
            1 => Just(Op::Clone),
            1 => Just(Op::Drop),
        ]
    }

    proptest! {
        #[test]
        fn notes_are_lists_of_their_own(ops in prop::collection::vec((0_usize..4, op()), 0..400)) {
            let (mut notes, mut lists) = (vec![Notes::default(); 4], vec![Vec::new(); 4]);
            for (of, op) in ops {
                match op {
                    Op::Push(model) => {
                        notes[of].push(entry(model));
                        lists[of].push(model);
                    }
                    Op::InsertBeforeLast(model) => {
                        notes[of].insert_before_last(entry(model));
                        let last = lists[of].len().saturating_sub(1);
                        lists[of].insert(last, model);
                    }
                    Op::Forget(model) => {
                        notes[of].retain(|entry| entry.model != model);
                        lists[of].retain(|other| *other != model);
                    }
                    Op::Clone => {
                        notes[(of + 1) % 4] = notes[of].clone();
                        lists[(of + 1) % 4] = lists[of].clone();
                    }
                    Op::Drop => {
                        notes[of] = Notes::default();
                        lists[of].clear();
                    }
                }
                for (notes, list) in notes.iter().zip(&lists) {
                    prop_assert!(notes.iter().map(|entry| entry.model).eq(list.iter().copied()));
                }
            }
        }
    }
}
