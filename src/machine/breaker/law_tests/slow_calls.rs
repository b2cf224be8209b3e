//! Laws 6 and 10 of calls that are slow, and what a slow probe is.

use super::*;

/// Longer than this is slow to [`slow_rule`].
const SLOWER_THAN: Nanos = SECOND;
const SLOW: Nanos = SLOWER_THAN + 1;

/// Half of four calls.
fn slow_rule() -> Trip {
    Trip::slow_call_rate(0.5, secs(1), 4, secs(60))
}

/// One whole call that took so long, and the state that it leads to if it changes it.
fn timed(breaker: &Breaker, outcome: Outcome, took: Nanos, now: Nanos) -> Option<State> {
    let ticket = call(breaker, now);
    breaker.settle_timed(ticket, outcome, None, took, now).transition.map(|transition| transition.to)
}

fn slow_calls(breaker: &Breaker, now: Nanos) -> (u64, u64) {
    let totals = breaker.view(now).slow_calls.expect("a rule on slow calls");
    (totals.failures, totals.calls())
}

/// Open since 0 s because of four slow calls.
fn opened_by_slow_calls(config: BreakerConfig) -> Breaker {
    let breaker = closed(config.trip([slow_rule(), Trip::consecutive(3, Duration::ZERO)]));
    let ends = [(); 4].map(|()| timed(&breaker, GOOD, SLOW, 0));
    assert_eq!(ends, [None, None, None, Some(State::Open)]);
    breaker
}

#[test]
fn law_06_slow_is_strictly_longer_than_its_threshold() {
    for (took, expected) in [(SLOWER_THAN, None), (SLOW, Some(State::Open))] {
        let breaker = tripping_on(slow_rule());
        for _ in 0..3 {
            timed(&breaker, GOOD, took, 0);
        }
        assert_eq!(timed(&breaker, GOOD, took, 0), expected);
    }
}

#[test]
fn law_06_a_share_of_slow_calls_is_an_exact_quotient_and_enough_when_reached() {
    for (share, slow, calls) in [(0.3, 3, 10), (0.7, 7, 10), (1.0 / 3.0, 1, 3), (1.0, 4, 4)] {
        for short in [0, 1] {
            let breaker = tripping_on(Trip::slow_call_rate(share, secs(1), calls, secs(60)));
            for call in short..calls - 1 {
                assert_eq!(timed(&breaker, GOOD, if call < slow - 1 { SLOW } else { SLOWER_THAN }, 0), None);
            }
            let ticket = call(&breaker, 0);
            let transition = breaker.settle_timed(ticket, GOOD, None, SLOW, 0).transition;
            let cause = Cause::SlowCallRate { slow: slow.into(), calls: calls.into() };
            assert_eq!(transition.map(|opened| opened.cause), (short == 0).then_some(cause), "{slow} of {calls}");
        }
    }
    let breaker = tripping_on(Trip::slow_call_rate(0.5, secs(1), 1, secs(60)));
    for _ in 0..50 {
        timed(&breaker, GOOD, 0, 0);
    }
    let ends: Vec<_> = (0..50).map(|_| timed(&breaker, GOOD, SLOW, 0)).collect();
    assert!(ends[..49].iter().all(Option::is_none) && ends[49] == Some(State::Open));
}

#[test]
fn law_10_slow_calls_are_judged_when_one_is_recorded_and_on_no_other_call() {
    let breaker = tripping_on(slow_rule());
    let ends = [SLOW, SLOW, SLOW].map(|took| timed(&breaker, GOOD, took, 0));
    assert_eq!((ends, slow_calls(&breaker, 0)), ([None; 3], (3, 3)));
    assert_eq!([timed(&breaker, GOOD, 0, 0), timed(&breaker, BAD, 0, 0)], [None; 2]);
    assert_eq!((state(&breaker), slow_calls(&breaker, 0)), (State::Closed, (3, 5)));
    assert_eq!(timed(&breaker, GOOD, SLOW, 0), Some(State::Open));
}

