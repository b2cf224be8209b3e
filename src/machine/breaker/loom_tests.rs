//! The races, in every order that the memory model allows.

use super::*;
use crate::machine::window::Totals;
use loom::{sync::Arc, thread};
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(120);
const WAIT: Nanos = 10_000_000_000;
const GOOD: Outcome = Outcome::Success;
const BAD: Outcome = Outcome::Failure(Evidence::Blame);

/// So many failures in a row open it for 10 s; one good probe closes. Its window measures and never trips.
fn closed(failures: u32) -> Breaker {
    let window = Trip::FailureRate { rate: 1.0, minimum_calls: u32::MAX, window: Duration::from_secs(60), buckets: 1 };
    let config = BreakerConfig::default()
        .trip([Trip::consecutive(failures, Duration::ZERO), window])
        .jitter(0.0)
        .close_after(1, 1);
    Breaker::new(config, 1, 1, 7)
}

/// Open since 0 s, with probes from 10 s.
fn open() -> Breaker {
    let breaker = closed(1);
    assert!(run(&breaker, BAD, 0).is_some());
    breaker
}

fn call(breaker: &Breaker, now: Nanos) -> Ticket {
    breaker.admit(now, LEASE).expect("admitted").0
}

fn run(breaker: &Breaker, outcome: Outcome, now: Nanos) -> Option<Transition> {
    breaker.settle(call(breaker, now), outcome, None, now)
}

/// What both saw, once both are done.
fn race<A: 'static, B>(
    breaker: &Arc<Breaker>,
    one: impl FnOnce(&Breaker) -> A + Send + 'static,
    other: impl FnOnce(&Breaker) -> B,
) -> (A, B) {
    let shared = Arc::clone(breaker);
    let one = thread::spawn(move || one(&shared));
    let other = other(breaker);
    (one.join().expect("no panic"), other)
}

#[test]
fn loom_two_racers_for_the_single_probe() {
    loom::model(|| {
        let breaker = Arc::new(open());
        let admit = |breaker: &Breaker| breaker.admit(WAIT, LEASE);
        let (one, other) = race(&breaker, admit, admit);
        let (admitted, refused) = if one.is_ok() { (one, other) } else { (other, one) };
        assert!(matches!(admitted, Ok((Ticket::Probe { generation: 2, .. }, Some(_)))));
        assert_eq!(refused, Err(Refusal::ProbesTaken { retry_at: WAIT + nanos(LEASE) }));
    });
}

#[test]
fn loom_a_racer_who_comes_after_the_probe_has_failed_is_refused() {
    loom::model(|| {
        let breaker = Arc::new(open());
        let admit = |breaker: &Breaker| breaker.admit(WAIT, LEASE);
        let (late, failed) = race(&breaker, admit, |breaker| {
            let (probe, _) = breaker.admit(WAIT, LEASE).ok()?;
            breaker.settle(probe, BAD, None, WAIT)
        });
        assert!(late.is_ok() != failed.is_some());
        let expected = if failed.is_some() { State::Open } else { State::HalfOpen };
        assert_eq!(breaker.word().state, expected);
    });
}

#[test]
fn loom_two_failures_that_trip_together_announce_it_once() {
    loom::model(|| {
        let breaker = Arc::new(closed(2));
        let [first, second] = [call(&breaker, 0), call(&breaker, 0)];
        let fail = |ticket| move |breaker: &Breaker| breaker.settle(ticket, BAD, None, 0);
        let (one, other) = race(&breaker, fail(first), fail(second));
        assert!(one.is_some() != other.is_some());
        assert_eq!((breaker.word().generation, breaker.word().state), (1, State::Open));
    });
}

#[test]
fn loom_two_failures_beyond_what_trips_announce_it_once() {
    loom::model(|| {
        let breaker = Arc::new(closed(1));
        let [first, second] = [call(&breaker, 0), call(&breaker, 0)];
        let fail = |ticket| move |breaker: &Breaker| breaker.settle(ticket, BAD, None, 0);
        let (one, other) = race(&breaker, fail(first), fail(second));
        assert!(one.is_some() != other.is_some());
        let view = breaker.view(0);
        assert_eq!((breaker.word().generation, view.openings, view.retry_at), (1, 1, Some(WAIT)));
    });
}

#[test]
fn loom_a_late_success_counts_in_no_later_generation() {
    loom::model(|| {
        let breaker = Arc::new(closed(2));
        let late = call(&breaker, 0);
        run(&breaker, BAD, 0);
        let succeed = move |breaker: &Breaker| breaker.settle(late, GOOD, None, 0);
        let (told, tripped) = race(&breaker, succeed, |breaker| {
            let tripped = run(breaker, BAD, 0)?;
            assert_eq!(tripped.to, State::Open);
            assert_eq!(run(breaker, GOOD, WAIT).map(|closed| closed.to), Some(State::Closed));
            run(breaker, GOOD, WAIT);
            run(breaker, BAD, WAIT);
            Some(())
        });
        assert_eq!(told, None);
        let view = breaker.view(WAIT);
        assert_eq!(view.consecutive_failures, 1);
        let failures = if tripped.is_some() { 1 } else { 2 };
        assert_eq!(view.window, Some(Totals { successes: 1, failures }));
    });
}

