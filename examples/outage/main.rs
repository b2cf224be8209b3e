//! An outage on real sockets, and two clients that live through it at the same time: the loop
//! that people write by hand, and this crate with its default breakers.
//!
//! `cargo run --release --example outage` takes 45 s and nothing but loopback. It prints a table
//! and draws a timeline. `--json` adds the figures as the last line, `--check` makes the exit
//! code tell whether all that is promised holds, `--readme` renews the figures and the picture of
//! the README.

#![allow(unreachable_pub, reason = "modules of a program")]

mod audit;
mod canvas;
mod clients;
mod failover;
mod files;
mod load;
mod measure;
mod panels;
mod progress;
mod readme;
mod report;
mod schedule;
mod scrape;
mod servers;
mod style;
mod svg;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs, io};

use tokio::time::Instant;

use audit::Audit;
use clients::{Wire, loop_once};
use failover::{Failover, failover_once};
use load::{Record, Sample};
use measure::Figures;
use report::Side;
use scrape::{Exporter, Scrapes};
use servers::Servers;
use svg::Panel;

const USAGE: &str = "usage: outage [--json] [--check] [--readme]";
/// Time to get everything up before the run begins.
const SETTLE: Duration = Duration::from_millis(300);

#[derive(Default)]
struct Options {
    json: bool,
    check: bool,
    readme: bool,
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(complaint) => {
            eprintln!("{complaint}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    files::allow_many();
    match outage(&options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("the run came to nothing: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options::default();
    for argument in env::args().skip(1) {
        match argument.as_str() {
            "--json" => options.json = true,
            "--check" => options.check = true,
            "--readme" => options.readme = true,
            other => return Err(format!("I do not know {other:?}")),
        }
    }
    Ok(options)
}

#[tokio::main]
async fn outage(options: &Options) -> io::Result<ExitCode> {
    let run = Run::new().await?;
    let (plain, mut failover) = (run.plain.side(), run.failover.side());
    failover.scraped = run.scrapes.faults(&run.failover.records);
    let picture = draw(&run, &plain.figures, &failover.figures)?;

    println!("{}", report::table(&plain, &failover));
    println!("\nthe timeline is in {}", picture.display());
    if options.readme {
        readme::renew(&report::figures(&plain.figures, &failover.figures).join("\n"), &picture)?;
    }
    let kept = report::holds(&plain, &failover).iter().all(|hold| hold.kept);
    if options.json {
        let (plain, failover) = (plain.figures.json(), failover.figures.json());
        println!("{}", serde_json::json!({"loop": plain, "failover": failover}));
    }
    Ok(if options.check && !kept { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// All that was recorded.
struct Run {
    plain: Recorded,
    failover: Recorded,
    samples: Vec<Sample>,
    scrapes: Scrapes,
}

/// What one client and its servers have to tell.
struct Recorded {
    records: Vec<Record>,
    seen: Vec<servers::Seen>,
}

impl Run {
    /// Lives through the outage.
    async fn new() -> io::Result<Self> {
        let exporter = Exporter::install()?;
        let start = Instant::now() + SETTLE;
        let plain_servers = Servers::start(start)?;
        let failover_servers = Servers::start(start)?;
        let plain = Arc::new(Wire::new(plain_servers.bases.clone(), start));
        let failover = Wire::new(failover_servers.bases.clone(), start);
        let failover = Arc::new(Failover::new(failover));
        let ours = load::drive(start, Arc::clone(&failover), |client| async move { failover_once(&client).await });
        let (plain, (ours, scrapes), samples, ()) = tokio::join!(
            load::drive(start, plain, |wire| async move { loop_once(&wire).await }),
            exporter.watch(failover.models(), ours),
            load::watch(start, &failover),
            progress::show(start),
        );
        Ok(Self {
            plain: Recorded { records: plain, seen: plain_servers.stop().await? },
            failover: Recorded { records: ours, seen: failover_servers.stop().await? },
            samples,
            scrapes,
        })
    }
}

impl Recorded {
    fn side(&self) -> Side {
        Side { figures: Figures::of(&self.records), audit: Audit::of(&self.records, &self.seen), scraped: Vec::new() }
    }
}

fn draw(run: &Run, plain: &Figures, failover: &Figures) -> io::Result<PathBuf> {
    let panels = [
        Panel { name: "the loop", remark: "remembers nothing", records: &run.plain.records, figures: plain },
        Panel { name: "tower-failover", remark: "default breakers", records: &run.failover.records, figures: failover },
    ];
    let directory = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    let path = directory.join("outage.svg");
    fs::write(&path, svg::timeline(panels, &run.samples))?;
    Ok(path)
}
