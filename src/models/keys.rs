//! A registry for each key, made when the key first comes, and gone when nobody needs it.

use super::{
    catalogue::{Catalogue, Seeds},
    registry::{Common, Registry},
};
use crate::{
    lane::{Lane, Swap},
    machine::{Nanos, nanos, stripe},
    sync::{Mutex, lock},
};
use arc_swap::ArcSwap;
use hashbrown::HashTable;
use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// So many keys have state of their own at once, unless another number is set: 10,000.
pub const MAX_KEYS: usize = 10_000;
/// A key that nobody has used for so long, and whose breakers are closed, makes room for a new one at the bound: 60 s. One
/// used since has failures in its windows that count still.
pub const KEY_IDLE: Duration = Duration::from_secs(60);
/// And after so long it is forgotten, as new ones come, although there is room: 10 min.
pub const KEY_FORGOTTEN: Duration = Duration::from_secs(600);

/// A new key looks at so many others for one that may go, when there is no room left.
const LOOKS: usize = 64;
/// And at so many for one that has been idle for long, when there is.
const SWEEP: usize = 2;
/// Below this bound there is one shard, so that the whole of it is looked at.
const FEW: usize = LOOKS;
/// What a call for a key writes is not striped over threads, but for all keys together.
const STRIPES: usize = 1;
/// What the overflow is called where keys are logged.
const OVERFLOW: &str = "(overflow)";

pub(super) struct Keys {
    /// What a new one is made from.
    catalogue: ArcSwap<Catalogue>,
    seeds: Arc<Seeds>,
    common: Arc<Common>,
    max: AtomicUsize,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// How many keys there are, or are about to be.
    count: AtomicUsize,
    /// From which shard on room is looked for next.
    hand: AtomicUsize,
    overflow: Mutex<Option<Swap<Registry>>>,
}

#[derive(Default)]
struct Shard {
    places: HashTable<Place>,
    entries: Vec<Entry>,
    /// From which entry on is looked next.
    hand: usize,
}

/// Where the entry of a key is.
#[derive(Clone, Copy)]
struct Place {
    hash: u32,
    index: u32,
}

impl Place {
    /// As a table wants it, which looks at both ends.
    fn spread(hash: u32) -> u64 {
        u64::from(hash) << 32 | u64::from(hash)
    }
}

struct Entry {
    registry: Swap<Registry>,
    used: Nanos,
}

impl Entry {
    fn key(&self) -> Arc<str> {
        self.registry.read(|registry| registry.key.clone()).unwrap_or_default()
    }

    fn has_key(&self, key: &str) -> bool {
        self.registry.read(|registry| registry.key() == Some(key))
    }

    /// Never while open or in use.
    fn may_go(&self) -> bool {
        self.registry.is_alone() && self.registry.read(Registry::is_closed)
    }
}

impl Shard {
    fn get(&mut self, hash: u32, key: &str, now: Nanos) -> Option<&Swap<Registry>> {
        let same = |place: &Place| place.hash == hash && self.entries[place.index as usize].has_key(key);
        let index = self.places.find(Place::spread(hash), same)?.index;
        let entry = &mut self.entries[index as usize];
        entry.used = entry.used.max(now);
        Some(&entry.registry)
    }

    fn insert(&mut self, hash: u32, registry: Swap<Registry>, now: Nanos) {
        let place = Place { hash, index: self.entries.len() as u32 };
        self.places.insert_unique(Place::spread(hash), place, |place| Place::spread(place.hash));
        if self.entries.len() == self.entries.capacity() {
            // By a quarter, not to twice as many: what is free costs each key.
            self.entries.reserve_exact(self.entries.len() / 4 + 4);
        }
        self.entries.push(Entry { registry, used: now });
    }

    /// Of the next few, takes out the one that has been idle the longest, among those that may go and have been for at
    /// least so long. What is taken out is to be dropped outside the lock.
    fn evict(&mut self, looks: usize, idle: Nanos, now: Nanos, hash: impl Fn(&str) -> u32) -> Option<Entry> {
        let count = self.entries.len();
        let looks = looks.min(count);
        let next = (0..looks).map(|step| (self.hand + step) % count);
        let old = next.filter(|index| now.saturating_sub(self.entries[*index].used) >= idle);
        let goes = old.filter(|index| self.entries[*index].may_go()).min_by_key(|index| self.entries[*index].used);
        self.hand = (self.hand + looks) % count.max(1);
        let index = goes?;
        let gone = self.entries.swap_remove(index);
        let last = self.entries.len();
        let at = |index: usize| move |place: &Place| place.index as usize == index;
        if let Ok(place) = self.places.find_entry(Place::spread(hash(&gone.key())), at(index)) {
            place.remove();
        }
        if let Some(moved) = self.entries.get(index) {
            if let Some(place) = self.places.find_mut(Place::spread(hash(&moved.key())), at(last)) {
                place.index = index as u32;
            }
        }
        Some(gone)
    }
}

impl Keys {
    pub(super) fn new(catalogue: Arc<Catalogue>, max: usize, seeds: Arc<Seeds>, common: Arc<Common>) -> Self {
        let shards = if max <= FEW { 1 } else { 4 * stripe::count() };
        Self {
            catalogue: ArcSwap::new(catalogue),
            seeds,
            common,
            max: AtomicUsize::new(max),
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
            overflow: Mutex::new(None),
        }
    }

    /// The registry of a key, made if there is none: a handle for a call. At the bound, when no other key may go, it is
    /// the one that all further keys share.
    pub(super) fn local(&self, key: &str, now: Nanos) -> Lane<Registry> {
        self.get_or_make(key, now, Swap::local)
    }

