//! A window of the last so many outcomes: a ring with one cursor, without a lock.
//!
//! Cursor and count of failures are one word, the *head*, so that an outcome enters the window, and the oldest
//! leaves it, in one step: whatever is read of the head is the sum of exactly the last outcomes, in the order in
//! which the head took them, also while others are recording.
//!
//! An outcome's place in the ring is written after the head has moved on. Until then the outcome is still to be
//! had from the head, as its `last`, and whoever comes next writes it before moving the head further. So nobody
//! waits for a thread that has stopped between its two steps, and no place that is read is still unwritten.
//!
//! A place names the generation and the turn that wrote it, so that a thread that wakes up late finds that it is.
//! A new generation begins with a fresh head; what the ring held before is not counted and not cleared.

use super::{stripe::Padded, window::Totals};
use crate::sync::{AtomicU64, Ordering};

const FAILURES_BITS: u32 = 17;
const TURN_BITS: u32 = 34;
const GENERATION_BITS: u32 = 12;
const FAILURES_MASK: u64 = (1 << FAILURES_BITS) - 1;
const TURN_MASK: u64 = (1 << TURN_BITS) - 1;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;

/// The most outcomes of a window: 100,000. Eight bytes each.
pub(crate) const MOST_CALLS: u32 = 100_000;

/// What a place holds that has never been written; no [`Place`] is packed like that.
const UNWRITTEN: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct CountWindow {
    head: Padded<AtomicU64>,
    places: Box<[AtomicU64]>,
}

/// How far the window has come.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Head {
    generation: u64,
    /// The next outcome's number in its generation. After very many it comes round, to that of a full window.
    turn: u64,
    failures: u64,
    /// Whether the outcome before this turn was a failure; its place may not have been written yet.
    last: bool,
}

impl Head {
    fn unpack(word: u64) -> Self {
        Self {
            generation: word >> (TURN_BITS + FAILURES_BITS + 1),
            turn: (word >> (FAILURES_BITS + 1)) & TURN_MASK,
            failures: (word >> 1) & FAILURES_MASK,
            last: word & 1 != 0,
        }
    }

    fn pack(self) -> u64 {
        (self.generation << (TURN_BITS + FAILURES_BITS + 1))
            | (self.turn << (FAILURES_BITS + 1))
            | (self.failures << 1)
            | u64::from(self.last)
    }
}

/// One outcome in the ring.
fn place(generation: u64, turn: u64, failure: bool) -> u64 {
    (generation << (TURN_BITS + 1)) | (turn << 1) | u64::from(failure)
}

impl CountWindow {
    /// A window of the last `calls` outcomes, at most [`MOST_CALLS`].
    pub(crate) fn new(calls: u32) -> Self {
        Self {
            head: Padded(AtomicU64::new(0)),
            places: (0..calls.clamp(1, MOST_CALLS)).map(|_| AtomicU64::new(UNWRITTEN)).collect(),
        }
    }