#[test]
fn law_10_a_slow_success_judges_no_failures() {
    let rules = [Trip::failure_rate(0.5, 4, secs(60)), Trip::failure_rate_of_last(0.5, 4), slow_rule()];
    for rule in rules {
        let breaker = closed(config().trip([rule, Trip::slow_call_rate(1.0, secs(1), 1_000, secs(60))]));
        let calls = [(BAD, 0), (BAD, 0), (GOOD, 0), (GOOD, SLOW)];
        assert_eq!(calls.map(|(outcome, took)| timed(&breaker, outcome, took, 0)), [None; 4]);
    }
}

#[test]
fn a_slow_success_is_a_success_to_every_other_rule() {
    let breaker =
        closed(config().trip([Trip::consecutive(2, Duration::ZERO), slow_rule(), Trip::failure_rate_of_last(0.5, 2)]));
    assert_eq!(timed(&breaker, BAD, 0, 0), None);
    assert_eq!(breaker.view(0).consecutive_failures, 1);
    assert_eq!(timed(&breaker, GOOD, SLOW, 0), None);
    assert_eq!((breaker.view(0).consecutive_failures, window(&breaker, 0)), (0, Totals { successes: 1, failures: 1 }));
}

#[test]
fn a_slow_failure_is_slow_and_a_neutral_call_is_none() {
    let breaker = tripping_on(slow_rule());
    for _ in 0..10 {
        assert_eq!(timed(&breaker, Outcome::Neutral, SLOW, 0), None);
    }
    assert_eq!(slow_calls(&breaker, 0), (0, 0));
    let ends = [(BAD, SLOW), (BAD, SLOWER_THAN), (GOOD, 0)].map(|(outcome, took)| timed(&breaker, outcome, took, 0));
    assert_eq!((ends, slow_calls(&breaker, 0)), ([None; 3], (1, 3)));
    assert_eq!(timed(&breaker, BAD, SLOW, 0), Some(State::Open));
}

#[test]
fn slow_calls_leave_the_window_in_time() {
    let breaker = tripping_on(slow_rule());
    for _ in 0..3 {
        timed(&breaker, GOOD, SLOW, 0);
    }
    assert_eq!(timed(&breaker, GOOD, SLOW, at_secs(60)), None);
    assert_eq!(slow_calls(&breaker, at_secs(60)), (1, 1));
}

#[test]
fn law_01_slow_results_of_earlier_generations_change_nothing() {
    let breaker = closed(config().trip([slow_rule()]));
    let late = [(); 10].map(|()| call(&breaker, 0));
    breaker.command(Command::Reset, 0);
    for ticket in late {
        for outcome in OUTCOMES {
            changes_nothing(&breaker, 0, || assert!(breaker.settle_timed(ticket, outcome, None, SLOW, 0).is_nothing()));
        }
    }
    assert_eq!(slow_calls(&breaker, 0), (0, 0));
}

#[test]
fn a_breaker_without_such_a_rule_knows_no_slow_calls() {
    let breaker = closed(config());
    assert_eq!([(); 20].map(|()| timed(&breaker, GOOD, Nanos::MAX, 0)), [None; 20]);
    assert_eq!(breaker.view(0).slow_calls, None);
}

#[test]
fn a_slow_probe_has_failed_where_slow_calls_opened_the_breaker() {
    let breaker = opened_by_slow_calls(config());
    assert_eq!(
        [timed(&breaker, GOOD, SLOWER_THAN, WAIT), timed(&breaker, GOOD, SLOW, WAIT)],
        [None, Some(State::Open)]
    );
    assert_eq!(breaker.view(WAIT).cause, Some(Cause::ProbesFailed));
    // Also after the next wait: the trouble is still the same.
    let now = retry_at(&breaker);
    assert_eq!(timed(&breaker, GOOD, SLOW, now), Some(State::Open));
    let now = retry_at(&breaker);
    assert_eq!([timed(&breaker, GOOD, SLOWER_THAN, now), timed(&breaker, GOOD, 0, now)], [None, Some(State::Closed)]);
}

#[test]
fn a_slow_probe_is_a_good_one_where_failures_opened_the_breaker() {
    let breaker = opened_by_slow_calls(config());
    close(&breaker, WAIT);
    trip(&breaker, WAIT);
    let now = retry_at(&breaker);
    assert_eq!([timed(&breaker, GOOD, SLOW, now), timed(&breaker, GOOD, SLOW, now)], [None, Some(State::Closed)]);
}

