//! The words of breakers, as labels.

use crate::machine::breaker::{Cause, State, Transition};

pub(super) const STATES: [State; 5] = [State::Closed, State::Open, State::HalfOpen, State::ForcedOpen, State::Disabled];

pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::Open => "open",
        State::HalfOpen => "half_open",
        State::ForcedOpen => "forced_open",
        State::Disabled => "disabled",
    }
}

/// The labels of a change.
pub(super) fn of(transition: &Transition) -> [(&'static str, &'static str); 3] {
    [("from", state(transition.from)), ("to", state(transition.to)), ("cause", cause(&transition.cause))]
}

fn cause(cause: &Cause) -> &'static str {
    match cause {
        Cause::Consecutive { .. } => "consecutive",
        Cause::FailureRate { .. } => "failure_rate",
        Cause::SlowCallRate { .. } => "slow_call_rate",
        Cause::Cooldown => "cooldown",
        Cause::WaitElapsed => "wait_elapsed",
        Cause::ProbesSucceeded => "probes_succeeded",
        Cause::ProbesFailed => "probes_failed",
        Cause::ProviderRecovered => "provider_recovered",
        Cause::LastResort => "last_resort",
        Cause::Command(_) => "command",
    }
}
