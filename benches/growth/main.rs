//! How cost grows: with the calls in a window, with the keys, with the healthy calls before an outage, with the threads.
//! For ours and for the peers.
//!
//! `cargo bench --bench growth`, with `-- --json` for machines, with `-- --quick` to see that it runs.
//!
//! The service inside is ready at once and answers at once. Rounds of all rows of a measure are interleaved, each row is
//! the median of its rounds with its spread (the distance between the quartiles, as a share of the median), and what counts
//! is a row over another. How each breaker is set up is said in `breakers.rs`.
//!
//! - **recording with n calls in the window**: one more call, in ns, when `n` lie in a window of 60 s. It is filled as
//!   fast as it goes, and anew after 30 s, so that none of them is too old; what would take minutes is left out, and
//!   said to be. A breaker without a window of time has had `n` calls. What is timed makes `n` a sixth larger, or a
//!   quarter smaller, at the most. In the row `every tenth fails` one call in ten does, of those that are timed too.
//! - **keyed models**: `n` keys, each with a breaker of its own. Bytes are what a counting allocator has handed out and
//!   not got back, for each key, the table and the key's name included: as made, and once a call of each key has
//!   succeeded, where that takes more. Time is that of one call to a random key among them, by one thread, after that.
//!   Ours is [`CircuitBreakerLayer::keyed`](tower_failover::CircuitBreakerLayer::keyed); a peer has no keys, so it gets
//!   a `RwLock<HashMap<String, _>>`, whose breaker is cloned for the call, and what breakers can share they do. What
//!   there is without any key is not counted.
//! - **failures to open after n successes**: then all calls fail, until one is refused. One call comes every 10 ms by
//!   the breaker's own clock, where that can be moved: tokio's, and that of failsafe. What counts calls does not look
//!   at it. The clock of tower-resilience cannot be moved: its time window lives a thousand times faster, 60 ms, with a
//!   call every 10 µs of real time; on a busy machine fewer fit in. After 10⁷ failures, or a minute, it is said not to
//!   have opened: the cell is empty, and `null`. Ours, as made, has two rules that such calls meet: 10 calls of which
//!   half fail, and 20 failures in a row. So it is 10 with nothing before, and 20 after however much. With 4 calls a
//!   second it meets a third: 5 in a row over a second.
//! - **threads**: so many call one breaker, each by a clone, for some milliseconds: elapsed ÷ all calls. A call that is
//!   pending, for a lock, lets its thread sleep. A time window of tower-resilience is left out, as it costs what the
//!   window holds.

mod breakers;
mod keyed;
mod opening;
mod recording;
#[path = "../report/mod.rs"]
#[allow(unreachable_pub, reason = "it is a file of several benches")]
mod report;
mod threads;

use report::{Args, Column, Report, Samples, cell};
use serde_json::{Value, json};

const ROUNDS: usize = 15;

static COLUMNS: &[Column] = &[
    Column { key: "name", title: "", digits: 0 },
    Column { key: "measure", title: "measure", digits: 0 },
    Column { key: "n", title: "n", digits: 0 },
    Column { key: "threads", title: "threads", digits: 0 },
    Column { key: "ns", title: "ns/call", digits: 1 },
    Column { key: "bytes", title: "bytes/key", digits: 0 },
    Column { key: "failures", title: "failures", digits: 0 },
    Column { key: "spread", title: "spread", digits: 3 },
];

/// What is timed again and again.
struct Row {
    cells: Vec<(&'static str, Value)>,
    /// Nanoseconds of a call, in one round.
    run: Box<dyn FnMut() -> f64>,
}

fn main() {
    let args = Args::read();
    let mut report = Report::new(COLUMNS);
    let mut skipped = Vec::new();

    let up_to = |quick, n| if args.quick { quick } else { n };
    let mut rows = recording::rows(up_to(10_000, 1_000_000), &mut skipped);
    time(&mut report, &args, &mut rows);
    drop(rows);

    for keys in [1, 1_000, 100_000].into_iter().filter(|keys| *keys <= up_to(1_000, 100_000)) {
        let mut rows = keyed::rows(&keyed::names(keys), &mut report);
        time(&mut report, &args, &mut rows);
    }

    opening::add(up_to(1_000, 1_000_000), &args, &mut report);

    time(&mut report, &args, &mut threads::rows(if args.quick { 5 } else { 40 }));

    skipped.iter().for_each(|skipped| println!("left out: {skipped}"));
    report.finish(&args);
}

/// Interleaves the rounds of these rows, and reports them.
fn time(report: &mut Report, args: &Args, rows: &mut [Row]) {
    let mut rounds = vec![Samples::default(); rows.len()];
    for _ in 0..args.rounds(ROUNDS) {
        for (row, samples) in rows.iter_mut().zip(&mut rounds) {
            samples.push((row.run)());
        }
    }
    for (row, samples) in rows.iter().zip(&rounds) {
        let timed = [("ns", cell(samples.median(), 1)), ("spread", cell(samples.spread(), 3))];
        report.row(row.cells.iter().cloned().chain(timed));
    }
}

/// What every row of a measure has.
fn cells(name: &str, measure: &'static str, more: (&'static str, usize)) -> Vec<(&'static str, Value)> {
    vec![("name", json!(name)), ("measure", json!(measure)), (more.0, json!(more.1))]
}
