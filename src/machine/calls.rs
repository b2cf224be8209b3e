//! What calls leave behind on their way: that they are under way and since when, when one was answered last, and how long
//! they usually take. It tells a hang before any call has run out of time, and a hang from a caller who lost patience.
//!
//! All of it that one thread writes lies together. A few places hold when calls under way began: with more of them than
//! places some go without, but those of an upstream that hangs stay, so that its calls come to hold them all.

use super::{
    Nanos, nanos,
    stripe::{Each, Mine},
};
use crate::sync::{AtomicU64, Ordering};
use std::time::Duration;

/// A call that is dropped after this many times what its model usually takes was hanging: 3.
pub const HANG_MULTIPLE: u32 = 3;
/// The least that a call must have waited to have been hanging: 1 s.
pub const HANG_FLOOR: Duration = Duration::from_secs(1);

/// The weight of one call in the moving average.
const WEIGHT: u64 = 8;

/// So many places let what one thread writes fill its line.
pub(crate) const PLACES: usize = 10;

#[derive(Debug)]
pub(crate) struct Calls {
    lines: Each<Line>,
}

/// What one thread writes.
#[derive(Debug)]
struct Line {
    begun: AtomicU64,
    ended: AtomicU64,
    /// The latest beginning of a call that was answered, plus one; 0 before the first.
    answered: AtomicU64,
    /// Moving average of the time that an attempt takes, in nanoseconds; 0 before the first.
    usual: AtomicU64,
    /// The same to the head, where an attempt lasts longer than that.
    head: AtomicU64,
    /// The same to the first byte of the body, where bodies are watched or read ahead.
    first_byte: AtomicU64,
    /// When calls under way began, plus one; 0 for none.
    places: [AtomicU64; PLACES],
}

impl Line {
    fn new() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            begun: zero(),
            ended: zero(),
            answered: zero(),
            usual: zero(),
            head: zero(),
            first_byte: zero(),
            places: std::array::from_fn(|_| zero()),
        }
    }

    #[inline]
    fn free(&self, place: Place) {
        if let Some(place) = self.places.get(usize::from(place.place)) {
            place.store(0, Ordering::Relaxed);
        }
    }
}

/// That of the calling thread.
#[derive(Clone, Copy)]
pub(crate) struct Stripe<'a> {
    mine: Mine,
    line: &'a Line,
}

/// Where a call under way has its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    stripe: u8,
    place: u8,
}

impl Calls {
    pub(crate) fn new(stripes: usize) -> Self {
        Self { lines: Each::new(stripes, Line::new) }
    }

    /// How many stripes it has.
    #[inline]
    pub(crate) fn stripes(&self) -> usize {
        self.lines.count()
    }

    /// That of the calling thread.
    #[inline]
    pub(crate) fn mine(&self) -> Stripe<'_> {
        let mine = Mine::of(self.lines.count());
        Stripe { mine, line: self.lines.get(mine.index()) }
    }

    /// A call that had this place is no longer one under way, wherever it ends.
    pub(crate) fn leave(&self, place: Place) {
        self.lines.get(place.stripe.into()).free(place);
    }

    pub(crate) fn started(&self) -> u64 {
        self.lines.iter().map(|line| line.begun.load(Ordering::Relaxed)).sum()
    }

    /// Calls under way. Ends are read first, so that it is never below the truth at some moment, nor below 0.
    pub(crate) fn in_flight(&self) -> u64 {
        let ended = self.lines.iter().map(|line| line.ended.load(Ordering::Relaxed)).sum();
        self.started().saturating_sub(ended)
    }

    /// How many calls under way have a place.
    pub(crate) fn placed(&self) -> usize {
        self.begun().count()
    }

    /// How many calls under way began after the one time and not after the other, of those that have a place.
    pub(crate) fn begun_within(&self, after: Nanos, until: Nanos) -> usize {
        self.begun().filter(|began| *began > after && *began <= until).count()
    }

    fn begun(&self) -> impl Iterator<Item = Nanos> {
        let places = self.lines.iter().flat_map(|line| &line.places);
        places.filter_map(|place| place.load(Ordering::Relaxed).checked_sub(1))
    }

    /// What a success usually takes, to its head or to the commit, if there has been one.
    pub(crate) fn usual(&self) -> Option<Nanos> {
        self.mean(|line| &line.usual)
    }

    /// What a success usually takes to its head, if there has been one.
    pub(crate) fn usual_head(&self) -> Option<Nanos> {
        self.mean(|line| &line.head).or_else(|| self.usual())
    }

    /// What the first byte usually takes, if one has been seen.
    pub(crate) fn usual_first_byte(&self) -> Option<Nanos> {
        self.mean(|line| &line.first_byte)
    }

    fn mean(&self, which: impl Fn(&Line) -> &AtomicU64) -> Option<Nanos> {
        let known = self.lines.iter().map(|line| which(line).load(Ordering::Relaxed)).filter(|ns| *ns > 0);
        let (sum, count) = known.fold((0_u64, 0_u64), |(sum, count), ns| (sum.saturating_add(ns), count + 1));
        sum.checked_div(count)
    }

    /// Whether a call begun after `started` has been answered.
    pub(crate) fn answered_since(&self, started: Nanos) -> bool {
        self.lines.iter().any(|line| line.answered.load(Ordering::Relaxed) > started.saturating_add(1))
    }

    /// Whether a call begun at `started` that has waited for its upstream since `since`, and is dropped now, was hanging.
    pub(crate) fn hung(&self, started: Nanos, since: Nanos, now: Nanos) -> bool {
        let usual = self.usual().unwrap_or(0);
        let far = usual.saturating_mul(HANG_MULTIPLE.into()).max(nanos(HANG_FLOOR));
        now.saturating_sub(since) >= far && !self.answered_since(started)
    }

    /// The latest beginning of a call that was answered; 0 before the first.
    pub(crate) fn latest_answered(&self) -> Nanos {
        let answered = self.lines.iter().map(|line| line.answered.load(Ordering::Relaxed));
        answered.max().unwrap_or(0).saturating_sub(1)
    }
}

