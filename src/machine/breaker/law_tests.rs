//! The laws as far as one breaker can keep them, by example.

use super::*;
use crate::machine::window::Totals;
use std::{collections::HashSet, sync::Barrier, thread};

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
    breaker.settle(call(breaker, now), Outcome::Neutral, Some(wait), now)
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

#[test]
fn law_01_late_results_of_earlier_generations_change_nothing() {
    let breaker = closed(config().probes(2));
    let mut late = vec![call(&breaker, 0)];
    trip(&breaker, 0);
    late_results_change_nothing(&breaker, &late, SECOND);

    late.push(last_resort(&breaker, SECOND).expect("not in cooldown"));
    let [first, second] = [call(&breaker, WAIT), call(&breaker, WAIT)];
    late_results_change_nothing(&breaker, &late, WAIT);

    late.push(second);
    assert_eq!(settle(&breaker, first, GOOD, WAIT), None);
    assert_eq!(run(&breaker, BAD, WAIT), Some(State::Open));
    late_results_change_nothing(&breaker, &late, WAIT);

    close(&breaker, 3 * WAIT);
    late_results_change_nothing(&breaker, &late, 3 * WAIT);
    run(&breaker, BAD, 3 * WAIT);
    late_results_change_nothing(&breaker, &late, 3 * WAIT);
}

#[test]
fn law_01_a_late_success_neither_ends_a_later_run_nor_enters_a_later_window() {
    let breaker = closed(config());
    let late = call(&breaker, 0);
    trip(&breaker, 0);
    close(&breaker, WAIT);
    run(&breaker, BAD, WAIT);
    run(&breaker, BAD, WAIT);
    settle(&breaker, late, GOOD, WAIT);
    assert_eq!(window(&breaker, WAIT), Totals { successes: 0, failures: 2 });
    assert_eq!(run(&breaker, BAD, WAIT), Some(State::Open));
}

#[test]
fn law_01_late_failures_never_open_again() {
    let breaker = closed(config());
    let late = [(); 10].map(|()| call(&breaker, 0));
    trip(&breaker, 0);
    close(&breaker, WAIT);
    late_results_change_nothing(&breaker, &late, WAIT);
    assert_eq!(state(&breaker), State::Closed);
}

#[test]
fn law_01_what_earlier_generations_counted_never_comes_back() {
    let breaker = closed(config());
    run(&breaker, BAD, 0);
    run(&breaker, GOOD, 0);
    for _ in 0..1_000 {
        breaker.command(Command::Reset, 0);
        assert_eq!(window(&breaker, 0), Totals::default());
    }
}

#[test]
fn law_01_what_earlier_generations_counted_never_stands_in_the_way() {
    let breaker = closed(config());
    run(&breaker, GOOD, 0);
    for _ in 0..1_000 {
        breaker.command(Command::Reset, 0);
        run(&breaker, BAD, 0);
        assert_eq!(window(&breaker, 0), Totals { successes: 0, failures: 1 });
    }
    run(&breaker, GOOD, 0);
    assert_eq!(window(&breaker, 0), Totals { successes: 1, failures: 1 });
}

#[test]
fn law_01_a_late_success_is_late_after_any_number_of_generations() {
    let breaker = closed(config());
    let late = call(&breaker, 0);
    for _ in 0..1_000 {
        breaker.command(Command::Reset, 0);
        changes_nothing(&breaker, 0, || assert_eq!(settle(&breaker, late, GOOD, 0), None));
    }
}

#[test]
fn law_02_a_neutral_result_is_none() {
    let breaker = closed(config());
    run(&breaker, BAD, 0);
    run(&breaker, BAD, 0);
    changes_nothing(&breaker, 0, || assert_eq!(run(&breaker, Outcome::Neutral, 0), None));
    assert_eq!(run(&breaker, BAD, 0), Some(State::Open));
}

#[test]
fn law_02_a_neutral_probe_frees_its_place_at_once_and_decides_nothing() {
    let (breaker, probe) = half_open(config());
    assert!(admit(&breaker, WAIT).is_err());
    assert_eq!(settle(&breaker, probe, Outcome::Neutral, WAIT), None);
    assert_eq!(breaker.view(WAIT).probes, 0);
    close(&breaker, WAIT);
}

