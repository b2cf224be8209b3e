//! Since when calls are under way: what tells a hang before any of them has run out of time.
//!
//! A few places for each thread, each holding when a call began. With more calls under way than places some go without;
//! those of a model that hangs stay, so that its calls come to hold them all.

use super::{Nanos, stripe::Stripes};
use crate::sync::{AtomicU64, Ordering};

/// Places of one stripe: one padded line.
const PLACES: usize = 16;

#[derive(Debug)]
pub(crate) struct Pending {
    stripes: Stripes<[AtomicU64; PLACES]>,
}

/// Where a call has its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    stripe: u8,
    place: u8,
}

impl Pending {
    pub(crate) fn new(stripes: usize) -> Self {
        Self { stripes: Stripes::new(stripes, || std::array::from_fn(|_| AtomicU64::new(0))) }
    }

    /// A call begins. `None` when all places are taken.
    #[inline]
    pub(crate) fn begin(&self, now: Nanos) -> Option<Place> {
        let (mine, places) = self.stripes.mine();
        let began = now.saturating_add(1);
        // Others only ever make a place free.
        let take = |place: &AtomicU64| mine.update(place, |held| (held == 0).then_some(began)).is_some();
        let place = places.iter().position(take)?;
        Some(Place { stripe: u8::try_from(mine.index()).ok()?, place: place as u8 })
    }

    /// That call is over.
    #[inline]
    pub(crate) fn end(&self, place: Place) {
        self.stripes.get(place.stripe.into())[usize::from(place.place)].store(0, Ordering::Relaxed);
    }

    /// How many calls under way have a place.
    pub(crate) fn count(&self) -> usize {
        let places = self.stripes.iter().flatten();
        places.filter(|place| place.load(Ordering::Relaxed) != 0).count()
    }

    /// How many calls under way began after the one time and not after the other.
    pub(crate) fn begun_within(&self, after: Nanos, until: Nanos) -> usize {
        let places = self.stripes.iter().flatten();
        let began = places.filter_map(|place| place.load(Ordering::Relaxed).checked_sub(1));
        began.filter(|began| *began > after && *began <= until).count()
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;

    #[test]
    fn calls_under_way_are_counted_by_when_they_began() {
        let pending = Pending::new(1);
        let places: Vec<_> = (0..10).map(|second| pending.begin(second)).collect();
        assert_eq!(pending.begun_within(2, 7), 5, "3, 4, 5, 6, 7");
        pending.end(places[5].expect("a place"));
        assert_eq!(pending.begun_within(2, 7), 4);
        assert_eq!(pending.count(), 9);
        assert_eq!(pending.begun_within(9, u64::MAX), 0);
    }

    #[test]
    fn a_call_without_a_place_goes_without() {
        let pending = Pending::new(1);
        let places: Vec<_> = (0..PLACES).map(|_| pending.begin(1).expect("a place")).collect();
        assert!(pending.begin(2).is_none());
        pending.end(places[3]);
        assert!(pending.begin(2).is_some());
        assert_eq!(pending.begun_within(0, 1), PLACES - 1);
    }
}
