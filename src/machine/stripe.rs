//! Which stripe a thread writes to, so that threads calling one model do not fight over a cache line.
//!
//! The first threads, about one for each core, have a stripe each to themselves for as long as they live. Nobody else
//! writes there, so that they need no locked instruction to add to a count: a load and a store will do. All further threads
//! share what stripes are left, and take turns by such instructions.

use crate::sync::{AtomicU64, Ordering};
use std::{
    cell::Cell,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize},
    },
};

/// Keeps what is inside on cache lines of its own. 128 bytes: two lines of 64, as adjacent ones are
/// fetched in pairs on x86-64, or one line of Apple's.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// So many threads have a stripe to themselves at the most.
const MAX_OWNED: usize = 16;

/// Which of the stripes that have an owner have one now.
static OWNED: [AtomicBool; MAX_OWNED] = [const { AtomicBool::new(false) }; MAX_OWNED];

#[derive(Clone, Copy)]
struct Layout {
    /// Stripes with one thread each; they come first.
    owned: usize,
    /// All stripes.
    count: usize,
}

impl Layout {
    fn of(cores: usize) -> Self {
        // One more thread than cores: that which starts a runtime runs tasks as well.
        let owned = cores.saturating_add(1).checked_next_power_of_two().map_or(MAX_OWNED, |owned| owned.min(MAX_OWNED));
        let shared = if cores < MAX_OWNED { (owned / 4).max(1) } else { MAX_OWNED };
        Self { owned, count: owned + shared }
    }
}

#[inline]
fn layout() -> Layout {
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    *LAYOUT.get_or_init(|| Layout::of(std::thread::available_parallelism().map_or(1, usize::from)))
}

/// How many stripes there are: one for each thread that has its own, and some for all others.
#[inline]
pub(crate) fn count() -> usize {
    layout().count
}

/// Where the calling thread writes among some stripes: the index, and in the lowest bit whether no other thread writes there.
/// With a `bool` of its own each reading of the thread's place would check that it is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mine(usize);

impl Mine {
    #[inline]
    const fn new(index: usize, alone: bool) -> Self {
        Self(2 * index + alone as usize)
    }

    /// Among all stripes, or where there is but one.
    #[inline]
    pub(crate) fn of(stripes: usize) -> Self {
        match PLACE.get() {
            place if place.among == stripes => place.mine,
            _ => Self::elsewhere(stripes),
        }
    }

    #[cold]
    fn elsewhere(stripes: usize) -> Self {
        if stripes == count() && PLACE.get().among == 0 {
            return find_place().mine;
        }
        Self::new(PLACE.get().mine.index() % stripes, false)
    }

    #[inline]
    pub(crate) fn index(self) -> usize {
        self.0 / 2
    }

    /// Whether no other thread writes there.
    #[inline]
    fn is_alone(self) -> bool {
        self.0 % 2 == 1
    }

    /// Adds to a count of this stripe that is written in this way only.
    #[inline]
    pub(crate) fn add(self, count: &AtomicU64, more: u64) {
        if self.is_alone() {
            count.store(count.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
        } else {
            count.fetch_add(more, Ordering::Relaxed);
        }
    }

    /// Changes a word of this stripe that is written in this way only; `None` leaves it. Says what it has put there.
    #[inline]
    pub(crate) fn update(self, word: &AtomicU64, change: impl Fn(u64) -> Option<u64>) -> Option<u64> {
        let mut found = word.load(Ordering::Relaxed);
        loop {
            let next = change(found)?;
            if self.is_alone() {
                word.store(next, Ordering::Relaxed);
                return Some(next);
            }
            match word.compare_exchange_weak(found, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(next),
                Err(other) => found = other,
            }
        }
    }
}

/// One for each stripe, on cache lines of its own unless it is the only one.
#[derive(Debug)]
pub(crate) enum Each<T> {
    Many(Box<[Padded<T>]>),
    Only(T),
}

impl<T> Each<T> {
    pub(crate) fn new(count: usize, mut make: impl FnMut() -> T) -> Self {
        match count {
            1 => Self::Only(make()),
            _ => Self::Many((0..count).map(|_| Padded(make())).collect()),
        }
    }

    #[inline]
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Many(many) => many.len(),
            Self::Only(_) => 1,
        }
    }

    /// That of this stripe, or of the only one.
    #[inline]
    pub(crate) fn get(&self, stripe: usize) -> &T {
        match self {
            Self::Many(many) => &many[stripe].0,
            Self::Only(only) => only,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        (0..self.count()).map(|stripe| self.get(stripe))
    }
}

