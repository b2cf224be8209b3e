//! What a request allocates that skips many candidates: no more than one that skips none.

use allocation_counter::measure;
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, service_fn};
use tower_failover::{
    BreakerConfig, FailoverLayer, Fate, Model, Models, Plan, Provider, Served, Skip, Trip, Whose, WithServed, aim,
};

const HOUR: Duration = Duration::from_secs(3600);

/// Whose breakers are open.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Open {
    Models { providers: usize },
    Provider,
}

const KINDS: [Open; 3] = [Open::Models { providers: 6 }, Open::Models { providers: 1 }, Open::Provider];

/// One test at a time: threads share the spare buffers of a stripe.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// So many models whose breakers, or whose provider's, real failures have opened for an hour; and one that answers, as
/// soon as it may.
fn skipping(
    skipped: usize,
    open: Open,
    answers: Arc<AtomicBool>,
) -> impl Service<(), Response = (bool, Served), Error: Sized, Future: 'static> + Clone {
    let trips_after = |failures| BreakerConfig::default().trip([Trip::consecutive(failures, Duration::ZERO)]);
    let never = BreakerConfig::default().trip([]);
    let (providers, of_models, of_providers) = match open {
        Open::Models { providers } => (providers, trips_after(1).open_wait(HOUR, HOUR), never),
        Open::Provider => (1, never, trips_after(skipped.clamp(1, 2) as u32).open_wait(HOUR, HOUR)),
    };
    let builder = (0..providers).fold(Models::builder().provider(Provider::new("another")), |builder, index| {
        builder.provider(Provider::new(format!("provider-{index}")).breaker(of_providers.clone()))
    });
    let builder = (0..skipped).fold(builder, |builder, index| {
        let model = Model::new(format!("model-{index}"), format!("provider-{}", index % providers));
        builder.model(model.breaker(of_models.clone()))
    });
    let models = builder.model(Model::new("last", "another")).build().expect("valid");
    let client = service_fn(move |last: bool| {
        let answers = Arc::clone(&answers);
        std::future::poll_fn(move |_| match last {
            false => Poll::Ready(Err(std::fmt::Error)),
            true if answers.load(Ordering::Relaxed) => Poll::Ready(Ok(true)),
            true => Poll::Pending,
        })
    });
    let layer = FailoverLayer::builder(models.clone()).aim(aim(|model: &Model, ()| Ok(model.name() == "last")));
    let service = layer.finish(WithServed).build().expect("valid").layer(client);
    for index in 0..skipped {
        let plan = Plan::new().models([format!("model-{index}")]);
        assert!(matches!(poll(&mut pin!(service.clone().plan(plan).call(()))), Poll::Ready(Err(_))));
    }
    service
}

fn poll<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn call<S>(service: &S) -> Served
where
    S: Service<(), Response = (bool, Served), Error: Sized> + Clone,
{
    let Poll::Ready(Ok((true, served))) = poll(&mut pin!(service.clone().call(()))) else { panic!("not answered") };
    served
}

fn assert_skipped(served: &Served, skipped: usize, open: Open) {
    let whose = if open == Open::Provider { Whose::Provider } else { Whose::Model };
    let candidates: Vec<_> = served.candidates().collect();
    let (last, before) = candidates.split_last().expect("one has answered");
    assert!(last.model.name() == "last" && matches!(last.fate, Fate::Tried(_)));
    assert_eq!(before.len(), skipped);
    for (index, candidate) in before.iter().enumerate() {
        assert_eq!(candidate.model.name(), format!("model-{index}"));
        assert!(matches!(candidate.fate, Fate::Skipped(Skip::Open(of, _)) if of == whose), "{}", candidate.fate);
    }
}

#[test]
fn a_request_that_skips_allocates_as_much_as_one_that_skips_none() {
    let _alone = alone();
    let runtime = runtime();
    let _context = runtime.enter();
    let allocations = |skipped, open| {
        let service = skipping(skipped, open, Arc::new(AtomicBool::new(true)));
        assert_skipped(&call(&service), skipped, open);
        measure(|| (0..100).for_each(|_| drop(call(&service)))).count_total
    };
    let none = allocations(0, Open::Provider);
    for open in KINDS {
        assert_eq!([1, 2, 10, 59].map(|skipped| allocations(skipped, open)), [none; 4], "{open:?}");
    }
}