#[test]
fn law_03_half_open_admits_at_most_n_probes() {
    let breaker = open(config().probes(3));
    let probes = [(); 3].map(|()| call(&breaker, WAIT));
    let taken = Refusal::ProbesTaken { retry_at: WAIT + nanos(LEASE) };
    assert_eq!([admit(&breaker, WAIT), admit(&breaker, WAIT + 1)], [Err(taken), Err(taken)]);
    assert_eq!(breaker.peek(WAIT), Err(taken));

    settle(&breaker, probes[1], GOOD, WAIT);
    assert_eq!(breaker.peek(WAIT), Ok(()));
    call(&breaker, WAIT);
    assert_eq!(admit(&breaker, WAIT), Err(taken));
}

#[test]
fn law_03_half_open_admits_at_most_n_probes_however_many_threads_race() {
    for _ in 0..50 {
        let breaker = open(config().probes(3));
        let barrier = Barrier::new(8);
        let admitted: Vec<_> = thread::scope(|scope| {
            let race = || {
                barrier.wait();
                [(); 4].map(|()| breaker.admit(WAIT, LEASE)).into_iter().filter_map(Result::ok).collect::<Vec<_>>()
            };
            let racers: Vec<_> = (0..8).map(|_| scope.spawn(race)).collect();
            racers.into_iter().flat_map(|racer| racer.join().expect("no panic")).collect()
        });
        assert_eq!(admitted.len(), 3);
        assert_eq!(admitted.iter().filter(|(_, transition)| transition.is_some()).count(), 1);
        assert!(admitted.iter().all(|(ticket, _)| matches!(ticket, Ticket::Probe { .. })));
    }
}

#[test]
fn law_03_a_lease_that_has_elapsed_exactly_gives_the_place_to_the_next() {
    let (breaker, late) = half_open(config());
    let ends = WAIT + nanos(LEASE);
    assert_eq!(admit(&breaker, ends - 1), Err(Refusal::ProbesTaken { retry_at: ends }));
    assert_eq!(breaker.peek(ends), Ok(()));
    let next = call(&breaker, ends);
    late_results_change_nothing(&breaker, &[late], ends);
    assert_eq!(breaker.settle(late, BAD, Some(secs(60)), ends), None);
    assert_eq!(settle(&breaker, next, GOOD, ends), None);
    assert_eq!(run(&breaker, GOOD, ends), Some(State::Closed));
}

#[test]
fn law_03_a_probe_that_timed_out_is_heard_while_nobody_has_taken_its_place() {
    let (breaker, probe) = half_open(config());
    assert_eq!(settle(&breaker, probe, BAD, WAIT + nanos(LEASE)), Some(State::Open));
}

#[test]
fn law_05_a_refusal_is_no_outcome() {
    let [_, open, half_open, forced_open, _] = one_in_each_state();
    for breaker in [open, half_open, forced_open] {
        let now = breaker.view(0).since;
        for _ in 0..100 {
            changes_nothing(&breaker, now, || assert!(admit(&breaker, now).is_err()));
        }
    }
}

#[test]
fn law_05_stragglers_never_extend_reopen_or_announce_again() {
    let breaker = closed(config());
    let stragglers = [(); 20].map(|()| call(&breaker, 0));
    trip(&breaker, 0);
    late_results_change_nothing(&breaker, &stragglers, WAIT - 1);
    assert_eq!(breaker.settle(stragglers[0], BAD, Some(secs(600)), WAIT - 1), None);
    assert_eq!(retry_at(&breaker), WAIT);
    assert_eq!(breaker.view(WAIT).openings, 1);
}

#[test]
fn law_06_a_run_of_exactly_enough_failures_over_exactly_long_enough_trips() {
    let rule = Trip::consecutive(3, secs(1));
    for (last, expected) in [(SECOND - 1, None), (SECOND, Some(State::Open))] {
        let breaker = tripping_on(rule.clone());
        run(&breaker, BAD, 0);
        assert_eq!(run(&breaker, BAD, last), None);
        assert_eq!(run(&breaker, BAD, last), expected);
    }
}

