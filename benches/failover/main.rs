//! What failover costs where it is used: around a real hyper client, against real hyper servers, over loopback sockets.
//!
//! `cargo bench --bench failover`, about two and a half minutes. `-- --quick` is a few seconds, to see that it runs; `-- --json` ends
//! with one JSON object on the last line.
//!
//! The client is hyper-util's, over HTTP/1.1 with keep-alive. The servers answer at once, but for one, and so what a layer adds is
//! compared with the least that a request can take. They share the client's thread: with two threads it is the scheduler's
//! whim whether they share a core, and a request takes 25 µs or 100 µs by it. `-- --apart` gives them a thread of their own
//! all the same. A time is from the call to the last byte of the answer's body; the requests are made before it begins.
//! Every answer is checked for who gave it: a wrong one ends the run.
//!
//! - `latency`, healthy primary: one request after another, over one and the same connection. In each turn every row asks
//!   once, in random order, so that whatever the machine does hits all alike. `bare` is the client with nothing around it,
//!   and `bare again` the same once more: what lies between the two is noise.
//! - `throughput`, healthy primary: 64 requests under way all the time.
//! - `first failed over`, `thousandth`: the primary refuses connections, answers 503, or accepts and never answers. What
//!   the first request takes of a stack just born, which gets its answer from the fallback; and the thousandth, after 998
//!   others of which 100 were under way at once. An attempt may take 1 s, at the hanging primary 100 ms.
//! - `long dead`: those after the thousandth, one after another, in turns with `fallback directly`, which asks nobody else.
//!   Rows that still wait for a dead primary ask less often.
//!
//! A run in which the same against itself differs by more than 5 % is repeated, twice at the most: in p50 or p99, and in p50
//! alone where the primary is dead. Lines above the table say how it went; by the rows of a last run that was not calm
//! either, nothing is to be judged.
//!
//! The rows beside ours are stacks of tower-resilience and of `tower::retry` with `tower::timeout`, as their documentation
//! puts them together, and the loop that people write by hand; see `stacks.rs`. All share one client.
//!
//! Columns: p50, p99 and p99.9 are of all requests together. `over p50` is the median over that of `bare`, or of `fallback
//! directly` where the primary is dead, and is the median of the rounds; `over p99` is of all requests together, since in
//! one round there are too few beyond it. Of throughput, `over p50` is the rate over that of `bare`, and is the median of the
//! rounds. The spread is between the quartiles of the rounds: of their ratios in a row that is compared, and of their
//! medians in the row that it is compared with.
//!
//! # Against your own upstreams
//!
//! ```sh
//! cargo bench --bench failover -- --url http://nexa.internal/v1 --url http://egress.internal/openai/v1 \
//!     --model flux-schnell --model dall-e-3 --path /images/generations --body '{"model": "", "prompt": "a dashboard"}' \
//!     --rate 20 --requests 500
//! ```
//!
//! asks the first of them, by the bare client and through the layer, at that rate, whatever became of the requests before:
//! what the layer adds to the latency there. They must be well: an answer that is no 2xx, or that a fallback gave, ends the
//! run. HTTP and HTTPS, HTTP/1.1; no credentials are sent. Mind that each request may cost money.

#[allow(unreachable_pub, reason = "shared by all benches")]
#[path = "../report/mod.rs"]
mod report;

mod contender;
mod dead;
mod healthy;
mod measure;
mod own;
mod servers;
mod stacks;

use own::{Own, USAGE};
use report::{Args, Column, Report};
use servers::Servers;
use std::process::ExitCode;
use tokio::runtime::Builder;

const COLUMNS: &[Column] = &[
    Column { key: "name", title: "", digits: 0 },
    Column { key: "primary", title: "primary", digits: 0 },
    Column { key: "measure", title: "measure", digits: 0 },
    Column { key: "p50_us", title: "p50, µs", digits: 1 },
    Column { key: "p99_us", title: "p99, µs", digits: 1 },
    Column { key: "p999_us", title: "p99.9, µs", digits: 1 },
    Column { key: "over_bare_p50", title: "over p50", digits: 3 },
    Column { key: "over_bare_p99", title: "over p99", digits: 3 },
    Column { key: "requests_per_s", title: "requests/s", digits: 0 },
    Column { key: "spread", title: "spread", digits: 3 },
];

fn main() -> ExitCode {
    let args = Args::read();
    let (apart, others): (Vec<String>, Vec<String>) = args.others().iter().cloned().partition(|arg| arg == "--apart");
    let own = match Own::parse(&others) {
        Ok(own) => own,
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let mut report = Report::new(COLUMNS);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let result = runtime.block_on(async {
        if let Some(own) = own {
            return own.measure(&mut report).await;
        }
        let servers = Servers::start(!apart.is_empty());
        healthy::latency(&servers, args.quick, &mut report).await;
        healthy::unhurried(&servers, args.quick, &mut report).await;
        healthy::throughput(&servers, args.quick, &mut report).await;
        dead::all(&servers, args.quick, &mut report).await;
        Ok(())
    });
    if let Err(error) = result {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    report.finish(&args);
    ExitCode::SUCCESS
}
