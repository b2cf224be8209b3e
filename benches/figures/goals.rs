//! The figures to reach, and how each is read off the results.

use crate::{
    report::number,
    results::{Cost, Results},
};

/// What was measured, and whether it is enough.
pub struct Outcome {
    pub shown: String,
    pub reached: bool,
}

pub struct Goal {
    pub what: &'static str,
    pub reach: &'static str,
    pub measure: fn(&Results) -> Option<Outcome>,
    /// Why not, if it is not reached.
    pub reason: &'static str,
}

pub const BREAKER: &str = "breaker";
pub const STACK: &str = "failover";
pub const OURS: &str = "tower-failover";
/// The breakers of the peers.
pub const BREAKERS: [&str; 6] = [
    "tower-resilience breaker, defaults",
    "tower-resilience breaker, as ours",
    "failsafe, defaults",
    "failsafe, as ours",
    "recloser, defaults",
    "recloser, as ours",
];
pub const RESILIENCE_STACKS: [&str; 2] = ["tower-resilience stack, defaults", "tower-resilience stack, as ours"];
/// A timeout for each attempt; and one for all of them as well.
pub const RETRIES: [&str; 2] = ["tower::retry + timeout, defaults", "tower::retry + timeout, as ours"];
/// The primaries that are dead.
pub const DEAD: [&str; 3] = ["refusing", "503", "hanging"];
/// The primary that is no quicker than an upstream is.
pub const UNHURRIED: &str = "healthy, takes 5 ms";
pub const RECORDING: &str = "recording with n calls in the window";
pub const OPENING: &str = "failures to open after n successes";
pub const KEYED: &str = "keyed models";
pub const THREADS: &str = "threads";

pub fn all() -> Vec<Goal> {
    let goal = |what, reach, measure, reason| Goal { what, reach, measure, reason };
    vec![
        goal("breaker alone, over bare", "≤ 2 reads of the clock + 30 ns", |r| over_bare(r, BREAKER, 30.0), COUNTS),
        goal("breaker alone, one thread", "≥ 3× faster than tower-resilience's", breaker_to_resilience, COUNTS),
        goal("breaker alone, two threads on one model", "elapsed ÷ calls below the one-thread figure", scales, ""),
        goal("breaker alone, two threads on one model", "ahead of every peer", ahead, NO_CLOCK),
        goal("whole stack, over bare", "≤ 2 reads of the clock + 90 ns", |r| over_bare(r, STACK, 90.0), TELLS),
        goal("whole stack, allocations", "0, for a request that is cheap to clone", allocations, ""),
        goal("whole stack", "≥ 3× faster than tower-resilience's", stack_to_resilience, TELLS),
        goal(
            "whole stack",
            "faster than `tower::retry` with `tower::timeout`",
            stack_to_retry,
            "they remember nothing",
        ),
        goal("with a metrics recorder and tracing at INFO", "≤ 2× the same without", observed, ""),
        goal("rejected call", "≤ 1 read of the clock + 10 ns", rejected, "it says who, why, and when it will be back"),
        goal("rejected call, allocations", "0", rejected_allocations, ""),
        goal("each skipped candidate", "≤ 15 ns", skipped, "why, and until when, is noted of each"),
        goal(
            "loopback, healthy primary, p50",
            "within 1 % of the bare client",
            |r| healthy(r, "healthy", "over_bare_p50"),
            TIMER,
        ),
        goal(
            "loopback, healthy primary, p99",
            "within 1 % of the bare client",
            |r| healthy(r, "healthy", "over_bare_p99"),
            TIMER,
        ),
        goal(
            "the same where it takes 5 ms, p50",
            "within 1 % of the bare client",
            |r| healthy(r, UNHURRIED, "over_bare_p50"),
            "",
        ),
        goal(
            "the same where it takes 5 ms, p99",
            "within 1 % of the bare client",
            |r| healthy(r, UNHURRIED, "over_bare_p99"),
            NOISE,
        ),
        goal("loopback, primary long dead, p50", "within 2 % of asking the fallback directly", dead, TIMER),
        goal("failures to open after 10⁶ healthy calls", "the same as after none", opening, FIRST_TEN),
        goal("recording with 10⁶ calls in the window", "within 1.2× of 100", recording, ""),
        goal("a keyed model at rest", "≤ 1 KiB", keyed, OF_BOTH),
    ]
}