#[test]
fn law_06_a_run_spans_from_its_own_first_failure() {
    let breaker = tripping_on(Trip::consecutive(2, secs(30)));
    run(&breaker, BAD, 0);
    run(&breaker, GOOD, SECOND);
    run(&breaker, BAD, at_secs(2));
    assert_eq!(run(&breaker, BAD, at_secs(32) - 1), None);
    assert_eq!(run(&breaker, BAD, at_secs(32)), Some(State::Open));
}

#[test]
fn law_06_a_rate_is_an_exact_quotient_and_enough_when_reached() {
    let opens_at = |rate: f64, failures: u32, calls: u32| {
        let breaker = tripping_on(Trip::failure_rate(rate, calls, secs(60)));
        for call in 1..calls {
            assert_eq!(run(&breaker, if call < failures { BAD } else { GOOD }, 0), None);
        }
        run(&breaker, BAD, 0).is_some()
    };
    for (rate, failures, calls) in [(0.3, 3, 10), (0.7, 7, 10), (1.0 / 3.0, 1, 3), (0.29, 29, 100), (1.0, 4, 4)] {
        assert!(opens_at(rate, failures, calls), "{failures} of {calls} are {rate}");
    }
    assert!(!opens_at(0.3, 299, 1_000));
    assert!(!opens_at(0.5, 49, 99));
}

#[test]
fn law_06_a_rate_asks_for_its_minimum_of_calls_and_no_more() {
    let breaker = tripping_on(Trip::failure_rate(0.5, 4, secs(60)));
    for _ in 0..3 {
        assert_eq!(run(&breaker, BAD, 0), None);
    }
    let cause = breaker.settle(call(&breaker, 0), BAD, None, 0).expect("a transition").cause;
    assert_eq!(cause, Cause::FailureRate { failures: 4, calls: 4 });
}

#[test]
fn law_06_a_wait_that_has_elapsed_exactly_has_elapsed() {
    let breaker = open(config());
    let refusal = Refusal::Open { retry_at: WAIT };
    assert_eq!((breaker.peek(WAIT - 1), admit(&breaker, WAIT - 1)), (Err(refusal), Err(refusal)));
    assert_eq!(breaker.peek(WAIT), Ok(()));
    let (_, transition) = breaker.admit(WAIT, LEASE).expect("admitted");
    let expected = Transition { from: State::Open, to: State::HalfOpen, cause: Cause::WaitElapsed, retry_at: None };
    assert_eq!(transition, Some(expected));

    let breaker = closed(config());
    let until = limit(&breaker, secs(60), 0).and_then(|transition| transition.retry_at).expect("for a time");
    assert_eq!(admit(&breaker, until - 1), Err(Refusal::Cooldown { retry_at: until }));
    call(&breaker, until);
}

#[test]
fn law_08_commands_do_what_they_say_in_every_state() {
    use State::{Closed, Disabled, ForcedOpen, HalfOpen, Open};
    let table = [
        (Command::ForceOpen, [ForcedOpen; 5], false),
        (Command::Disable, [Disabled; 5], false),
        (Command::Shadow, [Closed, Open, HalfOpen, Closed, Closed], true),
        (Command::Reset, [Closed; 5], false),
    ];
    for (command, ends, shadow) in table {
        for (breaker, to) in one_in_each_state().into_iter().zip(ends) {
            let from = state(&breaker);
            let changed = Transition { from, to, cause: Cause::Command(command), retry_at: None };
            assert_eq!(breaker.command(command, WAIT), (from != to).then_some(changed), "{command} while {from}");
            let view = breaker.view(WAIT);
            assert_eq!((view.state, view.shadow), (to, shadow), "{command} while {from}");
        }
    }
}

