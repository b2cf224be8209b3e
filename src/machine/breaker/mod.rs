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
//! one more load and an add on a stripe of its own; a lock is taken by failures and by every other state.
//! Whatever a locked section changes it publishes by its last store, that of the word.

mod config;
mod half_open;
mod run;
mod state;

pub use config::{BreakerConfig, Trip};
pub use state::{Cause, Command, State};
pub(crate) use state::{Evidence, Outcome, Refusal, Ticket, Transition, View};

use self::{
    half_open::Probes,
    run::{Run, Witnesses},
};
use super::{Nanos, cooldown::COOLDOWN_JITTER, nanos, rng::Rng, window::TimeWindow};
use crate::sync::{AtomicU64, Mutex, Ordering, lock};
use std::time::Duration;

/// One breaker; see the [module](self).
#[derive(Debug)]
pub(crate) struct Breaker {
    /// Generation, shadow flag and state; see [`Word`].
    word: AtomicU64,
    /// End of the open wait, and of the cooldown; 0 when there is none. Written under the lock.
    open_until: AtomicU64,
    cooldown_until: AtomicU64,
    /// From when a half-open breaker has a place for a probe. Written under the lock.
    place_at: AtomicU64,
    /// Calls that a shadow let through although it would have refused them.
    shadowed: AtomicU64,
    run: Run,
    /// How many upstreams it guards together.
    members: usize,
    windows: Box<[TimeWindow]>,
    config: BreakerConfig,
    slow: Mutex<Slow>,
}

#[derive(Debug)]
struct Slow {
    witnesses: Witnesses,
    probes: Probes,
    /// How often the open wait has doubled.
    level: u32,
    /// Whether the present trouble began with failures, and not with a cooldown alone.
    tripped: bool,
    cause: Option<Cause>,
    since: Nanos,
    rng: Rng,
}

#[derive(Clone, Copy)]
struct Word {
    generation: u64,
    shadow: bool,
    state: State,
}

impl Word {
    fn unpack(word: u64) -> Self {
        let state = match word & 7 {
            0 => State::Closed,
            1 => State::Open,
            2 => State::HalfOpen,
            3 => State::ForcedOpen,
            _ => State::Disabled,
        };
        Self { generation: word >> 4, shadow: word & 8 != 0, state }
    }

    fn pack(self) -> u64 {
        let state = match self.state {
            State::Closed => 0,
            State::Open => 1,
            State::HalfOpen => 2,
            State::ForcedOpen => 3,
            State::Disabled => 4,
        };
        (self.generation << 4) | (u64::from(self.shadow) << 3) | state
    }
}

pub(crate) type Admission = Result<(Ticket, Option<Transition>), Refusal>;

impl Breaker {
    /// A closed breaker. `members` is how many upstreams it guards together; a breaker with more than
    /// one trips on [`Evidence::Member`] from a single one never.
    pub(crate) fn new(config: BreakerConfig, members: usize, stripes: usize, seed: u64) -> Self {
        let windows = config.trip.iter().filter_map(|rule| match *rule {
            Trip::FailureRate { window, buckets, .. } => Some(TimeWindow::new(window, buckets, stripes)),
            Trip::Consecutive { .. } => None,
        });
        Self {
            word: AtomicU64::new(Word { generation: 0, shadow: false, state: State::Closed }.pack()),
            open_until: AtomicU64::new(0),
            cooldown_until: AtomicU64::new(0),
            place_at: AtomicU64::new(0),
            shadowed: AtomicU64::new(0),
            run: Run::new(),
            members,
            windows: windows.collect(),
            slow: Mutex::new(Slow {
                witnesses: Witnesses::default(),
                probes: Probes::default(),
                level: 0,
                tripped: false,
                cause: None,
                since: 0,
                rng: Rng::new(seed),
            }),
            config,
        }
    }

    fn word(&self) -> Word {
        Word::unpack(self.word.load(Ordering::Acquire))
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.word().state == State::Closed
    }

