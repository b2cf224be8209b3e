//! What a Prometheus exporter shows of the run, held against what the client counted, whose count the audit holds against
//! the servers' logs.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tower_failover::Models;

use crate::load::Record;
use crate::measure;
use crate::schedule::MODELS;

const EVERY: Duration = Duration::from_secs(1);

/// The exporter, which only this crate tells anything.
pub struct Exporter(PrometheusHandle);

/// What every scrape showed: each series by its name and labels.
pub struct Scrapes(Vec<BTreeMap<String, f64>>);

impl Exporter {
    pub fn install() -> io::Result<Self> {
        PrometheusBuilder::new().install_recorder().map(Self).map_err(io::Error::other)
    }

    fn scrape(&self, models: &Models) -> BTreeMap<String, f64> {
        models.record_metrics();
        let text = self.0.render();
        let lines = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        lines.filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?))).collect()
    }

    /// Scrapes every second until `run` is over, and once more.
    pub async fn watch<T>(&self, models: &Models, run: impl Future<Output = T>) -> (T, Scrapes) {
        let mut scrapes = Scrapes(Vec::new());
        let mut run = std::pin::pin!(run);
        loop {
            tokio::select! {
                done = &mut run => {
                    scrapes.0.push(self.scrape(models));
                    return (done, scrapes);
                }
                () = tokio::time::sleep(EVERY) => scrapes.0.push(self.scrape(models)),
            }
        }
    }
}

impl Scrapes {
    /// What does not add up.
    pub fn faults(&self, records: &[Record]) -> Vec<String> {
        let mut faults = Vec::new();
        let mut same = |what: &str, shown: f64, counted: usize| {
            if shown != counted as f64 {
                faults.push(format!("{what}: {shown} shown, {counted} counted"));
            }
        };
        // As of its head: a body that is cut short afterwards does not change that.
        let well = |record: &&Record| record.outcome.attempts.last().is_some_and(|call| call.error.is_none());
        let answered = records.iter().filter(well).count();
        same("requests", self.sum("requests_total", ""), records.len());
        same("requests answered", self.sum("requests_total", "outcome=\"answered\""), answered);
        for (index, model) in MODELS.iter().enumerate() {
            let called = measure::calls(records).filter(|call| call.model == index).count();
            same(model.name, self.sum("attempts_total", &format!("model=\"{}\"", model.name)), called);
        }
        for pair in self.0.windows(2) {
            let shrunk = pair[0].iter().filter(|(series, _)| series.contains("_total"));
            faults.extend(shrunk.filter_map(|(series, before)| {
                let after = pair[1].get(series)?;
                (after < before).then(|| format!("{series} went from {before} to {after}"))
            }));
        }
        for states in &self.0 {
            for model in MODELS {
                let of_model = format!("model=\"{}\"", model.name);
                let shown = sum(states, "breaker_state", &of_model);
                if shown != 1.0 {
                    faults.push(format!("{} is in {shown} states at once", model.name));
                }
            }
        }
        faults
    }

    fn sum(&self, name: &str, label: &str) -> f64 {
        self.0.last().map_or(0.0, |last| sum(last, name, label))
    }
}

/// Over all series of this name that have this label.
fn sum(scrape: &BTreeMap<String, f64>, name: &str, label: &str) -> f64 {
    let name = format!("tower_failover_{name}{{");
    let series = scrape.iter().filter(|(series, _)| series.starts_with(&name) && series.contains(label));
    series.map(|(_, value)| value).sum()
}
