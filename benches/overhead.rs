//! What one call costs through a service that is ready at once: bare, behind a breaker, behind the whole stack; and what
//! each candidate costs that the whole stack passes over because a breaker is open.
//!
//! `cargo bench --bench overhead`
//!
//! Machines are noisy: rounds of all rows are interleaved, each row is the median of its rounds, and what counts is a
//! row over another: over `bare`, in readings of the clock; over the row that skips nobody, for each that is skipped.
//!
//! The candidates that are skipped come before the one that answers. Real failures have opened their breakers, for an
//! hour: no wait elapses, and as no wait has doubled none ends early. They are refused by their own breakers, as models
//! of six providers or of one; or by that of their one provider, which is down, while another's model answers.
//! Everything of the request is in the figures, from the call to the drop of its [`Served`](tower_failover::Served).
//! Allocations are counted in calls after the first. The counting allocator makes each a little slower.

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
use tower_failover::{
    BreakerConfig, CircuitBreakerLayer, FailoverLayer, Model, Models, Plan, Provider, State, Trip, aim,
};

const ROUNDS: usize = 15;
const CALLS: u32 = 100_000;
/// Rows that skip have so many times more rounds, each shorter than what a scheduler gives at once.
const CALLS_THAT_SKIP: u32 = 1_000;
const MORE_ROUNDS: usize = 20;
const HOUR: Duration = Duration::from_secs(3600);

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

/// Answers 1, and fails on anything else.
#[derive(Clone)]
struct Fallible;

impl Service<u64> for Fallible {
    type Response = u64;
    type Error = std::fmt::Error;
    type Future = Ready<Result<u64, std::fmt::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::fmt::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> Self::Future {
        ready(if request == 1 { Ok(1) } else { Err(std::fmt::Error) })
    }
}

/// Whose breakers are open.
#[derive(Clone, Copy)]
enum Open {
    Models { providers: usize },
    Provider,
}

struct Row<'a> {
    name: &'a str,
    skipped: u32,
    threads: usize,
    calls: u32,
    rounds: usize,
    allocations: u64,
    run: Box<dyn Fn() -> Duration + 'a>,
}

impl<'a> Row<'a> {
    fn calls<S>(name: &'a str, skipped: u32, threads: usize, service: &'a S) -> Self
    where
        S: Service<u64, Response = u64> + Clone + Send + Sync,
    {
        let mut call = caller(service);
        call();
        let allocations = allocation_counter::measure(call).count_total;
        let run = Box::new(move || time(threads, CALLS, || caller(service)));
        Self { name, skipped, threads, calls: CALLS, rounds: ROUNDS, allocations, run }
    }

    fn skips<S>(name: &'a str, skipped: u32, threads: usize, service: &'a S) -> Self
    where
        S: Service<u64, Response = u64> + Clone + Send + Sync,
    {
        let run = Box::new(move || time(threads, CALLS_THAT_SKIP, || caller(service)));
        let rounds = ROUNDS * MORE_ROUNDS;
        Self { calls: CALLS_THAT_SKIP, rounds, run, ..Self::calls(name, skipped, threads, service) }
    }

