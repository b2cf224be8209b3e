//! What has to hold against the clairvoyant.

use super::{measure::Figures, scenario::Limits};

pub struct Criterion {
    pub what: &'static str,
    /// The figure, and its bound.
    pub figure: f64,
    pub bound: f64,
    /// How much of what is allowed is used up; it holds while that is at most 1.
    pub strain: f64,
}

impl Criterion {
    pub fn holds(&self) -> bool {
        self.strain <= 1.0
    }

    /// Broken criteria, and the strain of the worst.
    pub fn severity(all: &[Self]) -> (usize, f64) {
        let broken = all.iter().filter(|criterion| !criterion.holds()).count();
        (broken, all.iter().map(|criterion| criterion.strain).fold(0.0, f64::max))
    }
}

/// Each criterion with figures of the same case.
pub fn criteria(limits: &Limits, judged: &Figures, clairvoyant: &Figures) -> Vec<Criterion> {
    let at_most = |what, figure: f64, bound: f64| Criterion { what, figure, bound, strain: figure / bound };
    let answered = judged.answered as f64 / clairvoyant.answered as f64;
    let lost = Criterion {
        what: "answered",
        figure: answered,
        bound: limits.answered,
        strain: (1.0 - answered) / (1.0 - limits.answered),
    };
    let mut all = vec![
        lost,
        at_most("p99", f64::from(judged.p99_ms) / f64::from(clairvoyant.p99_ms), limits.p99),
        at_most("cost", judged.cost / clairvoyant.cost, limits.cost),
    ];
    if let Some(bound) = limits.changes_an_hour {
        let figure = judged.changes_an_hour() - clairvoyant.changes_an_hour();
        // Fewer than the bound.
        let strain = if figure < bound { figure / bound } else { (figure / bound).max(1.0 + f64::EPSILON) };
        all.push(Criterion { what: "changes an hour", figure, bound, strain });
    }
    all
}
