//! The chart: what one call costs over bare, ours and the peers', on one thread and on two.

use crate::{
    canvas::{Anchor, Canvas, Font},
    goals::{BREAKER, BREAKERS, OURS as OURSELVES, RESILIENCE_STACKS, RETRIES, STACK},
    report::number,
    results::{Cost, Results},
};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 28.0;
const LEFT: f64 = 286.0;
const RIGHT: f64 = WIDTH - MARGIN - 44.0;
const TOP: f64 = 118.0;
const BAR: f64 = 11.0;
const ROW: f64 = 36.0;
/// The line above a group.
const HEAD: f64 = 34.0;
const FOOT: f64 = 56.0;
/// Readings of the clock at the right end, at the most: what is longer is cut, and says so.
const LONGEST: f64 = 16.0;

const PAPER: &str = "#fcfcfa";
const INK: &str = "#22262b";
const GREY: &str = "#6a7178";
const GRID: &str = "#d9dbd8";
/// On one thread, and on two.
const OURS: [&str; 2] = ["#2467a3", "#7fb3de"];
const THEIRS: [&str; 2] = ["#6d7277", "#b9bcbf"];

/// One line of the chart.
struct Bars<'a> {
    name: &'a str,
    ours: bool,
    costs: [Cost; 2],
}

/// Nothing without the figures.
pub fn draw(results: &Results) -> Option<String> {
    let clock = results.clock()?;
    let bars = |names: &[&'static str]| -> Vec<Bars<'static>> {
        let bars = names.iter().filter_map(|name| {
            let costs = [results.cost(name, 1)?, results.cost(name, 2)?];
            Some(Bars { name, ours: [BREAKER, STACK].contains(name), costs })
        });
        bars.collect()
    };
    let groups = [
        ("A circuit breaker", bars(&[&[BREAKER], &BREAKERS[..]].concat())),
        ("The whole stack", bars(&[&[STACK], &RESILIENCE_STACKS[..], &RETRIES].concat())),
    ];
    let over = groups.iter().flat_map(|(_, bars)| bars).flat_map(|bars| bars.costs).map(|cost| cost.over);
    let end = over.fold(4.0, f64::max).min(LONGEST).ceil();
    let rows: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let bottom = TOP + HEAD * groups.len() as f64 + ROW * rows as f64;

    let title = "What a call costs beyond the call itself";
    let mut canvas = Canvas::new(WIDTH, bottom + FOOT, PAPER, title);
    canvas.text(MARGIN, 40.0, bold(20.0, INK), title);
    let unit = format!(
        "in readings of the monotonic clock, {} ns each on the machine that was measured. Shorter is better.",
        number(clock, 0)
    );
    canvas.text(MARGIN, 62.0, plain(13.0, GREY), &unit);
    legend(&mut canvas);

    let x = |over: f64| LEFT + (RIGHT - LEFT) * (over / end).clamp(0.0, 1.0);
    let step = if end > 8.0 { 2 } else { 1 };
    for tick in (0..=end as u32).step_by(step) {
        let x = x(f64::from(tick));
        canvas.line((x, TOP + 6.0), (x, bottom + 4.0), GRID);
        canvas.text(x, bottom + 20.0, Font { anchor: Anchor::Middle, ..plain(12.0, GREY) }, &tick.to_string());
    }
    let mut y = TOP;
    for (name, bars) in &groups {
        canvas.text(MARGIN, y + 22.0, bold(14.0, INK), name);
        y += HEAD;
        for bars in bars {
            line(&mut canvas, y, bars, x, end);
            y += ROW;
        }
    }
    let foot = "Defaults: as it comes. As ours: set up as near to this crate's defaults as it can be.";
    canvas.text(MARGIN, bottom + 42.0, plain(12.0, GREY), foot);
    Some(canvas.finish())
}

fn legend(canvas: &mut Canvas) {
    let texts = ["one thread", "two threads that share one breaker or stack: elapsed time ÷ all calls"];
    let mut x = MARGIN;
    for (place, text) in texts.into_iter().enumerate() {
        canvas.rounded(x, 82.0, 14.0, BAR, 2.0, OURS[place]);
        canvas.rounded(x + 17.0, 82.0, 14.0, BAR, 2.0, THEIRS[place]);
        canvas.text(x + 38.0, 92.0, plain(13.0, INK), text);
        x += 140.0;
    }
}

fn line(canvas: &mut Canvas, y: f64, bars: &Bars<'_>, x: impl Fn(f64) -> f64, end: f64) {
    let colours = if bars.ours { OURS } else { THEIRS };
    let name = if bars.ours { OURSELVES } else { bars.name };
    let font = if bars.ours { bold(13.0, INK) } else { plain(13.0, INK) };
    canvas.text(LEFT - 10.0, y + 16.0, Font { anchor: Anchor::End, ..font }, name);
    for (place, cost) in bars.costs.iter().enumerate() {
        let top = y + (BAR + 2.0) * place as f64;
        let right = x(cost.over);
        canvas.rounded(LEFT, top, (right - LEFT).max(1.0), BAR, 2.0, colours[place]);
        if cost.over > end {
            // Cut: it is longer than there is room for.
            for gap in [18.0, 12.0] {
                canvas.rect(right - gap, top, 3.0, BAR, PAPER);
            }
        }
        canvas.text(right + 6.0, top + 9.5, plain(11.0, GREY), &number(cost.over, 1));
    }
}

fn plain(size: f64, fill: &'static str) -> Font {
    Font { size, fill, bold: false, anchor: Anchor::Start }
}

fn bold(size: f64, fill: &'static str) -> Font {
    Font { bold: true, ..plain(size, fill) }
}
