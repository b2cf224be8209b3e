//! Three endpoints behind `tower::balance`, of which one fails every second call, and quickly. By latency, or by calls in
//! flight, it looks the best of them and gets the most; by its health it gets the least.
//!
//! `cargo run --example balance`

use std::{io, time::Duration};
use tokio::{task::JoinSet, time::sleep};
use tower::{BoxError, Layer, Service, ServiceExt, balance::p2c::Balance, discover::ServiceList, service_fn};
use tower_failover::{HealthLayer, HealthSnapshot};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    for (name, health) in run().await? {
        println!("{name}: {} calls, score {:.2}", health.calls, health.score);
    }
    Ok(())
}

pub(crate) async fn run() -> Result<[(&'static str, HealthSnapshot); 3], BoxError> {
    let names = ["east", "west", "north"];
    let layers = names.map(HealthLayer::new);
    let endpoints: Vec<_> = names.iter().zip(&layers).map(|(name, layer)| layer.layer(endpoint(name))).collect();
    let mut balance = Balance::new(ServiceList::new(endpoints));

    let mut calls = JoinSet::new();
    for n in 0..1_000 {
        calls.spawn(balance.ready().await?.call(n));
        sleep(Duration::from_millis(10)).await;
    }
    calls.join_all().await;
    Ok(std::array::from_fn(|i| (names[i], layers[i].snapshot())))
}

fn endpoint(
    name: &'static str,
) -> impl Service<u32, Response = u32, Error = io::Error, Future = impl Future<Output = io::Result<u32>> + Send> {
    let mut calls = 0;
    service_fn(move |n| {
        calls += 1;
        let fails = name == "north" && calls % 2 == 0;
        async move {
            sleep(Duration::from_millis(if fails { 1 } else { 50 })).await;
            if fails { Err(io::Error::other("out of order")) } else { Ok(n) }
        }
    })
}