    /// Whether a call would be admitted now. Changes nothing.
    pub(crate) fn peek(&self, now: Nanos) -> Result<(), Refusal> {
        let word = self.word();
        if word.shadow {
            return Ok(());
        }
        match word.state {
            State::Closed | State::Disabled => Ok(()),
            State::ForcedOpen => Err(Refusal::ForcedOpen),
            State::Open => self.waiting(now).map_or(Ok(()), Err),
            State::HalfOpen => match self.place_at.load(Ordering::Relaxed) {
                at if at > now => Err(Refusal::ProbesTaken { retry_at: at }),
                _ => Ok(()),
            },
        }
    }

    /// Admits a call or refuses it. A probe that has not been settled when its lease ends loses its place.
    pub(crate) fn admit(&self, now: Nanos, lease: Duration) -> Admission {
        let word = self.word();
        match word.state {
            State::Closed => Ok((Ticket::Counted { generation: word.generation }, None)),
            State::Disabled => Ok((Ticket::Uncounted, None)),
            State::ForcedOpen => Err(Refusal::ForcedOpen),
            State::Open => match self.waiting(now) {
                Some(refusal) => self.refuse(word, refusal),
                None => self.admit_probe(now, lease),
            },
            State::HalfOpen => self.admit_probe(now, lease),
        }
    }

    /// Admits a call although the open wait has not elapsed, as nobody else can be asked. Cooldowns and
    /// forced states hold all the same.
    pub(crate) fn admit_last_resort(&self, now: Nanos, lease: Duration) -> Admission {
        let word = self.word();
        match self.waiting(now) {
            Some(Refusal::Open { .. }) if word.state == State::Open => {
                Ok((Ticket::LastResort { generation: word.generation }, None))
            }
            _ => self.admit(now, lease),
        }
    }

    /// Whether [`admit_last_resort`](Self::admit_last_resort) would admit a call now. Changes nothing.
    pub(crate) fn peek_last_resort(&self, now: Nanos) -> bool {
        matches!(self.peek(now), Ok(()) | Err(Refusal::Open { .. }))
    }

    fn admit_probe(&self, now: Nanos, lease: Duration) -> Admission {
        let mut slow = lock(&self.slow);
        let mut word = self.word();
        let mut transition = None;
        match word.state {
            State::Closed => return Ok((Ticket::Counted { generation: word.generation }, None)),
            State::Disabled => return Ok((Ticket::Uncounted, None)),
            State::ForcedOpen => return Err(Refusal::ForcedOpen),
            State::Open => {
                if let Some(refusal) = self.waiting(now) {
                    return self.refuse(word, refusal);
                }
                transition = Some(self.enter(&mut slow, State::HalfOpen, Cause::WaitElapsed, now));
                word = self.word();
            }
            State::HalfOpen => {}
        }
        let admitted = slow.probes.admit(now, lease, self.config.probes);
        self.place_at.store(slow.probes.place_at(self.config.probes), Ordering::Relaxed);
        match admitted {
            Ok(id) => Ok((Ticket::Probe { generation: word.generation, id }, transition)),
            Err(retry_at) => self.refuse(word, Refusal::ProbesTaken { retry_at }),
        }
    }

    fn refuse(&self, word: Word, refusal: Refusal) -> Admission {
        if !word.shadow {
            return Err(refusal);
        }
        self.shadowed.fetch_add(1, Ordering::Relaxed);
        Ok((Ticket::Uncounted, None))
    }

    /// What an open breaker still waits for. What has elapsed exactly has elapsed.
    fn waiting(&self, now: Nanos) -> Option<Refusal> {
        let open = self.open_until.load(Ordering::Relaxed);
        let cooldown = self.cooldown_until.load(Ordering::Relaxed);
        if cooldown > now {
            return Some(Refusal::Cooldown { retry_at: open.max(cooldown) });
        }
        (open > now).then_some(Refusal::Open { retry_at: open })
    }