#[test]
fn law_17_a_slow_probe_after_a_mere_cooldown_closes() {
    let breaker = opened_by_slow_calls(config());
    close(&breaker, WAIT);
    let ends = limit(&breaker, secs(10), WAIT).and_then(|opened| opened.retry_at).expect("for a time");
    assert_eq!(timed(&breaker, GOOD, SLOW, ends), Some(State::Closed));
}

#[test]
fn a_slow_probe_is_measured_by_the_rule_that_opened_the_breaker() {
    let rules = [Trip::slow_call_rate(1.0, secs(1), 100, secs(60)), Trip::slow_call_rate(0.1, secs(5), 1, secs(60))];
    let breaker = closed(config().trip(rules).close_after_all(1));
    assert_eq!(timed(&breaker, GOOD, at_secs(5) + 1, 0), Some(State::Open));
    assert_eq!(timed(&breaker, GOOD, at_secs(5), WAIT), Some(State::Closed));
}

#[test]
fn a_slow_probe_ends_the_growth_of_cooldowns_all_the_same() {
    let breaker = opened_by_slow_calls(config());
    let mut now = WAIT;
    for _ in 0..4 {
        let limited = breaker.settle(call(&breaker, now), Outcome::Neutral, Some(Wait::Growing), now);
        now = limited.and_then(|opened| opened.retry_at).expect("for a time");
    }
    timed(&breaker, GOOD, SLOW, now);
    let now = retry_at(&breaker);
    let limited = breaker.settle(call(&breaker, now), Outcome::Neutral, Some(Wait::Growing), now);
    let wait = limited.and_then(|opened| opened.retry_at).expect("for a time") - now;
    assert!(wait <= at_secs(1) * 11 / 10, "{wait} ns");
}

#[test]
fn law_22_a_slow_last_resort_is_no_news_where_slow_calls_opened_the_breaker() {
    let breaker = opened_by_slow_calls(config());
    let ticket = last_resort(&breaker, 0).expect("not in cooldown");
    changes_nothing(&breaker, 0, || assert!(breaker.settle_timed(ticket, GOOD, None, SLOW, 0).is_nothing()));
    let ticket = last_resort(&breaker, 0).expect("not in cooldown");
    let told = breaker.settle_timed(ticket, GOOD, None, SLOWER_THAN, 0).transition.map(|transition| transition.to);
    assert_eq!(told, Some(State::Closed));
}

#[test]
fn law_17_what_is_too_slow_and_limited_at_once_waits_for_both() {
    let breaker = tripping_on(slow_rule());
    for _ in 0..3 {
        timed(&breaker, GOOD, SLOW, 0);
    }
    let ticket = call(&breaker, 0);
    let opened = breaker.settle_timed(ticket, GOOD, Some(For(secs(100))), SLOW, 0).transition.expect("a transition");
    assert_eq!((opened.to, opened.cause), (State::Open, Cause::SlowCallRate { slow: 4, calls: 4 }));
    assert_eq!(opened.retry_at, breaker.view(0).cooldown_until);
}

#[test]
fn law_08_a_shadow_measures_slow_calls() {
    let breaker = shadow_of(tripping_on(slow_rule()));
    for _ in 0..4 {
        timed(&breaker, GOOD, SLOW, 0);
    }
    assert_eq!((state(&breaker), breaker.peek(0)), (State::Open, Ok(())));
}

#[test]
fn slow_calls_of_many_threads_trip_once() {
    for _ in 0..50 {
        let breaker = tripping_on(Trip::slow_call_rate(0.5, secs(1), 20, secs(60)));
        let barrier = Barrier::new(4);
        let opened: usize = thread::scope(|scope| {
            let run = || {
                let tickets = [(); 10].map(|()| call(&breaker, 0));
                barrier.wait();
                tickets
                    .iter()
                    .filter_map(|ticket| breaker.settle_timed(*ticket, GOOD, None, SLOW, 0).transition)
                    .count()
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!((opened, state(&breaker)), (1, State::Open));
    }
}
