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
            let ends = breaker.cool_down(For(Duration::from_millis(100)), now).and_then(|opened| opened.retry_at);
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