    /// Counts one outcome, if its generation is the present one.
    ///
    /// Orderings: whoever acquires a head sees every place written that was written before its turn, as the head
    /// was released by somebody who had written or seen them. A place is released by its writer, who had seen the
    /// head: whoever acquires a place that is ahead of its own head finds the head changed.
    pub(crate) fn record(&self, generation: u64, success: bool) {
        let generation = generation & GENERATION_MASK;
        loop {
            let word = self.head.0.load(Ordering::Acquire);
            let head = Head::unpack(word);
            if head.generation != generation {
                return;
            }
            if !self.write_last(word, head) {
                continue;
            }
            let leaves = head.turn >= self.calls() && self.place(head.turn).load(Ordering::Relaxed) & 1 != 0;
            // Should the place be ahead of this head, the exchange fails.
            let failures = (head.failures + u64::from(!success)).saturating_sub(u64::from(leaves));
            let next = Head { turn: self.after(head.turn), failures, last: !success, ..head };
            if self.head.0.compare_exchange(word, next.pack(), Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Writes the place of the outcome before this head's turn, unless it has been written. False if the head has
    /// moved on meanwhile.
    fn write_last(&self, word: u64, head: Head) -> bool {
        // Where turns have come round this is not the turn that it had, but the same place.
        let Some(turn) = head.turn.checked_sub(1) else { return true };
        let (place, written) = (self.place(turn), place(head.generation, turn, head.last));
        loop {
            let held = place.load(Ordering::Acquire);
            if held == written {
                return true;
            }
            // Only what was read while the head still stood may be overwritten.
            if self.head.0.load(Ordering::Acquire) != word {
                return false;
            }
            if place.compare_exchange(held, written, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return true;
            }
        }
    }

    /// What the last outcomes were, as far as they are of this generation.
    pub(crate) fn totals(&self, generation: u64) -> Totals {
        let head = Head::unpack(self.head.0.load(Ordering::Acquire));
        if head.generation != generation & GENERATION_MASK {
            return Totals::default();
        }
        let calls = head.turn.min(self.calls());
        Totals { successes: calls - head.failures, failures: head.failures }
    }

    /// Begins a new generation, in which nothing has been counted. Asked for under the breaker's lock, before the
    /// generation is published.
    pub(crate) fn begin(&self, generation: u64) {
        let head = Head { generation: generation & GENERATION_MASK, turn: 0, failures: 0, last: false };
        self.head.0.swap(head.pack(), Ordering::AcqRel);
    }

    fn calls(&self) -> u64 {
        self.places.len() as u64
    }

    fn place(&self, turn: u64) -> &AtomicU64 {
        &self.places[(turn % self.calls()) as usize]
    }

    /// Turns come round after a whole number of rings, and to the first of a window that is full.
    fn after(&self, turn: u64) -> u64 {
        if turn + 1 < self.rounds() { turn + 1 } else { self.calls() }
    }

    /// The end of the turns.
    fn rounds(&self) -> u64 {
        TURN_MASK / self.calls() * self.calls()
    }
}

#[cfg(all(test, not(tower_failover_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::VecDeque, thread};

    fn totals(outcomes: &VecDeque<bool>) -> Totals {
        let successes = outcomes.iter().filter(|success| **success).count() as u64;
        Totals { successes, failures: outcomes.len() as u64 - successes }
    }

    /// Records, and compares with a queue of the last outcomes.
    fn record(window: &CountWindow, queue: &mut VecDeque<bool>, success: bool) {
        window.record(0, success);
        queue.push_back(success);
        if queue.len() > window.places.len() {
            queue.pop_front();
        }
        assert_eq!(window.totals(0), totals(queue));
    }

    proptest! {
        #[test]
        fn law_10_a_count_window_holds_exactly_the_last_n(
            calls in 1_u32..40,
            steps in prop::collection::vec((any::<bool>(), prop::bool::weighted(0.02)), 1..300),
        ) {
            let window = CountWindow::new(calls);
            let (mut generation, mut queue) = (0, VecDeque::new());
            for (success, begins) in steps {
                if begins {
                    generation += 1;
                    window.begin(generation);
                    queue.clear();
                }
                window.record(generation, success);
                window.record(generation + 1, !success);
                window.record(generation.wrapping_sub(1), !success);
                queue.push_back(success);
                if queue.len() > calls as usize {
                    queue.pop_front();
                }
                prop_assert_eq!(window.totals(generation), totals(&queue));
                prop_assert_eq!(window.totals(generation + 1), Totals::default());
            }
        }
    }

    #[test]
    fn law_10_a_full_count_leaves_its_neighbours_alone() {
        let window = CountWindow::new(u32::MAX);
        window.begin(GENERATION_MASK);
        for _ in 0..2 * MOST_CALLS {
            window.record(GENERATION_MASK, false);
        }
        assert_eq!(window.totals(GENERATION_MASK), Totals { successes: 0, failures: MOST_CALLS.into() });
        let head = Head::unpack(window.head.0.load(Ordering::Relaxed));
        let (turn, failures) = ((2 * MOST_CALLS).into(), MOST_CALLS.into());
        let expected = Head { generation: GENERATION_MASK, turn, failures, last: true };
        assert_eq!(head, expected);
        assert_eq!(window.places.len(), MOST_CALLS as usize);
    }

    #[test]
    fn law_10_turns_that_come_round_change_nothing() {
        for calls in [1, 2, 3, 7, 64, MOST_CALLS] {
            let window = CountWindow::new(calls);
            let mut queue = VecDeque::new();
            (0..calls).for_each(|call| {
                window.record(0, call % 3 != 0);
                queue.push_back(call % 3 != 0);
            });
            let head = Head::unpack(window.head.0.load(Ordering::Relaxed));
            let turn = window.rounds() - u64::from(calls);
            assert!(turn + u64::from(calls) <= TURN_MASK);
            window.head.0.store(Head { turn, ..head }.pack(), Ordering::Relaxed);
            for call in 0..(3 * calls).min(1_000) {
                record(&window, &mut queue, call % 5 < 3);
            }
            window.head.0.store(Head { turn: window.rounds() - 1, ..head }.pack(), Ordering::Relaxed);
            window.record(0, true);
            assert_eq!(Head::unpack(window.head.0.load(Ordering::Relaxed)).turn, u64::from(calls));
        }
    }

    #[test]
    fn law_01_generations_that_come_round_bring_nothing_back() {
        let window = CountWindow::new(3);
        for generation in 0..3 * (GENERATION_MASK + 1) {
            window.begin(generation);
            assert_eq!(window.totals(generation), Totals::default());
            let outcomes = [generation % 2 == 0, generation % 3 == 0];
            outcomes.iter().for_each(|success| window.record(generation, *success));
            assert_eq!(window.totals(generation), totals(&outcomes.into()));
        }
    }

    #[test]
    fn law_10_a_count_window_loses_nothing_to_threads() {
        for calls in [1, 2, 5, 64] {
            let window = CountWindow::new(calls);
            let fill = |from: u64| {
                for call in from..from + 50_000 {
                    window.record(0, call % 3 == 0);
                    let totals = window.totals(0);
                    assert!(totals.failures <= totals.calls() && totals.calls() <= u64::from(calls));
                }
            };
            thread::scope(|scope| (0..4).for_each(|from| _ = scope.spawn(move || fill(from))));
            let counted = window.totals(0);
            assert_eq!(counted.calls(), u64::from(calls));
            let head = Head::unpack(window.head.0.load(Ordering::Relaxed));
            assert_eq!(head.turn, 200_000);
            assert!(window.write_last(head.pack(), head));
            let failures: u64 = window.places.iter().map(|place| place.load(Ordering::Relaxed) & 1).sum();
            assert_eq!(counted.failures, failures);
        }
    }
}

/// Two threads, in every order that the memory model allows.
#[cfg(all(test, tower_failover_loom))]
mod loom_tests {
    use super::*;
    use loom::{sync::Arc, thread};

    fn record(window: &CountWindow, generation: u64, outcomes: &[bool]) {
        outcomes.iter().for_each(|success| window.record(generation, *success));
    }

    fn failures(outcomes: &[bool]) -> u64 {
        outcomes.iter().filter(|success| !**success).count() as u64
    }

    /// In which orders the outcomes of two threads can come.
    fn orders(before: &[bool], one: &[bool], other: &[bool]) -> Vec<Vec<bool>> {
        let with = |next: &bool| [before, &[*next]].concat();
        match (one, other) {
            ([], rest) | (rest, []) => vec![[before, rest].concat()],
            ([first, one @ ..], [second, others @ ..]) => {
                [orders(&with(first), one, other), orders(&with(second), &[&[*first], one].concat(), others)].concat()
            }
        }
    }

    /// No failure stays for longer than its turn, and none leaves twice.
    fn assert_drains(window: &CountWindow, generation: u64) {
        let mut before = window.totals(generation).failures;
        for _ in 0..window.places.len() {
            window.record(generation, true);
            let after = window.totals(generation).failures;
            assert!(before - after <= 1);
            before = after;
        }
        assert_eq!(window.totals(generation), Totals { successes: window.places.len() as u64, failures: 0 });
    }

    fn race(calls: u32, before: &'static [bool], one: &'static [bool], other: &'static [bool]) {
        loom::model(move || {
            let window = Arc::new(CountWindow::new(calls));
            record(&window, 0, before);
            let shared = Arc::clone(&window);
            let thread = thread::spawn(move || record(&shared, 0, one));
            record(&window, 0, other);
            thread.join().expect("no panic");
            let totals = window.totals(0);
            let possible = orders(before, one, other);
            assert!(possible.iter().any(|order| {
                let last = &order[order.len().saturating_sub(calls as usize)..];
                totals.calls() == last.len() as u64 && totals.failures == failures(last)
            }));
            assert_drains(&window, 0);
        });
    }

    #[test]
    fn loom_two_threads_fill_a_window() {
        race(4, &[], &[false, true], &[true, false]);
    }

    #[test]
    fn loom_two_threads_push_each_others_outcomes_out() {
        race(1, &[false], &[false, true], &[true]);
        race(2, &[false], &[true, false], &[false]);
        race(2, &[false, true, false], &[true, true], &[true]);
    }

    /// What leaves was written by the other thread two turns ago, over an outcome of the other kind.
    #[test]
    fn loom_what_leaves_is_never_what_stood_there_before() {
        race(2, &[false, false, false], &[true, true], &[false]);
        race(2, &[true, true, true], &[false, false], &[false]);
    }

    #[test]
    fn loom_what_is_read_meanwhile_is_a_sum_of_the_last() {
        loom::model(|| {
            let window = Arc::new(CountWindow::new(2));
            record(&window, 0, &[false, false]);
            let shared = Arc::clone(&window);
            let thread = thread::spawn(move || record(&shared, 0, &[true, true, false]));
            let mut turn = 0;
            for _ in 0..2 {
                let head = Head::unpack(window.head.0.load(Ordering::Acquire));
                let failures = [2, 1, 0, 1][head.turn as usize - 2];
                assert_eq!((head.turn >= turn, head.failures), (true, failures));
                turn = head.turn;
            }
            thread.join().expect("no panic");
        });
    }

    #[test]
    fn loom_an_outcome_of_an_earlier_generation_is_never_counted() {
        for calls in [1, 2] {
            loom::model(move || {
                let window = Arc::new(CountWindow::new(calls));
                record(&window, 0, &[false]);
                let shared = Arc::clone(&window);
                let thread = thread::spawn(move || record(&shared, 0, &[false, false]));
                window.begin(1);
                assert_eq!(window.totals(1), Totals::default());
                record(&window, 1, &[true, false]);
                thread.join().expect("no panic");
                let last = &[true, false][2 - calls as usize..];
                assert_eq!(window.totals(1), Totals { successes: last.len() as u64 - 1, failures: 1 });
                assert_drains(&window, 1);
            });
        }
    }
}