/// So many words for each stripe, on cache lines of its own unless it is the only one.
#[derive(Debug)]
pub(crate) struct Words {
    words: Box<[AtomicU64]>,
    /// Where the first stripe begins, and how far it is to the next.
    first: u16,
    step: u16,
    count: u16,
}

/// Words of a padded line.
const LINE: usize = 128 / size_of::<u64>();

impl Words {
    pub(crate) fn new(count: usize, each: usize) -> Self {
        let (step, spare) = if count > 1 { (each.next_multiple_of(LINE), LINE - 1) } else { (each, 0) };
        let words: Box<[AtomicU64]> = (0..count * step + spare).map(|_| AtomicU64::new(0)).collect();
        // The allocator has put it anywhere; a line begins within the next few words.
        let first = words.as_ptr().align_offset(align_of::<Padded<()>>()).min(spare);
        Self { words, first: first as u16, step: step as u16, count: count as u16 }
    }

    /// That of the calling thread.
    #[inline]
    pub(crate) fn mine(&self) -> Mine {
        Mine::of(self.count.into())
    }

    pub(crate) fn stripes(&self) -> usize {
        self.count.into()
    }

    #[inline]
    fn begins(&self, stripe: usize) -> usize {
        usize::from(self.first) + stripe * usize::from(self.step)
    }

    #[inline]
    pub(crate) fn get(&self, stripe: usize, word: usize) -> &AtomicU64 {
        &self.words[self.begins(stripe) + word]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &AtomicU64> {
        self.words.iter()
    }
}

/// Loom runs all its threads on one, which has but one place.
const SHARES_ALL: bool = cfg!(tower_failover_loom);

/// The stripe of the calling thread, for what may be written by several.
#[inline]
pub(crate) fn mine(stripes: usize) -> usize {
    Mine::of(stripes).index()
}

/// The place of a thread among all stripes.
#[derive(Clone, Copy)]
struct Place {
    /// How many they are; 0 before it is known.
    among: usize,
    mine: Mine,
}

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place { among: 0, mine: Mine::new(0, false) }) };
    static OWNER: Cell<Option<Owner>> = const { Cell::new(None) };
}

#[cold]
fn find_place() -> Place {
    let free = (0..layout().owned).find(|index| {
        // What the last owner has written there is seen from here on.
        OWNED[*index].compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
    });
    let owned = free.map(Owner).and_then(|owner| {
        let index = owner.0;
        // A thread that is being torn down keeps no owner, and gives the stripe back at once.
        OWNER.try_with(|place| place.set(Some(owner))).is_ok().then_some(index)
    });
    let mine = match owned {
        Some(index) => Mine::new(index, !SHARES_ALL),
        None => Mine::new(shared(), false),
    };
    let place = Place { among: count(), mine };
    PLACE.set(place);
    place
}

fn shared() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let Layout { owned, count } = layout();
    owned + NEXT.fetch_add(1, Ordering::Relaxed) % (count - owned)
}

/// Has a stripe to itself until its thread ends.
struct Owner(usize);

