//! Law 8: commands in every state.

use super::*;

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
                assert_eq!(breaker.settle(tickets[0], BAD, Some(For(secs(60))), now), None);
                assert_eq!(breaker.hasten(now), None);
                assert_eq!(breaker.cool_down(For(secs(60)), now), Changed::default());
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
    breaker.cool_down(For(secs(600)), 0);
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