    /// Settles a call. Each ticket is settled once, which its owner sees to.
    pub(crate) fn settle(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        cooldown: Option<Duration>,
        now: Nanos,
    ) -> Option<Transition> {
        match (ticket, outcome, cooldown) {
            (Ticket::Uncounted, ..) | (Ticket::Counted { .. }, Outcome::Neutral, None) => None,
            (Ticket::Counted { generation }, Outcome::Success, None) => {
                if self.word().generation == generation {
                    self.run.reset(generation);
                    for window in &self.windows {
                        window.record(generation, now, true);
                    }
                }
                None
            }
            _ => self.settle_locked(ticket, outcome, cooldown, now),
        }
    }

    fn settle_locked(
        &self,
        ticket: Ticket,
        outcome: Outcome,
        cooldown: Option<Duration>,
        now: Nanos,
    ) -> Option<Transition> {
        let mut slow = lock(&self.slow);
        let word = self.word();
        let (Ticket::Counted { generation } | Ticket::Probe { generation, .. } | Ticket::LastResort { generation }) =
            ticket
        else {
            return None;
        };
        let until = cooldown.map(|wait| cooldown_end(&mut slow.rng, now, wait));
        if generation != word.generation {
            // A late result changes nothing. What its upstream asks for may lengthen a cooldown that is in force.
            if self.cooldown_until.load(Ordering::Relaxed) > now {
                self.lengthen_cooldown(until);
            }
            return None;
        }
        if let Ticket::Probe { id, .. } = ticket {
            if !slow.probes.remove(id) {
                return None;
            }
            self.place_at.store(slow.probes.place_at(self.config.probes), Ordering::Relaxed);
        }
        self.lengthen_cooldown(until);
        let transition = match (ticket, outcome) {
            (Ticket::Counted { .. }, _) => self.settle_counted(&mut slow, word, outcome, now),
            // Whatever else it brought, it was limited.
            (_, Outcome::Success) if until.is_some() => None,
            (Ticket::Probe { .. }, _) => self.settle_probe(&mut slow, outcome, now),
            (Ticket::LastResort { .. }, _) => self.settle_last_resort(&mut slow, outcome, now),
            (Ticket::Uncounted, _) => None,
        };
        if until.is_none() || self.word().state == State::Open {
            return transition;
        }
        // A limited probe has failed, and a closed breaker opens for as long as it was asked to.
        Some(self.enter(&mut slow, State::Open, Cause::Cooldown, now))
    }

    fn settle_counted(&self, slow: &mut Slow, word: Word, outcome: Outcome, now: Nanos) -> Option<Transition> {
        match outcome {
            Outcome::Neutral => None,
            Outcome::Success => {
                self.run.reset(word.generation);
                for window in &self.windows {
                    window.record(word.generation, now, true);
                }
                None
            }
            Outcome::Failure(evidence) => {
                let length = self.run.extend(word.generation);
                slow.witnesses.hear(length, evidence, now);
                for window in &self.windows {
                    window.record(word.generation, now, false);
                }
                let cause = self.broken_rule(slow, word.generation, length, now)?;
                Some(self.open(slow, cause, now))
            }
        }
    }

    fn settle_probe(&self, slow: &mut Slow, outcome: Outcome, now: Nanos) -> Option<Transition> {
        let (successes, probes) = self.asked_of_probes(slow);
        match outcome {
            Outcome::Neutral => None,
            Outcome::Success if slow.probes.succeeded() >= successes => {
                Some(self.enter(slow, State::Closed, Cause::ProbesSucceeded, now))
            }
            Outcome::Success => None,
            Outcome::Failure(_) if slow.probes.failed() > probes - successes => {
                Some(self.open(slow, Cause::ProbesFailed, now))
            }
            Outcome::Failure(_) => None,
        }
    }

