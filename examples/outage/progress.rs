//! Something to look at while it runs: a bar on a terminal, else a line for each phase.

use std::io::{IsTerminal, Write, stderr};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::schedule;

const REDRAW_EVERY: Duration = Duration::from_millis(100);
const CELLS: usize = 45;

/// Shows how far the run is, until the schedule is over.
pub async fn show(start: Instant) {
    if stderr().is_terminal() {
        bar(start).await;
    } else {
        lines(start).await;
    }
}

async fn bar(start: Instant) {
    let mut at = Duration::ZERO;
    while at < schedule::length() {
        sleep_until(start + at).await;
        draw(at);
        at += REDRAW_EVERY;
    }
    // Back to the start of the line, and clear it.
    eprint!("\r\x1b[K");
}

fn draw(at: Duration) {
    let whole = schedule::length();
    let full = (at.as_secs_f64() / whole.as_secs_f64() * CELLS as f64) as usize;
    let phase = &schedule::PHASES[schedule::phase_at(at)];
    eprint!(
        "\r{}{} {:2}/{} s  {}\x1b[K",
        "█".repeat(full),
        "░".repeat(CELLS.saturating_sub(full)),
        at.as_secs(),
        whole.as_secs(),
        phase.name,
    );
    // A bar that cannot be drawn is not worth a word.
    let _ = stderr().flush();
}

async fn lines(start: Instant) {
    for (from, _, phase) in schedule::phases() {
        sleep_until(start + from).await;
        eprintln!("{:3} s  {}", from.as_secs(), phase.name);
    }
}