#[test]
fn law_08_forced_states_end_by_command_only() {
    for command in [Command::ForceOpen, Command::Disable] {
        let breaker = closed(config());
        let tickets = [(); 5].map(|()| call(&breaker, 0));
        let to = breaker.command(command, 0).expect("a transition").to;
        for now in [0, at_secs(10), at_secs(1_000_000)] {
            late_results_change_nothing(&breaker, &tickets, now);
            changes_nothing(&breaker, now, || {
                assert_eq!(breaker.settle(tickets[0], BAD, Some(secs(60)), now), None);
                assert_eq!(breaker.hasten(now), None);
                assert_eq!(breaker.cool_down(secs(60), now), None);
                let expected = if to == State::Disabled { Ok(Ticket::Uncounted) } else { Err(Refusal::ForcedOpen) };
                assert_eq!([admit(&breaker, now), last_resort(&breaker, now)], [expected; 2]);
            });
        }
        assert_eq!(breaker.command(Command::Reset, 0).map(|transition| transition.to), Some(State::Closed));
        assert_eq!(run(&breaker, GOOD, 0), None);
    }
}

#[test]
fn law_08_a_disabled_breaker_counts_nothing() {
    let breaker = closed(config());
    breaker.command(Command::Disable, 0);
    changes_nothing(&breaker, 0, || {
        for _ in 0..100 {
            assert_eq!(run(&breaker, BAD, 0), None);
        }
        assert_eq!(limit(&breaker, secs(60), 0), None);
    });
}

#[test]
fn law_08_reset_while_closed_clears_the_counts() {
    let breaker = closed(config());
    let late = call(&breaker, 0);
    run(&breaker, GOOD, 0);
    run(&breaker, BAD, 0);
    run(&breaker, BAD, 0);
    assert_eq!(breaker.command(Command::Reset, 0), None);
    assert_eq!(breaker.view(0).consecutive_failures, 0);
    assert_eq!(window(&breaker, 0), Totals::default());
    late_results_change_nothing(&breaker, &[late], 0);
    trip(&breaker, 0);
}

#[test]
fn law_08_reset_forgets_waits_cooldowns_and_how_often_it_opened() {
    let breaker = closed(config());
    assert_eq!(trip(&breaker, 0), WAIT);
    breaker.cool_down(secs(600), 0);
    breaker.command(Command::Reset, 0);
    assert_eq!(trip(&breaker, 0), WAIT);
    assert_eq!(admit(&breaker, 0), Err(Refusal::Open { retry_at: WAIT }));
}

#[test]
fn law_08_a_shadow_refuses_nothing_and_measures_all_the_same() {
    let breaker = shadow_of(closed(config()));
    trip(&breaker, 0);
    assert_eq!((breaker.peek(0), admit(&breaker, 0)), (Ok(()), Ok(Ticket::Uncounted)));
    assert!(matches!(call(&breaker, WAIT), Ticket::Probe { .. }));
    assert_eq!((breaker.peek(WAIT), admit(&breaker, WAIT)), (Ok(()), Ok(Ticket::Uncounted)));
    let view = breaker.view(WAIT);
    assert_eq!((view.state, view.shadowed, view.probes), (State::HalfOpen, 2, 1));
    changes_nothing(&breaker, WAIT, || assert_eq!(settle(&breaker, Ticket::Uncounted, BAD, WAIT), None));

    breaker.command(Command::Reset, WAIT);
    trip(&breaker, WAIT);
    assert!(admit(&breaker, WAIT).is_err());
}

#[test]
fn law_08_a_shadow_lets_calls_through_a_cooldown() {
    let breaker = shadow_of(closed(config()));
    limit(&breaker, secs(60), 0);
    assert_eq!((breaker.peek(0), admit(&breaker, 0)), (Ok(()), Ok(Ticket::Uncounted)));
}

#[test]
fn law_10_rates_are_judged_when_a_failure_is_recorded_and_never_on_a_success() {
    let breaker = tripping_on(Trip::failure_rate(0.5, 4, secs(60)));
    let outcomes = [BAD, BAD, GOOD, GOOD].map(|outcome| run(&breaker, outcome, 0));
    assert_eq!(outcomes, [None; 4]);
    assert_eq!(run(&breaker, BAD, 0), Some(State::Open));
}

