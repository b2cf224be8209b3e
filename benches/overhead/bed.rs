//! How a row is measured: its calls are made by tasks on the workers of a multi-threaded runtime, one task on each.

use std::{
    future::{Future, poll_fn},
    hint::black_box,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};
use tower::Service;

/// How many calls are made before allocations are counted, and then.
const STEADY: u32 = 1_000;

/// The runtimes: of one worker, and of two.
pub struct Bed([Runtime; 2]);

impl Bed {
    pub fn new() -> Self {
        Self([1, 2].map(|threads| {
            Builder::new_multi_thread().worker_threads(threads).enable_all().build().expect("threads can be started")
        }))
    }

    /// Elapsed time from the first beginning to the last end of so many tasks, which begin together, each on a thread of
    /// its own.
    pub fn elapsed<F>(&self, threads: usize, task: impl Fn() -> F) -> Duration
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = &self.0[threads - 1];
        let begun = Arc::new(AtomicUsize::new(0));
        let tasks: Vec<_> = (0..threads)
            .map(|_| {
                let (task, begun) = (task(), Arc::clone(&begun));
                runtime.spawn(async move {
                    // Nobody sleeps here, or one would begin later by what it takes to wake.
                    begun.fetch_add(1, Ordering::AcqRel);
                    while begun.load(Ordering::Acquire) < threads {
                        std::hint::spin_loop();
                    }
                    let start = Instant::now();
                    task.await;
                    (start, Instant::now())
                })
            })
            .collect();
        let times = tasks.into_iter().map(|task| runtime.block_on(task).expect("no call panics"));
        let (starts, ends): (Vec<_>, Vec<_>) = times.unzip();
        let (start, end) = starts.into_iter().min().zip(ends.into_iter().max()).expect("there is a task");
        end - start
    }

    /// Does something where timers can be made.
    pub fn enter<T>(&self, what: impl FnOnce() -> T) -> T {
        let _context = self.0[0].enter();
        what()
    }

    /// What this thread allocates for one call, once the service has made some.
    pub fn allocations<S, Req>(&self, mut service: S, request: &Req, answers: bool) -> f64
    where
        S: Service<Req>,
        Req: Clone,
    {
        let context = &mut Context::from_waker(Waker::noop());
        let mut calls = || {
            let mut calls = pin!(calls(&mut service, request.clone(), STEADY, answers));
            while calls.as_mut().poll(context).is_pending() {}
        };
        self.enter(|| {
            calls();
            allocation_counter::measure(calls).count_total as f64 / f64::from(STEADY)
        })
    }
}

/// Makes one call after another, all of which are answered, or none.
pub async fn calls<S, Req>(service: &mut S, request: Req, calls: u32, answers: bool)
where
    S: Service<Req>,
    Req: Clone,
{
    for _ in 0..calls {
        assert!(poll_fn(|cx| service.poll_ready(cx)).await.is_ok());
        assert_eq!(service.call(black_box(request.clone())).await.is_ok(), answers);
    }
}

/// One call by hand, of a service that is ready at once.
pub fn call<S, Req>(service: &mut S, request: Req) -> Result<S::Response, S::Error>
where
    S: Service<Req>,
{
    let context = &mut Context::from_waker(Waker::noop());
    assert!(matches!(service.poll_ready(context), Poll::Ready(Ok(()))));
    match pin!(service.call(request)).poll(context) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("not ready at once"),
    }
}
