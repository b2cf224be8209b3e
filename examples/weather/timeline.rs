//! One run second by second: whom the answers came from, and what the breakers and tiers were.

use super::{
    scenario::{LENGTH, MODELS, Ms},
    upstream::{Log, Row},
};

const STEP: Ms = 1_000;

/// One line for each second of arrivals, and above it what was seen to change within it.
pub fn draw(log: &Log, seen: &[(Ms, String)]) -> String {
    let mut lines = vec![format!(
        "{:>6}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "second", "1st model", "2nd", "3rd", "nobody", "wasted", "median", "longest"
    )];
    for second in 0..LENGTH / STEP {
        let within = seen.iter().filter(|(at, _)| at / STEP == second);
        lines.extend(within.map(|(at, states)| format!("  {:.2} s: {states}", f64::from(*at) / 1000.0)));
        lines.push(line(second, &log.rows));
    }
    lines.join("\n")
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
