//! Law 17: cooldowns.

use super::*;

#[test]
fn law_17_a_longer_cooldown_wins_and_a_shorter_one_never_cuts_it() {
    let breaker = closed(config());
    let stragglers = [(); 2].map(|()| call(&breaker, 0));
    let first = limit(&breaker, secs(60), 0).expect("a transition");
    assert_eq!((first.from, first.to, first.cause), (State::Closed, State::Open, Cause::Cooldown));

    changes_nothing(&breaker, 0, || {
        assert_eq!(breaker.settle(stragglers[0], Outcome::Neutral, Some(For(secs(1))), 0), None);
        assert!(breaker.cool_down(For(secs(1)), 0).is_nothing());
    });
    assert_eq!(Some(retry_at(&breaker)), first.retry_at);

    assert_eq!(breaker.settle(stragglers[1], Outcome::Neutral, Some(For(secs(120))), 0), None);
    assert!(retry_at(&breaker) >= at_secs(120));
    let longer = breaker.cool_down(For(secs(240)), 0);
    assert!(retry_at(&breaker) >= at_secs(240));
    assert_eq!(longer, Changed { transition: None, cooldown_until: Some(retry_at(&breaker)) });
}

#[test]
fn law_17_a_late_limit_lengthens_a_cooldown_in_force_and_does_nothing_else() {
    let breaker = closed(config());
    let late = [(); 2].map(|()| call(&breaker, 0));
    let ends = limit(&breaker, secs(10), 0).and_then(|transition| transition.retry_at).expect("for a time");
    let before = breaker.view(0);
    assert_eq!(breaker.settle(late[0], BAD, Some(For(secs(60))), 0), None);
    let after = breaker.view(0);
    assert!(after.cooldown_until > before.cooldown_until);
    assert_eq!(View { retry_at: before.retry_at, cooldown_until: before.cooldown_until, ..after }, before);

    let breaker = closed(config());
    let late = [call(&breaker, 0), call(&breaker, 0)];
    limit(&breaker, secs(10), 0);
    changes_nothing(&breaker, ends, || assert_eq!(breaker.settle(late[0], BAD, Some(For(secs(60))), ends), None));
    run(&breaker, GOOD, ends);
    assert_eq!(state(&breaker), State::Closed);
    changes_nothing(&breaker, ends, || assert_eq!(breaker.settle(late[1], BAD, Some(For(secs(60))), ends), None));
}

#[test]
fn law_17_the_end_is_jittered_by_at_most_a_tenth_and_never_earlier() {
    let ends: HashSet<Nanos> = (0..1_000)
        .map(|seed| {
            let breaker = Breaker::new(config(), 1, 1, seed);
            breaker
                .cool_down(For(secs(100)), SECOND)
                .transition
                .and_then(|transition| transition.retry_at)
                .expect("for a time")
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
fn law_17_without_a_word_it_doubles_until_a_success_and_a_late_one_changes_nothing() {
    let breaker = closed(config());
    let late: Vec<Ticket> = (0..5).map(|_| call(&breaker, 0)).collect();
    let mut now = 0;
    let mut limit = |breaker: &Breaker| {
        let begun = now;
        let opened = breaker.settle(call(breaker, now), Outcome::Neutral, Some(Wait::Growing), now);
        now = opened.and_then(|opened| opened.retry_at).expect("for a time");
        for ticket in &late {
            assert_eq!(breaker.settle(*ticket, Outcome::Neutral, Some(Wait::Growing), begun), None);
            assert_eq!(breaker.settle(*ticket, GOOD, None, begun), None);
        }
        assert_eq!(retry_at(breaker), now);
        (now - begun, now)
    };
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        let (wait, _) = limit(&breaker);
        assert!((at_secs(seconds)..=at_secs(seconds) * 11 / 10).contains(&wait), "{wait} ns for {seconds} s");
    }
    let (_, ends) = limit(&breaker);
    assert_eq!(run(&breaker, GOOD, ends), Some(State::Closed));
    let (wait, _) = limit(&breaker);
    assert!(wait <= at_secs(1) * 11 / 10, "{wait} ns");
}

#[test]
fn law_17_one_probe_goes_first_however_many_are_allowed() {
    let breaker = closed(config().probes(3).close_after(3, 3));
    (0..3).for_each(|_| _ = run(&breaker, BAD, 0));
    breaker.cool_down(For(secs(20)), 0);
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
    let ends = breaker.settle(probe, Outcome::Neutral, Some(For(secs(10))), WAIT).and_then(|opened| opened.retry_at);
    close(&breaker, ends.expect("for a time"));
}

#[test]
fn law_17_a_limited_probe_has_failed_whatever_else_it_brought() {
    for outcome in OUTCOMES {
        let (breaker, probe) = half_open(config().close_after(1, 1));
        let transition = breaker.settle(probe, outcome, Some(For(secs(100))), WAIT).expect("a transition");
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
        assert_eq!(breaker.settle(ticket, outcome, Some(For(secs(100))), 0), None, "{outcome:?}");
        assert!(matches!(admit(&breaker, WAIT), Err(Refusal::Cooldown { .. })), "{outcome:?}");
    }
}

#[test]
fn law_17_what_trips_and_is_limited_at_once_waits_for_both() {
    let breaker = closed(config());
    run(&breaker, BAD, 0);
    run(&breaker, BAD, 0);
    let transition = breaker.settle(call(&breaker, 0), BAD, Some(For(secs(100))), 0).expect("a transition");
    assert_eq!((transition.from, transition.to), (State::Closed, State::Open));
    assert!(matches!(transition.cause, Cause::Consecutive { failures: 3, .. }));
    assert_eq!(transition.retry_at, breaker.view(0).cooldown_until);
}
