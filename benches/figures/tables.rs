//! The tables, in Markdown: what was to be reached, and ours beside the peers.

use crate::{
    goals::{
        BREAKER, BREAKERS, DEAD, Goal, OPENING, OURS, RECORDING, RESILIENCE_STACKS, RETRIES, STACK, THREADS, UNHURRIED,
        percent,
    },
    report::number,
    results::Results,
};

/// A machine with two cores to give reads the clock on two threads in half the time.
const BUSY: f64 = 0.7;

/// The figures to reach.
pub fn goals(goals: &[Goal], results: &Results) -> String {
    let mut table = String::from("| what | reach | measured | reached |\n| --- | --- | --- | --- |\n");
    for Goal { what, reach, measure, reason } in goals {
        let (shown, reached) = match measure(results) {
            None => ("not measured".to_owned(), "–".to_owned()),
            Some(outcome) if outcome.reached => (outcome.shown, "yes".to_owned()),
            Some(outcome) if reason.is_empty() => (outcome.shown, "**no**".to_owned()),
            Some(outcome) => (outcome.shown, format!("**no**: {reason}")),
        };
        table += &format!("| {what} | {reach} | {shown} | {reached} |\n");
    }
    if let Some(ratio) = results.cost("clock", 2).zip(results.clock()).map(|(two, one)| two.ns / one) {
        if ratio > BUSY {
            table += &format!(
                "\nOn two threads the clock itself took {} of what it takes on one, by elapsed time ÷ readings, where a \
                 machine that has two cores to give comes to 0.5: the rows on two threads say little.\n",
                number(ratio, 2)
            );
        }
    }
    table
}

/// A cell: what it says, and the smaller the better.
type Cell = Option<(String, f64)>;

/// Ours beside the peers, where there is anything to say.
pub fn peers(results: &Results) -> [Option<String>; 5] {
    [breakers(results), stacks(results), loopback(results), failing_over(results), growth(results)]
}

type Row = (String, Vec<Cell>);

/// What one call costs over bare, in readings of the clock.
fn reads(results: &Results, name: &str, threads: u32) -> Cell {
    results.cost(name, threads).map(|cost| (number(cost.over, 1), cost.over))
}

fn allocations(results: &Results, name: &str) -> Cell {
    results.cost(name, 1).map(|cost| (number(cost.allocs, 0), cost.allocs.round()))
}

fn breakers(results: &Results) -> Option<String> {
    let row = |(label, name, rejected): (&str, &str, &str)| -> Row {
        let cells = vec![
            reads(results, name, 1),
            reads(results, name, 2),
            allocations(results, name),
            // Whatever its settings, a peer refuses in one way.
            reads(results, &format!("{rejected}, rejected"), 1),
        ];
        (label.to_owned(), cells)
    };
    let peers = BREAKERS.map(|name| (name, name, name.split(", ").next().unwrap_or(name)));
    let rows = [(OURS, BREAKER, BREAKER)].into_iter().chain(peers).map(row);
    let columns = ["one thread", "two threads", "allocations", "rejected"];
    some_table("a breaker alone, over bare, in reads of the clock", &columns, rows.collect())
}

fn stacks(results: &Results) -> Option<String> {
    let row = |(label, name, late, open): (&str, &str, &str, &str)| -> Row {
        let cells = vec![
            reads(results, name, 1),
            reads(results, name, 2),
            allocations(results, name),
            reads(results, late, 1),
            reads(results, open, 1),
        ];
        (label.to_owned(), cells)
    };
    let [[resilience, resilience_as_ours], [retry, retry_as_ours]] = [RESILIENCE_STACKS, RETRIES];
    let rows = [
        (OURS, STACK, "failover, pending once", "failover, 1 skipped of six providers"),
        (resilience, resilience, "tower-resilience stack, pending once", "tower-resilience stack, primary open"),
        (resilience_as_ours, resilience_as_ours, "", ""),
        (retry, retry, "tower::retry + timeout, pending once", ""),
        (retry_as_ours, retry_as_ours, "", ""),
    ];
    let columns = ["one thread", "two threads", "allocations", "pending once", "the first one open"];
    some_table("the whole stack, over bare, in reads of the clock", &columns, rows.map(row).into())
}

/// What is asked for over sockets; the bare client once more is there to show the noise.
const LOOPBACK: [&str; 5] = [OURS, "tower-resilience", "tower::retry", "hand-written loop", CONTROL];
const CONTROL: &str = "bare again";