#[test]
fn law_10_failures_leave_the_window_in_time() {
    let breaker = tripping_on(Trip::failure_rate(0.5, 4, secs(60)));
    for _ in 0..3 {
        run(&breaker, BAD, 0);
    }
    assert_eq!(run(&breaker, BAD, at_secs(60)), None);
    assert_eq!(window(&breaker, at_secs(60)), Totals { successes: 0, failures: 1 });
}

#[test]
fn law_10_a_million_successes_buy_no_further_failure() {
    let breaker = closed(config());
    for _ in 0..1_000_000 {
        settle(&breaker, Ticket::Counted { generation: 0 }, GOOD, 0);
    }
    assert_eq!(window(&breaker, 0), Totals { successes: 1_000_000, failures: 0 });
    trip(&breaker, 0);
}

#[test]
fn law_17_a_longer_cooldown_wins_and_a_shorter_one_never_cuts_it() {
    let breaker = closed(config());
    let stragglers = [(); 2].map(|()| call(&breaker, 0));
    let first = limit(&breaker, secs(60), 0).expect("a transition");
    assert_eq!((first.from, first.to, first.cause), (State::Closed, State::Open, Cause::Cooldown));

    changes_nothing(&breaker, 0, || {
        assert_eq!(breaker.settle(stragglers[0], Outcome::Neutral, Some(secs(1)), 0), None);
        assert_eq!(breaker.cool_down(secs(1), 0), None);
    });
    assert_eq!(Some(retry_at(&breaker)), first.retry_at);

    assert_eq!(breaker.settle(stragglers[1], Outcome::Neutral, Some(secs(120)), 0), None);
    assert!(retry_at(&breaker) >= at_secs(120));
    assert_eq!(breaker.cool_down(secs(240), 0), None);
    assert!(retry_at(&breaker) >= at_secs(240));
}

#[test]
fn law_17_a_late_limit_lengthens_a_cooldown_in_force_and_does_nothing_else() {
    let breaker = closed(config());
    let late = [(); 2].map(|()| call(&breaker, 0));
    let ends = limit(&breaker, secs(10), 0).and_then(|transition| transition.retry_at).expect("for a time");
    let before = breaker.view(0);
    assert_eq!(breaker.settle(late[0], BAD, Some(secs(60)), 0), None);
    let after = breaker.view(0);
    assert!(after.cooldown_until > before.cooldown_until);
    assert_eq!(View { retry_at: before.retry_at, cooldown_until: before.cooldown_until, ..after }, before);

    let breaker = closed(config());
    let late = [call(&breaker, 0), call(&breaker, 0)];
    limit(&breaker, secs(10), 0);
    changes_nothing(&breaker, ends, || assert_eq!(breaker.settle(late[0], BAD, Some(secs(60)), ends), None));
    run(&breaker, GOOD, ends);
    assert_eq!(state(&breaker), State::Closed);
    changes_nothing(&breaker, ends, || assert_eq!(breaker.settle(late[1], BAD, Some(secs(60)), ends), None));
}

#[test]
fn law_17_the_end_is_jittered_by_at_most_a_tenth_and_never_earlier() {
    let ends: HashSet<Nanos> = (0..1_000)
        .map(|seed| {
            let breaker = Breaker::new(config(), 1, 1, seed);
            breaker.cool_down(secs(100), SECOND).and_then(|transition| transition.retry_at).expect("for a time")
        })
        .collect();
    let waits = || ends.iter().map(|end| end - SECOND);
    assert!(ends.len() > 990);
    assert!(waits().all(|wait| (at_secs(100)..=at_secs(110)).contains(&wait)));
    assert!(waits().any(|wait| wait < at_secs(101)) && waits().any(|wait| wait > at_secs(109)));
}