impl Drop for Owner {
    fn drop(&mut self) {
        // From now on this thread writes where others do, if it writes at all.
        PLACE.set(Place { among: count(), mine: Mine::new(shared(), false) });
        OWNED[self.0].store(false, Ordering::Release);
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use std::{collections::HashSet, sync::Barrier, thread};

    #[test]
    fn about_as_many_threads_as_cores_have_a_stripe_to_themselves() {
        let layout = |cores| {
            let Layout { owned, count } = Layout::of(cores);
            (owned, count - owned)
        };
        assert_eq!([1, 2, 3, 4, 8, 15].map(layout), [(2, 1), (4, 1), (4, 1), (8, 2), (16, 4), (16, 4)]);
        assert_eq!([16, 17, 64, usize::MAX].map(layout), [(16, 16); 4]);
    }

    #[test]
    fn stripes_do_not_share_a_line_and_a_single_one_takes_no_more_than_it_needs() {
        let line = |word: &AtomicU64| std::ptr::from_ref(word) as usize / 128;
        for (count, each) in [(2, 1), (3, 16), (5, 20), (17, 2)] {
            let words = Words::new(count, each);
            let lines = |stripe| (0..each).map(|word| line(words.get(stripe, word))).collect::<HashSet<_>>();
            let all: Vec<_> = (0..count).flat_map(lines).collect();
            assert_eq!(all.len(), all.iter().collect::<HashSet<_>>().len());
            assert_eq!(all.len(), count * each.div_ceil(16));
            let distinct = (0..count).flat_map(|stripe| (0..each).map(move |word| (stripe, word)));
            distinct.clone().for_each(|(stripe, word)| _ = words.get(stripe, word).fetch_add(1, Ordering::Relaxed));
            assert!(distinct.clone().all(|(stripe, word)| words.get(stripe, word).load(Ordering::Relaxed) == 1));
            assert_eq!(words.iter().map(|word| word.load(Ordering::Relaxed)).sum::<u64>(), (count * each) as u64);
        }
        assert_eq!(Words::new(1, 20).words.len(), 20);
    }

    #[test]
    fn each_stripe_has_one_on_a_line_of_its_own() {
        for count in [1, 2, 5] {
            let mut made = 0..;
            let each = Each::new(count, || made.next());
            assert_eq!((each.count(), each.iter().count()), (count, count));
            assert!((0..count).all(|stripe| *each.get(stripe) == Some(stripe)));
            let lines: HashSet<_> = each.iter().map(|one| std::ptr::from_ref(one) as usize / 128).collect();
            assert_eq!(lines.len(), count);
        }
    }

    #[test]
    fn each_thread_writes_to_the_stripe_of_its_own() {
        for count in [1, 2, count(), 64] {
            let words = Words::new(count, 1);
            // The first time a thread asks, and later.
            for _ in 0..2 {
                let mine = words.mine();
                assert_eq!(mine, Mine::of(count));
            }
            let first = std::thread::scope(|scope| scope.spawn(|| words.mine().index()).join().expect("no panic"));
            assert!(first < count);
            assert_eq!(words.stripes(), count);
        }
    }

    #[test]
    fn no_two_threads_are_alone_on_one_stripe() {
        let threads = 4 * MAX_OWNED;
        for _ in 0..20 {
            let barrier = Barrier::new(threads);
            let places = thread::scope(|scope| {
                let one = || {
                    barrier.wait();
                    let mine = Mine::of(count());
                    barrier.wait();
                    mine
                };
                let threads: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
            });
            let alone: Vec<_> = places.iter().filter(|mine| mine.is_alone()).map(|mine| mine.index()).collect();
            assert_eq!(alone.iter().collect::<HashSet<_>>().len(), alone.len(), "{places:?}");
            assert!(alone.iter().all(|index| *index < layout().owned));
            let others = places.iter().filter(|mine| !mine.is_alone());
            assert!(others.clone().count() >= threads - layout().owned);
            assert!(others.clone().all(|mine| (layout().owned..count()).contains(&mine.index())), "{places:?}");
        }
    }

    #[test]
    fn nothing_is_lost_while_threads_come_and_go() {
        let counts: Vec<_> = (0..count()).map(|_| Padded([AtomicU64::new(0), AtomicU64::new(0)])).collect();
        let one = || {
            for _ in 0..1_000 {
                let mine = Mine::of(counts.len());
                let [added, updated] = &counts[mine.index()].0;
                mine.add(added, 1);
                mine.update(updated, |count| Some(count + 2));
            }
        };
        // A thread has ended for its scope before its place is free again, so that they overlap.
        for _ in 0..50 {
            thread::scope(|scope| (0..2 * count()).for_each(|_| _ = scope.spawn(one)));
        }
        let sum = |which: usize| counts.iter().map(|stripe| stripe.0[which].load(Ordering::Relaxed)).sum::<u64>();
        let calls = 50 * 2 * count() as u64 * 1_000;
        assert_eq!([sum(0), sum(1)], [calls, 2 * calls]);
    }

    #[test]
    fn who_shares_one_is_not_alone() {
        for stripes in [1, 2, 64] {
            let mine = Mine::of(stripes);
            assert!(!mine.is_alone() && mine.index() < stripes);
        }
    }

    #[test]
    fn a_thread_that_is_torn_down_writes_where_others_do() {
        struct Late(std::sync::mpsc::Sender<Mine>);
        impl Drop for Late {
            fn drop(&mut self) {
                let _ = self.0.send(Mine::of(count()));
            }
        }
        thread_local!(static LATE: Cell<Option<Late>> = const { Cell::new(None) });
        let (send, heard) = std::sync::mpsc::channel();
        let first = send.clone();
        // Which is torn down first is not said; in one of the two the stripe has been given back.
        thread::spawn(move || {
            LATE.set(Some(Late(first)));
            Mine::of(count());
        });
        thread::spawn(move || {
            Mine::of(count());
            LATE.set(Some(Late(send)));
        });
        let heard: Vec<_> = heard.iter().collect();
        assert_eq!(heard.len(), 2);
        assert!(heard.iter().all(|mine| mine.index() < count() && mine.is_alone() == (mine.index() < layout().owned)));
        assert!(heard.iter().any(|mine| !mine.is_alone()), "{heard:?}");
    }
}
