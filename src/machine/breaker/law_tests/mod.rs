//! The laws as far as one breaker can keep them, by example.

use super::{Wait::For, *};
use crate::machine::window::Totals;
use std::{collections::HashSet, sync::Barrier, thread, time::Duration};

mod commands;
mod cooldowns;
mod evidence;
mod generations;
mod last_calls;
mod probes;
mod slow_calls;
mod thresholds;
mod waits;

const SECOND: Nanos = 1_000_000_000;
const LEASE: Duration = Duration::from_secs(120);
/// The first open wait of [`config`].
const WAIT: Nanos = 10 * SECOND;

const GOOD: Outcome = Outcome::Success;
const BAD: Outcome = Outcome::Failure(Evidence::Blame);
const OUTCOMES: [Outcome; 3] = [GOOD, BAD, Outcome::Neutral];

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn at_secs(secs: u64) -> Nanos {
    secs * SECOND
}

/// Three failures in a row open it, for 10 s at first and never jittered. Its window measures and never trips.
fn config() -> BreakerConfig {
    let rules = [Trip::consecutive(3, Duration::ZERO), Trip::failure_rate(1.0, u32::MAX, secs(60))];
    BreakerConfig::default().trip(rules).jitter(0.0)
}

fn tripping_on(rule: Trip) -> Breaker {
    closed(config().trip([rule]))
}

fn closed(config: BreakerConfig) -> Breaker {
    config.check().expect("a configuration that works");
    Breaker::new(config, 1, 1, 7)
}

/// Open since 0 s, with probes from 10 s.
fn open(config: BreakerConfig) -> Breaker {
    let breaker = closed(config);
    trip(&breaker, 0);
    breaker
}

/// Half-open since 10 s, with one probe out.
fn half_open(config: BreakerConfig) -> (Breaker, Ticket) {
    let breaker = open(config);
    let probe = call(&breaker, WAIT);
    (breaker, probe)
}

fn shadow_of(breaker: Breaker) -> Breaker {
    assert_eq!(breaker.command(Command::Shadow, 0), None);
    breaker
}

/// A breaker in each state that commands and results can meet, seen at 10 s.
fn one_in_each_state() -> [Breaker; 5] {
    let commanded = |command| {
        let breaker = closed(config());
        breaker.command(command, 0).expect("a transition");
        breaker
    };
    let [forced_open, disabled] = [commanded(Command::ForceOpen), commanded(Command::Disable)];
    [closed(config()), open(config()), half_open(config()).0, forced_open, disabled]
}

fn admit(breaker: &Breaker, now: Nanos) -> Result<Ticket, Refusal> {
    breaker.admit(now, LEASE).map(|(ticket, _)| ticket)
}

fn call(breaker: &Breaker, now: Nanos) -> Ticket {
    admit(breaker, now).expect("admitted")
}

fn last_resort(breaker: &Breaker, now: Nanos) -> Result<Ticket, Refusal> {
    breaker.admit_last_resort(now, LEASE).map(|(ticket, _)| ticket)
}

fn settle(breaker: &Breaker, ticket: Ticket, outcome: Outcome, now: Nanos) -> Option<State> {
    breaker.settle(ticket, outcome, None, now).map(|transition| transition.to)
}

/// One whole call, and the state that it leads to if it changes it.
fn run(breaker: &Breaker, outcome: Outcome, now: Nanos) -> Option<State> {
    settle(breaker, call(breaker, now), outcome, now)
}

/// One call that a 429 answers, with the wait that it asks for.
fn limit(breaker: &Breaker, wait: Duration, now: Nanos) -> Option<Transition> {
    breaker.settle(call(breaker, now), Outcome::Neutral, Some(For(wait)), now)
}

fn trip(breaker: &Breaker, now: Nanos) -> Nanos {
    assert_eq!([run(breaker, BAD, now), run(breaker, BAD, now)], [None, None]);
    let transition = breaker.settle(call(breaker, now), BAD, None, now).expect("a transition");
    assert_eq!(transition.to, State::Open);
    transition.retry_at.expect("for a time")
}

/// Two good probes.
fn close(breaker: &Breaker, now: Nanos) {
    assert_eq!([run(breaker, GOOD, now), run(breaker, GOOD, now)], [None, Some(State::Closed)]);
}

fn state(breaker: &Breaker) -> State {
    breaker.view(0).state
}

fn window(breaker: &Breaker, now: Nanos) -> Totals {
    breaker.view(now).window.expect("a rule on a rate")
}

fn retry_at(breaker: &Breaker) -> Nanos {
    breaker.view(0).retry_at.expect("open")
}

fn changes_nothing(breaker: &Breaker, now: Nanos, act: impl FnOnce()) {
    let before = (breaker.view(now), breaker.peek(now));
    act();
    assert_eq!((breaker.view(now), breaker.peek(now)), before);
}

fn late_results_change_nothing(breaker: &Breaker, late: &[Ticket], now: Nanos) {
    for ticket in late {
        for outcome in OUTCOMES {
            changes_nothing(breaker, now, || assert_eq!(breaker.settle(*ticket, outcome, None, now), None));
        }
    }
}
