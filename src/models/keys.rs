//! A registry for each key, made when the key first comes, and gone when nobody needs it.

use super::{Registry, catalogue::Catalogue};
use crate::{
    lane::{Lane, Striped},
    machine::{Nanos, nanos, rng::Rng, stripe},
    sync::{Mutex, lock},
};
use std::{
    collections::{HashMap, hash_map::RandomState},
    fmt,
    hash::BuildHasher,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

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
    catalogue: Arc<Catalogue>,
    epoch: Instant,
    max: usize,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    /// How many keys there are, or are about to be.
    count: AtomicUsize,
    /// From which shard on room is looked for next.
    hand: AtomicUsize,
    seed: AtomicU64,
    overflow: OnceLock<Striped<Registry>>,
}

#[derive(Default)]
struct Shard {
    places: HashMap<Arc<str>, usize>,
    entries: Vec<Entry>,
    /// From which entry on is looked next.
    hand: usize,
}

struct Entry {
    key: Arc<str>,
    registry: Striped<Registry>,
    used: Nanos,
}

impl Entry {
    /// Never while open or in use.
    fn may_go(&self) -> bool {
        self.registry.is_alone() && self.registry.is_closed()
    }
}

impl Shard {
    fn get(&mut self, key: &str, now: Nanos) -> Option<&Striped<Registry>> {
        let entry = &mut self.entries[*self.places.get(key)?];
        entry.used = entry.used.max(now);
        Some(&entry.registry)
    }

    fn insert(&mut self, key: Arc<str>, registry: Striped<Registry>, now: Nanos) {
        self.places.insert(Arc::clone(&key), self.entries.len());
        self.entries.push(Entry { key, registry, used: now });
    }

    /// Of the next few, takes out the one that has been idle the longest, among those that may go and have been for at
    /// least so long. What is taken out is to be dropped outside the lock.
    fn evict(&mut self, looks: usize, idle: Nanos, now: Nanos) -> Option<Entry> {
        let count = self.entries.len();
        let looks = looks.min(count);
        let next = (0..looks).map(|step| (self.hand + step) % count);
        let old = next.filter(|index| now.saturating_sub(self.entries[*index].used) >= idle);
        let goes = old.filter(|index| self.entries[*index].may_go()).min_by_key(|index| self.entries[*index].used);
        self.hand = (self.hand + looks) % count.max(1);
        let gone = self.entries.swap_remove(goes?);
        self.places.remove(&gone.key);
        if let Some(moved) = self.entries.get(goes?) {
            self.places.insert(Arc::clone(&moved.key), goes?);
        }
        Some(gone)
    }
}

impl Keys {
    pub(super) fn new(catalogue: Arc<Catalogue>, epoch: Instant, max: usize, seed: u64) -> Self {
        let shards = if max <= FEW { 1 } else { 4 * stripe::count() };
        Self {
            catalogue,
            epoch,
            max,
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            count: AtomicUsize::new(0),
            hand: AtomicUsize::new(0),
            seed: AtomicU64::new(seed),
            overflow: OnceLock::new(),
        }
    }

    /// The registry of a key, made if there is none: a handle for a call. At the bound, when no other key may go, it is
    /// the one that all further keys share.
    pub(super) fn local(&self, key: &str, now: Nanos) -> Lane<Registry> {
        self.get_or_make(key, now, Striped::local)
    }

    /// The same: a handle for an operator.
    pub(super) fn shared(&self, key: &str, now: Nanos) -> Striped<Registry> {
        self.get_or_make(key, now, Striped::clone)
    }

    /// The registry of a key, if it has one of its own.
    pub(super) fn find(&self, key: &str) -> Option<Striped<Registry>> {
        // Looking is not using it.
        lock(self.shard(key)).get(key, 0).cloned()
    }

    /// The registry of all keys that have none of their own.
    pub(super) fn overflow(&self) -> &Striped<Registry> {
        self.overflow.get_or_init(|| self.make(OVERFLOW, stripe::count()))
    }

    pub(super) fn names(&self) -> Vec<String> {
        let names = |shard: &Mutex<Shard>| -> Vec<String> {
            lock(shard).entries.iter().map(|entry| entry.key.as_ref().to_owned()).collect()
        };
        self.shards.iter().flat_map(names).collect()
    }

    /// `hold` runs under the lock, so that a registry that is found is in use before anybody can let it go.
    fn get_or_make<T>(&self, key: &str, now: Nanos, hold: impl Fn(&Striped<Registry>) -> T) -> T {
        let shard = self.shard(key);
        if let Some(registry) = lock(shard).get(key, now) {
            return hold(registry);
        }
        if !self.make_room(now) {
            return hold(self.overflow());
        }
        let made = self.make(key, STRIPES);
        let mut locked = lock(shard);
        if let Some(registry) = locked.get(key, now) {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return hold(registry);
        }
        let gone: [Option<Entry>; SWEEP] = std::array::from_fn(|_| locked.evict(1, nanos(KEY_FORGOTTEN), now));
        self.count.fetch_sub(gone.iter().flatten().count(), Ordering::Relaxed);
        let held = hold(&made);
        locked.insert(Arc::from(key), made, now);
        drop(locked);
        held
    }

    /// Counts one key more; at the bound only if an idle one goes for it.
    fn make_room(&self, now: Nanos) -> bool {
        let more = |count: usize| (count < self.max).then_some(count + 1);
        if self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
            return true;
        }
        let first = self.hand.fetch_add(1, Ordering::Relaxed);
        let mut looks = LOOKS;
        for step in 0..self.shards.len() {
            let mut shard = lock(&self.shards[first.wrapping_add(step) % self.shards.len()]);
            let seen = looks.min(shard.entries.len());
            let gone = shard.evict(seen, nanos(KEY_IDLE), now);
            drop(shard);
            looks -= seen;
            if gone.is_some() || looks == 0 {
                return gone.is_some();
            }
        }
        false
    }

    fn make(&self, key: &str, stripes: usize) -> Striped<Registry> {
        let seed = Rng::new(self.seed.fetch_add(1, Ordering::Relaxed)).next_u64();
        Striped::with(stripes, self.catalogue.begin(Some(key.into()), self.epoch, stripes, seed))
    }

    fn shard(&self, key: &str) -> &Mutex<Shard> {
        &self.shards[self.hasher.hash_one(key) as usize % self.shards.len()]
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count.load(Ordering::Relaxed);
        f.debug_struct("Keys").field("count", &count).field("max", &self.max).finish_non_exhaustive()
    }
}
