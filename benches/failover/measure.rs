//! Measuring several side by side.

use crate::contender::Contender;
use crate::report::{Report, Samples, cell};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

/// How many runs there are at most until one is calm.
const RUNS: usize = 3;

/// How often to ask.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// More rounds than that, if they are over sooner.
    pub(crate) at_least: Duration,
    /// Of each contender in each round.
    pub(crate) requests: usize,
}

/// The times of one contender, in microseconds.
pub(crate) struct Column {
    pub(crate) name: &'static str,
    rounds: Vec<Samples>,
    all: Samples,
}

/// Asks one after another, each as often as the others, in an order that changes with every turn: what one leaves behind,
/// and the drift of the machine, hits all alike. `seldom` says who is asked at each so manieth turn only.
pub(crate) async fn interleave(contenders: &[Contender], by: &str, effort: Effort, seldom: &[usize]) -> Vec<Column> {
    let mut columns: Vec<_> = contenders.iter().map(|contender| Column::new(contender.name)).collect();
    let mut order: Vec<_> = (0..contenders.len()).collect();
    let mut random = Random::new();
    let start = Instant::now();
    let mut rounds = 0;
    while rounds < effort.rounds || start.elapsed() < effort.at_least {
        rounds += 1;
        columns.iter_mut().for_each(Column::begin_round);
        for turn in 0..effort.requests {
            random.shuffle(&mut order);
            for &place in order.iter().filter(|place| turn % seldom[**place] == 0) {
                let contender = &contenders[place];
                columns[place].push(contender.ask().await.by(by, contender.name));
            }
        }
    }
    columns
}

impl Column {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, rounds: Vec::new(), all: Samples::default() }
    }

    pub(crate) fn begin_round(&mut self) {
        self.rounds.push(Samples::default());
    }

    pub(crate) fn push(&mut self, time: f64) {
        self.all.push(time);
        self.rounds.last_mut().expect("a round has begun").push(time);
    }

    /// Its median over that of `base`, in each round.
    fn medians_over(&self, base: &Self) -> Samples {
        let mut ratios = Samples::default();
        for (own, base) in self.rounds.iter().zip(&base.rounds) {
            ratios.push(own.median() / base.median());
        }
        ratios
    }

    /// How much its p50 and its p99 are longer than those of `base`: the first is the median of the rounds, and the second
    /// is of all rounds together, since in one there are too few beyond it.
    pub(crate) fn over(&self, base: &Self) -> [f64; 2] {
        [self.medians_over(base).median(), self.all.quantile(0.99) / base.all.quantile(0.99)]
    }

    /// The row of many requests, over the column that has asked the same upstream directly.
    pub(crate) fn row(&self, report: &mut Report, primary: &str, measure: &str, base: &Self) {
        let [p50, p99] = self.over(base);
        let is_base = std::ptr::eq(self, base);
        let spread = if is_base { self.spread_of_medians() } else { self.medians_over(base).spread() };
        report.row([
            ("name", json!(self.name)),
            ("primary", json!(primary)),
            ("measure", json!(measure)),
            ("p50_us", cell(self.all.median(), 2)),
            ("p99_us", cell(self.all.quantile(0.99), 2)),
            ("p999_us", cell(self.all.quantile(0.999), 2)),
            ("over_bare_p50", cell(p50, 4)),
            ("over_bare_p99", cell(p99, 4)),
            ("spread", cell(spread, 4)),
        ]);
    }

    fn spread_of_medians(&self) -> f64 {
        let mut medians = Samples::default();
        self.rounds.iter().for_each(|round| medians.push(round.median()));
        medians.spread()
    }
}

/// Which of the figures have to be the same where the same is measured twice.
#[derive(Clone, Copy)]
pub(crate) enum Judged {
    P50,
    P50AndP99,
}

/// Runs until the second column is the same as the first, as it has to be but for the machine's noise, or a few times.
/// Gives out the last run.
pub(crate) async fn until_calm(
    what: &str,
    judged: Judged,
    quick: bool,
    mut run: impl AsyncFnMut() -> Vec<Column>,
) -> Vec<Column> {
    let mut number = 1;
    loop {
        let columns = run().await;
        if report_calm(&format!("{what}, run {number}"), judged, &columns) || quick || number == RUNS {
            return columns;
        }
        number += 1;
    }
}

/// Says how far the second column is from the first, which it repeats, and gives out whether that is within 5 %.
pub(crate) fn report_calm(what: &str, judged: Judged, columns: &[Column]) -> bool {
    let (base, again) = (&columns[0], &columns[1]);
    let [p50, p99] = again.over(base);
    let near = |over: f64| (0.95..=1.05).contains(&over);
    let is_calm = near(p50) && (near(p99) || matches!(judged, Judged::P50));
    let [p50, p99] = [p50, p99].map(|over| (over - 1.0) * 100.0);
    let verdict = if is_calm { "calm" } else { "NOT calm" };
    println!("{what}: {verdict}; `{}` against itself: p50 {p50:+.2} %, p99 {p99:+.2} %", base.name);
    is_calm
}

/// Marsaglia's xorshift.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new() -> Self {
        Self(0x9E37_79B9_7F4A_7C15)
    }

    pub(crate) fn shuffle(&mut self, places: &mut [usize]) {
        for last in (1..places.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            places.swap(last, (self.0 % (last as u64 + 1)) as usize);
        }
    }
}