impl Stripe<'_> {
    /// Which it is.
    #[inline]
    pub(crate) fn index(self) -> Mine {
        self.mine
    }

    /// A call begins that needs no place.
    #[inline]
    pub(crate) fn count(self) {
        self.mine.add(&self.line.begun, 1);
    }

    /// A call begins. It has no place when all are taken. Most often the first is free.
    #[inline]
    pub(crate) fn begin(self, now: Nanos) -> Option<Place> {
        self.count();
        self.take(0, now).or_else(|| self.take_another(now))
    }

    #[inline(never)]
    fn take_another(self, now: Nanos) -> Option<Place> {
        (1..PLACES).find_map(|place| self.take(place, now))
    }

    /// Others only ever make a place free.
    #[inline]
    fn take(self, place: usize, now: Nanos) -> Option<Place> {
        let began = now.saturating_add(1);
        self.mine.update(&self.line.places[place], |held| (held == 0).then_some(began))?;
        Some(Place { stripe: u8::try_from(self.mine.index()).ok()?, place: place as u8 })
    }

    /// A call ends.
    #[inline]
    pub(crate) fn end(self) {
        self.mine.add(&self.line.ended, 1);
    }

    /// The place of a call that began here is free again. Whether it did.
    #[inline]
    pub(crate) fn leave(self, place: Place) -> bool {
        let here = usize::from(place.stripe) == self.mine.index();
        if here {
            self.line.free(place);
        }
        here
    }

    /// Notes that a call begun at `started` was answered, and for a success how long that took.
    ///
    /// Two threads that share a stripe may lose one of two samples; an average can bear it.
    #[inline]
    pub(crate) fn answered(self, started: Nanos, took: Option<Nanos>) {
        self.mine.update(&self.line.answered, |latest| (latest <= started).then(|| started.saturating_add(1)));
        if let Some(took) = took {
            average(&self.line.usual, took);
        }
    }

    /// Notes how long the head took of an attempt that lasted longer.
    #[cfg(feature = "http")]
    pub(crate) fn head(self, took: Nanos) {
        average(&self.line.head, took);
    }

    /// Notes how long the first byte took.
    #[cfg(feature = "http")]
    pub(crate) fn first_byte(self, took: Nanos) {
        average(&self.line.first_byte, took);
    }
}

#[inline]
fn average(cell: &AtomicU64, took: Nanos) {
    let usual = cell.load(Ordering::Relaxed);
    let next = if usual == 0 { took } else { usual - usual / WEIGHT + took / WEIGHT };
    cell.store(next.max(1), Ordering::Relaxed);
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_what_calls_take() {
        let calls = Calls::new(1);
        assert_eq!(calls.usual(), None);
        calls.mine().answered(0, Some(800));
        assert_eq!(calls.usual(), Some(800));
        for call in 0..100 {
            calls.mine().answered(call, Some(80));
        }
        let usual = calls.usual().expect("known");
        assert!((72..=96).contains(&usual), "{usual}");
    }

    #[test]
    fn only_calls_begun_later_count_as_answered_since() {
        let calls = Calls::new(2);
        calls.mine().answered(10, None);
        assert!(calls.answered_since(9));
        assert!(!calls.answered_since(10));
        assert!(!calls.answered_since(11));
    }

    #[test]
    fn calls_under_way_are_counted_by_when_they_began() {
        let calls = Calls::new(1);
        let places: Vec<_> = (0..10).map(|second| calls.mine().begin(second)).collect();
        assert_eq!(calls.begun_within(2, 7), 5, "3, 4, 5, 6, 7");
        calls.leave(places[5].expect("a place"));
        assert_eq!(calls.begun_within(2, 7), 4);
        assert_eq!(calls.placed(), 9);
        assert_eq!(calls.begun_within(9, u64::MAX), 0);
    }

    #[test]
    fn a_call_without_a_place_goes_without() {
        let calls = Calls::new(1);
        let places: Vec<_> = (0..PLACES).map(|_| calls.mine().begin(1).expect("a place")).collect();
        assert!(calls.mine().begin(2).is_none());
        calls.leave(places[3]);
        assert!(calls.mine().begin(2).is_some());
        assert_eq!(calls.begun_within(0, 1), PLACES - 1);
        assert_eq!((calls.started(), calls.in_flight()), (12, 12), "with a place or without");
        (0..3).for_each(|_| calls.mine().end());
        assert_eq!((calls.started(), calls.in_flight()), (12, 9));
    }

    #[test]
    fn what_a_thread_writes_fills_a_line() {
        assert_eq!(size_of::<Line>(), 128);
    }

    #[test]
    fn a_call_may_end_in_another_thread_than_it_began() {
        let calls = Calls::new(super::super::stripe::count());
        let place = calls.mine().begin(7).expect("a place");
        let end = || {
            calls.leave(place);
            calls.mine().end();
        };
        std::thread::scope(|scope| _ = scope.spawn(end));
        assert_eq!((calls.placed(), calls.in_flight(), calls.started()), (0, 0, 1));
    }
}
