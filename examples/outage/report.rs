//! What a person reads after the run: the figures side by side, the comparison of the calls,
//! and whether the promises hold.

use crate::audit::{Audit, Row};
use crate::measure::Figures;
use crate::schedule::PHASES;

/// One client's run.
pub struct Side {
    pub figures: Figures,
    pub audit: Audit,
    /// What a Prometheus exporter showed that does not add up.
    pub scraped: Vec<String>,
}

/// A promise, and whether it was kept.
pub struct Hold {
    pub line: String,
    pub kept: bool,
}

/// Everything, ready to print.
pub fn table(plain: &Side, failover: &Side) -> String {
    let mut lines = figures(&plain.figures, &failover.figures);
    lines.push(String::new());
    lines.extend(calls("the loop", &plain.audit));
    lines.push(String::new());
    lines.extend(calls("tower-failover", &failover.audit));
    lines.push(String::new());
    lines.push("To hold".to_owned());
    lines.extend(holds(plain, failover).iter().map(verdict));
    lines.join("\n")
}

/// The promises of the example.
pub fn holds(plain: &Side, failover: &Side) -> Vec<Hold> {
    let (l, f) = (&plain.figures, &failover.figures);
    let hold = |line: String, kept| Hold { line, kept };
    vec![
        hold(format!("failover: lost late {} = 0", f.lost_late), f.lost_late == 0),
        hold(
            format!("failover: wasted calls {} at least 15 times below {}", f.wasted_calls, l.wasted_calls),
            f.wasted_calls * 15 <= l.wasted_calls,
        ),
        hold(format!("failover: p99 {:.0} ms <= 0.4 of {:.0} ms", f.p99_ms, l.p99_ms), f.p99_ms <= 0.4 * l.p99_ms),
        hold(
            format!("failover: diverted after {} <= 250 ms", time(f.divert_ms)),
            f.divert_ms.is_some_and(|divert| divert <= 250.0),
        ),
        hold(
            format!("failover: returned after {} <= 1500 ms", time(f.return_ms)),
            f.return_ms.is_some_and(|back| back <= 1500.0),
        ),
        told_truly("the loop", &plain.audit),
        told_truly("failover", &failover.audit),
        exported_truly(&failover.scraped),
    ]
}

fn told_truly(name: &str, audit: &Audit) -> Hold {
    let Audit { unknown, unexplained, disputed, .. } = audit;
    let line = if audit.holds() {
        format!("{name}: its count of calls agrees with the servers' logs")
    } else {
        format!(
            "{name}: its count of calls agrees with the servers' logs ({unknown} calls only in \
             the logs, {unexplained} not in them for no reason, {disputed} told differently)"
        )
    };
    Hold { line, kept: audit.holds() }
}

fn exported_truly(faults: &[String]) -> Hold {
    let line = "failover: a Prometheus exporter shows all requests, and all calls of each model".to_owned();
    let line = if faults.is_empty() { line } else { format!("{line} ({})", faults.join("; ")) };
    Hold { line, kept: faults.is_empty() }
}

fn verdict(hold: &Hold) -> String {
    let mark = if hold.kept { "ok    " } else { "FAILED" };
    format!("  {mark}  {}", hold.line)
}

/// The figures side by side, a line each.
pub fn figures(l: &Figures, f: &Figures) -> Vec<String> {
    let count = |name: &str, l: usize, f: usize| line(name, &grouped(l), &grouped(f), "");
    let less = |name: &str, l: usize, f: usize| line(name, &grouped(l), &grouped(f), &ratio(l as f64, f as f64));
    let timed = |name: &str, l: Option<f64>, f: Option<f64>| {
        let compared = l.zip(f).map(|(l, f)| ratio(l, f)).unwrap_or_default();
        line(name, &time(l), &time(f), &compared)
    };
    let dollars = |cost: f64| format!("{cost:.2} $");
    vec![
        line("", "the loop", "tower-failover", ""),
        count("requests", l.requests, f.requests),
        count("  answerable", l.answerable, f.answerable),
        count("  answered of those", l.answered, f.answered),
        count("  lost late", l.lost_late, f.lost_late),
        timed("p50", Some(l.p50_ms), Some(f.p50_ms)),
        timed("p99", Some(l.p99_ms), Some(f.p99_ms)),
        timed("longest", Some(l.max_ms), Some(f.max_ms)),
        less("upstream calls", l.upstream_calls, f.upstream_calls),
        less("  wasted", l.wasted_calls, f.wasted_calls),
        line("cost", &dollars(l.cost), &dollars(f.cost), &ratio(l.cost, f.cost)),
        timed("first fault to diverted", l.divert_ms, f.divert_ms),
        timed("last fault to an answer", l.return_ms, f.return_ms),
    ]
}

fn line(name: &str, plain: &str, failover: &str, compared: &str) -> String {
    let line = format!("{name:<27}{plain:>14}{failover:>18}   {compared}");
    line.trim_end().to_owned()
}

fn calls(name: &str, audit: &Audit) -> Vec<String> {
    let title = format!("calls of {name}");
    let head = format!(
        "{title:<27}{:>10}{:>10}{:>10}{:>13}{:>18}",
        "made", "wasted", "refused", "never read", "read by servers"
    );
    let rows = PHASES.iter().zip(&audit.phases).map(|(phase, row)| call_line(phase.name, row));
    let failures = audit.failures.iter();
    let failures = failures.map(|(reason, count)| format!("    {:>8}  {reason}", grouped(*count)));
    std::iter::once(head).chain(rows).chain(["  failed".to_owned()]).chain(failures).collect()
}

fn call_line(phase: &str, row: &Row) -> String {
    format!(
        "  {phase:<25}{:>10}{:>10}{:>10}{:>13}{:>18}",
        grouped(row.made),
        grouped(row.wasted),
        grouped(row.refused),
        grouped(row.never_read),
        grouped(row.read)
    )
}

fn ratio(plain: f64, failover: f64) -> String {
    if plain <= 0.0 || failover <= 0.0 {
        return String::new();
    }
    match plain / failover {
        less if less >= 1.05 => format!("{less:.1} times less"),
        more if more <= 0.95 => format!("{:.1} times more", 1.0 / more),
        _ => "the same".to_owned(),
    }
}

fn time(ms: Option<f64>) -> String {
    ms.map_or("never".to_owned(), |ms| format!("{} ms", grouped(ms.round() as usize)))
}

/// With a space between the thousands.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}
