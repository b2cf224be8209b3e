//! A shared value with a reference count for each stripe, so that owning a handle for the length of a
//! call does not make threads fight over one counter.

use crate::machine::stripe::{self, Each};
use arc_swap::ArcSwap;
use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering, fence},
    },
};

/// A shared value; [`local`](Self::local) gives a handle on the stripe of the calling thread.
#[derive(Debug)]
pub(crate) struct Striped<T> {
    lanes: Arc<[Local<T>]>,
}

/// A handle that counts on a cache line of its own stripe.
#[derive(Debug)]
pub(crate) struct Lane<T>(Arc<Counted<T>>);

/// A handle of a [`Striped`] value.
pub(crate) type Local<T> = Lane<Arc<T>>;

/// A value on another cache line than the count of its handles. Not on another pair of lines, as [`Padded`] has it: what lies
/// beside either is hardly ever written, and a key would take twice as much.
#[derive(Debug)]
#[cfg_attr(all(target_arch = "aarch64", target_vendor = "apple"), repr(align(128)))]
#[cfg_attr(not(all(target_arch = "aarch64", target_vendor = "apple")), repr(align(64)))]
struct Counted<T>(T);

impl<T> Striped<T> {
    pub(crate) fn new(value: T) -> Self {
        let value = Arc::new(value);
        Self { lanes: (0..stripe::count()).map(|_| Lane(Arc::new(Counted(Arc::clone(&value))))).collect() }
    }

    #[inline]
    pub(crate) fn local(&self) -> Local<T> {
        self.lanes[stripe::mine(self.lanes.len())].clone()
    }
}

impl<T> Clone for Striped<T> {
    fn clone(&self) -> Self {
        Self { lanes: Arc::clone(&self.lanes) }
    }
}

impl<T> Deref for Striped<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.lanes[0]
    }
}

impl<T> Clone for Lane<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Lane<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0.0
    }
}

/// A value that can be exchanged for another, and of which each stripe has a copy. Who has a handle keeps the value that it
/// got.
pub(crate) struct Swap<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    /// How often the value has been exchanged.
    exchanges: AtomicUsize,
    copies: Each<ArcSwap<Counted<T>>>,
}

impl<T: Clone> Swap<T> {
    pub(crate) fn new(value: T) -> Self {
        Self::with(stripe::count(), value)
    }

    /// With so many stripes: all of them, or one.
    pub(crate) fn with(stripes: usize, value: T) -> Self {
        let copies = Each::new(stripes, || ArcSwap::from_pointee(Counted(value.clone())));
        Self { shared: Arc::new(Shared { exchanges: AtomicUsize::new(0), copies }) }
    }

    /// Once this has returned, nobody gets the value of before.
    pub(crate) fn set(&self, value: T) {
        self.shared.copies.iter().for_each(|copy| copy.store(Arc::new(Counted(value.clone()))));
        self.shared.exchanges.fetch_add(1, Ordering::Release);
    }
}

impl<T> Swap<T> {
    #[inline]
    pub(crate) fn stripes(&self) -> usize {
        self.shared.copies.count()
    }

    pub(crate) fn local(&self) -> Lane<T> {
        Lane(self.mine().load_full())
    }

    /// Looks at it without owning a handle.
    #[inline]
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.mine().load().0)
    }

    #[inline]
    fn mine(&self) -> &ArcSwap<Counted<T>> {
        self.shared.copies.get(stripe::mine(self.stripes()))
    }

    #[cold]
    fn see(&self) -> Seen<T> {
        // In this order: one that is exchanged in between is seen to be so.
        let exchanges = self.exchanges();
        Seen { lane: self.local(), exchanges }
    }

    #[inline]
    fn exchanges(&self) -> usize {
        self.shared.exchanges.load(Ordering::Acquire)
    }

    /// Whether nobody has another handle or a value: then nobody can get one but from this.
    pub(crate) fn is_alone(&self) -> bool {
        let only = |copy: &ArcSwap<_>| Arc::strong_count(&copy.load()) == 1;
        let alone = Arc::strong_count(&self.shared) == 1 && self.shared.copies.iter().all(only);
        // What others wrote before they let go of theirs is seen from here on.
        fence(Ordering::Acquire);
        alone
    }
}