#[test]
fn loom_a_success_racing_with_a_failure() {
    loom::model(|| {
        let breaker = Arc::new(closed(3));
        let [good, bad] = [call(&breaker, 0), call(&breaker, 0)];
        run(&breaker, BAD, 0);
        race(
            &breaker,
            move |breaker| breaker.settle(good, GOOD, None, 0),
            |breaker| assert_eq!(breaker.settle(bad, BAD, None, 1), None),
        );
        let view = breaker.view(1);
        assert!(view.consecutive_failures <= 1);
        assert_eq!(view.window, Some(Totals { successes: 1, failures: 2 }));
        assert_eq!(run(&breaker, BAD, 2), None);
        assert_eq!(breaker.view(2).consecutive_failures, view.consecutive_failures + 1);
    });
}

#[test]
fn loom_two_successes_are_both_counted() {
    loom::model(|| {
        let breaker = Arc::new(closed(3));
        run(&breaker, BAD, 0);
        let succeed = |breaker: &Breaker| run(breaker, GOOD, 0);
        race(&breaker, succeed, succeed);
        let view = breaker.view(0);
        assert_eq!((view.consecutive_failures, view.window), (0, Some(Totals { successes: 2, failures: 1 })));
    });
}

#[test]
fn loom_a_reset_racing_with_a_result_leaves_nothing_of_it() {
    for outcome in [GOOD, BAD] {
        loom::model(move || {
            let breaker = Arc::new(closed(2));
            let late = call(&breaker, 0);
            run(&breaker, BAD, 0);
            let settle = move |breaker: &Breaker| breaker.settle(late, outcome, None, 0);
            let (tripped, reset) = race(&breaker, settle, |breaker| breaker.command(Command::Reset, 0));
            assert_eq!(tripped.map(|tripped| tripped.to), reset.map(|reset| reset.from));
            let view = breaker.view(0);
            assert_eq!((view.state, view.consecutive_failures, view.openings), (State::Closed, 0, 0));
            assert_eq!(view.window, Some(Totals::default()));
        });
    }
}

#[test]
fn loom_a_good_last_resort_racing_with_a_recovered_provider_announces_once() {
    loom::model(|| {
        let breaker = open();
        let (ticket, _) = breaker.admit_last_resort(0, LEASE).expect("not in cooldown");
        let breaker = Arc::new(breaker);
        let succeed = move |breaker: &Breaker| breaker.settle(ticket, GOOD, None, 0);
        let (answered, hastened) = race(&breaker, succeed, |breaker| breaker.hasten(0));
        assert!(answered.is_some() != hastened.is_some());
        let expected = if answered.is_some() { State::Closed } else { State::HalfOpen };
        assert_eq!((breaker.word().generation, breaker.word().state), (2, expected));
    });
}

#[test]
fn loom_an_admission_racing_with_a_trip_is_counted_or_refused() {
    loom::model(|| {
        let breaker = Arc::new(closed(1));
        let bad = call(&breaker, 0);
        let admit = |breaker: &Breaker| {
            let refused = Err(Refusal::Open { retry_at: WAIT });
            let peeked = breaker.peek(0);
            assert!(peeked == Ok(()) || peeked == refused);
            let admitted = breaker.admit(0, LEASE).map(|(ticket, _)| ticket);
            match admitted {
                Ok(ticket) => assert_eq!((peeked, ticket), (Ok(()), Ticket::Counted { generation: 0 })),
                Err(refusal) => assert_eq!(Err(refusal), refused),
            }
            admitted
        };
        let (admitted, tripped) = race(&breaker, admit, move |breaker| breaker.settle(bad, BAD, None, 0));
        assert!(tripped.is_some());
        if let Ok(straggler) = admitted {
            assert_eq!(breaker.settle(straggler, BAD, None, 0), None);
        }
        assert_eq!(breaker.view(0).retry_at, Some(WAIT));
    });
}

#[test]
fn loom_a_limited_trip_is_seen_whole_or_not_at_all() {
    loom::model(|| {
        let breaker = Arc::new(closed(1));
        let limited = call(&breaker, 0);
        let admit = |breaker: &Breaker| breaker.admit_last_resort(0, LEASE);
        let (admitted, tripped) = race(&breaker, admit, move |breaker| {
            breaker.settle(limited, BAD, Some(Wait::For(Duration::from_secs(60))), 0)
        });
        let retry_at = tripped.and_then(|tripped| tripped.retry_at).expect("for a time");
        assert_eq!(breaker.view(0).retry_at, Some(retry_at));
        match admitted {
            Ok((ticket, _)) => assert_eq!(ticket, Ticket::Counted { generation: 0 }),
            Err(refusal) => assert_eq!(refusal, Refusal::Cooldown { retry_at }),
        }
    });
}

