//! How many failures it takes to open after so many successes.

#![allow(clippy::disallowed_types, reason = "the real clock, beside one that is paused")]

use crate::{
    breakers::{self, Breaker, Came, Kind, Request},
    cells,
    report::{Args, Report, Samples, cell},
};
use serde_json::Value;
use std::{
    hint::spin_loop,
    time::{Duration, Instant},
};
use tokio::{runtime::Builder, time::advance};

const MEASURE: &str = "failures to open after n successes";
const SUCCESSES: [usize; 4] = [0, 1_000, 100_000, 1_000_000];
const ROUNDS: usize = 3;
/// From one call to the next.
const STEP: Duration = Duration::from_millis(10);
const LONG_STEP: Duration = Duration::from_millis(250);
/// By how much a real clock is made to go faster.
const FASTER: u32 = 1_000;
/// Then it is given up.
const MOST_FAILURES: u64 = 10_000_000;
const LONGEST: Duration = Duration::from_secs(60);
/// What takes longer than this is done once.
const LONG: Duration = Duration::from_secs(3);

/// For numbers up to this one.
pub(crate) fn add(most: usize, args: &Args, report: &mut Report) {
    for successes in SUCCESSES.into_iter().filter(|successes| *successes <= most) {
        let mut row = |name: &str, run: &mut dyn FnMut() -> Option<u64>| {
            let mut samples = Samples::default();
            let began = Instant::now();
            let mut opened = true;
            for _ in 0..args.rounds(ROUNDS) {
                match run() {
                    Some(failures) => samples.push(failures as f64),
                    None => opened = false,
                }
                if !opened || began.elapsed() > LONG {
                    break;
                }
            }
            let mut cells = cells(name, MEASURE, ("n", successes));
            if opened {
                cells.extend([("failures", cell(samples.median(), 0)), ("spread", cell(samples.spread(), 3))]);
            } else {
                cells.push(("failures", Value::Null));
            }
            report.row(cells);
        };

        let kind = breakers::ours();
        row(kind.name, &mut || by_tokio(&kind, successes, STEP));
        row("tower-failover, 4 calls a second", &mut || by_tokio(&kind, successes, LONG_STEP));
        let kind = breakers::tower_resilience_count();
        row(kind.name, &mut || by_calls(&kind, successes));
        let kind = breakers::tower_resilience_time(breakers::MINUTE / FASTER);
        row(kind.name, &mut || by_real_time(&kind, successes));
        let kind = breakers::tower_resilience_consecutive();
        row(kind.name, &mut || by_calls(&kind, successes));
        let kind = breakers::failsafe_defaults();
        row(kind.name, &mut || by_failsafe(&kind, successes));
        let kind = breakers::failsafe_consecutive();
        row(kind.name, &mut || by_failsafe(&kind, successes));
        let kind = breakers::failsafe_success_rate();
        row(kind.name, &mut || by_failsafe(&kind, successes));
        let kind = breakers::recloser();
        row(kind.name, &mut || by_calls(&kind, successes));
    }
}

fn by_calls<B: Breaker>(kind: &Kind<B>, successes: usize) -> Option<u64> {
    failures_to_open(kind, successes, || {})
}

fn by_tokio<B: Breaker>(kind: &Kind<B>, successes: usize, step: Duration) -> Option<u64> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    let _inside = runtime.enter();
    failures_to_open(kind, successes, || runtime.block_on(advance(step)))
}

fn by_failsafe<B: Breaker>(kind: &Kind<B>, successes: usize) -> Option<u64> {
    failsafe::clock::freeze(|clock| failures_to_open(kind, successes, || clock.advance(STEP)))
}

fn by_real_time<B: Breaker>(kind: &Kind<B>, successes: usize) -> Option<u64> {
    let mut next = Instant::now();
    failures_to_open(kind, successes, || {
        // One that has come late does not make the next ones hurry.
        next = Instant::now().max(next + STEP / FASTER);
        while Instant::now() < next {
            spin_loop();
        }
    })
}

/// `step` is what comes between two calls.
fn failures_to_open<B: Breaker>(kind: &Kind<B>, successes: usize, mut step: impl FnMut()) -> Option<u64> {
    let mut breaker = (kind.make)();
    for _ in 0..successes {
        assert_eq!(breaker.call(Request("", true)), Came::Well);
        step();
    }
    let began = Instant::now();
    for failures in 0..MOST_FAILURES {
        match breaker.call(Request("", false)) {
            Came::Refused => return Some(failures),
            came => assert_eq!(came, Came::Badly),
        }
        if failures % 1_000 == 0 && began.elapsed() > LONGEST {
            return None;
        }
        step();
    }
    None
}