#[test]
fn law_17_a_cooldown_admits_one_probe_first_and_one_good_probe_closes() {
    let breaker = closed(config());
    let ends = limit(&breaker, secs(10), 0).and_then(|transition| transition.retry_at).expect("for a time");
    let probe = call(&breaker, ends);
    assert!(matches!(admit(&breaker, ends), Err(Refusal::ProbesTaken { .. })));
    assert_eq!(settle(&breaker, probe, GOOD, ends), Some(State::Closed));
    assert_eq!(breaker.view(ends).openings, 0);
}

#[test]
fn law_17_one_probe_goes_first_however_many_are_allowed() {
    let breaker = closed(config().probes(3).close_after(3, 3));
    (0..3).for_each(|_| _ = run(&breaker, BAD, 0));
    breaker.cool_down(secs(20), 0);
    let first = call(&breaker, at_secs(22));
    assert!(matches!(admit(&breaker, at_secs(22)), Err(Refusal::ProbesTaken { .. })));
    assert!(breaker.peek(at_secs(22)).is_err());
    assert_eq!(settle(&breaker, first, GOOD, at_secs(22)), None);
    for _ in 0..3 {
        breaker.peek(at_secs(22)).expect("a place");
        call(&breaker, at_secs(22));
    }
    assert!(admit(&breaker, at_secs(22)).is_err());
}

#[test]
fn law_17_a_cooldown_within_an_outage_asks_for_as_many_good_probes_as_the_outage() {
    let (breaker, probe) = half_open(config());
    let ends = breaker.settle(probe, Outcome::Neutral, Some(secs(10)), WAIT).and_then(|opened| opened.retry_at);
    close(&breaker, ends.expect("for a time"));
}

#[test]
fn law_17_a_limited_probe_has_failed_whatever_else_it_brought() {
    for outcome in OUTCOMES {
        let (breaker, probe) = half_open(config().close_after(1, 1));
        let transition = breaker.settle(probe, outcome, Some(secs(100)), WAIT).expect("a transition");
        assert_eq!((transition.from, transition.to), (State::HalfOpen, State::Open), "{outcome:?}");
        assert_eq!(transition.retry_at, Some(retry_at(&breaker)));
        assert!(retry_at(&breaker) >= WAIT + at_secs(100));
    }
}

#[test]
fn law_17_a_limited_last_resort_stays_open_and_announces_nothing() {
    for outcome in OUTCOMES {
        let breaker = open(config().close_after(1, 1));
        let ticket = last_resort(&breaker, 0).expect("not in cooldown");
        assert_eq!(breaker.settle(ticket, outcome, Some(secs(100)), 0), None, "{outcome:?}");
        assert!(matches!(admit(&breaker, WAIT), Err(Refusal::Cooldown { .. })), "{outcome:?}");
    }
}

#[test]
fn law_17_what_trips_and_is_limited_at_once_waits_for_both() {
    let breaker = closed(config());
    run(&breaker, BAD, 0);
    run(&breaker, BAD, 0);
    let transition = breaker.settle(call(&breaker, 0), BAD, Some(secs(100)), 0).expect("a transition");
    assert_eq!((transition.from, transition.to), (State::Closed, State::Open));
    assert!(matches!(transition.cause, Cause::Consecutive { failures: 3, .. }));
    assert_eq!(transition.retry_at, breaker.view(0).cooldown_until);
}

/// What three failures with such evidence do to a breaker that guards so many.
fn three_failures(members: usize, evidence: [Evidence; 3]) -> Option<State> {
    let breaker = Breaker::new(config(), members, 1, 7);
    evidence.map(|evidence| run(&breaker, Outcome::Failure(evidence), 0))[2]
}

#[test]
fn law_21_one_of_several_members_never_trips() {
    use Evidence::{Blame, Member};
    assert_eq!(three_failures(2, [Member(1); 3]), None);
    assert_eq!(three_failures(2, [Member(1), Member(0), Member(1)]), Some(State::Open));
    assert_eq!(three_failures(9, [Member(3), Member(3), Member(8)]), Some(State::Open));
    assert_eq!(three_failures(2, [Blame, Member(1), Member(1)]), Some(State::Open));
    assert_eq!(three_failures(2, [Member(1), Member(1), Blame]), Some(State::Open));
    assert_eq!(three_failures(1, [Member(0); 3]), Some(State::Open));
}