    /// Only a success says anything: a failure is no news, and must not lengthen the wait.
    fn settle_last_resort(&self, slow: &mut Slow, outcome: Outcome, now: Nanos) -> Option<Transition> {
        if outcome != Outcome::Success || matches!(self.waiting(now), Some(Refusal::Cooldown { .. })) {
            return None;
        }
        let (successes, _) = self.asked_of_probes(slow);
        if successes <= 1 {
            return Some(self.enter(slow, State::Closed, Cause::LastResort, now));
        }
        let transition = self.enter(slow, State::HalfOpen, Cause::LastResort, now);
        slow.probes.succeeded();
        Some(transition)
    }

    /// How many successes among how many probes close: one of one after a mere cooldown.
    fn asked_of_probes(&self, slow: &Slow) -> (u32, u32) {
        if slow.tripped { (self.config.successes_to_close, self.config.probes_to_judge) } else { (1, 1) }
    }

    /// The first rule that holds, if any.
    fn broken_rule(&self, slow: &Slow, generation: u64, run: u32, now: Nanos) -> Option<Cause> {
        let mut windows = self.windows.iter();
        let witnesses = &slow.witnesses;
        self.config.trip.iter().find_map(|rule| match *rule {
            Trip::Consecutive { failures, spanning } if witnesses.agree(self.members) => {
                witnesses.breaks(run, failures, spanning, now)
            }
            Trip::Consecutive { .. } => None,
            Trip::FailureRate { rate, minimum_calls, .. } => {
                let totals = windows.next()?.totals(generation, now);
                let calls = totals.calls();
                let holds = calls >= u64::from(minimum_calls) && totals.failures as f64 / calls as f64 >= rate;
                holds.then_some(Cause::FailureRate { failures: totals.failures, calls })
            }
        })
    }

    /// Opens for the next, longer wait.
    fn open(&self, slow: &mut Slow, cause: Cause, now: Nanos) -> Transition {
        self.recover(slow, now);
        let config = &self.config;
        let longest = nanos(config.longest_open_wait);
        let factor = 1_u64.checked_shl(slow.level).unwrap_or(u64::MAX);
        let wait = nanos(config.open_wait).saturating_mul(factor).min(longest);
        if wait < longest {
            slow.level += 1;
        }
        let fixed = 1.0 - config.jitter * slow.rng.unit();
        let wait = (wait as f64 * fixed) as Nanos;
        slow.tripped = true;
        self.open_until.store(now.saturating_add(wait.max(1)), Ordering::Relaxed);
        self.enter(slow, State::Open, cause, now)
    }

    /// Takes back one doubling of the open wait for each healthy period that ends now, whatever ends it.
    fn recover(&self, slow: &mut Slow, now: Nanos) {
        if self.word().state == State::Closed {
            let healthy = now.saturating_sub(slow.since) / nanos(self.config.recovery);
            slow.level = slow.level.saturating_sub(u32::try_from(healthy).unwrap_or(u32::MAX));
            slow.since = now;
        }
    }

    /// A longer cooldown wins; a shorter one never cuts it.
    fn lengthen_cooldown(&self, until: Option<Nanos>) {
        let until = until.unwrap_or(0).max(self.cooldown_until.load(Ordering::Relaxed));
        self.cooldown_until.store(until, Ordering::Relaxed);
    }

    /// Begins a new generation.
    fn enter(&self, slow: &mut Slow, to: State, cause: Cause, now: Nanos) -> Transition {
        let shadow = self.word().shadow;
        self.enter_as(slow, to, shadow, cause, now)
    }

    fn enter_as(&self, slow: &mut Slow, to: State, shadow: bool, cause: Cause, now: Nanos) -> Transition {
        self.recover(slow, now);
        let word = self.word();
        let generation = word.generation + 1;
        if generation % TimeWindow::GENERATIONS == 0 {
            self.windows.iter().for_each(TimeWindow::clear);
        }
        slow.probes.clear();
        self.place_at.store(0, Ordering::Relaxed);
        slow.cause = Some(cause);
        slow.since = now;
        if to != State::Open {
            self.open_until.store(0, Ordering::Relaxed);
            self.cooldown_until.store(0, Ordering::Relaxed);
        }
        if to == State::Closed {
            slow.tripped = false;
        }
        self.word.store(Word { generation, shadow, state: to }.pack(), Ordering::Release);
        let retry_at = (to == State::Open).then(|| self.retry_at());
        Transition { from: word.state, to, cause, retry_at }
    }

