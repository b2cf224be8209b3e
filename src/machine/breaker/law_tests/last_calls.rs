//! Laws 1, 6 and 10 of the rule on the last so many calls.

use super::*;

fn of_last(rate: f64, calls: u32) -> Breaker {
    tripping_on(Trip::failure_rate_of_last(rate, calls))
}

fn run_all(breaker: &Breaker, outcomes: &[Outcome]) -> Vec<Option<State>> {
    outcomes.iter().map(|outcome| run(breaker, *outcome, 0)).collect()
}

#[test]
fn law_10_after_100_000_good_calls_it_opens_with_rate_times_n_bad_ones() {
    for (rate, calls, bad) in [(0.5, 100, 50), (0.25, 8, 2), (1.0, 10, 10), (0.3, 10, 3), (0.001, 1_000, 1)] {
        let breaker = of_last(rate, calls);
        for _ in 0..100_000 {
            assert_eq!(run(&breaker, GOOD, 0), None);
        }
        for _ in 1..bad {
            assert_eq!(run(&breaker, BAD, 0), None);
        }
        let cause = breaker.settle(call(&breaker, 0), BAD, None, 0).expect("a transition").cause;
        assert_eq!(cause, Cause::FailureRate { failures: bad, calls: calls.into() });
    }
}

#[test]
fn law_10_however_long_ago_the_last_calls_were() {
    let breaker = of_last(0.5, 4);
    for step in 0..3 {
        assert_eq!(run(&breaker, if step == 0 { BAD } else { GOOD }, step * at_secs(1_000_000)), None);
    }
    assert_eq!(run(&breaker, BAD, at_secs(4_000_000)), Some(State::Open));
}

#[test]
fn law_10_what_is_older_than_the_last_n_is_gone() {
    let breaker = of_last(0.5, 4);
    assert_eq!(run_all(&breaker, &[BAD, GOOD, GOOD, GOOD, BAD, GOOD]), [None; 6]);
    assert_eq!(window(&breaker, 0), Totals { successes: 3, failures: 1 });
    assert_eq!(run_all(&breaker, &[GOOD, GOOD, BAD]), [None; 3]);
    assert_eq!(run(&breaker, BAD, 0), Some(State::Open));
}

#[test]
fn law_10_the_last_calls_are_judged_when_a_failure_is_recorded_and_never_on_a_success() {
    let breaker = of_last(0.5, 4);
    assert_eq!(run_all(&breaker, &[BAD, BAD, GOOD, GOOD, GOOD]), [None; 5]);
    assert_eq!(window(&breaker, 0), Totals { successes: 3, failures: 1 });
    assert_eq!(run(&breaker, BAD, 0), None);
    assert_eq!(run(&breaker, BAD, 0), Some(State::Open));
}

#[test]
fn law_06_the_last_calls_are_judged_once_there_are_so_many_and_no_more() {
    let breaker = of_last(0.5, 4);
    assert_eq!(run_all(&breaker, &[BAD, BAD, BAD, BAD]), [None, None, None, Some(State::Open)]);
    let breaker = tripping_on(Trip::failure_rate_of_last(0.5, 4).minimum_calls(2));
    assert_eq!(run_all(&breaker, &[BAD, BAD]), [None, Some(State::Open)]);
    let breaker = tripping_on(Trip::failure_rate_of_last(1.0, 1));
    assert_eq!(run_all(&breaker, &[GOOD, BAD]), [None, Some(State::Open)]);
}

#[test]
fn law_06_a_rate_of_the_last_calls_is_an_exact_quotient_and_enough_when_reached() {
    for (rate, failures, calls) in [(0.3, 3, 10), (0.7, 7, 10), (1.0 / 3.0, 2, 6), (0.29, 29, 100)] {
        for short in [0, 1] {
            let breaker = of_last(rate, calls);
            for call in 0..calls - 1 {
                assert_eq!(run(&breaker, if call < failures - 1 - short { BAD } else { GOOD }, 0), None);
            }
            assert_eq!(run(&breaker, BAD, 0).is_some(), short == 0, "{failures} of {calls} are {rate}");
        }
    }
}

#[test]
fn law_01_a_generation_begins_with_nothing_in_its_last_calls() {
    let breaker = of_last(0.5, 4);
    let late = [(); 4].map(|()| call(&breaker, 0));
    run_all(&breaker, &[BAD, BAD, BAD, BAD]);
    late_results_change_nothing(&breaker, &late, WAIT);
    close(&breaker, WAIT);
    late_results_change_nothing(&breaker, &late, WAIT);
    assert_eq!(window(&breaker, WAIT), Totals::default());
    assert_eq!([(); 3].map(|()| run(&breaker, BAD, WAIT)), [None; 3]);
    breaker.command(Command::Reset, WAIT);
    assert_eq!([(); 3].map(|()| run(&breaker, BAD, WAIT)), [None; 3]);
    assert_eq!(run(&breaker, BAD, WAIT), Some(State::Open));
}

#[test]
fn law_02_a_neutral_call_is_not_among_the_last() {
    let breaker = of_last(0.5, 2);
    assert_eq!(run_all(&breaker, &[BAD, Outcome::Neutral, Outcome::Neutral]), [None; 3]);
    assert_eq!(run(&breaker, BAD, 0), Some(State::Open));
}

#[test]
fn law_10_good_calls_of_many_threads_push_out_every_failure() {
    let breaker = tripping_on(Trip::failure_rate_of_last(1.0, 64));
    let good = || (0..20_000).for_each(|_| assert_eq!(run(&breaker, GOOD, 0), None));
    good();
    thread::scope(|scope| {
        scope.spawn(good);
        scope.spawn(good);
        // No more in a row than half of the window, whatever the others do.
        (0..2_000).for_each(|call| assert_eq!(run(&breaker, if call % 2 == 0 { BAD } else { GOOD }, 0), None));
    });
    (0..64).for_each(|_| _ = run(&breaker, GOOD, 0));
    assert_eq!(window(&breaker, 0), Totals { successes: 64, failures: 0 });
}