#[test]
fn so_it_is_with_some_under_way_at_once() {
    let _alone = alone();
    let runtime = runtime();
    let _context = runtime.enter();
    let allocations = |skipped| {
        let answers = Arc::new(AtomicBool::new(false));
        let service = skipping(skipped, KINDS[0], Arc::clone(&answers));
        let round = || {
            answers.store(false, Ordering::Relaxed);
            let mut calls: Vec<_> = (0..30).map(|_| Box::pin(service.clone().call(()))).collect();
            assert!(calls.iter_mut().all(|call| poll(&mut call.as_mut()).is_pending()));
            answers.store(true, Ordering::Relaxed);
            for call in &mut calls {
                let Poll::Ready(Ok((true, served))) = poll(&mut call.as_mut()) else { panic!("not answered") };
                assert_eq!(served.candidates().len(), skipped + 1);
            }
        };
        round();
        measure(round).count_total
    };
    assert_eq!(allocations(59), allocations(0));
}

#[test]
fn what_is_kept_for_later_requests_is_bounded() {
    let _alone = alone();
    let runtime = runtime();
    let _context = runtime.enter();
    let service = skipping(59, KINDS[0], Arc::new(AtomicBool::new(true)));
    let kept = measure(|| {
        let many: Vec<Served> = (0..1_000).map(|_| call(&service)).collect();
        drop(many);
    });
    assert!(kept.bytes_total > 1_000 * 60 * 50, "{kept:?}");
    assert!(kept.bytes_current < 50 * 60 * 100, "{kept:?}");
}

#[test]
fn a_served_that_is_kept_stays_as_it_is_while_others_come_and_go() {
    let _alone = alone();
    let runtime = runtime();
    let _context = runtime.enter();
    let services =
        KINDS.map(|open| [2, 10, 59].map(|skipped| (skipped, open, skipping(skipped, open, Arc::new(true.into())))));
    let mut kept = Vec::new();
    for round in 0..50 {
        for (index, (skipped, open, service)) in services.iter().flatten().enumerate() {
            let served = call(service);
            let copy = served.clone();
            match (round + index) % 3 {
                0 => kept.push((served, *skipped, *open)),
                1 => kept.push((copy, *skipped, *open)),
                _ => {}
            }
        }
        kept.retain(|(served, skipped, open)| {
            assert_skipped(served, *skipped, *open);
            round % 7 != skipped % 7
        });
    }
}

/// Counts everything together.
#[derive(Default)]
struct One(Arc<AtomicU64>);

impl metrics::HistogramFn for One {
    fn record(&self, _: f64) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl metrics::Recorder for One {
    fn describe_counter(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_gauge(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}
    fn describe_histogram(&self, _: metrics::KeyName, _: Option<metrics::Unit>, _: metrics::SharedString) {}

    fn register_counter(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        metrics::Counter::from_arc(Arc::clone(&self.0))
    }

    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }

    fn register_histogram(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::from_arc(Arc::new(Self(Arc::clone(&self.0))))
    }
}

#[test]
fn a_recorder_makes_no_request_allocate_after_the_first() {
    let _alone = alone();
    let runtime = runtime();
    let _context = runtime.enter();
    let service = skipping(59, KINDS[0], Arc::new(AtomicBool::new(true)));
    let requests = || measure(|| (0..100).for_each(|_| drop(call(&service)))).count_total;
    call(&service);
    let unheard = requests();
    let recorder = One::default();
    metrics::with_local_recorder(&recorder, || {
        call(&service);
        let before = recorder.0.load(Ordering::Relaxed);
        assert_eq!(requests(), unheard);
        // Each request and its attempt are counted and timed, and each skip is counted.
        assert_eq!(recorder.0.load(Ordering::Relaxed) - before, 100 * (2 + 2 + 59));
    });
}
