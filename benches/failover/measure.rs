//! Measuring several side by side.

use crate::contender::Contender;
use crate::report::{Report, Samples, cell};
use serde_json::{Value, json};

/// How often to ask.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
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
pub(crate) async fn interleave(
    contenders: &[Contender],
    by: &str,
    effort: Effort,
    seldom: impl Fn(&Contender) -> usize,
) -> Vec<Column> {
    let column = |contender: &Contender| Column { name: contender.name, rounds: Vec::new(), all: Samples::default() };
    let mut columns: Vec<_> = contenders.iter().map(column).collect();
    let seldom: Vec<_> = contenders.iter().map(seldom).collect();
    let mut order: Vec<_> = (0..contenders.len()).collect();
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..effort.rounds {
        columns.iter_mut().for_each(|column| column.rounds.push(Samples::default()));
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
    fn push(&mut self, time: f64) {
        self.all.push(time);
        self.rounds.last_mut().expect("a round has begun").push(time);
    }

    /// Of all rounds together.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        self.all.quantile(share)
    }

    /// Its quantile over that of `base`, round by round.
    pub(crate) fn over(&self, base: &Self, share: f64) -> Samples {
        let mut ratios = Samples::default();
        for (own, base) in self.rounds.iter().zip(&base.rounds) {
            ratios.push(own.quantile(share) / base.quantile(share));
        }
        ratios
    }
}

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn shuffle(&mut self, places: &mut [usize]) {
        for last in (1..places.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            places.swap(last, (self.0 % (last as u64 + 1)) as usize);
        }
    }
}
