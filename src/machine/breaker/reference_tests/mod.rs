//! The breaker against a slow and obvious model of it, which keeps a list of all that its generation has
//! seen and works everything out of it again.

mod model;

use self::model::Model;
use super::*;
use proptest::{prelude::*, test_runner::RngSeed};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// The most members of a breaker.
const MEMBERS: usize = 3;

/// What can be done to a breaker.
#[derive(Debug, Clone, Copy)]
enum Op {
    Advance(Duration),
    /// To when a caller might come back, if that lies ahead, or so many nanoseconds short of it.
    AdvanceToRetry {
        short: Nanos,
    },
    Admit {
        lease: Duration,
    },
    AdmitLastResort {
        lease: Duration,
    },
    /// Of the calls that are out, the one before so many later ones.
    Settle {
        back: usize,
        outcome: Outcome,
        cooldown: Option<Duration>,
        took: Duration,
    },
    CoolDown(Duration),
    Hasten,
    EndWait,
    Command(Command),
}

/// Does everything to both, and compares.
fn compare(config: BreakerConfig, members: usize, ops: &[Op]) {
    config.check().expect("a configuration that works");
    let breaker = Breaker::new(config.clone(), members, 1, 7);
    let mut model = Model::new(config, members);
    let mut calls = Vec::new();
    let mut now = 0;
    for op in ops {
        let seen = |now| breaker.view(now).cooldown_until;
        match *op {
            Op::Advance(step) => now += nanos(step),
            Op::AdvanceToRetry { short } => {
                if let Some(
                    Refusal::Open { retry_at } | Refusal::Cooldown { retry_at } | Refusal::ProbesTaken { retry_at },
                ) = model.refusal(now)
                {
                    now = now.max(retry_at - short);
                }
            }
            Op::Admit { lease } => {
                let admission = breaker.admit(now, lease);
                assert_eq!(admission, model.admit(now, lease));
                calls.extend(admission.map(|(ticket, _)| ticket));
            }
            Op::AdmitLastResort { lease } => {
                let peeked = breaker.peek_last_resort(now);
                let admission = breaker.admit_last_resort(now, lease);
                assert_eq!(peeked, admission.is_ok());
                assert_eq!(admission, model.admit_last_resort(now, lease));
                calls.extend(admission.map(|(ticket, _)| ticket));
            }
            Op::Settle { back, outcome, cooldown, took } => {
                if let Some(index) = (calls.len()).checked_sub(1 + back) {
                    let ticket = calls.remove(index);
                    let before = model.cooldown_until();
                    let changed = breaker.settle_timed(ticket, outcome, cooldown.map(Wait::For), nanos(took), now);
                    let transition = model.settle(ticket, outcome, cooldown, took, seen(now), now);
                    assert_eq!(changed, Changed { transition, cooldown_until: model.cooldown_since(before) });
                }
            }
            Op::CoolDown(wait) => {
                let before = model.cooldown_until();
                let changed = breaker.cool_down(Wait::For(wait), now);
                let transition = model.cool_down(wait, seen(now), now);
                assert_eq!(changed, Changed { transition, cooldown_until: model.cooldown_since(before) });
            }
            Op::Hasten => assert_eq!(breaker.hasten(now), model.hasten(now)),
            Op::EndWait => assert_eq!(breaker.end_wait(now), model.end_wait(now)),
            Op::Command(command) => assert_eq!(breaker.command(command, now), model.command(command, now)),
        }
        assert_eq!(breaker.view(now), model.view(now), "after {op:?} at {now}");
        assert_eq!(breaker.peek(now), model.peek(now), "after {op:?} at {now}");
    }
}