#[test]
fn loom_a_probe_at_the_end_of_its_lease_is_heard_or_replaced() {
    loom::model(|| {
        let breaker = open();
        let probe = call(&breaker, WAIT);
        let breaker = Arc::new(breaker);
        let ends = WAIT + nanos(LEASE);
        let settle = move |breaker: &Breaker| breaker.settle(probe, BAD, None, ends);
        let (heard, next) = race(&breaker, settle, move |breaker| breaker.admit(ends, LEASE));
        assert!(heard.is_some() != next.is_ok());
        let view = breaker.view(ends);
        let expected = if heard.is_some() { (State::Open, 0) } else { (State::HalfOpen, 1) };
        assert_eq!((view.state, view.probes), expected);
    });
}

#[test]
fn loom_a_command_is_never_seen_half_done() {
    loom::model(|| {
        let breaker = open();
        breaker.command(Command::Shadow, 0);
        let breaker = Arc::new(breaker);
        let call = |breaker: &Breaker| (breaker.peek(0), breaker.admit(0, LEASE).map(drop));
        let (called, _) = race(&breaker, call, |breaker| breaker.command(Command::Reset, 0));
        assert_eq!(called, (Ok(()), Ok(())));
    });
    loom::model(|| {
        let breaker = closed(1);
        breaker.command(Command::ForceOpen, 0);
        let breaker = Arc::new(breaker);
        let call = |breaker: &Breaker| (breaker.peek(0), breaker.admit(0, LEASE).map(drop));
        let (called, _) = race(&breaker, call, |breaker| breaker.command(Command::Shadow, 0));
        assert!(called.0.is_err() || called.1.is_ok());
    });
}

/// Two calls slower than 1 ns open it, and nothing else does. Its count of failures measures and never trips.
fn minds_slow_calls() -> Breaker {
    let slow = Trip::slow_call_rate(1.0, Duration::from_nanos(1), 2, Duration::from_secs(60)).buckets(1);
    let config = BreakerConfig::default().trip([slow, Trip::failure_rate_of_last(1.0, 3)]).jitter(0.0);
    Breaker::new(config.close_after_all(1), 1, 1, 7)
}

fn slow(breaker: &Breaker, ticket: Ticket) -> Option<Transition> {
    breaker.settle_timed(ticket, GOOD, None, 2, 0).transition
}

#[test]
fn loom_two_slow_successes_that_trip_together_announce_it_once() {
    loom::model(|| {
        let breaker = Arc::new(minds_slow_calls());
        let [first, second] = [call(&breaker, 0), call(&breaker, 0)];
        let settle = |ticket| move |breaker: &Breaker| slow(breaker, ticket);
        let (one, other) = race(&breaker, settle(first), settle(second));
        assert!(one.is_some() != other.is_some());
        let cause = Cause::SlowCallRate { slow: 2, calls: 2 };
        assert_eq!(one.or(other).map(|opened| (opened.to, opened.cause)), Some((State::Open, cause)));
        assert_eq!((breaker.word().generation, breaker.view(0).openings), (1, 1));
    });
}

#[test]
fn loom_a_reset_racing_with_a_slow_success_leaves_nothing_of_it() {
    loom::model(|| {
        let breaker = Arc::new(minds_slow_calls());
        let [first, late] = [call(&breaker, 0), call(&breaker, 0)];
        assert_eq!(slow(&breaker, first), None);
        let settle = move |breaker: &Breaker| slow(breaker, late);
        let (tripped, reset) = race(&breaker, settle, |breaker| breaker.command(Command::Reset, 0));
        assert_eq!(tripped.map(|tripped| tripped.to), reset.map(|reset| reset.from));
        let view = breaker.view(0);
        assert_eq!((view.state, view.openings), (State::Closed, 0));
        assert_eq!((view.window, view.slow_calls), (Some(Totals::default()), Some(Totals::default())));
    });
}

#[test]
fn loom_a_late_success_is_not_among_the_last_calls_of_a_later_generation() {
    loom::model(|| {
        let breaker = Arc::new(minds_slow_calls());
        let late = call(&breaker, 0);
        let settle = move |breaker: &Breaker| breaker.settle(late, GOOD, None, 0);
        let (_, ()) = race(&breaker, settle, |breaker| {
            breaker.command(Command::Reset, 0);
            run(breaker, BAD, 0);
            run(breaker, BAD, 0);
        });
        assert_eq!(breaker.view(0).window, Some(Totals { successes: 0, failures: 2 }));
        assert_eq!(run(&breaker, BAD, 0).map(|opened| opened.to), Some(State::Open));
    });
}

#[test]
fn loom_the_first_success_of_a_generation_is_counted() {
    loom::model(|| {
        let breaker = Arc::new(minds_slow_calls());
        let succeed = |breaker: &Breaker| {
            let ticket = call(breaker, 0);
            breaker.settle(ticket, GOOD, None, 0);
            ticket
        };
        let (ticket, _) = race(&breaker, succeed, |breaker| breaker.command(Command::Reset, 0));
        let successes = ticket.generation().unwrap_or(0);
        assert_eq!(breaker.view(0).window, Some(Totals { successes, failures: 0 }));
    });
}