fn loopback(results: &Results) -> Option<String> {
    let bare = results.loopback("bare", "healthy", "throughput", "requests_per_s");
    let rows = LOOPBACK.map(|name| {
        let over =
            |primary, measure, key| results.loopback(name, primary, measure, key).map(|ratio| (percent(ratio), ratio));
        let throughput = results.loopback(name, "healthy", "throughput", "requests_per_s").zip(bare);
        let throughput = throughput.map(|(ours, bare)| (percent(ours / bare), -ours));
        let [p50, p99] = ["over_bare_p50", "over_bare_p99"].map(|key| over("healthy", "latency", key));
        let unhurried = over(UNHURRIED, "latency", "over_bare_p50");
        let [refusing, status, hanging] = DEAD.map(|primary| over(primary, "long dead", "over_bare_p50"));
        (name.to_owned(), vec![p50, p99, unhurried, throughput, refusing, status, hanging])
    });
    let columns =
        ["p50", "p99", "takes 5 ms, p50", "throughput", "long refusing, p50", "long 503, p50", "long hanging, p50"];
    some_table("loopback, over the bare client, or the fallback asked directly", &columns, rows.into())
}

/// How long a request takes that finds the primary dead.
fn failing_over(results: &Results) -> Option<String> {
    let rows = LOOPBACK.into_iter().filter(|name| *name != CONTROL).map(|name| {
        let ms = |measure, primary| {
            let ms = results.loopback(name, primary, measure, "p50_us")? / 1_000.0;
            Some((format!("{} ms", number(ms, if ms < 10.0 { 2 } else { 0 })), ms))
        };
        let cells =
            ["first failed over", "thousandth"].into_iter().flat_map(|measure| DEAD.map(|dead| ms(measure, dead)));
        (name.to_owned(), cells.collect())
    });
    let columns = ["first, refusing", "503", "hanging", "thousandth, refusing", "503", "hanging"];
    some_table("failing over on loopback, p50", &columns, rows.collect())
}

fn growth(results: &Results) -> Option<String> {
    let mut names = Vec::new();
    for row in [RECORDING, OPENING, THREADS].into_iter().flat_map(|measure| results.growth(measure)) {
        if !names.contains(&row.text("name")) {
            names.push(row.text("name"));
        }
    }
    let rows = names.into_iter().map(|name| {
        let ns = |measure, key, value| results.grown(name, measure, key, value)?.number("ns");
        let recording = |n| {
            let ratio = ns(RECORDING, "n", n)? / ns(RECORDING, "n", 100.0)?;
            Some((format!("{}×", number(ratio, 1)), ratio))
        };
        let failures = |n| {
            let failures = results.grown(name, OPENING, "n", n)?.number("failures");
            Some(failures.map_or_else(|| ("never".to_owned(), f64::MAX), |failures| (number(failures, 0), failures)))
        };
        let threads = |threads| {
            let ratio = ns(THREADS, "threads", threads)? / ns(THREADS, "threads", 1.0)?;
            Some((format!("{}×", number(ratio, 2)), ratio))
        };
        let cells = vec![recording(1e5), recording(1e6), failures(0.0), failures(1e6), threads(2.0), threads(8.0)];
        (name.to_owned(), cells)
    });
    let columns =
        ["10⁵ calls in the window, to 100", "10⁶", "failures to open", "after 10⁶ successes", "2 threads, to one", "8"];
    some_table("how it grows", &columns, rows.collect())
}

/// Nothing where nothing was measured.
fn some_table(what: &str, columns: &[&str], rows: Vec<Row>) -> Option<String> {
    let rows: Vec<_> = rows.into_iter().filter(|(_, cells)| cells.iter().any(Option::is_some)).collect();
    (!rows.is_empty()).then(|| table(what, columns, rows))
}

/// The best of each column is bold, and whatever looks the same.
fn table(what: &str, columns: &[&str], rows: Vec<Row>) -> String {
    let mut out = format!("| {what} | {} |\n| --- |{}\n", columns.join(" | "), " ---: |".repeat(columns.len()));
    let contenders = || rows.iter().filter(|(name, _)| name != CONTROL);
    let best: Vec<Cell> = (0..columns.len())
        .map(|column| {
            contenders().filter_map(|(_, cells)| cells[column].clone()).min_by(|one, two| one.1.total_cmp(&two.1))
        })
        .collect();
    for (name, cells) in &rows {
        out += &format!("| {name} |");
        for (cell, best) in cells.iter().zip(&best) {
            out += &match (cell, best) {
                (None, _) => " |".to_owned(),
                (Some((shown, _)), Some((best, _))) if shown == best && name != CONTROL => format!(" **{shown}** |"),
                (Some((shown, _)), _) => format!(" {shown} |"),
            };
        }
        out.push('\n');
    }
    out
}
