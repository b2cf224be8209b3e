//! What became of the candidates of one request, in a buffer that a later request takes over.
//!
//! Most requests note one candidate, the one that answers, or one more. Those have their place inside. Those that note more
//! take a spare buffer of their thread, if it has one, and the thread that drops the notes keeps theirs. So skipping allocates
//! nothing in the long run. The spare buffers are few and short, and hold nothing.

use super::served::Tried;
use crate::{machine::Nanos, outcome::SkipReason, permit::Refused};
use smallvec::SmallVec;
use std::{
    cell::RefCell,
    ops::{Deref, DerefMut},
};

/// So many candidates have their place inside: one that is skipped, and the next, which answers.
const FEW: usize = 2;

/// So many spare buffers a thread keeps: 32.
const MOST_SPARES: usize = 32;
/// One with room for more candidates is not kept: 128, which take 4 KiB.
const LONGEST_SPARE: usize = 128;

thread_local!(static SPARES: Spares = const { Spares::new() });

/// The candidates that were looked at, in that order.
#[derive(Debug, Clone, Default)]
pub(super) struct Notes {
    /// All of them, while they fit.
    few: SmallVec<[Entry; FEW]>,
    /// All of them, where there are more.
    many: Vec<Entry>,
    /// What came of those that were asked.
    tried: SmallVec<[Tried; 1]>,
}

/// A candidate that was looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) model: usize,
    pub(super) what: What,
    /// When that was.
    pub(super) at: Nanos,
}

/// What became of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum What {
    /// It was not asked. From when on it may be again, of one for which that is known.
    Skipped(SkipReason, Nanos),
    /// It was asked: that is told among all that were.
    Tried(usize),
}

impl Entry {
    #[inline(always)]
    pub(super) fn skipped(model: usize, why: SkipReason, at: Nanos) -> Self {
        Self { model, what: What::Skipped(why, 0), at }
    }

    #[inline(always)]
    pub(super) fn refused(model: usize, refused: Refused, at: Nanos) -> Self {
        Self { model, what: What::Skipped(SkipReason::refused(refused), refused.retry_at()), at }
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

    /// Of one that was asked.
    #[inline(always)]
    pub(super) fn push_tried(&mut self, model: usize, tried: Tried, at: Nanos) {
        self.push(Entry { model, what: What::Tried(self.tried.len()), at });
        self.tried.push(tried);
    }

    /// The last one comes before the one before it.
    pub(super) fn swap_last(&mut self) {
        if let [.., last, new] = &mut **self {
            std::mem::swap(last, new);
        }
    }

    /// Forgets why one was skipped.
    pub(super) fn forget(&mut self, model: usize) {
        let keep = |entry: &Entry| entry.model != model || matches!(entry.what, What::Tried(_));
        self.few.retain(|entry| keep(entry));
        self.many.retain(keep);
    }

    /// What came of those that were asked, in the order in which that was known.
    #[inline]
    pub(super) fn tried(&self) -> &[Tried] {
        &self.tried
    }

    #[cold]
    fn begin_many(&mut self) {
        if self.many.capacity() == 0 {
            self.many = Spares::take_local().unwrap_or_default();
        }
        self.many.extend_from_slice(&self.few);
        self.few.clear();
    }
}

impl Drop for Notes {
    #[inline]
    fn drop(&mut self) {
        if self.many.capacity() > 0 {
            Spares::give_local(std::mem::take(&mut self.many));
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
struct Spares(RefCell<Vec<Vec<Entry>>>);

impl Spares {
    const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// One of the calling thread, unless that is being torn down.
    fn take_local() -> Option<Vec<Entry>> {
        SPARES.try_with(Self::take).ok().flatten()
    }

    fn give_local(buffer: Vec<Entry>) {
        let _ = SPARES.try_with(|spares| spares.give(buffer));
    }

    fn take(&self) -> Option<Vec<Entry>> {
        self.0.borrow_mut().pop()
    }

    /// Keeps the buffer, without what is in it, unless it is long or there are enough.
    fn give(&self, mut buffer: Vec<Entry>) {
        let mut spares = self.0.borrow_mut();
        if buffer.capacity() <= LONGEST_SPARE && spares.len() < MOST_SPARES {
            buffer.clear();
            spares.push(buffer);
        }
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use crate::classify::{Charge, Executed, Why};
    use proptest::prelude::*;
    use std::time::Duration;

    fn entry(model: usize) -> Entry {
        Entry::skipped(model, SkipReason::NotReady, 0)
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
    fn a_thread_that_is_torn_down_needs_no_spare_buffer() {
        struct Late(Notes);
        impl Drop for Late {
            fn drop(&mut self) {
                let mut notes = Notes::default();
                (0..10).for_each(|model| notes.push(entry(model)));
                self.0 = notes;
            }
        }
        thread_local!(static LATE: RefCell<Option<Late>> = const { RefCell::new(None) });
        // Whichever of the two comes first when the thread ends.
        for late_first in [true, false] {
            let thread = std::thread::spawn(move || {
                let mut notes = Notes::default();
                let late = || LATE.set(Some(Late(Notes::default())));
                late_first.then(late);
                (0..10).for_each(|model| notes.push(entry(model)));
                drop(notes);
                (!late_first).then(late);
            });
            thread.join().expect("no panic");
        }
    }

    fn tried(took: u64) -> Tried {
        let (why, charge, executed) = (Why::Answered, Charge::Success, Executed::Yes);
        Tried { why, charge, executed, took: Duration::from_secs(took), last_resort: false }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Push(usize),
        PushTried(usize),
        SwapLast,
        Forget(usize),
        Clone,
        Drop,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0_usize..20).prop_map(Op::Push),
            2 => (0_usize..20).prop_map(Op::PushTried),
            1 => Just(Op::SwapLast),
            1 => (0_usize..20).prop_map(Op::Forget),
            1 => Just(Op::Clone),
            1 => Just(Op::Drop),
        ]
    }

    proptest! {
        #[test]
        fn notes_are_lists_of_their_own(ops in prop::collection::vec((0_usize..4, op()), 0..400)) {
            // Of each candidate its number, and how long it was tried if it was.
            let (mut notes, mut lists) = (vec![Notes::default(); 4], vec![Vec::<(usize, Option<u64>)>::new(); 4]);
            for (at, (of, op)) in (0..).zip(ops) {
                match op {
                    Op::Push(model) => {
                        notes[of].push(entry(model));
                        lists[of].push((model, None));
                    }
                    Op::PushTried(model) => {
                        notes[of].push_tried(model, tried(at), at);
                        lists[of].push((model, Some(at)));
                    }
                    Op::SwapLast => {
                        notes[of].swap_last();
                        if let [.., last, new] = &mut *lists[of] {
                            std::mem::swap(last, new);
                        }
                    }
                    Op::Forget(model) => {
                        notes[of].forget(model);
                        lists[of].retain(|other| *other != (model, None));
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
                    let told = notes.iter().map(|entry| match entry.what {
                        What::Skipped(..) => (entry.model, None),
                        What::Tried(which) => (entry.model, Some(notes.tried()[which].took.as_secs())),
                    });
                    prop_assert!(told.eq(list.iter().copied()));
                    prop_assert_eq!(notes.tried().len(), list.iter().filter(|(_, tried)| tried.is_some()).count());
                }
            }
        }
    }
}
