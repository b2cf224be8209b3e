//! One more call, when so many lie in the window.

use crate::{
    Row,
    breakers::{self, Breaker, Came, Kind, MINUTE, Request},
    cells,
    report::Samples,
};
use std::{hint::black_box, sync::OnceLock, time::Duration};
use tokio::time::Instant;

const MEASURE: &str = "recording with n calls in the window";
const CALLS: [usize; 5] = [100, 1_000, 10_000, 100_000, 1_000_000];
/// Time after which a window is filled anew, before the first calls are too old.
const FRESH: Duration = Duration::from_secs(30);
/// So much work in a round, and so often, until the median is of many short timings.
const ROUND: Duration = Duration::from_millis(30);
const TIMINGS: usize = 50;
/// A time window of tower-resilience looks at every call in it: with more than these the fill would take minutes.
const MOST_OF_TIME_WINDOW: usize = 100_000;

/// For numbers up to this one.
pub(crate) fn rows(most: usize, skipped: &mut Vec<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    for calls in CALLS.into_iter().filter(|calls| *calls <= most) {
        rows.push(row(breakers::ours(), calls, None));
        let failing = Kind { name: "tower-failover, every tenth fails", ..breakers::ours() };
        rows.push(row(failing, calls, Some(10)));
        rows.push(row(breakers::tower_resilience_count(), calls, None));
        if calls <= MOST_OF_TIME_WINDOW {
            rows.push(row(breakers::tower_resilience_time(MINUTE), calls, None));
        } else {
            skipped.push(format!("tower-resilience, time window: {MEASURE}, n {calls}: its fill would take minutes"));
        }
        rows.push(row(breakers::failsafe_defaults(), calls, None));
        rows.push(row(breakers::failsafe_consecutive(), calls, None));
        rows.push(row(breakers::recloser(), calls, None));
    }
    rows
}

fn row<B: Breaker>(kind: Kind<B>, calls: usize, every: Option<usize>) -> Row {
    let name = kind.name;
    let mut window = Window { kind, calls, every, filled: None };
    Row { cells: cells(name, MEASURE, ("n", calls)), run: Box::new(move || window.round()) }
}

struct Window<B> {
    kind: Kind<B>,
    /// How many calls are to lie in it.
    calls: usize,
    /// Every so many fail.
    every: Option<usize>,
    filled: Option<Filled<B>>,
}

struct Filled<B> {
    breaker: B,
    /// How many calls lie in it.
    count: usize,
    since: Instant,
}

impl<B: Breaker> Filled<B> {
    fn call(&mut self, count: usize, every: Option<usize>) {
        for _ in 0..count {
            self.count += 1;
            let well = every.is_none_or(|every| self.count % every != 0);
            let came = self.breaker.call(black_box(Request("", well)));
            assert_ne!(came, Came::Refused);
        }
    }
}

impl<B: Breaker> Window<B> {
    /// The median of some timings, each of a few calls: of 100 in the window hardly more can be timed.
    fn round(&mut self) -> f64 {
        let (timed, warm) = ((self.calls / 4).min(500), (self.calls / 10).min(100));
        let mut timings = Samples::default();
        let began = Instant::now();
        for _ in 0..TIMINGS {
            let is_fresh =
                |filled: &Filled<B>| filled.count <= self.calls + self.calls / 10 && filled.since.elapsed() < FRESH;
            let mut filled = self.filled.take().filter(is_fresh).unwrap_or_else(|| {
                let mut filled = Filled { breaker: (self.kind.make)(), count: 0, since: Instant::now() };
                filled.call(self.calls - timed / 2 - warm, self.every);
                assert!(filled.since.elapsed() < MINUTE, "{} calls are in the window together", self.calls);
                filled
            });
            filled.call(warm, self.every);
            let start = Instant::now();
            filled.call(timed, self.every);
            let took = start.elapsed().saturating_sub(clock());
            timings.push(took.as_secs_f64() * 1e9 / timed as f64);
            self.filled = Some(filled);
            if began.elapsed() >= ROUND {
                break;
            }
        }
        timings.median()
    }
}

/// What timing nothing takes.
fn clock() -> Duration {
    static CLOCK: OnceLock<Duration> = OnceLock::new();
    *CLOCK.get_or_init(|| {
        let mut nothing = [(); 1_001].map(|()| Instant::now().elapsed());
        nothing.sort();
        nothing[nothing.len() / 2]
    })
}
