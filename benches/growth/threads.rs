//! So many threads on one breaker.

use crate::{
    Row,
    breakers::{self, Breaker, Came, Kind, Request},
    cells,
};
use std::{
    hint::black_box,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

const MEASURE: &str = "threads";
const THREADS: [usize; 4] = [1, 2, 4, 8];

/// Builds the rows, each for so many milliseconds a round.
pub(crate) fn rows(millis: u64) -> Vec<Row> {
    let mut rows = Vec::new();
    for threads in THREADS {
        rows.push(row(&breakers::ours(), threads, millis));
        rows.push(row(&breakers::tower_resilience_count(), threads, millis));
        rows.push(row(&breakers::failsafe_defaults(), threads, millis));
        rows.push(row(&breakers::failsafe_consecutive(), threads, millis));
        rows.push(row(&breakers::recloser(), threads, millis));
    }
    rows
}

fn row<B: Breaker>(kind: &Kind<B>, threads: usize, millis: u64) -> Row {
    let (breaker, length) = ((kind.make)(), Duration::from_millis(millis));
    Row {
        cells: cells(kind.name, MEASURE, ("threads", threads)),
        run: Box::new(move || time(&breaker, threads, length)),
    }
}

/// Nanoseconds of this time for each call of all threads. It ends when the last of them has seen that it is over.
fn time<B: Breaker>(breaker: &B, threads: usize, length: Duration) -> f64 {
    let (begins, over) = (Barrier::new(threads + 1), AtomicBool::new(false));
    let run = || {
        let mut breaker = breaker.clone();
        begins.wait();
        let mut calls = 0_u64;
        while !over.load(Ordering::Relaxed) {
            for _ in 0..64 {
                assert_eq!(breaker.call(black_box(Request("", true))), Came::Well);
            }
            calls += 64;
        }
        calls
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        begins.wait();
        let start = Instant::now();
        std::thread::sleep(length);
        over.store(true, Ordering::Relaxed);
        let calls: u64 = running.into_iter().map(|thread| thread.join().expect("no call panics")).sum();
        start.elapsed().as_secs_f64() * 1e9 / calls as f64
    })
}
