//! Every kind of weather, four policies side by side: on tokio's paused clock, so that hours pass in a minute, and with
//! seeded chance, so that every run of it says the same.
//!
//! `cargo run --release --example weather` runs each scenario of `scenario.rs` for 180 s at 100 requests a second (a
//! Poisson process), with attempt timeouts of 2, 10 and 30 s and ten seeds each. The deadline is three attempt timeouts.
//! Latencies and faults are drawn by request and model, so that every policy meets the same.
//!
//! - `loop`: each model in order, a timeout, nothing remembered.
//! - `breakers_only`: this crate without anything beyond its breakers.
//! - `failover`: this crate as it comes.
//! - `clairvoyant`: asks the first model in the caller's order that will answer in time, and nobody if none will. No
//!   client can know that; it is the limit.
//!
//! Of the seeds one is shown for each scenario and timeout, the same for every policy: the one at which `failover` breaks
//! most of what has to hold, or is nearest to it. What holds in all that is shown holds for every seed.
//!
//! - *answered*: of the requests that the clairvoyant could answer. *p50* and *p99* are over those that were answered.
//! - *calls*: for each request. *wasted*: those that did not become the answer of their request.
//! - *cost*: of every call that a model served, also of one that nobody waited for any more. Failed calls are free.
//! - *divert*: from the first fault to the first request from which on, for 1 s, 9 of 10 ask a model first that has no
//!   fault.
//! - *return*: from when the models are back to the first request from which on, for 1 s, 9 of 10 are answered by the
//!   first model.
//! - *changes*: how often the serving model, the one that answers most requests of a second, is another than that of the
//!   second before. A probe is no change.
//!
//! `--check` holds `failover` against the clairvoyant, each criterion at the seed that is worst for it, and makes the
//! exit code tell. `--json` adds the figures as the last line. To look closer: `--scenario NAME`, `--timeout SECONDS`,
//! `--policy NAME`, `--seeds N`, and `--timeline`, which draws what is shown second by second.

#![allow(unreachable_pub, reason = "modules of a program")]

pub(crate) mod chance;
mod criteria;
mod layer;
mod measure;
pub(crate) mod policy;
mod report;
mod run;
pub(crate) mod scenario;
mod timeline;
pub(crate) mod upstream;

use std::{env, process::ExitCode, str::FromStr};

use policy::{POLICIES, Policy};
use run::{Choice, Seeds};
use scenario::TIMEOUTS;

const USAGE: &str = "usage: weather [--json] [--check] [--timeline] [--scenario NAME] [--timeout SECONDS] [--policy NAME] \
                     [--seeds N]";
const SEEDS: u64 = 10;

#[derive(Default)]
struct Options {
    json: bool,
    check: bool,
    timeline: bool,
    scenario: Option<String>,
    timeout: Option<u32>,
    policy: Option<String>,
    seeds: Option<u64>,
}

fn main() -> ExitCode {
    let chosen = options().and_then(|options| Ok((choice(&options)?, options)));
    let (choice, options) = match chosen {
        Ok(chosen) => chosen,
        Err(complaint) => {
            eprintln!("{complaint}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let judged = run::judged(&choice.policies);
    let all = run::run(choice);
    println!("{}", report::table(&all));
    if options.timeline {
        draw_timelines(&all, judged);
    }
    let (criteria, kept) = report::check(&all);
    if options.check {
        println!("\nTo hold: {} against the clairvoyant\n{criteria}", judged.name());
    }
    if options.json {
        println!("{}", report::json(&all));
    }
    if options.check && !kept { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn draw_timelines(all: &[Seeds], policy: Policy) {
    for case in all.iter().map(|seeds| &run::worst(seeds).case) {
        println!("\n{}, seed {}, {}", report::key(case), case.seed, policy.name());
        println!("{}", timeline::draw(&policy.run(case), &policy.watch(case)));
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options::default();
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--json" => options.json = true,
            "--check" => options.check = true,
            "--timeline" => options.timeline = true,
            "--scenario" => options.scenario = Some(value()?),
            "--timeout" => options.timeout = Some(number(&value()?)?),
            "--policy" => options.policy = Some(value()?),
            "--seeds" => options.seeds = Some(number(&value()?)?),
            other => return Err(format!("I do not know {other:?}")),
        }
    }
    Ok(options)
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("{text:?} is no number that I can use"))
}

fn choice(options: &Options) -> Result<Choice, String> {
    let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|wanted| wanted == name);
    let mut scenarios = scenario::all();
    let names: Vec<_> = scenarios.iter().map(|scenario| scenario.name).collect();
    scenarios.retain(|scenario| is(&options.scenario, scenario.name));
    if scenarios.is_empty() {
        return Err(format!("the scenarios are {names:?}"));
    }
    let mut policies = POLICIES.to_vec();
    policies.retain(|policy| is(&options.policy, policy.name()));
    if policies.is_empty() {
        return Err(format!("the policies are {:?}", POLICIES.map(Policy::name)));
    }
    policies.retain(|policy| *policy != Policy::Clairvoyant);
    let timeouts = options.timeout.map_or(TIMEOUTS.to_vec(), |seconds| vec![seconds.saturating_mul(1000)]);
    let seeds = options.seeds.unwrap_or(SEEDS);
    if seeds == 0 || timeouts.iter().any(|timeout| !(1..=3_600_000).contains(timeout)) {
        return Err("at least one seed, and from 1 to 3600 s".to_owned());
    }
    Ok(Choice { scenarios, timeouts, seeds, policies })
}
