//! Law 1: late results of earlier generations.

use super::*;

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
