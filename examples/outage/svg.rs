//! The timeline as a picture: for each client who served and how long it took, beneath them
//! what the breakers did, and behind it all the faults. Time runs from left to right, the same
//! for every panel.

use std::time::Duration;

use crate::canvas::Canvas;
use crate::load::{Record, Sample};
use crate::measure::Figures;
use crate::panels;
use crate::report::grouped;
use crate::schedule::{self, MODELS, PROVIDERS};
use crate::style::{
    BANDS_TOP, BREAKERS_HEAD, COLOURS, FOOT, GAP, GREY, INK, LATENCY, LEFT, MARGIN, NOBODY, PANEL, PANELS_TOP, PAPER,
    RIGHT, ROW, STATES, STRIP, WIDE_GAP, WIDTH, bold, breaker_look, centred, plain, x_of,
};

/// One client's part of the picture.
pub struct Panel<'a> {
    pub name: &'a str,
    pub remark: &'a str,
    pub records: &'a [Record],
    pub figures: &'a Figures,
}

/// The whole picture.
pub fn timeline(clients: [Panel<'_>; 2], samples: &[Sample]) -> String {
    let breakers_top = PANELS_TOP + clients.len() as f64 * PANEL;
    let rows = samples.first().map_or(0, |sample| sample.states.len());
    let bottom = breakers_top + BREAKERS_HEAD + rows as f64 * ROW + 4.0;
    let mut canvas = Canvas::new(WIDTH, bottom + FOOT, PAPER, "One outage, two clients");
    heading(&mut canvas);
    bands(&mut canvas, bottom);
    for (place, panel) in clients.iter().enumerate() {
        let top = PANELS_TOP + place as f64 * PANEL;
        let latency_top = top + STRIP + GAP;
        let wasted_top = latency_top + LATENCY + WIDE_GAP;
        name(&mut canvas, panel, top);
        panels::served(&mut canvas, panel.records, top);
        let p99 = format!("{} ms", grouped(panel.figures.p99_ms.round() as usize));
        figure(&mut canvas, &p99, "p99 of latency", latency_top + 24.0);
        panels::latencies(&mut canvas, panel.records, latency_top);
        let wasted = grouped(panel.figures.wasted_calls);
        figure(&mut canvas, &wasted, "wasted calls", wasted_top + 17.0);
        panels::wasted_calls(&mut canvas, panel.records, wasted_top);
    }
    breakers_legend(&mut canvas, breakers_top);
    panels::breakers(&mut canvas, samples, breakers_top + BREAKERS_HEAD);
    clock(&mut canvas, bottom);
    canvas.finish()
}

fn heading(canvas: &mut Canvas) {
    canvas.text(MARGIN, 44.0, bold(24.0, INK), "One outage, two clients");
    canvas.text(
        MARGIN,
        66.0,
        plain(13.0, GREY),
        "The same 200 requests a second, for four models in order of preference, over real HTTP.",
    );
    let mut x = MARGIN;
    let mut entry = |colour: &str, name: &str| {
        canvas.rounded(x, 82.0, 11.0, 11.0, 2.0, colour);
        canvas.text(x + 17.0, 92.0, plain(12.5, INK), name);
        x += 17.0 + name.len() as f64 * 6.6 + 22.0;
    };
    for (model, colour) in MODELS.iter().zip(COLOURS) {
        entry(colour, &format!("{} ({})", model.name, PROVIDERS[model.provider]));
    }
    entry(NOBODY, "no answer");
}

/// The faults, behind all panels, the darker the fewer models are left.
fn bands(canvas: &mut Canvas, bottom: f64) {
    for (from, to, phase) in schedule::phases() {
        let left = (0..MODELS.len()).filter(|model| schedule::healthy(*model, from)).count();
        let (band, label) = match left {
            0 => ("#f3d3d0", "#e3a6a2"),
            1 => ("#fae8e3", "#f2cfc6"),
            2 | 3 => ("#fdf3e4", "#f6e0bd"),
            _ => ("none", "#e4efe8"),
        };
        let (x, end) = (x_of(from), x_of(to));
        canvas.rect(x, BANDS_TOP, end - x, bottom - BANDS_TOP, band);
        canvas.rounded(x + 1.0, BANDS_TOP, end - x - 2.0, 22.0, 3.0, label);
        canvas.text((x + end) / 2.0, BANDS_TOP + 15.0, centred(bold(11.0, INK)), phase.name);
    }
}

fn name(canvas: &mut Canvas, panel: &Panel<'_>, top: f64) {
    let Figures { answered, answerable, .. } = panel.figures;
    let answered = format!("{} of {} answered", grouped(*answered), grouped(*answerable));
    canvas.text(MARGIN, top + 16.0, bold(17.0, INK), panel.name);
    canvas.text(MARGIN, top + 35.0, plain(12.0, GREY), panel.remark);
    canvas.text(MARGIN, top + 53.0, plain(12.0, GREY), &answered);
}

/// A figure left of the panel that shows it.
fn figure(canvas: &mut Canvas, value: &str, name: &str, y: f64) {
    canvas.text(MARGIN, y, bold(19.0, INK), value);
    canvas.text(MARGIN, y + 16.0, plain(12.0, GREY), name);
}

fn breakers_legend(canvas: &mut Canvas, top: f64) {
    canvas.text(MARGIN, top + 14.0, bold(17.0, INK), "breakers");
    let entries = [("closed", 0.0), ("half-open", 88.0), ("open", 192.0)];
    for (state, (name, right)) in STATES.into_iter().zip(entries) {
        let (height, colour) = breaker_look(state);
        let x = LEFT + right;
        let middle = top + 9.0;
        canvas.rect(x, middle - height / 2.0, 18.0, height, colour);
        canvas.text(x + 25.0, middle + 4.0, plain(12.0, INK), name);
    }
}

fn clock(canvas: &mut Canvas, bottom: f64) {
    canvas.line((LEFT, bottom), (RIGHT, bottom), GREY);
    for second in (0..=schedule::length().as_secs()).step_by(5) {
        let x = x_of(Duration::from_secs(second));
        canvas.line((x, bottom), (x, bottom + 5.0), GREY);
        let font = centred(plain(11.0, GREY));
        canvas.text(x, bottom + 18.0, font, &format!("{second} s"));
    }
}
