//! The circuit breaker.
//!
//! ```text
//!            a rule of the list holds                    open wait and cooldown elapsed, a call comes
//!  Closed ───────────────────────────▶ Open ◀──────────┐ ────────────────────────────▶ HalfOpen
//!    ▲ └──────── a cooldown ────────────▲  probes fail └──────────────────────────────────┘ │
//!    └──────────────────────────────── probes succeed ──────────────────────────────────────┘
//! ```
//!
//! Every change of state begins a new *generation*. A call carries the generation that admitted it, and
//! what comes back to another one changes nothing.
//!
//! One word holds generation and state. While closed, admitting a call is one load of it, and a success
//! one more load and an add on a stripe of its own (a window that counts calls has one cursor for all); a lock is taken
//! by failures, by slow calls that trip, and by every other state.
//! Whatever a locked section changes it publishes by its last store, that of the word.

mod admit;
mod config;
mod counter;
mod elsewhere;
mod half_open;
mod renew;
mod rules;
mod run;
mod settle;
mod state;
mod trip;
mod word;

pub(crate) use admit::Admission;
pub use config::BreakerConfig;
pub use elsewhere::EARLY_PROBE_AFTER;
pub use state::{Cause, Command, State};
pub(crate) use state::{Changed, Evidence, Outcome, Refusal, Ticket, Transition, View};
pub use trip::Trip;

use self::{
    config::{Close, Recovery},
    counter::{Counted, Counter, Rate},
    half_open::Probes,
    rules::Rules,
    run::{Run, Witnesses},
    word::Word,
};
pub(crate) use super::cooldown::Wait;
use super::{
    Nanos,
    cooldown::{COOLDOWN_JITTER, Growing},
    nanos,
    rng::Rng,
    skips::Skips,
};
use crate::sync::{AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering, lock};
use std::sync::{Arc, OnceLock};

/// One breaker; see the [module](self).
#[derive(Debug)]
pub(crate) struct Breaker {
    /// Generation, shadow flag and state; see [`Word`].
    word: AtomicU64,
    run: Run,
    /// Of each rule on a rate, in their order.
    counters: Box<[Counter]>,
    config: Arc<BreakerConfig>,
    /// How many upstreams it guards together.
    members: AtomicU32,
    /// Over how many stripes it counts.
    stripes: u32,
    seed: u64,
    /// Made when somebody first asks for it: a breaker that has never seen a failure has none.
    rest: OnceLock<Box<Rest>>,
}

/// What only trouble needs.
#[derive(Debug)]
struct Rest {
    /// End of the open wait, and of the cooldown; 0 when there is none. Written under the lock.
    open_until: AtomicU64,
    cooldown_until: AtomicU64,
    /// From when a half-open breaker has a place for a probe. Written under the lock.
    place_at: AtomicU64,
    /// Calls that a shadow let through although it would have refused them.
    shadowed: AtomicU64,
    /// Requests that have gone elsewhere since it opened; made at the first.
    elsewhere: OnceLock<Skips>,
    locked: Mutex<Locked>,
}

#[derive(Debug)]
struct Locked {
    witnesses: Witnesses,
    probes: Probes,
    /// How often the open wait has doubled.
    level: u32,
    /// Whether the present trouble began with failures, and not with a cooldown alone.
    tripped: bool,
    /// What calls had to be slower than for the rule that opened it, if that was one on slow calls.
    slower_than: Option<Nanos>,
    /// Whether it is half-open after a cooldown, at the end of which one probe goes first.
    after_cooldown: bool,
    /// The wait after a limit that does not say how long; a success ends its growth.
    growing: Growing,
    cause: Option<Cause>,
    since: Nanos,
    rng: Rng,
}

