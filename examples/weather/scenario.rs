//! What is asked, and what goes wrong when. All of it is data: one more scenario is one more line.

use std::ops::Range;

/// Whole milliseconds since the run began: what tokio's timers can tell apart.
pub type Ms = u32;

pub struct Model {
    pub name: &'static str,
    /// Index into [`PROVIDERS`].
    pub provider: usize,
    /// Of one executed call.
    pub price: f64,
}

pub const PROVIDERS: [&str; 2] = ["nexa", "openai"];

/// The models in the caller's order.
pub const MODELS: [Model; 3] = [
    Model { name: "flux-schnell", provider: 0, price: 1.0 },
    Model { name: "flux-dev", provider: 0, price: 2.0 },
    Model { name: "dall-e-3", provider: 1, price: 4.0 },
];

/// The attempt timeouts: each scenario runs with each.
pub const TIMEOUTS: [Ms; 3] = [2_000, 10_000, 30_000];

/// The deadline of a request: as long as it takes to ask each model once, so that it cuts no attempt short.
pub fn deadline(timeout: Ms) -> Ms {
    timeout * MODELS.len() as Ms
}

/// How long requests come for.
pub const LENGTH: Ms = 180_000;
/// When things go wrong: the minute before and the minute after are fair.
const FAULT: Range<Ms> = 60_000..120_000;

const FIRST: &[usize] = &[0];
/// The models of the first provider.
const NEXA: &[usize] = &[0, 1];
const ALL: &[usize] = &[0, 1, 2];

/// What may be wrong with a model. Whatever is not served is free.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// This share of calls gets a 503 at once.
    Fails(f32),
    /// No connection.
    Refuses,
    /// Never answers.
    Hangs,
    /// So many times slower; this share gets a 503, as late as the others get their answer.
    Slow { times: f32, failing: f32 },
    /// At first so many times slower; less and less, and as usual at the end.
    Cold { times: f32 },
    /// Serves so many calls a second, and as many at once after a quiet second; the others get a 429 at once, which asks
    /// for a second of quiet.
    Limit { per_second: f32 },
}

/// A fault of some models, for a time.
#[derive(Debug, Clone)]
pub struct Spell {
    pub models: &'static [usize],
    pub during: Range<Ms>,
    pub fault: Fault,
}

/// What has to hold against the clairvoyant.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Answered requests, at least this share of its own.
    pub answered: f64,
    /// The 99th percentile, at most this multiple of its own.
    pub p99: f64,
    /// The cost, at most this multiple of its own.
    pub cost: f64,
    /// Changes of the serving model beyond its own: fewer than this in an hour.
    pub changes_an_hour: Option<f64>,
}

pub struct Scenario {
    pub name: &'static str,
    pub spells: Vec<Spell>,
    pub limits: Limits,
}

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    use Fault::{Cold, Fails, Hangs, Limit, Refuses, Slow};
    let usual = Limits { answered: 0.999, p99: 1.25, cost: 1.5, changes_an_hour: None };
    let cheap = Limits { cost: 1.1, ..usual };
    let slow_with_errors = Limits { p99: 1.5, ..usual };
    let flapping = Limits { changes_an_hour: Some(25.0), ..usual };
    let all_down = Limits { answered: 0.99, ..cheap };
    let every_five_seconds = FAULT.step_by(10_000).map(|from| from..from + 5_000);
    let warming_up = FAULT.end..FAULT.end + 30_000;
    vec![
        scenario("hard outage", usual, [spell(FIRST, FAULT, Fails(1.0))]),
        scenario("hang", usual, [spell(FIRST, FAULT, Hangs)]),
        scenario("10 % errors", cheap, [spell(FIRST, FAULT, Fails(0.1))]),
        scenario("30 % errors", usual, [spell(FIRST, FAULT, Fails(0.3))]),
        scenario("ten times slower", usual, [spell(FIRST, FAULT, Slow { times: 10.0, failing: 0.0 })]),
        scenario("slower, with errors", slow_with_errors, [spell(FIRST, FAULT, Slow { times: 10.0, failing: 0.2 })]),
        scenario("429", cheap, [spell(FIRST, FAULT, Limit { per_second: 50.0 })]),
        scenario("flapping", flapping, every_five_seconds.map(|during| spell(FIRST, during, Fails(1.0)))),
        scenario("one provider lost", usual, [spell(NEXA, FAULT, Refuses)]),
        scenario("all down", all_down, [spell(ALL, FAULT, Fails(1.0))]),
        scenario(
            "cold start",
            usual,
            [spell(FIRST, FAULT, Fails(1.0)), spell(FIRST, warming_up, Cold { times: 10.0 })],
        ),
    ]
}

fn scenario(name: &'static str, limits: Limits, spells: impl IntoIterator<Item = Spell>) -> Scenario {
    Scenario { name, spells: spells.into_iter().collect(), limits }
}

fn spell(models: &'static [usize], during: Range<Ms>, fault: Fault) -> Spell {
    Spell { models, during, fault }
}

impl Scenario {
    /// What is wrong with a model at a time.
    pub fn spell(&self, model: usize, at: Ms) -> Option<&Spell> {
        self.spells.iter().find(|spell| spell.during.contains(&at) && spell.models.contains(&model))
    }

    /// When things first go wrong, without a pause.
    pub fn first_fault(&self) -> Range<Ms> {
        self.spells[0].during.clone()
    }

    /// When all models are back, be it slowly.
    pub fn back(&self) -> Ms {
        let faults = self.spells.iter().filter(|spell| !matches!(spell.fault, Fault::Cold { .. }));
        faults.map(|spell| spell.during.end).max().unwrap_or(0)
    }
}
