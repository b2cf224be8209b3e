//! Draws the README's figures: the tables between its marks, and the chart, from what the other benches have measured.
//!
//! `benches/run` runs them all and then this. By itself, `cargo bench --bench figures` draws what is in `benches/results`,
//! and with `-- --check` it fails where the README or the chart says anything else.
//!
//! `benches/results` has a file of JSON for each of the benches `overhead`, `failover` and `growth`. What a file that is
//! not there would say is "not measured". Another folder can be named, to look at what it has: `-- --from FOLDER`; then
//! the tables go to the terminal, and the chart into that folder.

#![allow(unreachable_pub, reason = "a bench exports nothing")]

#[allow(dead_code, reason = "the timeline of the outage needs more shapes")]
#[path = "../../examples/outage/canvas.rs"]
mod canvas;
mod chart;
mod goals;
#[path = "../report/mod.rs"]
mod report;
mod results;
mod tables;

use report::Args;
use results::Results;
use std::{fs, io, path::Path};

const README: &str = "README.md";
const CHART: &str = "docs/overhead.svg";
const RESULTS: &str = "benches/results";
const BEGIN: &str = "<!-- figures:begin -->\n";
const END: &str = "<!-- figures:end -->";

fn main() -> io::Result<()> {
    let args = Args::read();
    match args.others() {
        [] => draw(&Results::read(Path::new(RESULTS))?, renew),
        [check] if check == "--check" => draw(&Results::read(Path::new(RESULTS))?, check_same),
        [from, folder] if from == "--from" => {
            let folder = Path::new(folder);
            let results = Results::read(folder)?;
            println!("{}", figures(&results));
            chart::draw(&results).map_or(Ok(()), |chart| fs::write(folder.join("overhead.svg"), chart))
        }
        others => Err(io::Error::other(format!("what is {others:?}?"))),
    }
}

/// Puts the tables where they belong, and the chart.
fn draw(results: &Results, put: fn(&str, &str) -> io::Result<()>) -> io::Result<()> {
    let text = fs::read_to_string(README)?;
    let parts = text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let (head, tail) = parts.ok_or_else(|| io::Error::other(format!("{README} has no place for the figures")))?;
    put(README, &format!("{head}{BEGIN}{}{END}{tail}", figures(results)))?;
    chart::draw(results).map_or(Ok(()), |chart| put(CHART, &chart))
}

fn renew(path: &str, text: &str) -> io::Result<()> {
    fs::write(path, text)
}

fn check_same(path: &str, text: &str) -> io::Result<()> {
    match fs::read_to_string(path)? == text {
        true => Ok(()),
        false => Err(io::Error::other(format!("{path} is not what {RESULTS} says: cargo bench --bench figures"))),
    }
}

fn figures(results: &Results) -> String {
    let goals = tables::goals(&goals::all(), results);
    [Some(goals)].into_iter().chain(tables::peers(results)).flatten().map(|table| format!("{table}\n")).collect()
}