impl Breaker {
    /// A closed breaker. `members` is how many upstreams it guards together; a breaker with more than
    /// one trips on [`Evidence::Member`] from a single one never.
    pub(crate) fn new(config: impl Into<Arc<BreakerConfig>>, members: usize, stripes: usize, seed: u64) -> Self {
        let config = config.into();
        let counters = config.trip.counters(stripes);
        let rest = OnceLock::new();
        if cfg!(tower_failover_loom) {
            // What a `OnceLock` orders loom does not see.
            rest.get_or_init(|| Box::new(Rest::new(seed)));
        }
        Self {
            word: AtomicU64::new(Word::NEW.pack()),
            run: Run::new(),
            counters,
            config,
            members: AtomicU32::new(members as u32),
            stripes: stripes as u32,
            seed,
            rest,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Locked> {
        lock(&self.rest().locked)
    }

    #[inline]
    fn rest(&self) -> &Rest {
        match self.rest.get() {
            Some(rest) => rest,
            None => self.make_rest(),
        }
    }

    #[cold]
    fn make_rest(&self) -> &Rest {
        self.rest.get_or_init(|| Box::new(Rest::new(self.seed)))
    }

    /// What has been counted, of each rule on a rate.
    #[inline]
    fn counted(&self) -> impl Iterator<Item = Counted<'_>> {
        self.config.trip.counted(&self.counters)
    }

    #[inline]
    fn word(&self) -> Word {
        Word::unpack(self.word.load(Ordering::Acquire))
    }

    /// Opens for the next, longer wait.
    fn open(&self, locked: &mut Locked, cause: Cause, now: Nanos) -> Transition {
        self.recover(locked, now);
        let config = &self.config;
        let longest = nanos(config.longest_open_wait);
        let factor = 1_u64.checked_shl(locked.level).unwrap_or(u64::MAX);
        let wait = nanos(config.open_wait).saturating_mul(factor).min(longest);
        if wait < longest {
            locked.level += 1;
        }
        let fixed = 1.0 - config.jitter * locked.rng.unit();
        let wait = (wait as f64 * fixed) as Nanos;
        locked.tripped = true;
        self.rest().open_until.store(now.saturating_add(wait.max(1)), Ordering::Relaxed);
        self.enter(locked, State::Open, cause, now)
    }

    /// Takes back one doubling of the open wait for each healthy period that ends now, whatever ends it, where they count.
    fn recover(&self, locked: &mut Locked, now: Nanos) {
        if let (State::Closed, Recovery::Healthy(period)) = (self.word().state, self.config.recovery) {
            let healthy = now.saturating_sub(locked.since) / nanos(period);
            locked.level = locked.level.saturating_sub(u32::try_from(healthy).unwrap_or(u32::MAX));
            locked.since = now;
        }
    }

    /// A longer cooldown wins; a shorter one never cuts it. The new end, if it is a later one.
    fn lengthen_cooldown(&self, until: Option<Nanos>) -> Option<Nanos> {
        let later = until.filter(|until| *until > self.rest().cooldown_until.load(Ordering::Relaxed));
        if let Some(until) = later {
            self.rest().cooldown_until.store(until, Ordering::Relaxed);
        }
        later
    }

    /// Begins a new generation.
    fn enter(&self, locked: &mut Locked, to: State, cause: Cause, now: Nanos) -> Transition {
        let shadow = self.word().shadow;
        self.enter_as(locked, to, shadow, cause, now)
    }

    fn enter_as(&self, locked: &mut Locked, to: State, shadow: bool, cause: Cause, now: Nanos) -> Transition {
        self.recover(locked, now);
        let word = self.word();
        let generation = word.generation + 1;
        self.counters.iter().for_each(|counter| counter.begin(generation));
        locked.probes.clear();
        self.rest().place_at.store(0, Ordering::Relaxed);
        locked.cause = Some(cause);
        locked.since = now;
        locked.after_cooldown = to == State::HalfOpen && self.rest().cooldown_until.load(Ordering::Relaxed) != 0;
        if let (State::Open, Some(elsewhere)) = (to, self.rest().elsewhere.get()) {
            elsewhere.reset();
        }
        if to != State::Open {
            self.rest().open_until.store(0, Ordering::Relaxed);
            self.rest().cooldown_until.store(0, Ordering::Relaxed);
        }
        if to == State::Closed {
            locked.tripped = false;
            locked.slower_than = None;
            if self.config.recovery == Recovery::AtClose {
                locked.level = 0;
            }
        }
        self.word.store(Word { generation, shadow, state: to }.pack(), Ordering::Release);
        let retry_at = (to == State::Open).then(|| self.retry_at());
        Transition { from: word.state, to, cause, retry_at }
    }

    fn retry_at(&self) -> Nanos {
        self.rest().open_until.load(Ordering::Relaxed).max(self.rest().cooldown_until.load(Ordering::Relaxed))
    }

    /// What stands behind this breaker answers again: no need to sit out the open wait. A cooldown stands.
    pub(crate) fn hasten(&self, now: Nanos) -> Option<Transition> {
        self.hasten_because(Cause::ProviderRecovered, now)
    }

    /// The same, for another cause.
    pub(crate) fn hasten_because(&self, cause: Cause, now: Nanos) -> Option<Transition> {
        if self.word().state != State::Open {
            return None;
        }
        let mut locked = self.lock();
        if self.word().state != State::Open {
            return None;
        }
        if self.rest().cooldown_until.load(Ordering::Relaxed) > now {
            self.rest().open_until.store(0, Ordering::Relaxed);
            return None;
        }
        Some(self.enter(&mut locked, State::HalfOpen, cause, now))
    }

    /// Blocks until the wait has elapsed, at the upstream's word or an operator's. Forced states stay.
    pub(crate) fn cool_down(&self, wait: Wait, now: Nanos) -> Changed {
        let mut locked = self.lock();
        let until = locked.cooldown_end(wait, now);
        let state = self.word().state;
        if matches!(state, State::ForcedOpen | State::Disabled) {
            return Changed::default();
        }
        let cooldown_until = self.lengthen_cooldown(Some(until));
        let opens = state != State::Open;
        let transition = opens.then(|| self.enter(&mut locked, State::Open, Cause::Cooldown, now));
        Changed { transition, cooldown_until }
    }

    pub(crate) fn command(&self, command: Command, now: Nanos) -> Option<Transition> {
        let mut locked = self.lock();
        let word = self.word();
        let (to, shadow) = match (command, word.state) {
            (Command::ForceOpen, _) => (State::ForcedOpen, false),
            (Command::Disable, _) => (State::Disabled, false),
            (Command::Shadow, State::ForcedOpen | State::Disabled) => (State::Closed, true),
            (Command::Shadow, state) => (state, true),
            (Command::Reset, _) => (State::Closed, false),
        };
        if command == Command::Reset {
            locked.level = 0;
            locked.growing.reset();
            self.rest().shadowed.store(0, Ordering::Relaxed);
        }
        if to == word.state && command != Command::Reset {
            self.word.store(Word { shadow, ..word }.pack(), Ordering::Release);
            return None;
        }
        let transition = self.enter_as(&mut locked, to, shadow, Cause::Command(command), now);
        (transition.from != to).then_some(transition)
    }

    pub(crate) fn view(&self, now: Nanos) -> View {
        // Before anybody has taken the lock nothing has changed: to look is no reason to make one.
        let rest = self.rest.get();
        let locked = rest.map(|rest| lock(&rest.locked));
        let locked = locked.as_deref();
        let word = if locked.is_some() { self.word() } else { Word::NEW };
        let open = word.state == State::Open;
        let cooldown = rest.map_or(0, |rest| rest.cooldown_until.load(Ordering::Relaxed));
        let first = |slow| {
            let counter = self.counted().find(|counter| counter.slower_than().is_some() == slow);
            counter.map(|counter| counter.totals(word.generation, now))
        };
        View {
            state: word.state,
            shadow: word.shadow,
            cause: locked.and_then(|locked| locked.cause),
            since: locked.map_or(0, |locked| locked.since),
            retry_at: open.then(|| self.retry_at()),
            cooldown_until: (open && cooldown > now).then_some(cooldown),
            consecutive_failures: self.run.length(word.generation),
            window: first(false),
            slow_calls: first(true),
            probes: locked.map_or(0, |locked| locked.probes.in_flight()),
            openings: locked.map_or(0, |locked| locked.level),
            shadowed: rest.map_or(0, |rest| rest.shadowed.load(Ordering::Relaxed)),
        }
    }
}

impl Rest {
    fn new(seed: u64) -> Self {
        let [open_until, cooldown_until, place_at, shadowed] = std::array::from_fn(|_| AtomicU64::new(0));
        let (elsewhere, locked) = (OnceLock::new(), Mutex::new(Locked::new(seed)));
        Self { open_until, cooldown_until, place_at, shadowed, elsewhere, locked }
    }
}

impl Locked {
    fn new(seed: u64) -> Self {
        Self {
            witnesses: Witnesses::default(),
            probes: Probes::default(),
            level: 0,
            tripped: false,
            slower_than: None,
            after_cooldown: false,
            growing: Growing::default(),
            cause: None,
            since: 0,
            rng: Rng::new(seed),
        }
    }

    /// Whether a success was slower than the rule on slow calls that opened the breaker allows.
    fn is_too_slow(&self, took: Nanos) -> bool {
        self.slower_than.is_some_and(|slower_than| took > slower_than)
    }

    /// When a cooldown that begins now ends. A little later than asked, so that not everybody comes back at once.
    fn cooldown_end(&mut self, wait: Wait, now: Nanos) -> Nanos {
        let wait = nanos(match wait {
            Wait::For(wait) => wait,
            Wait::Growing => self.growing.next(),
        });
        let jitter = (wait as f64 * COOLDOWN_JITTER * self.rng.unit()) as Nanos;
        now.saturating_add(wait).saturating_add(jitter)
    }
}

#[cfg(all(test, not(tower_failover_loom)))]
mod law_tests;
#[cfg(all(test, tower_failover_loom))]
mod loom_tests;
#[cfg(all(test, not(tower_failover_loom)))]
mod reference_tests;
