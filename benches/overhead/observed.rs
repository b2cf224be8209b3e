//! The whole stack with somebody who listens: a tracing subscriber, a metrics recorder, or both. Neither can be removed
//! again, so they are in another process, of the same program, that makes a round whenever it is asked for one.

use crate::{bed::Bed, ours, row::Row};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{
    io::{self, BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    rc::Rc,
    time::Duration,
};
use tracing::Level;

/// The argument that makes this process the other one.
pub const ARGUMENT: &str = "--observed-by";

/// Who listens.
pub const OBSERVERS: [&str; 3] = ["tracing", "metrics", "tracing and metrics"];

/// The row of such observers.
pub fn row(observers: &str) -> io::Result<Row> {
    let mut other = Other::start(observers)?;
    let allocs = other.ask("allocations")?;
    Ok(Row::new(format!("failover, {observers}"), allocs, move |threads, calls| {
        Duration::from_secs_f64(other.ask(&format!("{threads} {calls}")).expect("the other process answers"))
    }))
}

/// Ends with its input, which is when the process that asks does.
struct Other {
    child: Child,
    ask: ChildStdin,
    answer: BufReader<ChildStdout>,
}

impl Other {
    fn start(observers: &str) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut other = Command::new(program);
        let other = other.args([ARGUMENT, observers]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = other.spawn()?;
        let (ask, answer) = child.stdin.take().zip(child.stdout.take()).expect("both are pipes");
        Ok(Self { child, ask, answer: BufReader::new(answer) })
    }

    fn ask(&mut self, what: &str) -> io::Result<f64> {
        writeln!(self.ask, "{what}")?;
        let mut line = String::new();
        self.answer.read_line(&mut line)?;
        line.trim().parse().map_err(io::Error::other)
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other process.
pub fn answer(observers: &str) -> io::Result<()> {
    if observers.contains("tracing") {
        tracing_subscriber::fmt().with_max_level(Level::INFO).with_writer(io::sink).init();
    }
    let recorder = observers.contains("metrics").then(|| PrometheusBuilder::new().install_recorder());
    let recorder = recorder.transpose().map_err(io::Error::other)?;
    let bed = Rc::new(Bed::new());
    let service = ours::failover(ours::Client);
    let allocs = bed.allocations(service.clone(), &1, true);
    let mut row = Row::calls(&bed, observers, &service, 1);
    for line in io::stdin().lines() {
        let line = line?;
        let answer = match line.split_once(' ') {
            Some((threads, calls)) => {
                let (threads, calls) = (threads.parse(), calls.parse());
                row.run(threads.map_err(io::Error::other)?, calls.map_err(io::Error::other)?).as_secs_f64()
            }
            None => allocs,
        };
        println!("{answer}");
        // An exporter does so every few seconds, or what it has recorded would only grow.
        recorder.iter().for_each(|recorder| recorder.run_upkeep());
    }
    Ok(())
}
