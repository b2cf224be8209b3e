//! A shared value with a reference count for each stripe, so that owning a handle for the length of a
//! call does not make threads fight over one counter.

use crate::machine::stripe::{self, Padded};
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
    lanes: Arc<[Lane<T>]>,
}

/// A handle that counts on a cache line of its own stripe.
#[derive(Debug)]
pub(crate) struct Lane<T>(Arc<Counted<T>>);

/// A value whose handles of one stripe count here.
type Counted<T> = Padded<Arc<T>>;

impl<T> Striped<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { lanes: counted(value, stripe::count()).map(Lane).collect() }
    }

    #[inline]
    pub(crate) fn local(&self) -> Lane<T> {
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

    fn deref(&self) -> &T {
        &self.0.0
    }
}

/// A [`Striped`] value that can be exchanged for another. Who has a handle keeps the value that it got.
pub(crate) struct Swap<T> {
    shared: Arc<Shared<T>>,
}

struct Shared<T> {
    /// How often the value has been exchanged.
    exchanges: AtomicUsize,
    stripes: usize,
    many: Box<[Padded<ArcSwap<Counted<T>>>]>,
    /// Where there are not many.
    only: Option<ArcSwap<Counted<T>>>,
}

impl<T> Swap<T> {
    pub(crate) fn new(value: T) -> Self {
        Self::with(stripe::count(), value)
    }

    /// With so many stripes: all of them, or one.
    pub(crate) fn with(stripes: usize, value: T) -> Self {
        let mut lanes = counted(value, stripes).map(ArcSwap::new);
        let only = if stripes == 1 { lanes.next() } else { None };
        let many = lanes.map(Padded).collect();
        Self { shared: Arc::new(Shared { exchanges: AtomicUsize::new(0), stripes, many, only }) }
    }

    pub(crate) fn stripes(&self) -> usize {
        self.shared.stripes
    }

    pub(crate) fn local(&self) -> Lane<T> {
        Lane(self.mine().load_full())
    }

    /// Looks at it without owning a handle.
    #[inline]
    pub(crate) fn read<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.mine().load().0)
    }

    /// Once this has returned, nobody gets the value of before.
    pub(crate) fn set(&self, value: T) {
        for (lane, counted) in self.lanes().zip(counted(value, self.stripes())) {
            lane.store(counted);
        }
        self.shared.exchanges.fetch_add(1, Ordering::Release);
    }

    #[inline]
    fn mine(&self) -> &ArcSwap<Counted<T>> {
        self.lane(stripe::mine(self.stripes()))
    }

    #[inline]
    fn lane(&self, stripe: usize) -> &ArcSwap<Counted<T>> {
        match (self.shared.many.get(stripe), &self.shared.only) {
            (Some(lane), _) => &lane.0,
            (None, Some(lane)) => lane,
            (None, None) => unreachable!("there is no such stripe"),
        }
    }

    fn lanes(&self) -> impl Iterator<Item = &ArcSwap<Counted<T>>> {
        (0..self.stripes()).map(|stripe| self.lane(stripe))
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
        let only = |lane: &ArcSwap<_>| Arc::strong_count(&lane.load()) == 1;
        let alone = Arc::strong_count(&self.shared) == 1 && self.lanes().all(only);
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

fn counted<T>(value: T, stripes: usize) -> impl Iterator<Item = Arc<Counted<T>>> {
    let value = Arc::new(value);
    (0..stripes).map(move |_| Arc::new(Padded(Arc::clone(&value))))
}