#[test]
fn law_21_evidence_does_not_outlive_the_run() {
    for first in [Evidence::Blame, Evidence::Member(0)] {
        let breaker = Breaker::new(config(), 2, 1, 7);
        run(&breaker, Outcome::Failure(first), 0);
        run(&breaker, GOOD, 0);
        for _ in 0..10 {
            assert_eq!(run(&breaker, Outcome::Failure(Evidence::Member(1)), 0), None);
        }
        assert_eq!(run(&breaker, BAD, 0), Some(State::Open));
    }
}

#[test]
fn law_22_a_last_resort_goes_through_the_open_wait_only() {
    let breaker = open(config());
    assert!(matches!(last_resort(&breaker, 0), Ok(Ticket::LastResort { .. })));
    assert!(matches!(last_resort(&breaker, WAIT), Ok(Ticket::Probe { .. })));
    assert!(matches!(last_resort(&breaker, WAIT), Err(Refusal::ProbesTaken { .. })));

    let breaker = open(config());
    breaker.cool_down(secs(5), 0);
    assert!(matches!(last_resort(&breaker, 0), Err(Refusal::Cooldown { .. })));
    assert!(matches!(last_resort(&breaker, at_secs(6)), Ok(Ticket::LastResort { .. })));

    breaker.command(Command::ForceOpen, 0);
    assert_eq!(last_resort(&breaker, 0), Err(Refusal::ForcedOpen));
    assert!(matches!(last_resort(&closed(config()), 0), Ok(Ticket::Counted { .. })));
}

#[test]
fn law_22_only_the_success_of_a_last_resort_says_anything() {
    let breaker = open(config());
    let ticket = last_resort(&breaker, 0).expect("not in cooldown");
    for outcome in [BAD, Outcome::Neutral] {
        changes_nothing(&breaker, 0, || assert_eq!(settle(&breaker, ticket, outcome, 0), None));
    }
    assert_eq!(settle(&breaker, ticket, GOOD, 0), Some(State::HalfOpen));
    assert_eq!(run(&breaker, GOOD, 0), Some(State::Closed));

    let breaker = open(config().close_after(1, 1));
    let ticket = last_resort(&breaker, 0).expect("not in cooldown");
    assert_eq!(settle(&breaker, ticket, GOOD, 0), Some(State::Closed));
}

#[test]
fn law_22_the_success_of_a_last_resort_ends_no_cooldown() {
    let breaker = open(config());
    let ticket = last_resort(&breaker, 0).expect("not in cooldown");
    breaker.cool_down(secs(5), 0);
    changes_nothing(&breaker, 0, || assert_eq!(settle(&breaker, ticket, GOOD, 0), None));
}

#[test]
fn law_22_a_recovered_provider_makes_open_half_open_and_keeps_a_cooldown() {
    let breaker = open(config());
    let expected =
        Transition { from: State::Open, to: State::HalfOpen, cause: Cause::ProviderRecovered, retry_at: None };
    assert_eq!(breaker.hasten(SECOND), Some(expected));
    assert_eq!(breaker.hasten(SECOND), None);
    close(&breaker, SECOND);
    changes_nothing(&breaker, SECOND, || assert_eq!(breaker.hasten(SECOND), None));

    let breaker = open(config());
    breaker.cool_down(secs(5), 0);
    let ends = breaker.view(0).cooldown_until.expect("in cooldown");
    assert_eq!(breaker.hasten(0), None);
    assert_eq!(admit(&breaker, ends - 1), Err(Refusal::Cooldown { retry_at: ends }));
    assert!(matches!(call(&breaker, ends), Ticket::Probe { .. }));
}

#[test]
fn so_many_good_probes_of_so_many_close_and_out_of_reach_opens() {
    for (outcomes, expected) in [
        ([GOOD, BAD, GOOD], [None, None, Some(State::Closed)]),
        ([BAD, GOOD, GOOD], [None, None, Some(State::Closed)]),
        ([GOOD, BAD, BAD], [None, None, Some(State::Open)]),
    ] {
        let breaker = open(config().close_after(2, 3));
        assert_eq!(outcomes.map(|outcome| run(&breaker, outcome, WAIT)), expected);
    }
}