const COUNTS: &str =
    "a call is counted for its model and its provider, in windows, a score, quantiles and what is under way";
const NO_CLOCK: &str = "recloser reads no clock while it is closed";
const TELLS: &str =
    "the breaker's share, and a plan, a deadline, a copy of the request and an account of who was asked";
const TIMER: &str = "this upstream answers at once: a copy of the request and a timer, which a loop by hand has too, are more than that";
const NOISE: &str = "of so few slow ones the machine decides";
const FIRST_TEN: &str =
    "with nothing before, 10 of 10 are enough; from 1,000 healthy calls on it is 20 in a row, after however many";
const OF_BOTH: &str = "it has a breaker and counts for the model, and for its provider as well";

/// The fastest of them.
pub fn fastest<'a>(results: &Results, names: &[&'a str], threads: u32) -> Option<(&'a str, Cost)> {
    let costs = names.iter().filter_map(|name| Some((*name, results.cost(name, threads)?)));
    costs.min_by(|(_, one), (_, other)| one.ns.total_cmp(&other.ns))
}

fn over_bare(results: &Results, name: &str, more: f64) -> Option<Outcome> {
    let (over, clock) = (results.cost(name, 1)?.over, results.clock()?);
    let limit = 2.0 + more / clock;
    let shown = format!("{} reads; the limit is {} here", number(over, 1), number(limit, 1));
    Some(Outcome { shown, reached: over <= limit })
}

fn faster(ours: Cost, (name, theirs): (&str, Cost), times: f64) -> Outcome {
    let ratio = theirs.ns / ours.ns;
    Outcome { shown: format!("{}× ({name})", number(ratio, 1)), reached: ratio >= times }
}

fn breaker_to_resilience(results: &Results) -> Option<Outcome> {
    Some(faster(results.cost(BREAKER, 1)?, fastest(results, &BREAKERS[..2], 1)?, 3.0))
}

fn scales(results: &Results) -> Option<Outcome> {
    let ratio = results.cost(BREAKER, 2)?.ns / results.cost(BREAKER, 1)?.ns;
    Some(Outcome { shown: format!("{}× the one-thread figure", number(ratio, 2)), reached: ratio < 1.0 })
}

fn ahead(results: &Results) -> Option<Outcome> {
    let (name, theirs) = fastest(results, &BREAKERS, 2)?;
    let ratio = theirs.ns / results.cost(BREAKER, 2)?.ns;
    Some(Outcome { shown: format!("{}× ({name})", number(ratio, 2)), reached: ratio > 1.0 })
}

fn allocations(results: &Results) -> Option<Outcome> {
    let ours = results.cost(STACK, 1)?.allocs;
    let (bare, http) = (results.cost("bare, HTTP", 1)?.allocs, results.cost("failover, HTTP", 1)?.allocs);
    let json = results.cost("failover, JSON", 1)?.allocs;
    let shown = format!(
        "{}; HTTP {} (the bare client {}), with the name in a JSON body {}",
        number(ours, 0),
        number(http, 0),
        number(bare, 0),
        number(json, 0)
    );
    Some(Outcome { shown, reached: ours == 0.0 })
}

fn stack_to_resilience(results: &Results) -> Option<Outcome> {
    Some(faster(results.cost(STACK, 1)?, fastest(results, &RESILIENCE_STACKS, 1)?, 3.0))
}

fn stack_to_retry(results: &Results) -> Option<Outcome> {
    let ours = results.cost(STACK, 1)?;
    let [one, both] = RETRIES.map(|name| Some(results.cost(name, 1)?.ns / ours.ns));
    let (one, both) = (one?, both?);
    let shown = format!("{}×; with a deadline for all attempts too, as ours, {}×", number(one, 1), number(both, 1));
    Some(Outcome { shown, reached: one > 1.0 })
}

fn observed(results: &Results) -> Option<Outcome> {
    let plain = results.cost(STACK, 1)?.ns;
    let to_plain = |name: &str| Some(results.cost(name, 1)?.ns / plain);
    let both = to_plain("failover, tracing and metrics")?;
    let (spans, by_hand) = (to_plain("failover, spans")?, to_plain("two spans by hand, spans")?);
    let shown = format!(
        "{}×; at DEBUG, where the spans are, {}×, and two such spans made by hand {}×",
        number(both, 1),
        number(spans, 1),
        number(by_hand, 1)
    );
    Some(Outcome { shown, reached: both <= 2.0 })
}

