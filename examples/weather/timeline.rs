//! One run second by second: whom the answers came from, and what was in the way.

use super::{
    scenario::{LENGTH, MODELS, Ms},
    upstream::{Log, Row},
};

const STEP: Ms = 1_000;

/// One line for each second of arrivals; equal neighbours are not drawn together.
pub fn draw(log: &Log) -> String {
    let head = format!(
        "{:>6}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "second", "first", "second", "third", "nobody", "wasted", "median", "longest"
    );
    let lines = (0..LENGTH / STEP).map(|second| line(second, &log.rows));
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}

fn line(second: Ms, rows: &[Row]) -> String {
    let place = |at: Ms| rows.partition_point(|row| row.arrived < at);
    let rows = &rows[place(second * STEP)..place((second + 1) * STEP)];
    let by = |model: usize| rows.iter().filter(|row| row.by.map(usize::from) == Some(model)).count();
    let served: [usize; MODELS.len()] = std::array::from_fn(by);
    let answered: usize = served.iter().sum();
    let calls: usize = rows.iter().map(|row| usize::from(row.calls)).sum();
    let mut took: Vec<Ms> = rows.iter().map(|row| row.took).collect();
    took.sort_unstable();
    let (median, longest) = (took.get(took.len() / 2), took.last());
    let models: String = served.iter().map(|count| format!("{count:>10}")).collect();
    format!(
        "{second:>6}{models}{:>10}{:>10}{:>10}{:>10}",
        rows.len() - answered,
        calls - answered,
        median.copied().unwrap_or(0),
        longest.copied().unwrap_or(0)
    )
}
