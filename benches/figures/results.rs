//! What the benches have measured.

use serde_json::{Map, Value};
use std::{fs, io, path::Path};

/// The rows of all benches.
pub struct Results {
    overhead: Vec<Row>,
    failover: Vec<Row>,
    growth: Vec<Row>,
}

/// What a name cost on so many threads.
#[derive(Clone, Copy)]
pub struct Cost {
    pub ns: f64,
    /// Over bare, in readings of the clock.
    pub over: f64,
    pub allocs: f64,
}

pub struct Row(Map<String, Value>);

impl Row {
    pub fn text(&self, key: &str) -> &str {
        self.0.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    pub fn number(&self, key: &str) -> Option<f64> {
        self.0.get(key)?.as_f64()
    }
}

impl Results {
    pub fn read(folder: &Path) -> io::Result<Self> {
        let rows = |bench: &str| rows(&folder.join(bench).with_extension("json"));
        Ok(Self { overhead: rows("overhead")?, failover: rows("failover")?, growth: rows("growth")? })
    }

    /// That of `overhead`.
    pub fn cost(&self, name: &str, threads: u32) -> Option<Cost> {
        let row = self.overhead.iter().find(|row| {
            row.text("name") == name && row.number("threads").is_some_and(|found| found == f64::from(threads))
        })?;
        let (ns, over) = (row.number("ns")?, row.number("over_bare_clock_reads")?);
        Some(Cost { ns, over, allocs: row.number("allocs")? })
    }

    /// Nanoseconds of a reading of the clock.
    pub fn clock(&self) -> Option<f64> {
        Some(self.cost("clock", 1)?.ns)
    }

    /// All rows of `overhead` that skip somebody, on so many threads, with what one that is skipped costs.
    pub fn skips(&self, threads: u32) -> impl Iterator<Item = (&str, f64)> {
        let rows = self.overhead.iter().filter(move |row| row.number("threads") == Some(f64::from(threads)));
        rows.filter_map(|row| Some((row.text("name"), row.number("ns_each")?)))
    }

    /// A figure of `failover`.
    pub fn loopback(&self, name: &str, primary: &str, measure: &str, key: &str) -> Option<f64> {
        let mut rows = self.failover.iter().filter(|row| row.text("name") == name && row.text("measure") == measure);
        rows.find(|row| row.text("primary") == primary)?.number(key)
    }

    /// The rows of `growth` with such a measure.
    pub fn growth(&self, measure: &'static str) -> impl Iterator<Item = &Row> {
        self.growth.iter().filter(move |row| row.text("measure") == measure)
    }

    /// The row of `growth` with such a name and measure, and such a value of `key`.
    pub fn grown(&self, name: &str, measure: &'static str, key: &str, value: f64) -> Option<&Row> {
        self.growth(measure).find(|row| row.text("name") == name && row.number(key) == Some(value))
    }
}

/// None of a file that is not there.
fn rows(path: &Path) -> io::Result<Vec<Row>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let json: Value = serde_json::from_str(text.lines().last().unwrap_or_default())?;
    let rows = json["rows"].as_array().ok_or_else(|| io::Error::other(format!("{} has no rows", path.display())))?;
    Ok(rows.iter().filter_map(Value::as_object).cloned().map(Row).collect())
}