    fn clock() -> Self {
        let run = Box::new(|| time(1, CALLS, || || _ = black_box(Instant::now())));
        Self { name: "clock", skipped: 0, threads: 1, calls: CALLS, rounds: ROUNDS, allocations: 0, run }
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
    let to_any = aim(|_: &Model, request: u64| Ok(request));
    let failover = FailoverLayer::builder(models).aim(to_any).build().expect("the defaults are valid").layer(Client);

    let open = [
        ("of six", Open::Models { providers: 6 }),
        ("of one", Open::Models { providers: 1 }),
        ("down", Open::Provider),
    ];
    let skipping: Vec<_> = open
        .into_iter()
        .flat_map(|(name, open)| [0, 1, 10, 59].map(|skipped| (name, skipped, skips(skipped, open))))
        .collect();

    let mut rows = vec![Row::clock()];
    for threads in [1, 2] {
        rows.push(Row::calls("bare", 0, threads, &Client));
    }
    for threads in [1, 2] {
        rows.push(Row::calls("breaker", 0, threads, &breaker));
    }
    for threads in [1, 2] {
        rows.push(Row::calls("failover", 0, threads, &failover));
    }
    let whole = rows.len();
    for (name, skipped, service) in &skipping {
        for threads in [1, 2] {
            rows.push(Row::skips(name, *skipped, threads, service));
        }
    }

    let mut rounds = vec![Vec::new(); rows.len()];
    for round in 0..ROUNDS * MORE_ROUNDS {
        for (row, times) in rows.iter().zip(&mut rounds).filter(|(row, _)| row.rounds > round) {
            times.push((row.run)().as_secs_f64() * 1e9 / f64::from(row.calls) / row.threads as f64);
        }
    }
    let medians: Vec<f64> = rounds.iter_mut().map(|times| median(times)).collect();

    println!(
        "{:<10} {:>7} {:>9} {:>9} {:>9} {:>22}",
        "", "threads", "ns/call", "fastest", "slowest", "over bare, in clocks"
    );
    let (clock, bare) = (medians[0], medians[1]);
    for ((row, times), median) in rows.iter().zip(&rounds).zip(&medians).take(whole) {
        let over = (median - bare) / clock;
        let (fastest, slowest) = (times[0], times[times.len() - 1]);
        println!("{:<10} {:>7} {median:>9.1} {fastest:>9.1} {slowest:>9.1} {over:>22.2}", row.name, row.threads);
    }
    println!(
        "\n{:<10} {:>7} {:>7} {:>9} {:>9} {:>9} {:>9} {:>16}",
        "candidates", "skipped", "threads", "ns/call", "fastest", "slowest", "ns/skip", "allocations/call"
    );
    for ((row, times), median) in rows.iter().zip(&rounds).zip(&medians).skip(whole) {
        let none = rows
            .iter()
            .zip(&medians)
            .skip(whole)
            .find(|(other, _)| (other.name, other.skipped, other.threads) == (row.name, 0, row.threads));
        let (_, none) = none.expect("each has a row that skips nobody");
        let skip =
            if row.skipped > 0 { format!("{:.1}", (median - none) / f64::from(row.skipped)) } else { String::new() };
        let (fastest, slowest) = (times[0], times[times.len() - 1]);
        println!(
            "{:<10} {:>7} {:>7} {median:>9.1} {fastest:>9.1} {slowest:>9.1} {skip:>9} {:>16}",
            row.name, row.skipped, row.threads, row.allocations
        );
    }
}

/// The whole stack over so many candidates whose breakers are open, and a last one that answers.
fn skips(skipped: u32, open: Open) -> impl Service<u64, Response = u64> + Clone + Send + Sync {
    let trips_after = |failures| BreakerConfig::default().trip([Trip::consecutive(failures, Duration::ZERO)]);
    let never = BreakerConfig::default().trip([]);
    let (providers, of_models, of_providers) = match open {
        Open::Models { providers } => (providers, trips_after(1).open_wait(HOUR, HOUR), never),
        Open::Provider => (1, never, trips_after(skipped.clamp(1, 2)).open_wait(HOUR, HOUR)),
    };
    let provider = |index: usize| format!("provider-{}", index % providers);
    let mut builder = (0..providers).fold(Models::builder(), |builder, index| {
        builder.provider(Provider::new(provider(index)).breaker(of_providers.clone()))
    });
    for index in 0..skipped as usize {
        let model = Model::new(format!("model-{index}"), provider(index));
        builder = builder.model(model.breaker(of_models.clone()));
    }
    let last = match open {
        Open::Models { .. } => provider(skipped as usize),
        Open::Provider => "another".to_owned(),
    };
    let builder = if matches!(open, Open::Provider) { builder.provider(Provider::new("another")) } else { builder };
    let models = builder.model(Model::new("last", last)).build().expect("names are unique");
    let only_last = aim(|model: &Model, _: u64| Ok(u64::from(model.name() == "last")));
    let layer = FailoverLayer::builder(models.clone()).aim(only_last).build().expect("the defaults are valid");
    let service = layer.layer(Fallible);

    let mut context = Context::from_waker(std::task::Waker::noop());
    for model in models.iter().filter(|model| model.name() != "last") {
        let only = Plan::new().models([model.name()]);
        let future = std::pin::pin!(service.clone().plan(only).call(0));
        assert!(matches!(future.poll(&mut context), Poll::Ready(Err(_))));
    }
    let snapshot = models.snapshot();
    for model in models.iter().filter(|model| model.name() != "last") {
        let is_open = match open {
            Open::Models { .. } => snapshot.model(model.name()).map(|model| model.breaker.state),
            Open::Provider => snapshot.provider(model.provider()).map(|provider| provider.breaker.state),
        };
        assert_eq!(is_open, Some(State::Open));
    }
    service
}

/// Makes one call after another on a clone.
fn caller<S>(service: &S) -> impl FnMut() + use<S>
where
    S: Service<u64, Response = u64> + Clone,
{
    let mut service = service.clone();
    let mut context = Context::from_waker(std::task::Waker::noop());
    move || {
        assert!(service.poll_ready(&mut context).is_ready());
        let mut future = std::pin::pin!(service.call(black_box(1)));
        assert!(matches!(future.as_mut().poll(&mut context), Poll::Ready(Ok(1))));
    }
}

/// Elapsed time of `threads` threads that make so many calls each.
fn time<F: FnMut()>(threads: usize, calls: u32, make: impl Fn() -> F + Sync) -> Duration {
    let barrier = Barrier::new(threads);
    let run = || {
        let mut call = make();
        barrier.wait();
        let start = Instant::now();
        (0..calls).for_each(|_| call());
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