    fn retry_at(&self) -> Nanos {
        self.open_until.load(Ordering::Relaxed).max(self.cooldown_until.load(Ordering::Relaxed))
    }

    /// What stands behind this breaker answers again: no need to sit out the open wait. A cooldown stands.
    pub(crate) fn hasten(&self, now: Nanos) -> Option<Transition> {
        if self.word().state != State::Open {
            return None;
        }
        let mut slow = lock(&self.slow);
        if self.word().state != State::Open {
            return None;
        }
        if self.cooldown_until.load(Ordering::Relaxed) > now {
            self.open_until.store(0, Ordering::Relaxed);
            return None;
        }
        Some(self.enter(&mut slow, State::HalfOpen, Cause::ProviderRecovered, now))
    }

    /// Blocks until the wait has elapsed, at the upstream's word or an operator's. Forced states stay.
    pub(crate) fn cool_down(&self, wait: Duration, now: Nanos) -> Option<Transition> {
        let mut slow = lock(&self.slow);
        let until = cooldown_end(&mut slow.rng, now, wait);
        match self.word().state {
            State::ForcedOpen | State::Disabled => None,
            State::Open => {
                self.lengthen_cooldown(Some(until));
                None
            }
            State::Closed | State::HalfOpen => {
                self.lengthen_cooldown(Some(until));
                Some(self.enter(&mut slow, State::Open, Cause::Cooldown, now))
            }
        }
    }

    pub(crate) fn command(&self, command: Command, now: Nanos) -> Option<Transition> {
        let mut slow = lock(&self.slow);
        let word = self.word();
        let (to, shadow) = match (command, word.state) {
            (Command::ForceOpen, _) => (State::ForcedOpen, false),
            (Command::Disable, _) => (State::Disabled, false),
            (Command::Shadow, State::ForcedOpen | State::Disabled) => (State::Closed, true),
            (Command::Shadow, state) => (state, true),
            (Command::Reset, _) => (State::Closed, false),
        };
        if command == Command::Reset {
            slow.level = 0;
            self.shadowed.store(0, Ordering::Relaxed);
        }
        if to == word.state && command != Command::Reset {
            self.word.store(Word { shadow, ..word }.pack(), Ordering::Release);
            return None;
        }
        let transition = self.enter_as(&mut slow, to, shadow, Cause::Command(command), now);
        (transition.from != to).then_some(transition)
    }

    pub(crate) fn view(&self, now: Nanos) -> View {
        let slow = lock(&self.slow);
        let word = self.word();
        let open = word.state == State::Open;
        let cooldown = self.cooldown_until.load(Ordering::Relaxed);
        View {
            state: word.state,
            shadow: word.shadow,
            cause: slow.cause,
            since: slow.since,
            retry_at: open.then(|| self.retry_at()),
            cooldown_until: (open && cooldown > now).then_some(cooldown),
            consecutive_failures: self.run.length(word.generation),
            window: self.windows.first().map(|window| window.totals(word.generation, now)),
            probes: slow.probes.in_flight(),
            openings: slow.level,
            shadowed: self.shadowed.load(Ordering::Relaxed),
        }
    }
}

fn cooldown_end(rng: &mut Rng, now: Nanos, wait: Duration) -> Nanos {
    let wait = nanos(wait);
    let jitter = (wait as f64 * COOLDOWN_JITTER * rng.unit()) as Nanos;
    now.saturating_add(wait).saturating_add(jitter)
}

#[cfg(all(test, not(tower_failover_loom)))]
mod law_tests;
#[cfg(all(test, tower_failover_loom))]
mod loom_tests;
#[cfg(all(test, not(tower_failover_loom)))]
mod reference_tests;
