//! The status as one page of HTML, for people.
//!
//! Style and script are in it, and the policy names both by their hash: nothing else is loaded or run, whatever a name may
//! hold. Names are escaped besides.

use crate::{
    machine::{
        breaker::State,
        history::{HISTORY_CELL, HISTORY_CELLS, HistoryCell},
        score::Tier,
    },
    models::{BreakerSnapshot, History, ModelSnapshot, Past, ProviderSnapshot, Snapshot},
};
use std::{
    fmt::{self, Display, Formatter},
    time::Duration,
};

const STYLE: &str = include_str!("status.css");
const SCRIPT: &str = include_str!("status.js");

/// Style, script, and the same place for what is fresh: nothing else.
pub(super) const POLICY: &str = concat!(
    "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; ",
    "style-src 'sha256-8cwZCjsFq7Hlkvu1nf/ts+m3YX10faRUOH86XIfqJWA='; ",
    "script-src 'sha256-TCkrzudDrQMDCwAVgJ1BxpEPUgPiCnAidJ0ssng3MWc='",
);

pub(super) fn page(snapshot: &Snapshot, history: &History) -> String {
    Page { snapshot, history }.to_string()
}

struct Page<'a> {
    snapshot: &'a Snapshot,
    history: &'a History,
}

impl Display for Page<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { snapshot, history } = self;
        let summary = Summary(snapshot);
        write!(
            f,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{summary}</title><style>{STYLE}</style></head>\
             <body><main><h1>{summary}</h1><p id=\"stale\">No fresh answer: this is how it was.</p>\
             <h2>Models</h2><div class=\"cards\">",
        )?;
        for (model, past) in snapshot.models.iter().zip(&history.models) {
            let provider = snapshot.provider(&model.provider);
            Card { name: &model.name, breaker: &model.breaker, provider, model: Some(model), past }.fmt(f)?;
        }
        f.write_str("</div><h2>Providers</h2><div class=\"cards\">")?;
        for (provider, past) in snapshot.providers.iter().zip(&history.providers) {
            let (name, breaker) = (&provider.name, &provider.breaker);
            Card { name, breaker, provider: Some(provider), model: None, past }.fmt(f)?;
        }
        writeln!(f, "</div></main><script>{SCRIPT}</script></body></html>")
    }
}

/// How many are well.
struct Summary<'a>(&'a Snapshot);

impl Display for Summary<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let models = &self.0.models;
        let well = models.iter().filter(|model| how_is(model, self.0.provider(&model.provider)) == How::Well).count();
        write!(f, "{well} of {} models are well", models.len())
    }
}

/// How somebody is, in the order from well to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum How {
    Well,
    Doubtful,
    Out,
}

impl How {
    fn class(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Doubtful => "warn",
            Self::Out => "bad",
        }
    }
}

/// A model is as well as its provider lets it be.
fn how_is(model: &ModelSnapshot, provider: Option<&ProviderSnapshot>) -> How {
    let tier = if model.tier == Tier::Healthy { How::Well } else { How::Doubtful };
    let provider = provider.map_or(How::Well, |provider| how_stands(&provider.breaker));
    how_stands(&model.breaker).max(provider).max(tier)
}

fn how_stands(breaker: &BreakerSnapshot) -> How {
    match breaker.state {
        State::Closed => How::Well,
        State::Open | State::ForcedOpen => How::Out,
        State::HalfOpen | State::Disabled => How::Doubtful,
    }
}

/// A model, or a provider.
struct Card<'a> {
    name: &'a str,
    breaker: &'a BreakerSnapshot,
    provider: Option<&'a ProviderSnapshot>,
    model: Option<&'a ModelSnapshot>,
    past: &'a Past,
}

