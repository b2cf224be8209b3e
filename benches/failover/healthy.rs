//! All is well: what a layer adds to the latency, and what it takes from the throughput.

use crate::{
    contender::{Contender, below, client, request},
    measure::{Effort, Judged, Random, interleave, until_calm},
    report::{Report, Samples, cell},
    servers::{PRIMARY, Servers},
    stacks::{self, Upstreams},
};
use http::Uri;
use serde_json::json;
use std::time::Duration;
use tokio::{task::JoinSet, time::Instant};

/// Long enough for no healthy upstream to be taken for a dead one.
pub(crate) const ATTEMPT: Duration = Duration::from_secs(1);
/// Requests under way when the client is saturated, each of which has a connection.
const CONNECTIONS: usize = 64;

fn contenders(primary: &Uri, servers: &Servers) -> Vec<Contender> {
    let client = client();
    let upstreams = Upstreams { primary, fallback: &servers.fallback, attempt: ATTEMPT };
    let bare = |name| Contender::bare(name, &client, request(below(primary)));
    let mut all = vec![bare("bare"), bare("bare again")];
    all.extend(stacks::all(&client, &upstreams));
    all
}

/// One request after another.
pub(crate) async fn latency(servers: &Servers, quick: bool, report: &mut Report) {
    let contenders = contenders(&servers.primary, servers);
    let effort = Effort {
        rounds: if quick { 3 } else { 20 },
        at_least: Duration::from_secs(if quick { 0 } else { 25 }),
        requests: if quick { 300 } else { 1500 },
    };
    one_after_another("healthy", &contenders, effort, quick, report).await;
}

/// The same where the upstream takes its time.
pub(crate) async fn unhurried(servers: &Servers, quick: bool, report: &mut Report) {
    let contenders = contenders(&servers.unhurried, servers);
    let effort =
        Effort { rounds: if quick { 3 } else { 20 }, at_least: Duration::ZERO, requests: if quick { 2 } else { 40 } };
    one_after_another("healthy, takes 5 ms", &contenders, effort, quick, report).await;
}

async fn one_after_another(primary: &str, contenders: &[Contender], effort: Effort, quick: bool, report: &mut Report) {
    let columns = until_calm(&format!("latency, {primary}"), Judged::P50AndP99, quick, async || {
        interleave(contenders, PRIMARY, effort, &[1; 6]).await
    })
    .await;
    columns.iter().for_each(|column| column.row(report, primary, "latency", &columns[0]));
}

/// As many requests as there can be.
pub(crate) async fn throughput(servers: &Servers, quick: bool, report: &mut Report) {
    let contenders = contenders(&servers.primary, servers);
    // Short, so that all rows of a round find the same machine.
    let (rounds, requests) = if quick { (3, 10) } else { (100, 15) };
    let mut rates = Vec::new();
    let mut order: Vec<_> = (0..contenders.len()).collect();
    let mut random = Random::new();
    for round in 0..=rounds {
        random.shuffle(&mut order);
        let mut of_round = vec![0.0; contenders.len()];
        for &place in &order {
            of_round[place] = saturate(&contenders[place], requests).await;
        }
        // The first round connects.
        if round > 0 {
            rates.push(of_round);
        }
    }
    for (place, contender) in contenders.iter().enumerate() {
        let mut own = Samples::default();
        let mut over_bare = Samples::default();
        for rates in &rates {
            own.push(rates[place]);
            over_bare.push(rates[place] / rates[0]);
        }
        let spread = if place == 0 { own.spread() } else { over_bare.spread() };
        report.row([
            ("name", json!(contender.name)),
            ("primary", json!("healthy")),
            ("measure", json!("throughput")),
            ("over_bare_p50", cell(over_bare.median(), 4)),
            ("requests_per_s", cell(own.median(), 0)),
            ("spread", cell(spread, 4)),
        ]);
    }
}

/// Requests per second, of so many on each connection.
async fn saturate(contender: &Contender, requests: usize) -> f64 {
    let mut tasks = JoinSet::new();
    let start = Instant::now();
    for _ in 0..CONNECTIONS {
        let contender = contender.clone();
        tasks.spawn(async move {
            for _ in 0..requests {
                contender.ask().await.by(PRIMARY, contender.name);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("every answer is the right one");
    }
    (CONNECTIONS * requests) as f64 / start.elapsed().as_secs_f64()
}
