//! The panels of the timeline: each draws one kind of record along the axis of time.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::canvas::Canvas;
use crate::failover::State;
use crate::load::{Record, Sample, TICK};
use crate::measure::{self, latency};
use crate::report::grouped;
use crate::schedule::{self, MODELS};
use crate::style::{
    COLOURS, GREY, GRID, INK, LATENCY, LEFT, NOBODY, RIGHT, ROW, STATES, STRIP, WASTE, WASTED, breaker_look,
    label_left, plain, x_of,
};

const BIN: Duration = Duration::from_millis(250);
/// The latency scale is logarithmic between these.
const FASTEST_MS: f64 = 10.0;
const SLOWEST_MS: f64 = 4000.0;
/// Dots lie on a grid of this width, and are somewhat taller than wide.
const GRAIN: f64 = 2.0;
const DOT: f64 = 3.0;

/// Who answered the requests that were sent in each bin, piled up, nobody on top.
pub fn served(canvas: &mut Canvas, records: &[Record], top: f64) {
    let mut counts = vec![[0_usize; MODELS.len() + 1]; bin_of(schedule::length())];
    for record in records {
        counts[bin_of(record.sent)][record.outcome.answered_by.unwrap_or(MODELS.len())] += 1;
    }
    for (place, colour) in COLOURS.iter().chain([&NOBODY]).enumerate() {
        let boxes = counts.iter().enumerate().filter(|(_, bin)| bin[place] > 0);
        let boxes = boxes.map(|(number, bin)| {
            let all = bin.iter().sum::<usize>() as f64;
            let share = |count: usize| count as f64 / all * STRIP;
            let above = share(bin[place + 1..].iter().sum());
            let (from, to) = ends_of(number);
            let below = above + share(bin[place]);
            (x_of(from), top + above, x_of(to), top + below)
        });
        canvas.boxes(boxes, colour);
    }
}

/// A dot for each request, in the colour of who answered.
pub fn latencies(canvas: &mut Canvas, records: &[Record], top: f64) {
    for (ms, name) in [(10.0, "10 ms"), (100.0, "100 ms"), (1000.0, "1 s"), (4000.0, "4 s")] {
        let y = top + y_of(ms);
        canvas.line((LEFT, y), (RIGHT, y), GRID);
        label_left(canvas, y + 4.0, plain(11.0, GREY), name);
    }
    for (place, colour) in COLOURS.iter().chain([&NOBODY]).enumerate() {
        // On a grid, so that the thousands that lie on each other become one.
        let dots: BTreeSet<(i64, i64)> = records
            .iter()
            .filter(|record| record.outcome.answered_by.unwrap_or(MODELS.len()) == place)
            .map(|record| {
                let y = y_of(latency(record).as_secs_f64() * 1000.0);
                let grain = |length: f64| (length / GRAIN).round() as i64;
                (grain(x_of(record.sent)), grain(y))
            })
            .collect();
        let dot = |(x, y)| {
            let (x, y) = (x as f64 * GRAIN, top + y as f64 * GRAIN);
            (x, y - DOT / 2.0, x + GRAIN, y + DOT / 2.0)
        };
        canvas.boxes(dots.into_iter().map(dot), colour);
    }
}

/// How many calls were wasted in each bin; at full height, every request asked every model.
pub fn wasted_calls(canvas: &mut Canvas, records: &[Record], top: f64) {
    let bottom = top + WASTED;
    canvas.line((LEFT, bottom), (RIGHT, bottom), GRID);
    let full = (BIN.as_micros() / TICK.as_micros()) as usize * MODELS.len();
    let per_second = grouped(full * 1000 / BIN.as_millis() as usize);
    label_left(canvas, top + 4.0, plain(11.0, GREY), &format!("{per_second}/s"));
    label_left(canvas, bottom, plain(11.0, GREY), "0");
    let mut counts = vec![0_usize; bin_of(schedule::length()) + 1];
    for call in measure::calls(records).filter(|call| measure::wasted(call)) {
        let bin = bin_of(call.at).min(counts.len() - 1);
        counts[bin] += 1;
    }
    let wasteful = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let boxes = wasteful.map(|(number, count)| {
        let (from, to) = ends_of(number);
        // Tall enough to be seen, be it a single call.
        let height = (*count as f64 / full as f64 * WASTED).clamp(1.5, WASTED);
        (x_of(from), bottom - height, x_of(to), bottom)
    });
    canvas.boxes(boxes, WASTE);
}

/// A row for each breaker; the more it keeps back, the thicker.
pub fn breakers(canvas: &mut Canvas, samples: &[Sample], top: f64) {
    let Some(first) = samples.first() else {
        return;
    };
    for (row, (name, _)) in first.states.iter().enumerate() {
        let middle = top + (row as f64 + 0.5) * ROW;
        label_left(canvas, middle + 4.0, plain(12.0, INK), name);
        for state in STATES {
            let boxes = spells(samples, row)
                .filter(|(_, _, spell)| *spell == state)
                .map(|(from, to, _)| breaker_box(from, to, middle, state));
            canvas.boxes(boxes, breaker_look(state).1);
        }
    }
}

fn breaker_box(from: Duration, to: Duration, middle: f64, state: State) -> (f64, f64, f64, f64) {
    let (height, _) = breaker_look(state);
    // A probe is over soon, and is what one looks for.
    let end = x_of(to).max(x_of(from) + 2.5);
    (x_of(from), middle - height / 2.0, end, middle + height / 2.0)
}

/// The states of the breaker in `row`, each with its first moment and its end.
fn spells(samples: &[Sample], row: usize) -> impl Iterator<Item = (Duration, Duration, State)> {
    samples.chunk_by(move |a, b| a.states[row].1 == b.states[row].1).scan(0, move |passed, spell| {
        *passed += spell.len();
        let end = samples.get(*passed).map_or(schedule::length(), |next| next.at);
        Some((spell[0].at, end, spell[0].states[row].1))
    })
}

fn bin_of(at: Duration) -> usize {
    (at.as_micros() / BIN.as_micros()) as usize
}

/// When a bin begins and ends.
fn ends_of(bin: usize) -> (Duration, Duration) {
    (BIN * bin as u32, BIN * (bin as u32 + 1))
}

/// Down from the top of a latency panel.
fn y_of(ms: f64) -> f64 {
    let ms = ms.clamp(FASTEST_MS, SLOWEST_MS);
    LATENCY * (SLOWEST_MS / ms).ln() / (SLOWEST_MS / FASTEST_MS).ln()
}