impl<T> Clone for Swap<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// A handle of a [`Swap`] that somebody keeps, with what was found in the value, so that the next look costs no more than to
/// see that it is still the one.
#[derive(Debug)]
pub(crate) struct Kept<T, F = ()> {
    seen: Option<(Seen<T>, F)>,
    stripe: usize,
}

/// A handle as of so many exchanges.
#[derive(Debug)]
pub(crate) struct Seen<T> {
    lane: Lane<T>,
    exchanges: usize,
}

impl<T, F> Kept<T, F> {
    pub(crate) const fn new() -> Self {
        Self { seen: None, stripe: 0 }
    }

    /// That which it has got last, and what was found there.
    #[inline]
    pub(crate) fn last(&self) -> Option<(&Lane<T>, &F)> {
        self.seen.as_ref().map(|(seen, found)| (seen.lane(), found))
    }

    #[cfg(test)]
    pub(crate) fn is_empty(&self) -> bool {
        self.seen.is_none()
    }

    /// The value of now, on the stripe of the calling thread.
    #[inline]
    pub(crate) fn get(&mut self, swap: &Swap<T>, find: impl FnOnce(&T) -> F) -> &(Seen<T>, F) {
        let stripe = stripe::mine(swap.stripes());
        if self.stripe != stripe || self.seen.as_ref().is_some_and(|(seen, _)| !seen.is_of(swap)) {
            self.seen = None;
            self.stripe = stripe;
        }
        self.seen.get_or_insert_with(|| {
            let seen = swap.see();
            let found = find(&seen.lane);
            (seen, found)
        })
    }
}

impl<T> Seen<T> {
    /// Whether the value has not been exchanged since.
    #[inline]
    pub(crate) fn is_of(&self, swap: &Swap<T>) -> bool {
        self.exchanges == swap.exchanges()
    }

    pub(crate) fn lane(&self) -> &Lane<T> {
        &self.lane
    }

    pub(crate) fn into_lane(self) -> Lane<T> {
        self.lane
    }
}

impl<T> Clone for Seen<T> {
    #[inline]
    fn clone(&self) -> Self {
        Self { lane: self.lane.clone(), exchanges: self.exchanges }
    }
}

impl<T: fmt::Debug> fmt::Debug for Swap<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Swap").field(&*self.local()).finish()
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_stripe_counts_on_a_line_of_its_own() {
        let (striped, swap) = (Striped::new(7), Swap::with(5, 7));
        let lanes = striped.lanes.iter().map(|lane| Arc::as_ptr(&lane.0).cast::<u8>());
        let copies: Vec<_> = swap.shared.copies.iter().map(ArcSwap::load_full).collect();
        let copies = copies.iter().map(|copy| Arc::as_ptr(copy).cast::<u8>());
        // The count stands somewhere before the value.
        let lines = lanes.chain(copies).flat_map(|value| [value.wrapping_sub(1), value].map(|byte| byte as usize / 64));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.iter().collect::<HashSet<_>>().len(), 2 * (stripe::count() + 5));
    }

    #[test]
    fn a_value_of_one_stripe_is_exchanged_like_that_of_many() {
        for stripes in [1, 5] {
            let (swap, mut kept) = (Swap::with(stripes, 1), Kept::<_>::new());
            assert_eq!(swap.stripes(), stripes);
            let seen = |kept: &mut Kept<_>| **kept.get(&swap, |_| ()).0.lane();
            assert_eq!((swap.read(|value| *value), *swap.local(), seen(&mut kept)), (1, 1, 1));
            swap.set(2);
            assert_eq!((swap.read(|value| *value), *swap.local(), seen(&mut kept)), (2, 2, 2));
        }
    }

    #[test]
    fn it_is_alone_while_nobody_has_a_handle_or_a_value() {
        for stripes in [1, 5] {
            let swap = Swap::with(stripes, ());
            assert!(swap.is_alone());
            let lane = swap.local();
            assert!(!swap.is_alone());
            drop(lane);
            assert!(swap.is_alone());
            let other = swap.clone();
            assert!(!swap.is_alone() && !other.is_alone());
            drop(other);
            assert!(swap.is_alone());
        }
    }
}
