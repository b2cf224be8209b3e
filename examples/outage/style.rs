//! What every part of the picture has to agree on: the measures, the colours, the fonts and the
//! scale of time.

use std::time::Duration;

use crate::canvas::{Anchor, Canvas, Font};
use crate::failover::State;
use crate::schedule::{self, MODELS};

pub const WIDTH: f64 = 1200.0;
pub const MARGIN: f64 = 28.0;
pub const LEFT: f64 = 196.0;
pub const RIGHT: f64 = WIDTH - MARGIN;
pub const BANDS_TOP: f64 = 112.0;
pub const PANELS_TOP: f64 = 146.0;
/// The heights of the parts of one client's panel, and what lies between them.
pub const STRIP: f64 = 64.0;
pub const LATENCY: f64 = 104.0;
pub const WASTED: f64 = 40.0;
pub const GAP: f64 = 10.0;
/// The scales of latency and of wasted calls both have a label here.
pub const WIDE_GAP: f64 = 20.0;
pub const PANEL: f64 = STRIP + GAP + LATENCY + WIDE_GAP + WASTED + 30.0;
/// The line above the breakers, and one breaker.
pub const BREAKERS_HEAD: f64 = 26.0;
pub const ROW: f64 = 21.0;
pub const FOOT: f64 = 38.0;

pub const PAPER: &str = "#fcfcfa";
pub const INK: &str = "#22262b";
pub const GREY: &str = "#6a7178";
pub const GRID: &str = "#d9dbd8";
pub const NOBODY: &str = "#97191f";
pub const WASTE: &str = "#5c6066";
/// By model.
pub const COLOURS: [&str; MODELS.len()] = ["#2f7fc4", "#8069c9", "#2aa198", "#e8963a"];
pub const CLOSED: &str = "#43a574";
pub const HALF_OPEN: &str = "#eeb41f";
pub const OPEN: &str = "#d64541";

/// In the order of the legend.
pub const STATES: [State; 3] = [State::Closed, State::HalfOpen, State::Open];

/// The height and the colour of a breaker's row.
pub fn breaker_look(state: State) -> (f64, &'static str) {
    match state {
        State::Closed => (4.0, CLOSED),
        State::HalfOpen => (10.0, HALF_OPEN),
        _ => (14.0, OPEN),
    }
}

pub fn x_of(at: Duration) -> f64 {
    LEFT + (RIGHT - LEFT) * at.as_secs_f64() / schedule::length().as_secs_f64()
}

/// A text that ends where the panels begin.
pub fn label_left(canvas: &mut Canvas, y: f64, font: Font, label: &str) {
    let font = Font { anchor: Anchor::End, ..font };
    canvas.text(LEFT - 8.0, y, font, label);
}

pub fn plain(size: f64, fill: &'static str) -> Font {
    Font { size, fill, bold: false, anchor: Anchor::Start }
}

pub fn bold(size: f64, fill: &'static str) -> Font {
    Font { bold: true, ..plain(size, fill) }
}

pub fn centred(font: Font) -> Font {
    Font { anchor: Anchor::Middle, ..font }
}
