//! Laws 2 and 3: probes, their places and their leases.

use super::*;

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
    assert_eq!(breaker.settle(late, BAD, Some(For(secs(60))), ends), None);
    assert_eq!(settle(&breaker, next, GOOD, ends), None);
    assert_eq!(run(&breaker, GOOD, ends), Some(State::Closed));
}

#[test]
fn law_03_a_probe_that_timed_out_is_heard_while_nobody_has_taken_its_place() {
    let (breaker, probe) = half_open(config());
    assert_eq!(settle(&breaker, probe, BAD, WAIT + nanos(LEASE)), Some(State::Open));
}
