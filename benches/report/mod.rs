//! The one reporter of all benches: medians of interleaved rounds with their spread, as a table, and for machines as one
//! JSON object on the last line.
//!
//! A row is an object with the keys of the columns, which are stable; what does not apply is left out.

#![allow(dead_code, reason = "each bench uses some of it")]

use serde_json::{Map, Value, json};

/// What every bench understands: `--json`, `--quick` (few rounds: to see that it runs, not to measure), and its own.
pub struct Args {
    pub json: bool,
    pub quick: bool,
    others: Vec<String>,
}

impl Args {
    /// Of the command line. Cargo's own `--bench` is passed over.
    pub fn read() -> Self {
        let (mut json, mut quick, mut others) = (false, false, Vec::new());
        for arg in std::env::args().skip(1) {
            match arg.as_str() {
                "--bench" => {}
                "--json" => json = true,
                "--quick" => quick = true,
                _ => others.push(arg),
            }
        }
        Self { json, quick, others }
    }

    /// Those that only this bench knows.
    pub fn others(&self) -> &[String] {
        &self.others
    }

    /// So many rounds, or few.
    pub fn rounds(&self, rounds: usize) -> usize {
        if self.quick { rounds.min(3) } else { rounds }
    }
}

/// One column of a table.
pub struct Column {
    /// Its key in the JSON.
    pub key: &'static str,
    /// What the table calls it.
    pub title: &'static str,
    /// Digits after the point.
    pub digits: usize,
}

/// All rows of one bench.
pub struct Report {
    columns: &'static [Column],
    rows: Vec<Map<String, Value>>,
}

impl Report {
    pub fn new(columns: &'static [Column]) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row: the values of some of the columns.
    pub fn row<'a>(&mut self, cells: impl IntoIterator<Item = (&'a str, Value)>) {
        let row: Map<_, _> = cells.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let unknown = row.keys().find(|key| self.columns.iter().all(|column| column.key != **key));
        assert_eq!(unknown, None, "a cell of no column");
        self.rows.push(row);
    }

    /// Prints the table, and the JSON where it is wanted.
    pub fn finish(self, args: &Args) {
        let shown = |column: &Column, row: &Map<String, Value>| match row.get(column.key) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.as_f64().map_or_else(|| value.to_string(), |value| number(value, column.digits)),
        };
        let mut lines = vec![self.columns.iter().map(|column| column.title.to_owned()).collect::<Vec<_>>()];
        lines.extend(self.rows.iter().map(|row| self.columns.iter().map(|column| shown(column, row)).collect()));
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|place| lines.iter().map(|line| line[place].chars().count()).max().unwrap_or(0))
            .collect();
        for line in &lines {
            let cells = line.iter().zip(&widths).enumerate().map(|(place, (cell, width))| match place {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        if args.json {
            println!("{}", json!({ "rows": self.rows }));
        }
    }
}

/// With its thousands apart.
pub fn number(value: f64, digits: usize) -> String {
    let text = format!("{:.digits$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let digits = whole.len();
    let mut out =
        String::from(if value < 0.0 && text.bytes().any(|digit| (b'1'..=b'9').contains(&digit)) { "-" } else { "" });
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (digits - place) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out + rest
}

/// What one row came to in each round.
#[derive(Debug, Clone, Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// What is made of each with the other one of the same round.
    pub fn with(&self, other: &Self, make: impl Fn(f64, f64) -> f64) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| make(*own, *other)).collect())
    }

    /// The distance between the quartiles, as a share of the median.
    pub fn spread(&self) -> f64 {
        let median = self.median();
        if median == 0.0 { 0.0 } else { (self.quantile(0.75) - self.quantile(0.25)) / median }
    }

    /// The sample below which such a share of them lies; 0 of none.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let place = (sorted.len().saturating_sub(1)) as f64 * share;
        sorted.get(place.round() as usize).copied().unwrap_or(0.0)
    }
}

/// A figure with so many digits after the point, for a row.
pub fn cell(value: f64, digits: i32) -> Value {
    let unit = 10_f64.powi(digits);
    json!((value * unit).round() / unit)
}
