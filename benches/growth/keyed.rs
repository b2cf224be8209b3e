//! So many keys, each with a breaker of its own.

use crate::{
    Row,
    breakers::{self, Breaker, Came, Kind, MINUTE, OURS, Request},
    report::{Report, cell},
};
use std::{collections::HashMap, hint::black_box, sync::RwLock, time::Duration};
use tokio::time::Instant;

const MEASURE: &str = "keyed models";
/// Calls of a round.
const CALLS: u32 = 20_000;
/// Random keys that are called in turn: there is no time to draw them meanwhile.
const DRAWN: usize = 1 << 17;

/// Calls the breaker of a key.
type Call = Box<dyn FnMut(&'static str) -> Came>;

/// The names of so many keys.
pub(crate) fn names(count: usize) -> Vec<&'static str> {
    (0..count).map(|key| &*format!("tenant-{key:06}").leak()).collect()
}

/// Reports what has no time.
pub(crate) fn rows(names: &[&'static str], report: &mut Report) -> Vec<Row> {
    let (models, mut service) = breakers::ours_keyed(names.len());
    let ours = row(OURS, names, report, || {
        for name in names {
            drop(models.for_key(name));
        }
        assert_eq!(models.keys().len(), names.len());
        Box::new(move |key| service.call(Request(key, true)))
    });
    // Each call costs it what its window holds, which the calls of all rounds would fill.
    let untimed = peer(breakers::tower_resilience_time(MINUTE), names, report);
    report.row(untimed.cells);
    vec![
        ours,
        peer(breakers::tower_resilience_count(), names, report),
        peer(breakers::failsafe_defaults(), names, report),
        peer(breakers::failsafe_consecutive(), names, report),
        peer(breakers::recloser(), names, report),
    ]
}

/// A peer's breakers in a table that threads may share.
fn peer<B: Breaker>(kind: Kind<B>, names: &[&'static str], report: &mut Report) -> Row {
    row(kind.name, names, report, || {
        let mut table = HashMap::new();
        for name in names {
            table.insert((*name).to_owned(), (kind.make)());
        }
        let table = RwLock::new(table);
        Box::new(move |key| {
            let mut breaker = table.read().expect("no panic")[key].clone();
            breaker.call(Request(key, true))
        })
    })
}

/// Makes all of them, counts bytes, and times calls to random ones.
fn row(name: &'static str, names: &[&'static str], report: &mut Report, make: impl FnOnce() -> Call) -> Row {
    let per_key = |bytes: i64| cell(bytes as f64 / names.len() as f64, 0);
    let mut made = None;
    // Of this thread, which does all of it.
    let at_rest = allocation_counter::measure(|| made = Some(make())).bytes_current;
    let mut call = made.expect("made above");
    let more = allocation_counter::measure(|| {
        for name in names {
            assert_eq!(call(name), Came::Well);
        }
    });

    let mut cells = crate::cells(name, MEASURE, ("n", names.len()));
    cells.push(("bytes", per_key(at_rest)));
    if more.bytes_current != 0 {
        let mut cells = crate::cells(&format!("{name}, after a success"), MEASURE, ("n", names.len()));
        cells.push(("bytes", per_key(at_rest + more.bytes_current)));
        report.row(cells);
    }

    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let drawn: Vec<&'static str> = (0..DRAWN)
        .map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            names[random as usize % names.len()]
        })
        .collect();
    let mut next = drawn.into_iter().cycle();
    let run = move || {
        let mut took = Duration::ZERO;
        let mut calls = 0;
        while calls < CALLS {
            let start = Instant::now();
            for key in next.by_ref().take(1_000) {
                assert_eq!(call(black_box(key)), Came::Well);
            }
            took += start.elapsed();
            calls += 1_000;
        }
        took.as_secs_f64() * 1e9 / f64::from(calls)
    };
    Row { cells, run: Box::new(run) }
}
