//! Laws 21 and 22: whom failures speak against, and what ends an open wait early.

use super::*;

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
fn law_21_a_providers_breaker_has_no_rule_on_a_rate() {
    let row = Trip::consecutive(3, Duration::ZERO);
    let rates = [
        Trip::failure_rate(0.5, 1, secs(60)),
        Trip::failure_rate_of_last(0.5, 1),
        Trip::slow_call_rate(0.5, secs(1), 1, secs(60)),
    ];
    let of_model = config().trip(rates.into_iter().chain([row.clone()])).close_below(0.1, 10);
    assert_eq!(of_model.for_provider(), config().trip([row]).close_after(1, 1));
}

#[test]
fn law_22_a_last_resort_goes_through_the_open_wait_only() {
    let breaker = open(config());
    assert!(matches!(last_resort(&breaker, 0), Ok(Ticket::LastResort { .. })));
    assert!(matches!(last_resort(&breaker, WAIT), Ok(Ticket::Probe { .. })));
    assert!(matches!(last_resort(&breaker, WAIT), Err(Refusal::ProbesTaken { .. })));

    let breaker = open(config());
    breaker.cool_down(For(secs(5)), 0);
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
    assert_eq!(settle(&breaker, ticket, GOOD, 0), Some(State::Closed));
}

#[test]
fn law_22_the_success_of_a_last_resort_ends_no_cooldown() {
    let breaker = open(config());
    let ticket = last_resort(&breaker, 0).expect("not in cooldown");
    breaker.cool_down(For(secs(5)), 0);
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
    breaker.cool_down(For(secs(5)), 0);
    let ends = breaker.view(0).cooldown_until.expect("in cooldown");
    assert_eq!(breaker.hasten(0), None);
    assert_eq!(admit(&breaker, ends - 1), Err(Refusal::Cooldown { retry_at: ends }));
    assert!(matches!(call(&breaker, ends), Ticket::Probe { .. }));
}
