//! What a person reads after the run, and what a program does.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::{
    criteria::Criterion,
    measure::Figures,
    policy::Policy,
    run::{Outcome, Seeds, worst},
    scenario::Ms,
    upstream::Case,
};

/// A scenario with its attempt timeout: the key under which its figures stand.
pub fn key(case: &Case) -> String {
    format!("{}/{} s", case.scenario.name, case.timeout / 1000)
}

/// All figures side by side.
pub fn table(all: &[Seeds]) -> String {
    let mut table = format!(
        "{:<30}{:>15}{:>8}{:>8}{:>8}{:>8}{:>9}{:>9}{:>9}{:>9}",
        "", "answered", "p50", "p99", "calls", "wasted", "cost", "divert", "return", "changes"
    );
    for outcome in all.iter().map(worst) {
        let _ = write!(table, "\n{}, seed {}", key(&outcome.case), outcome.case.seed);
        for (policy, figures) in &outcome.figures {
            let _ = write!(table, "\n{}", line(*policy, figures));
        }
    }
    table
}

fn line(policy: Policy, figures: &Figures) -> String {
    format!(
        "  {:<28}{:>15}{:>8}{:>8}{:>8.3}{:>8}{:>9.0}{:>9}{:>9}{:>9}",
        policy.name(),
        format!("{}/{}", figures.answered, figures.answerable),
        time(Some(figures.p50_ms)),
        time(Some(figures.p99_ms)),
        figures.calls_per_request,
        figures.wasted_calls,
        figures.cost,
        time(figures.divert_ms),
        time(figures.return_ms),
        figures.changes,
    )
}

fn time(time: Option<Ms>) -> String {
    time.map_or_else(|| "never".to_owned(), |ms| format!("{:.2} s", f64::from(ms) / 1000.0))
}

/// Each criterion at the seed that is worst for it, and whether all hold.
pub fn check(all: &[Seeds]) -> (String, bool) {
    let mut lines = Vec::new();
    let mut kept = true;
    for seeds in all {
        for index in 0..seeds[0].criteria.len() {
            let strain = |outcome: &&Outcome| outcome.criteria[index].strain;
            let worst = seeds.iter().max_by(|a, b| strain(a).total_cmp(&strain(b))).expect("at least one seed");
            kept &= worst.criteria[index].holds();
            lines.push(verdict(worst, &worst.criteria[index]));
        }
    }
    (lines.join("\n"), kept)
}

fn verdict(outcome: &Outcome, criterion: &Criterion) -> String {
    let mark = if criterion.holds() { "ok    " } else { "FAILED" };
    let (key, seed) = (key(&outcome.case), outcome.case.seed);
    let Criterion { what, figure, bound, .. } = criterion;
    let line = match *what {
        "answered" => format!("{figure:.4} of the clairvoyant's >= {bound}"),
        "changes an hour" => format!("{figure:.0} more than the clairvoyant's < {bound}"),
        _ => format!("{figure:.2} of the clairvoyant's <= {bound}"),
    };
    format!("  {mark}  {key:<26}{what:<16}{line}, seed {seed}")
}

/// `{scenario: {policy: {…}}}`, of the seeds that the table shows.
pub fn json(all: &[Seeds]) -> Value {
    let policies = |outcome: &Outcome| {
        let figures = outcome.figures.iter();
        figures.map(|(policy, figures)| (policy.name().to_owned(), figures.json())).collect::<Map<_, _>>()
    };
    all.iter().map(worst).map(|outcome| (key(&outcome.case), policies(outcome))).collect()
}