    /// The same: a handle for an operator.
    pub(super) fn shared(&self, key: &str, now: Nanos) -> Swap<Registry> {
        self.get_or_make(key, now, Swap::clone)
    }

    /// The registry of a key, if it has one of its own.
    pub(super) fn find(&self, key: &str) -> Option<Swap<Registry>> {
        let (shard, hash) = self.shard(key);
        // Looking is not using it.
        lock(shard).get(hash, key, 0).cloned()
    }

    /// The registry of all keys that have none of their own.
    pub(super) fn overflow(&self) -> Swap<Registry> {
        lock(&self.overflow).get_or_insert_with(|| self.make(OVERFLOW, stripe::count()).1).clone()
    }

    /// Every key goes on with another catalogue, and new ones are made from it. One call at a time.
    pub(super) fn apply(&self, catalogue: &Arc<Catalogue>, max: usize) {
        self.max.store(max, Ordering::Relaxed);
        self.catalogue.store(Arc::clone(catalogue));
        for shard in &self.shards {
            for entry in &lock(shard).entries {
                catalogue.succeed(&entry.registry, &self.seeds);
            }
        }
        if let Some(overflow) = &*lock(&self.overflow) {
            catalogue.succeed(overflow, &self.seeds);
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        let names = |shard: &Mutex<Shard>| -> Vec<String> {
            lock(shard).entries.iter().map(|entry| entry.key().as_ref().to_owned()).collect()
        };
        self.shards.iter().flat_map(names).collect()
    }

    /// `hold` runs under the lock, so that a registry that is found is in use before anybody can let it go.
    fn get_or_make<T>(&self, key: &str, now: Nanos, hold: impl Fn(&Swap<Registry>) -> T) -> T {
        let (shard, hash) = self.shard(key);
        if let Some(registry) = lock(shard).get(hash, key, now) {
            return hold(registry);
        }
        if !self.make_room(now) {
            return hold(&self.overflow());
        }
        let (catalogue, made) = self.make(key, STRIPES);
        let mut locked = lock(shard);
        if let Some(registry) = locked.get(hash, key, now) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return hold(registry);
        }
        let hash_of = |key: &str| self.shard(key).1;
        let gone: [Option<Entry>; SWEEP] = std::array::from_fn(|_| locked.evict(1, nanos(KEY_FORGOTTEN), now, hash_of));
        self.count.fetch_sub(gone.iter().flatten().count(), Ordering::Relaxed);
        self.catch_up(&catalogue, &made);
        let held = hold(&made);
        locked.insert(hash, made, now);
        drop(locked);
        held
    }

    /// Counts one key more; at the bound only if an idle one goes for it.
    fn make_room(&self, now: Nanos) -> bool {
        let max = self.max.load(Ordering::Relaxed);
        let more = |count: usize| (count < max).then_some(count + 1);
        if self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
            return true;
        }
        let first = self.hand.fetch_add(1, Ordering::Relaxed);
        let mut looks = LOOKS;
        for step in 0..self.shards.len() {
            let shard = &self.shards[first.wrapping_add(step) % self.shards.len()];
            let seen = looks.min(lock(shard).entries.len());
            looks -= seen;
            let goes = || {
                let gone = lock(shard).evict(seen, nanos(KEY_IDLE), now, |key| self.shard(key).1);
                gone.is_some()
            };
            while goes() {
                if self.count.load(Ordering::Relaxed) <= max {
                    return true;
                }
                // The bound has come down: more have to go than come.
                self.count.fetch_sub(1, Ordering::Relaxed);
            }
        }
        false
    }

    fn make(&self, key: &str, stripes: usize) -> (Arc<Catalogue>, Swap<Registry>) {
        let catalogue = self.catalogue.load_full();
        let registry = catalogue.begin(Some(key.into()), stripes, &self.seeds, &self.common);
        (catalogue, Swap::with(stripes, registry))
    }

    /// Another catalogue may have come while it was made from this one.
    fn catch_up(&self, catalogue: &Arc<Catalogue>, made: &Swap<Registry>) {
        let latest = self.catalogue.load_full();
        if !Arc::ptr_eq(catalogue, &latest) {
            latest.succeed(made, &self.seeds);
        }
    }

    /// Where a key belongs, and its hash there: what says which shard does not say where in it.
    fn shard(&self, key: &str) -> (&Mutex<Shard>, u32) {
        let hash = self.hasher.hash_one(key);
        (&self.shards[hash as u32 as usize % self.shards.len()], (hash >> 32) as u32)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count.load(Ordering::Relaxed);
        f.debug_struct("Keys")
            .field("count", &count)
            .field("max", &self.max.load(Ordering::Relaxed))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[cfg(not(tower_failover_loom))]
mod tests {
    use super::*;
    use crate::{Model, Models, Provider};

    #[test]
    fn two_keys_of_one_hash_are_two() {
        let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa"));
        let models = models.build().expect("valid");
        let mut shard = Shard::default();
        for key in ["one", "two"] {
            shard.insert(7, models.family.keys.make(key, STRIPES).1, 0);
        }
        let found = |shard: &mut Shard| {
            let key = |key| shard.get(7, key, 0).map(|found| found.read(|registry| registry.key.clone()));
            ["one", "two", "three"].map(key).map(|key| key.flatten().unwrap_or_default().to_string())
        };
        assert_eq!(found(&mut shard), ["one", "two", ""]);
        assert!(shard.evict(1, 0, 0, |_| 7).is_some_and(|gone| gone.has_key("one")));
        assert_eq!(found(&mut shard), ["", "two", ""]);
    }
}