impl Display for Card<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, breaker, provider, model, past } = *self;
        let how = model.map_or_else(|| how_stands(breaker), |model| how_is(model, provider));
        let (class, name, state) = (how.class(), Escaped(name), breaker.state);
        write!(f, "<article class=\"{class}\"><header><h3><bdi>{name}</bdi></h3><span class=\"state\">{state}")?;
        if let Some(model) = model.filter(|model| model.tier != Tier::Healthy) {
            write!(f, ", {}", model.tier)?;
        }
        f.write_str("</span></header><dl>")?;
        if let Some(model) = model {
            let standing = provider.filter(|provider| provider.breaker.state != State::Closed);
            let standing = standing.map(|provider| format!(" ({})", provider.breaker.state)).unwrap_or_default();
            field(f, "provider", format_args!("<bdi>{}</bdi>{standing}", Escaped(&model.provider)))?;
            field(f, "score", format_args!("{:.2}", model.score))?;
            field(f, "latency", Known(model.usual_latency))?;
            field(f, "first byte", Known(model.usual_first_byte))?;
            field(f, "in flight", model.in_flight)?;
            field(f, "calls", model.calls)?;
        } else if let Some(provider) = provider {
            field(f, "in flight", provider.in_flight)?;
            field(f, "calls", provider.calls)?;
            field(f, "budget", format_args!("{:.1}", provider.budget_left))?;
        }
        field(f, "for", Time(breaker.for_time))?;
        if let Some(cooldown) = breaker.cooldown {
            field(f, "cooldown", Time(cooldown))?;
        } else if let Some(retry_in) = breaker.retry_in {
            field(f, "probe in", Time(retry_in))?;
        }
        if breaker.shadow {
            field(f, "shadow", breaker.shadowed)?;
        }
        f.write_str("</dl>")?;
        if let Some(cause) = breaker.cause {
            write!(f, "<p>{}</p>", Escaped(&cause.to_string()))?;
        }
        write!(f, "{}", Strip(&past.cells))?;
        if !past.errors.is_empty() {
            f.write_str("<ol>")?;
            for error in &past.errors {
                let (ago, why) = (Time(error.ago), error.why.to_string());
                write!(f, "<li><time>{ago} ago</time>{} after {}</li>", Escaped(&why), Time(error.took))?;
            }
            f.write_str("</ol>")?;
        }
        f.write_str("</article>")
    }
}

fn field(f: &mut Formatter<'_>, name: &str, value: impl Display) -> fmt::Result {
    write!(f, "<dt>{name}</dt><dd>{value}</dd>")
}

/// The last minutes, the oldest first.
struct Strip<'a>(&'a [HistoryCell]);

impl Display for Strip<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("<div class=\"strip\" role=\"img\" aria-label=\"the last minutes\">")?;
        for cell in self.0 {
            let class = match cell {
                HistoryCell { not_closed: true, .. } => " class=\"bad\"",
                HistoryCell { failures: 1.., .. } => " class=\"warn\"",
                HistoryCell { succeeded: true, .. } => " class=\"ok\"",
                _ => "",
            };
            write!(f, "<i{class}></i>")?;
        }
        let minutes = HISTORY_CELL.as_secs() * HISTORY_CELLS as u64 / 60;
        write!(f, "</div><div class=\"span\"><span>{minutes} min ago</span><span>now</span></div>")
    }
}

/// A time as people say it, to three digits or so.
struct Time(Duration);

impl Display for Time {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (seconds, ms) = (self.0.as_secs(), self.0.as_millis());
        match seconds {
            0 => write!(f, "{ms} ms"),
            1..10 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            10..120 => write!(f, "{seconds} s"),
            120..7_200 => write!(f, "{} min", seconds / 60),
            7_200..172_800 => write!(f, "{} h", seconds / 3_600),
            _ => write!(f, "{} d", seconds / 86_400),
        }
    }
}

/// What may not be known.
struct Known(Option<Duration>);

impl Display for Known {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(time) => Time(time).fmt(f),
            None => f.write_str("–"),
        }
    }
}

/// Text that is nothing but text, in an element and in an attribute.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for char in self.0.chars() {
            match char {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                char if char.is_control() => f.write_str("\u{fffd}")?,
                char => write!(f, "{char}")?,
            }
        }
        Ok(())
    }
}
