//! How long it stays open.

use super::*;

/// The wait of a trip `healthy` after a close that followed two openings.
fn wait_after(healthy: Nanos) -> u64 {
    let breaker = open(config());
    assert_eq!(run(&breaker, BAD, WAIT), Some(State::Open));
    let closed_at = retry_at(&breaker);
    close(&breaker, closed_at);
    (trip(&breaker, closed_at + healthy) - closed_at - healthy) / SECOND
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
fn where_all_must_be_good_the_first_failure_opens() {
    for (outcomes, expected) in
        [([GOOD, GOOD, GOOD], [None, None, Some(State::Closed)]), ([GOOD, GOOD, BAD], [None, None, Some(State::Open)])]
    {
        let breaker = open(config().close_after_all(3));
        assert_eq!(outcomes.map(|outcome| run(&breaker, outcome, WAIT)), expected);
    }
    let breaker = open(config().close_after_all(3));
    assert_eq!(run(&breaker, BAD, WAIT), Some(State::Open));
}

#[test]
fn law_06_a_rate_of_probes_is_judged_after_all_of_them_and_closes_strictly_below() {
    let closed = Some(State::Closed);
    let opened = Some(State::Open);
    for (below, outcomes, expected) in [
        (0.5, [BAD, GOOD, GOOD, GOOD], closed),
        (0.5, [GOOD, GOOD, GOOD, BAD], closed),
        (0.5, [GOOD, GOOD, BAD, BAD], opened),
        (0.5, [BAD, BAD, GOOD, GOOD], opened),
        (0.25, [BAD, GOOD, GOOD, GOOD], opened),
        (0.25, [GOOD; 4], closed),
        (1.0, [BAD, BAD, BAD, GOOD], closed),
        (1.0, [GOOD, BAD, BAD, BAD], closed),
        (1.0, [BAD; 4], opened),
        (0.750_000_1, [BAD, BAD, BAD, GOOD], closed),
        (0.75, [BAD, BAD, BAD, GOOD], opened),
    ] {
        let breaker = open(config().close_below(below, 4));
        let ends = outcomes.map(|outcome| run(&breaker, outcome, WAIT));
        assert_eq!(ends, [None, None, None, expected], "{below} {outcomes:?}");
        let cause = if expected == closed { Cause::ProbesSucceeded } else { Cause::ProbesFailed };
        assert_eq!(breaker.view(WAIT).cause, Some(cause));
    }
}

#[test]
fn law_02_a_neutral_probe_is_not_among_those_of_a_rate() {
    let breaker = open(config().close_below(0.5, 2));
    assert_eq!([GOOD, Outcome::Neutral, Outcome::Neutral].map(|outcome| run(&breaker, outcome, WAIT)), [None; 3]);
    assert_eq!(run(&breaker, GOOD, WAIT), Some(State::Closed));
}

#[test]
fn law_17_a_limited_probe_never_closes_although_a_failure_is_allowed() {
    for outcome in OUTCOMES {
        let breaker = open(config().close_below(1.0, 2));
        assert_eq!(run(&breaker, GOOD, WAIT), None);
        let limited = breaker.settle(call(&breaker, WAIT), outcome, Some(For(secs(100))), WAIT).expect("a transition");
        assert_eq!((limited.from, limited.to, limited.cause), (State::HalfOpen, State::Open, Cause::Cooldown));
        assert!(limited.retry_at >= Some(WAIT + at_secs(100)), "{outcome:?}");
    }
}

#[test]
fn law_22_a_good_last_resort_closes_whatever_the_policy() {
    let breaker = open(config().close_below(0.6, 2));
    let ticket = last_resort(&breaker, 0).expect("not in cooldown");
    assert_eq!(settle(&breaker, ticket, GOOD, 0), Some(State::Closed));
}

#[test]
fn after_a_mere_cooldown_one_good_probe_closes_whatever_the_policy() {
    let breaker = closed(config().close_below(0.1, 10));
    let ends = limit(&breaker, secs(10), 0).and_then(|transition| transition.retry_at).expect("for a time");
    assert_eq!(run(&breaker, GOOD, ends), Some(State::Closed));
}

#[test]
fn at_close_the_wait_begins_anew_where_that_is_asked_for_and_not_before() {
    let breaker = open(config().recovery_at_close());
    assert_eq!(run(&breaker, BAD, WAIT), Some(State::Open));
    assert_eq!(retry_at(&breaker), 3 * WAIT);
    close(&breaker, 3 * WAIT);
    assert_eq!(breaker.view(3 * WAIT).openings, 0);
    assert_eq!(trip(&breaker, 3 * WAIT), 4 * WAIT);
    // A long time half-open is no reason.
    let probe = call(&breaker, 4 * WAIT);
    let now = at_secs(100_000);
    assert_eq!(settle(&breaker, probe, BAD, now), Some(State::Open));
    assert_eq!(retry_at(&breaker), now + 2 * WAIT);
}

#[test]
fn healthy_minutes_and_closing_undo_each_other_as_reasons() {
    assert_eq!(config().recovery_at_close().recovery(secs(60)), config().recovery(secs(60)));
    assert_eq!(config().recovery(secs(1)).recovery_at_close(), config().recovery_at_close());
    assert_eq!(config().close_below(0.5, 3).close_after_all(2), config().close_after(2, 2));
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
            let ends =
                breaker.cool_down(For(Duration::from_millis(100)), now).transition.and_then(|opened| opened.retry_at);
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
