#[path = "../report/mod.rs"]
mod report;
mod contender;
mod measure;
mod servers;
mod stacks;
use contender::*;
use std::time::Duration;
fn main() {
    let servers = servers::Servers::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if std::env::var("TIMER").is_ok() { runtime.spawn(tokio::time::sleep(Duration::from_secs(3600))); }
    let client = client();
    let up = stacks::Upstreams { primary: &servers.primary, fallback: &servers.fallback, attempt: Duration::from_secs(1) };
    let mut all = vec![Contender::bare("bare", &client, request(below(&servers.primary))), Contender::bare("bare again", &client, request(below(&servers.primary)))];
    all.extend(stacks::all(&client, &up));
    runtime.block_on(async {
        for run in 0..3 {
        let columns = measure::interleave(&all, servers::PRIMARY, measure::Effort { rounds: 20, requests: 2000 }, |_| 1).await;
        println!("run {run}");
        for c in &columns {
            let pooled = |q| c.quantile(q) / columns[0].quantile(q);
            let (o50, o99) = (c.over(&columns[0], 0.5), c.over(&columns[0], 0.99));
            println!("{:20} {:8.2} {:8.2} {:8.2}  pooled {:.4} {:.4}  rounds {:.4} ({:.4}) {:.4} ({:.4})", c.name, c.quantile(0.5), c.quantile(0.99), c.quantile(0.999), pooled(0.5), pooled(0.99), o50.median(), o50.spread(), o99.median(), o99.spread());
        }
        }
    });
}
