//! Laws 5, 6 and 10: what counts, and from when.

use super::*;

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
    assert_eq!(breaker.settle(stragglers[0], BAD, Some(For(secs(600))), WAIT - 1), None);
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
