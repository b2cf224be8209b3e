//! The whole stack with somebody who listens: a tracing subscriber, a metrics recorder, or both. Neither can be removed
//! again, so they are in another process, of the same program, that makes a round whenever it is asked for one.
//!
//! What a subscriber takes for two spans is its own affair. How much that is without this crate shows a bare call inside
//! of two spans made by hand, with the same fields.

use crate::{bed::Bed, ours, row::Row};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{
    fmt,
    future::Future,
    io::{self, BufRead, BufReader, Write},
    pin::{Pin, pin},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};
use tower::Service;
use tracing::{Level, Span, debug_span, field::Empty, level_filters::LevelFilter};
use tracing_subscriber::{layer::SubscriberExt, util::SubscriberInitExt};

/// The argument that makes this process the other one.
pub const ARGUMENT: &str = "--observed-by";

/// What they listen to.
#[derive(Clone, Copy)]
pub enum To {
    Failover,
    SpansByHand,
}

impl To {
    const ALL: [Self; 2] = [Self::Failover, Self::SpansByHand];

    fn name(self) -> &'static str {
        match self {
            Self::Failover => "failover",
            Self::SpansByHand => "two spans by hand",
        }
    }
}

/// Who listens, and to what.
pub const OBSERVED: [(To, &str); 7] = [
    (To::Failover, "tracing"),
    (To::Failover, "metrics"),
    (To::Failover, "tracing and metrics"),
    (To::Failover, "spans"),
    (To::Failover, "registry"),
    (To::SpansByHand, "spans"),
    (To::SpansByHand, "registry"),
];

/// The row of something with such observers.
pub fn row(to: To, observers: &str) -> io::Result<Row> {
    let mut other = Other::start(to, observers)?;
    let allocs = other.ask("allocations")?;
    Ok(Row::new(format!("{}, {observers}", to.name()), allocs, move |threads, calls| {
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
    fn start(to: To, observers: &str) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let mut other = Command::new(program);
        let other = other.args([ARGUMENT, observers, to.name()]).stdin(Stdio::piped()).stdout(Stdio::piped());
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
pub fn answer(observers: &str, to: &str) -> io::Result<()> {
    if observers.contains("tracing") {
        tracing_subscriber::fmt().with_max_level(Level::INFO).with_writer(io::sink).init();
    }
    if observers.contains("spans") {
        tracing_subscriber::fmt().with_max_level(Level::DEBUG).with_writer(io::sink).init();
    }
    if observers.contains("registry") {
        tracing_subscriber::registry().with(LevelFilter::DEBUG).init();
    }
    let recorder = observers.contains("metrics").then(|| PrometheusBuilder::new().install_recorder());
    let recorder = recorder.transpose().map_err(io::Error::other)?;
    let bed = Rc::new(Bed::new());
    let mut row = match To::ALL.into_iter().find(|known| known.name() == to) {
        Some(To::Failover) => Row::calls(&bed, observers, &ours::failover(ours::Client), 1),
        Some(To::SpansByHand) => Row::calls(&bed, observers, &InSpans, 1),
        None => return Err(io::Error::other(format!("what is {to}?"))),
    };
    for line in io::stdin().lines() {
        let line = line?;
        let answer = match line.split_once(' ') {
            Some((threads, calls)) => {
                let (threads, calls) = (threads.parse(), calls.parse());
                row.run(threads.map_err(io::Error::other)?, calls.map_err(io::Error::other)?).as_secs_f64()
            }
            None => row.allocs,
        };
        println!("{answer}");
        // An exporter does so every few seconds, or what it has recorded would only grow.
        recorder.iter().for_each(|recorder| recorder.run_upkeep());
    }
    Ok(())
}

/// A client that is asked inside of two spans, with the fields that this crate's have.
#[derive(Clone)]
struct InSpans;

impl Service<u64> for InSpans {
    type Response = u64;
    type Error = fmt::Error;
    type Future = Asked;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), fmt::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Asked {
        let span = debug_span!(
            "failover",
            otel.kind = "internal",
            otel.status_code = Empty,
            gen_ai.request.model = Empty,
            gen_ai.response.model = Empty,
            error.type = Empty,
            key = Empty,
            outcome = Empty,
            attempts = Empty,
        );
        Asked(request, span)
    }
}

struct Asked(u64, Span);

impl Future for Asked {
    type Output = Result<u64, fmt::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self(request, request_span) = &*self;
        let inside = request_span.enter();
        request_span.record("gen_ai.request.model", "flux-schnell");
        let span = debug_span!(
            "attempt",
            otel.kind = "client",
            otel.status_code = Empty,
            gen_ai.request.model = "flux-schnell",
            gen_ai.provider.name = "nexa",
            server.address = "nexa.internal",
            http.request.resend_count = Empty,
            http.response.status_code = Empty,
            error.type = Empty,
            model = "flux-schnell",
            outcome = Empty,
        );
        let answer = span.in_scope(|| pin!(ours::Client.call(*request)).poll(cx));
        span.record("outcome", "success");
        drop((span, inside));
        request_span.record("outcome", "answered");
        request_span.record("attempts", 1);
        request_span.record("gen_ai.response.model", "flux-schnell");
        answer
    }
}
