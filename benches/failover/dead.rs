//! The primary is dead: what the first request pays for it, what the thousandth, and what all those pay that come after.

use crate::{
    contender::{Contender, below, client, request},
    healthy::ATTEMPT,
    measure::{Effort, Judged, Random, interleave, until_calm},
    report::{Report, Samples, cell},
    servers::{FALLBACK, Servers},
    stacks::{self, Upstreams},
};
use futures::{StreamExt, stream};
use http::Uri;
use serde_json::json;
use std::time::Duration;

/// What whoever hangs is given, to keep the run short.
const OF_THE_HANGING: Duration = Duration::from_millis(100);
/// Requests under way between the first and the thousandth: a client that learns nothing would take minutes for them if
/// they came one after another, and hung.
const AT_ONCE: usize = 100;

/// One way to be dead.
struct Death<'a> {
    name: &'static str,
    primary: &'a Uri,
    attempt: Duration,
    /// Stacks of each kind that are born, to measure their first request, and those that live for a thousand.
    firsts: usize,
    lives: usize,
}

pub(crate) async fn all(servers: &Servers, quick: bool, report: &mut Report) {
    let few = |number: usize| if quick { 2 } else { number };
    let death = |name, primary, attempt, firsts, lives| Death {
        name,
        primary,
        attempt,
        firsts: few(firsts),
        lives: if quick { 1 } else { lives },
    };
    let deaths = [
        death("refusing", &servers.refusing, ATTEMPT, 200, 40),
        death("503", &servers.busy, ATTEMPT, 200, 40),
        death("hanging", &servers.hanging, OF_THE_HANGING, 20, 7),
    ];
    for death in deaths {
        let effort = Effort {
            rounds: if quick { 3 } else { 10 },
            at_least: Duration::from_secs(if quick { 0 } else { 5 }),
            requests: if quick { 100 } else { 1000 },
        };
        death.measure(&servers.fallback, effort, quick, report).await;
    }
}

impl Death<'_> {
    async fn measure(&self, fallback: &Uri, effort: Effort, quick: bool, report: &mut Report) {
        let client = client();
        let directly = |name| Contender::bare(name, &client, request(below(fallback)));
        let born = || {
            let upstreams = Upstreams { primary: self.primary, fallback, attempt: self.attempt };
            let mut all = vec![directly("fallback directly")];
            all.extend(stacks::all(&client, &upstreams));
            all
        };
        directly("warm").ask().await.by(FALLBACK, "warm");

        let mut contenders = born();
        let mut order: Vec<_> = (0..contenders.len()).collect();
        let mut random = Random::new();
        let mut firsts = vec![Samples::default(); contenders.len()];
        for _ in 0..self.firsts {
            let contenders = born();
            random.shuffle(&mut order);
            for &place in &order {
                firsts[place].push(timed(&contenders[place]).await);
            }
        }
        self.rows(report, "first failed over", &contenders, &firsts);

        let mut thousandths = vec![Samples::default(); contenders.len()];
        for _ in 0..self.lives {
            contenders = born();
            random.shuffle(&mut order);
            for &place in &order {
                thousandths[place].push(thousandth(&contenders[place]).await);
            }
        }
        self.rows(report, "thousandth", &contenders, &thousandths);

        // Who still waits for the dead need not do so often.
        let mut seldom: Vec<_> = thousandths
            .iter()
            .map(
                |times| {
                    if times.median() < OF_THE_HANGING.as_micros() as f64 { 1 } else { effort.requests.div_ceil(2) }
                },
            )
            .collect();
        contenders.insert(1, directly("fallback directly again"));
        seldom.insert(1, 1);
        let what = format!("long dead, {}", self.name);
        let columns =
            until_calm(&what, Judged::P50, quick, async || interleave(&contenders, FALLBACK, effort, &seldom).await)
                .await;
        let shown = columns.iter().enumerate().filter(|(place, _)| *place != 1);
        shown.for_each(|(_, column)| column.row(report, self.name, "long dead", &columns[0]));
    }

    /// Rows of few requests, which have no tail.
    fn rows(&self, report: &mut Report, measure: &str, contenders: &[Contender], samples: &[Samples]) {
        let directly = samples[0].median();
        for (contender, samples) in contenders.iter().zip(samples) {
            report.row([
                ("name", json!(contender.name)),
                ("primary", json!(self.name)),
                ("measure", json!(measure)),
                ("p50_us", cell(samples.median(), 2)),
                ("over_bare_p50", cell(samples.median() / directly, 4)),
                ("spread", cell(samples.spread(), 4)),
            ]);
        }
    }
}

async fn timed(contender: &Contender) -> f64 {
    contender.ask().await.by(FALLBACK, contender.name)
}

/// How long the thousandth request takes.
async fn thousandth(contender: &Contender) -> f64 {
    timed(contender).await;
    let others = stream::iter(0..998).map(|_| timed(contender)).buffer_unordered(AT_ONCE);
    others.for_each(|_| std::future::ready(())).await;
    timed(contender).await
}
