//! One row: what is called, on one thread and on two, and what it came to.

use crate::{
    bed::{Bed, calls},
    report::Samples,
};
use std::{rc::Rc, time::Duration};
use tower::Service;

type Run = Box<dyn FnMut(usize, u32) -> Duration>;

pub struct Row {
    pub name: String,
    /// The row that this one is over.
    pub base: &'static str,
    /// What one call allocates.
    pub allocs: f64,
    /// The row that skips nobody, and how many this one skips.
    pub skips: Option<(String, u32)>,
    /// In a round of all threads; of a service that is made anew for each round.
    at_most: Option<u32>,
    run: Run,
    /// By threads: calls of each in a round, and nanoseconds of one.
    calls: [u32; 2],
    samples: [Samples; 2],
}

impl Row {
    /// Of anything.
    pub fn new(name: impl Into<String>, allocs: f64, run: impl FnMut(usize, u32) -> Duration + 'static) -> Self {
        Self {
            name: name.into(),
            base: "bare",
            allocs,
            skips: None,
            at_most: None,
            run: Box::new(run),
            calls: [1; 2],
            samples: Default::default(),
        }
    }

    /// Of calls that are all answered: its clones share whatever the service has to share.
    pub fn calls<S, Req>(bed: &Rc<Bed>, name: impl Into<String>, service: &S, request: Req) -> Self
    where
        S: Service<Req, Future: Send> + Clone + Send + 'static,
        Req: Clone + Send + 'static,
    {
        let service = service.clone();
        Self::of(bed, name, move || service.clone(), request, true)
    }

    /// Of calls that are all refused.
    pub fn refused<S, Req>(bed: &Rc<Bed>, name: impl Into<String>, service: &S, request: Req) -> Self
    where
        S: Service<Req, Future: Send> + Clone + Send + 'static,
        Req: Clone + Send + 'static,
    {
        let service = service.clone();
        Self::of(bed, name, move || service.clone(), request, false)
    }

    /// Of a service that is made anew for each round, in which it gets so many calls at the most.
    pub fn anew<S, Req>(
        bed: &Rc<Bed>,
        name: impl Into<String>,
        at_most: u32,
        make: impl Fn() -> S + 'static,
        request: Req,
    ) -> Self
    where
        S: Service<Req, Future: Send> + Clone + Send + 'static,
        Req: Clone + Send + 'static,
    {
        Self { at_most: Some(at_most), ..Self::of(bed, name, make, request, true) }
    }

    fn of<S, Req>(
        bed: &Rc<Bed>,
        name: impl Into<String>,
        make: impl Fn() -> S + 'static,
        request: Req,
        answers: bool,
    ) -> Self
    where
        S: Service<Req, Future: Send> + Clone + Send + 'static,
        Req: Clone + Send + 'static,
    {
        let allocs = bed.allocations(make(), &request, answers);
        let bed = Rc::clone(bed);
        Self::new(name, allocs, move |threads, count| {
            let service = make();
            bed.elapsed(threads, || {
                let (mut service, request) = (service.clone(), request.clone());
                async move { calls(&mut service, request, count, answers).await }
            })
        })
    }

    /// Over that row, and not over `bare`.
    pub fn over(self, base: &'static str) -> Self {
        Self { base, ..self }
    }

    /// Skips so many candidates of which that row skips none.
    pub fn skips(self, none: impl Into<String>, skipped: u32) -> Self {
        Self { skips: Some((none.into(), skipped)), ..self }
    }

    /// Elapsed time of so many threads that make so many calls each.
    pub fn run(&mut self, threads: usize, calls: u32) -> Duration {
        (self.run)(threads, calls)
    }

    /// Finds how many calls take about so long.
    pub fn calibrate(&mut self, round: Duration) {
        for threads in [1, 2] {
            let most = self.at_most.unwrap_or(1_000_000) / threads as u32;
            let trial = most.min(500);
            let fastest = (0..3).map(|_| self.run(threads, trial)).min().unwrap_or_default().as_secs_f64();
            let calls = round.as_secs_f64() / fastest.max(1e-9) * f64::from(trial);
            self.calls[threads - 1] = (calls as u32).clamp(100.min(most), most);
        }
    }

    /// One round on each number of threads.
    pub fn round(&mut self) {
        for threads in [1, 2] {
            let calls = self.calls[threads - 1];
            let elapsed = self.run(threads, calls).as_secs_f64();
            self.samples[threads - 1].push(elapsed * 1e9 / f64::from(calls) / threads as f64);
        }
    }

    /// Nanoseconds of a call on so many threads.
    pub fn samples(&self, threads: usize) -> &Samples {
        &self.samples[threads - 1]
    }
}