/// Rules on a rate, in any order and number.
fn rates() -> impl Strategy<Value = Vec<Trip>> {
    let rate = || prop::sample::select(vec![0.25, 1.0 / 3.0, 0.5, 0.75, 1.0]);
    let window = 4 * SECOND;
    let of_time = (rate(), 1_u32..7, 1_u32..5).prop_map(move |(rate, minimum_calls, buckets)| {
        Trip::failure_rate(rate, minimum_calls, window).buckets(buckets)
    });
    let of_last = (rate(), 1_u32..9).prop_flat_map(|(rate, calls)| {
        (1..=calls).prop_map(move |minimum| Trip::failure_rate_of_last(rate, calls).minimum_calls(minimum))
    });
    let slow = (rate(), 1_u32..4, 1_u32..7, 1_u32..5).prop_map(move |(rate, slower_than, minimum_calls, buckets)| {
        Trip::slow_call_rate(rate, SECOND * slower_than, minimum_calls, window).buckets(buckets)
    });
    prop::collection::vec(prop_oneof![of_time, of_last, slow], 0..4)
}

fn closes() -> impl Strategy<Value = Close> {
    let of = |(successes, spare)| Close::Successes { successes, probes: successes + spare };
    let below = prop::sample::select(vec![0.25, 1.0 / 3.0, 0.5, 0.75, 1.0]);
    let share = (below, 1_u32..5).prop_map(|(below, probes)| Close::FailureRate { below, probes });
    prop_oneof![2 => (1_u32..4, 0_u32..3).prop_map(of), 1 => share]
}

prop_compose! {
    /// Everything so small that each boundary is met often.
    fn configs()(
        failures in 1_u32..8,
        spanning in 0_u32..3,
        mut rules in rates(),
        place in 0_usize..4,
        probes in 1_u32..4,
        close in closes(),
        at_close in any::<bool>(),
    ) -> BreakerConfig {
        rules.insert(place.min(rules.len()), Trip::consecutive(failures, SECOND * spanning));
        let recovery = if at_close { Recovery::AtClose } else { Recovery::Healthy(5 * SECOND) };
        let config = BreakerConfig { close, recovery, ..BreakerConfig::default() };
        config.trip(rules).open_wait(2 * SECOND, 7 * SECOND).jitter(0.0).probes(probes)
    }
}

fn ops() -> impl Strategy<Value = Op> {
    use Command::{Disable, ForceOpen, Reset, Shadow};
    let half_seconds = |halves| Duration::from_millis(500) * halves;
    let advance = prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::from_nanos(1)),
        (1_u32..10).prop_map(half_seconds),
        Just(30 * SECOND),
    ];
    let lease = || (0_u32..6).prop_map(half_seconds);
    let wait = || (1_u32..12).prop_map(half_seconds);
    let outcome = prop_oneof![
        3 => Just(Outcome::Success),
        3 => Just(Outcome::Failure(Evidence::Blame)),
        3 => (0..MEMBERS).prop_map(|member| Outcome::Failure(Evidence::Member(member))),
        1 => Just(Outcome::Neutral),
    ];
    let cooldown = prop::option::weighted(0.05, wait());
    let took = prop_oneof![
        Just(Duration::ZERO),
        (1_u64..4, 0_u64..2).prop_map(|(secs, nanos)| { Duration::from_secs(secs) + Duration::from_nanos(nanos) })
    ];
    let command = prop::sample::select(vec![ForceOpen, Disable, Shadow, Reset, Reset, Reset]);
    prop_oneof![
        8 => advance.prop_map(Op::Advance),
        6 => (0_u64..3).prop_map(|short| Op::AdvanceToRetry { short }),
        28 => lease().prop_map(|lease| Op::Admit { lease }),
        6 => lease().prop_map(|lease| Op::AdmitLastResort { lease }),
        32 => (0_usize..8, outcome, cooldown, took)
            .prop_map(|(back, outcome, cooldown, took)| Op::Settle { back, outcome, cooldown, took }),
        1 => wait().prop_map(Op::CoolDown),
        2 => Just(Op::Hasten),
        2 => Just(Op::EndWait),
        2 => command.prop_map(Op::Command),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 1024,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    })]

    #[test]
    fn it_does_what_the_model_does(
        config in configs(),
        members in 1..=MEMBERS,
        ops in prop::collection::vec(ops(), 1..200),
    ) {
        compare(config, members, &ops);
    }
}
