//! What one call costs: bare, behind a breaker, behind the whole stack; what each candidate costs that the whole stack
//! passes over because a breaker is open; and what the peers cost.
//!
//! `cargo bench --bench overhead`, with `-- --json` for machines; `-- --quick` shows that it runs.
//!
//! Machines are noisy, and some change their pace every few seconds: short rounds of all rows are interleaved, each row is
//! the median of its rounds, and what counts is a row over another, which is taken within each round and is the median of
//! that. The unit is a reading of the monotonic clock (`clock`, on one thread).
//!
//! - Each row is measured on one thread, and on two that share its model; `ns` is elapsed time by all calls, so a row that
//!   scales has half of it on two. The calls are made by tasks, one on each worker of a tokio runtime with timers.
//! - `over_bare_clock_reads` is a row over `bare` on as many threads. HTTP rows are over `bare, HTTP`, which clones the
//!   same request, and rows that are pending once over `bare, pending once`.
//! - Everything of the request is in the figures, from the call to the drop of its
//!   [`Served`](tower_failover::Served).
//! - `allocs` is of one call, in steady state. The counting allocator makes each allocation some nanoseconds slower, here
//!   and with the peers: `one allocation` is what one costs with it, made and freed.
//! - With `tracing` (a subscriber at INFO that writes its lines to nowhere) and `metrics` (an exporter's recorder) the
//!   stack is in another process of this program, for neither can be removed again. With `spans` the subscriber is at DEBUG,
//!   where this crate's spans are; `registry` is one that keeps them and writes nothing. `two spans by hand` is what a
//!   subscriber takes for a bare call inside of two spans like this crate's.
//!
//! The candidates that are skipped come before the one that answers. Real failures have opened their breakers, for an
//! hour: no wait elapses, and as no wait has doubled none ends early. They are refused by their own breakers, as models
//! of six providers or of one; or by that of their one provider, which is down, while another's model answers. `ns_each`
//! is for each that is skipped.
//!
//! The [`peers`] are set up as they come ("defaults") and as near to this crate's defaults as they can be ("as ours"). As
//! ours, tower-resilience's breaker keeps each call of the last 60 s and looks at all of them at each: it is made anew
//! for each round of at most 1,000 calls, which is 17 a second; `cargo bench --bench growth` has more of them.

#![allow(unreachable_pub, reason = "a bench exports nothing")]

mod bed;
mod observed;
mod ours;
#[path = "../peers/mod.rs"]
mod peers;
#[path = "../report/mod.rs"]
mod report;
mod row;
mod theirs;

use bed::Bed;
use ours::{Client, Late, Open};
use report::{Args, Column, Report, cell};
use row::Row;
use serde_json::json;
use std::{hint::black_box, io, rc::Rc, time::Duration};
use tokio::time::Instant;

const ROUNDS: usize = 301;
const ROUND: Duration = Duration::from_millis(2);

const COLUMNS: &[Column] = &[
    Column { key: "name", title: "", digits: 0 },
    Column { key: "threads", title: "threads", digits: 0 },
    Column { key: "ns", title: "ns", digits: 1 },
    Column { key: "spread", title: "spread", digits: 2 },
    Column { key: "allocs", title: "allocations", digits: 2 },
    Column { key: "over_bare_clock_reads", title: "over bare, in clocks", digits: 2 },
    Column { key: "ns_each", title: "ns for each skipped", digits: 1 },
];

fn main() -> io::Result<()> {
    let args = Args::read();
    match args.others() {
        [] => {}
        [argument, observers, to] if argument == observed::ARGUMENT => return observed::answer(observers, to),
        others => return Err(io::Error::other(format!("what is {others:?}?"))),
    }
    let bed = Rc::new(Bed::new());
    let mut rows = rows(&bed)?;
    theirs::rows(&bed, &mut rows);

    let round = if args.quick { ROUND / 10 } else { ROUND };
    rows.iter_mut().for_each(|row| row.calibrate(round));
    for _ in 0..args.rounds(ROUNDS) {
        rows.iter_mut().for_each(Row::round);
    }
    report(&rows).finish(&args);
    Ok(())
}

/// Those of this crate, after what they are measured by.
fn rows(bed: &Rc<Bed>) -> io::Result<Vec<Row>> {
    let mut rows = vec![
        repeated(bed, "clock", 0.0, || _ = black_box(Instant::now())),
        repeated(bed, "one allocation", 1.0, || _ = black_box(Box::new(1_u64))),
        Row::calls(bed, "bare", &Client, 1),
        Row::calls(bed, "breaker", &ours::breaker(), 1),
        Row::calls(bed, "breaker + health", &ours::breaker_and_health(), 1),
        Row::calls(bed, "failover", &ours::failover(Client), 1),
    ];
    for (to, observers) in observed::OBSERVED {
        rows.push(observed::row(to, observers)?);
    }
    let request = ours::http_request();
    rows.extend([
        Row::calls(bed, "bare, HTTP", &Client, request.clone()).over("bare, HTTP"),
        Row::calls(bed, "failover, HTTP", &ours::http(), request.clone()).over("bare, HTTP"),
        Row::calls(bed, "failover, JSON", &ours::json(), request).over("bare, HTTP"),
        Row::calls(bed, "bare, pending once", &Late, 1).over("bare, pending once"),
        Row::calls(bed, "failover, pending once", &ours::failover(Late), 1).over("bare, pending once"),
        Row::refused(bed, "breaker, rejected", &ours::open_breaker(), 1),
        Row::refused(bed, "failover, all open", &ours::all_open(), 0),
    ]);
    let open = [
        ("of six providers", Open::Models { providers: 6 }),
        ("of one provider", Open::Models { providers: 1 }),
        ("of a provider that is down", Open::Provider),
    ];
    for (whose, open) in open {
        let name = |skipped| format!("failover, {skipped} skipped {whose}");
        for skipped in [0, 1, 10, 59] {
            rows.push(Row::calls(bed, name(skipped), &ours::skips(skipped, open), 1).skips(name(0), skipped));
        }
    }
    Ok(rows)
}

/// The row of something that is no call.
fn repeated(bed: &Rc<Bed>, name: &str, allocs: f64, what: fn()) -> Row {
    let bed = Rc::clone(bed);
    Row::new(name, allocs, move |threads, times| {
        bed.elapsed(threads, || async move { (0..times).for_each(|_| what()) })
    })
}

fn report(rows: &[Row]) -> Report {
    let of = |name: &str| rows.iter().find(|row| row.name == name).expect("there is such a row");
    let clock = of("clock").samples(1);
    let mut report = Report::new(COLUMNS);
    for row in rows {
        for threads in [1, 2] {
            let samples = row.samples(threads);
            let over = |name: &str| samples.with(of(name).samples(threads), |own, base| own - base);
            let mut cells = vec![
                ("name", json!(row.name)),
                ("threads", json!(threads)),
                ("ns", cell(samples.median(), 2)),
                ("spread", cell(samples.spread(), 3)),
                ("allocs", cell(row.allocs, 3)),
                ("over_bare_clock_reads", cell(over(row.base).with(clock, |over, clock| over / clock).median(), 3)),
            ];
            if let Some((none, skipped @ 1..)) = &row.skips {
                cells.push(("ns_each", cell(over(none).median() / f64::from(*skipped), 2)));
            }
            report.row(cells);
        }
    }
    report
}
