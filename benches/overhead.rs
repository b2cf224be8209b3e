//! What one call costs through a service that is ready at once: bare, behind a breaker, behind the whole stack.
//!
//! `cargo bench --bench overhead`
//!
//! Machines are noisy: rounds of all rows are interleaved, each row is the median of its rounds, and what counts is a
//! row over `bare`, in readings of the clock.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    sync::Barrier,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tower::{Layer, Service};
use tower_failover::{CircuitBreakerLayer, FailoverLayer, Model, Models, Provider, aim};

const ROUNDS: usize = 15;
const CALLS: u32 = 100_000;

#[derive(Clone)]
struct Client;

impl Service<u64> for Client {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(Ok(request))
    }
}

fn main() {
    let models = Models::builder()
        .provider(Provider::new("nexa"))
        .model(Model::new("flux-schnell", "nexa"))
        .model(Model::new("flux-dev", "nexa"))
        .model(Model::new("sdxl", "nexa"))
        .build()
        .expect("names are unique");
    let breaker = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("a model of the registry").layer(Client);
    let aim = aim(|_: &Model, request: u64| Ok(request));
    let failover = FailoverLayer::builder(models).aim(aim).build().expect("the defaults are valid").layer(Client);

    type Row<'a> = (&'a str, usize, Box<dyn Fn() -> Duration + 'a>);
    let rows: [Row<'_>; 7] = [
        ("clock", 1, Box::new(|| time(1, || || _ = black_box(Instant::now())))),
        ("bare", 1, Box::new(|| calls(1, &Client))),
        ("bare", 2, Box::new(|| calls(2, &Client))),
        ("breaker", 1, Box::new(|| calls(1, &breaker))),
        ("breaker", 2, Box::new(|| calls(2, &breaker))),
        ("failover", 1, Box::new(|| calls(1, &failover))),
        ("failover", 2, Box::new(|| calls(2, &failover))),
    ];
    let mut rounds = vec![Vec::with_capacity(ROUNDS); rows.len()];
    for _ in 0..ROUNDS {
        for ((_, threads, run), times) in rows.iter().zip(&mut rounds) {
            times.push(run().as_secs_f64() * 1e9 / f64::from(CALLS) / *threads as f64);
        }
    }
    println!(
        "{:<10} {:>7} {:>9} {:>9} {:>9} {:>22}",
        "", "threads", "ns/call", "fastest", "slowest", "over bare, in clocks"
    );
    let medians: Vec<f64> = rounds.iter_mut().map(|times| median(times)).collect();
    let (clock, bare) = (medians[0], medians[1]);
    for (((name, threads, _), times), median) in rows.iter().zip(&rounds).zip(&medians) {
        let over = (median - bare) / clock;
        let (fastest, slowest) = (times[0], times[ROUNDS - 1]);
        println!("{name:<10} {threads:>7} {median:>9.1} {fastest:>9.1} {slowest:>9.1} {over:>22.2}");
    }
}

/// Elapsed time of `threads` threads that make all calls each on a clone.
fn calls<S>(threads: usize, service: &S) -> Duration
where
    S: Service<u64, Response = u64> + Clone + Send + Sync,
{
    time(threads, || {
        let mut service = service.clone();
        let mut context = Context::from_waker(std::task::Waker::noop());
        move || {
            assert!(service.poll_ready(&mut context).is_ready());
            let mut future = std::pin::pin!(service.call(black_box(1)));
            assert!(matches!(future.as_mut().poll(&mut context), Poll::Ready(Ok(1))));
        }
    })
}

fn time<F: FnMut()>(threads: usize, make: impl Fn() -> F + Sync) -> Duration {
    let barrier = Barrier::new(threads);
    let run = || {
        let mut call = make();
        barrier.wait();
        let start = Instant::now();
        (0..CALLS).for_each(|_| call());
        start.elapsed()
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let times = threads.into_iter().map(|thread| thread.join().expect("no call panics"));
        times.max().unwrap_or_default()
    })
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