#[test]
fn each_opening_doubles_the_wait_up_to_the_longest() {
    let breaker = closed(config());
    let mut now = trip(&breaker, 0);
    let waits = [20, 40, 80, 160, 300, 300].map(|_| {
        assert_eq!(run(&breaker, BAD, now), Some(State::Open));
        let wait = retry_at(&breaker) - now;
        now += wait;
        wait / SECOND
    });
    assert_eq!(waits, [20, 40, 80, 160, 300, 300]);
}

#[test]
fn the_wait_doubles_from_any_first_to_any_longest() {
    for (first, longest) in [(1, 1), (7, 7), (3, 100), (1, 1 << 40), (1, u64::MAX), (u64::MAX, u64::MAX)] {
        let breaker = open(config().open_wait(Duration::from_nanos(first), Duration::from_nanos(longest)));
        let (mut now, mut wait) = (retry_at(&breaker), first);
        assert_eq!(now, first);
        for _ in 0..80 {
            assert_eq!(run(&breaker, BAD, now), Some(State::Open));
            wait = wait.saturating_mul(2).min(longest);
            assert_eq!(retry_at(&breaker), now.saturating_add(wait));
            now = retry_at(&breaker);
        }
    }
}

/// The wait of a trip `healthy` after a close that followed two openings.
fn wait_after(healthy: Nanos) -> u64 {
    let breaker = open(config());
    assert_eq!(run(&breaker, BAD, WAIT), Some(State::Open));
    let closed_at = retry_at(&breaker);
    close(&breaker, closed_at);
    (trip(&breaker, closed_at + healthy) - closed_at - healthy) / SECOND
}

#[test]
fn each_healthy_minute_takes_back_one_doubling_and_the_first_close_none() {
    let waits = [0, at_secs(60) - 1, at_secs(60), at_secs(120) - 1, at_secs(120), at_secs(100_000)].map(wait_after);
    assert_eq!(waits, [40, 40, 20, 20, 10, 10]);
}

#[test]
fn healthy_minutes_count_whatever_ends_them() {
    let ends: [fn(&Breaker, Nanos); 3] = [
        |breaker, now| {
            let ends = limit(breaker, Duration::from_millis(100), now).and_then(|opened| opened.retry_at);
            run(breaker, GOOD, ends.expect("for a time"));
        },
        |breaker, now| {
            let ends = breaker.cool_down(Duration::from_millis(100), now).and_then(|opened| opened.retry_at);
            run(breaker, GOOD, ends.expect("for a time"));
        },
        |breaker, now| {
            breaker.command(Command::Disable, now);
            breaker.command(Command::Shadow, now);
        },
    ];
    for end in ends {
        let (breaker, probe) = half_open(config());
        settle(&breaker, probe, GOOD, WAIT);
        run(&breaker, GOOD, WAIT);
        end(&breaker, WAIT + at_secs(60));
        assert_eq!(state(&breaker), State::Closed);
        let now = WAIT + at_secs(62);
        assert_eq!(trip(&breaker, now) - now, WAIT);
    }
}

#[test]
fn an_open_wait_is_jittered_evenly_between_its_half_and_its_whole() {
    let waits: Vec<Nanos> = (0..2_000)
        .map(|seed| {
            let breaker = Breaker::new(config().jitter(BreakerConfig::JITTER), 1, 1, seed);
            trip(&breaker, SECOND) - SECOND
        })
        .collect();
    assert!(waits.iter().all(|wait| (WAIT / 2..=WAIT).contains(wait)));
    let shares = [0, 1, 2, 3, 4].map(|fifth| {
        let from = WAIT / 2 + fifth * SECOND;
        waits.iter().filter(|wait| (from..from + SECOND).contains(wait)).count()
    });
    assert!(shares.iter().all(|count| (320..480).contains(count)), "{shares:?}");
}
