//! The load: open-loop, a request every 5 ms whatever became of those before. A generator that
//! waited for answers would be slowed down by the faults, and would hide what they do.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::clients::Outcome;
use crate::failover::{Failover, State};
use crate::schedule;

/// The time between two requests.
pub const TICK: Duration = Duration::from_millis(5);
const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// One request and what became of it.
pub struct Record {
    /// When it was due, since the start of the run: a late generator counts as latency.
    pub sent: Duration,
    pub took: Duration,
    pub outcome: Outcome,
}

/// The states of all breakers at one moment.
pub struct Sample {
    pub at: Duration,
    pub states: Vec<(String, State)>,
}

/// Sends the whole load through `once` and waits for the last request; in order of sending.
pub async fn drive<C, F, Fut>(start: Instant, client: Arc<C>, once: F) -> Vec<Record>
where
    C: Send + Sync + 'static,
    F: Fn(Arc<C>) -> Fut,
    Fut: Future<Output = Outcome> + Send + 'static,
{
    let (done, mut records) = mpsc::unbounded_channel();
    let mut sent = Duration::ZERO;
    while sent < schedule::length() {
        let due = start + sent;
        sleep_until(due).await;
        let (request, done) = (once(Arc::clone(&client)), done.clone());
        tokio::spawn(async move {
            let outcome = request.await;
            let took = due.elapsed();
            // Nobody waits for it any more if the run was broken off.
            let _ = done.send(Record { sent, took, outcome });
        });
        sent += TICK;
    }
    drop(done);
    let mut all = Vec::new();
    while let Some(record) = records.recv().await {
        all.push(record);
    }
    all.sort_by_key(|record| record.sent);
    all
}

/// Looks at the breakers again and again, to the end of the schedule.
pub async fn watch(start: Instant, client: &Failover) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut at = Duration::ZERO;
    while at < schedule::length() {
        sleep_until(start + at).await;
        let states = client.states();
        samples.push(Sample { at, states });
        at += SAMPLE_EVERY;
    }
    samples
}