fn rejected(results: &Results) -> Option<Outcome> {
    let (reads, clock) = (results.cost("breaker, rejected", 1)?.ns / results.clock()?, results.clock()?);
    let limit = 1.0 + 10.0 / clock;
    let shown = format!("{} reads; the limit is {} here", number(reads, 1), number(limit, 1));
    Some(Outcome { shown, reached: reads <= limit })
}

fn rejected_allocations(results: &Results) -> Option<Outcome> {
    let allocs = results.cost("breaker, rejected", 1)?.allocs;
    Some(Outcome { shown: number(allocs, 0), reached: allocs == 0.0 })
}

fn skipped(results: &Results) -> Option<Outcome> {
    let (name, most) = results.skips(1).max_by(|(_, one), (_, other)| one.total_cmp(other))?;
    let name = name.strip_prefix("failover, ").unwrap_or(name);
    let reads = number(most / results.clock()?, 2);
    let shown = format!("at most {} ns, {reads} reads of the clock ({name})", number(most, 1));
    Some(Outcome { shown, reached: most <= 15.0 })
}

/// How much more than one, in percent.
pub fn percent(ratio: f64) -> String {
    let sign = if ratio >= 1.0 { "+" } else { "" };
    format!("{sign}{} %", number((ratio - 1.0) * 100.0, 1))
}

fn healthy(results: &Results, primary: &str, key: &str) -> Option<Outcome> {
    let ours = results.loopback(OURS, primary, "latency", key)?;
    let again = results.loopback("bare again", primary, "latency", key)?;
    let shown = format!("{}; bare against bare {}", percent(ours), percent(again));
    // In a run whose bare figures differ by more, the rest says nothing.
    Some(Outcome { shown, reached: ours <= 1.01 && (again - 1.0).abs() <= 0.05 })
}

fn dead(results: &Results) -> Option<Outcome> {
    let ratios = DEAD.map(|primary| results.loopback(OURS, primary, "long dead", "over_bare_p50"));
    let shown: Option<Vec<_>> =
        ratios.iter().zip(DEAD).map(|(ratio, primary)| Some(format!("{primary} {}", percent((*ratio)?)))).collect();
    Some(Outcome { shown: shown?.join(", "), reached: ratios.iter().flatten().all(|ratio| *ratio <= 1.02) })
}

fn opening(results: &Results) -> Option<Outcome> {
    let [none, many] = [0.0, 1e6].map(|n| results.grown(OURS, OPENING, "n", n)?.number("failures"));
    let slowly =
        [0.0, 1e6].map(|n| results.grown("tower-failover, 4 calls a second", OPENING, "n", n)?.number("failures"));
    let [none, many, slowly_none, slowly_many] = [none?, many?, slowly[0]?, slowly[1]?];
    let shown = format!(
        "{} and {} at 100 calls a second, {} and {} at 4",
        number(many, 0),
        number(none, 0),
        number(slowly_many, 0),
        number(slowly_none, 0)
    );
    Some(Outcome { shown, reached: none == many && slowly_none == slowly_many })
}

fn recording(results: &Results) -> Option<Outcome> {
    let [few, many] = [100.0, 1e6].map(|n| results.grown(OURS, RECORDING, "n", n)?.number("ns"));
    let ratio = many? / few?;
    Some(Outcome { shown: format!("{}×", number(ratio, 2)), reached: ratio <= 1.2 })
}

fn keyed(results: &Results) -> Option<Outcome> {
    let ours = || results.growth(KEYED).filter(|row| row.text("name").starts_with(OURS));
    let most = ours().filter_map(|row| row.number("n")).max_by(f64::total_cmp)?;
    let bytes = ours().filter(|row| row.number("n") == Some(most)).filter_map(|row| row.number("bytes"));
    let bytes = bytes.max_by(f64::total_cmp)?;
    let shown = format!("{} bytes each of {}", number(bytes, 0), number(most, 0));
    Some(Outcome { shown, reached: bytes <= 1024.0 })
}
