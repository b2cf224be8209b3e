//! The models as one policy meets them, and the log of what it asked of them.

use std::sync::Arc;

use super::{
    chance::Chance,
    scenario::{Fault, MODELS, Ms, Scenario, Spell},
};

/// What a refusal to serve takes, in milliseconds; a connection is refused faster.
const ERROR: Ms = 50;
const REFUSAL: Ms = 2;

/// What becomes of a call that is waited for, and after how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// 200
    Answer(Ms),
    /// 503
    Error(Ms),
    /// 429
    Limited(Ms),
    NoConnection(Ms),
    Never,
}

impl Reply {
    pub fn after(self) -> Option<Ms> {
        match self {
            Self::Answer(after) | Self::Error(after) | Self::Limited(after) | Self::NoConnection(after) => Some(after),
            Self::Never => None,
        }
    }

    /// Whether it is an answer that comes in time.
    pub fn answers_within(self, timeout: Ms) -> bool {
        matches!(self, Self::Answer(after) if after <= timeout)
    }
}

/// One scenario under one seed, with one attempt timeout.
#[derive(Clone)]
pub struct Case {
    pub scenario: Arc<Scenario>,
    pub timeout: Ms,
    pub seed: u64,
    pub chance: Arc<Chance>,
}

/// One request and what became of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row {
    pub arrived: Ms,
    pub took: Ms,
    /// The model that answered.
    pub by: Option<u8>,
    pub calls: u8,
    /// The model that was asked first.
    pub first: Option<u8>,
}

/// What a policy did in one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// In the order of arrival.
    pub rows: Vec<Row>,
    pub cost: f64,
}

pub struct Upstream {
    case: Case,
    buckets: [Bucket; MODELS.len()],
    log: Log,
}

impl Upstream {
    pub fn new(case: Case) -> Self {
        let row = |arrived: &Ms| Row { arrived: *arrived, ..Row::default() };
        let log = Log { rows: case.chance.arrivals.iter().map(row).collect(), cost: 0.0 };
        Self { case, buckets: Default::default(), log }
    }

    /// Calls a model. Must be called in the order of time. What is served costs, whether or not somebody waits for it to
    /// the end.
    pub fn call(&mut self, request: usize, model: usize, at: Ms) -> Reply {
        let reply = self.foresee(request, model, at);
        let row = &mut self.log.rows[request];
        row.first.get_or_insert(model as u8);
        row.calls += 1;
        if let Reply::Answer(_) = reply {
            self.log.cost += MODELS[model].price;
            self.buckets[model].tokens -= 1.0;
        }
        reply
    }

    /// What a call would come to.
    pub fn foresee(&mut self, request: usize, model: usize, at: Ms) -> Reply {
        let draw = self.case.chance.draw(request, model);
        let takes = |times: f32| ((draw.latency * times).round() as Ms).max(1);
        let Some(Spell { fault, during, .. }) = self.case.scenario.spell(model, at) else {
            return Reply::Answer(takes(1.0));
        };
        match *fault {
            Fault::Fails(share) if draw.luck < share => Reply::Error(ERROR),
            Fault::Fails(_) => Reply::Answer(takes(1.0)),
            Fault::Refuses => Reply::NoConnection(REFUSAL),
            Fault::Hangs => Reply::Never,
            Fault::Slow { times, failing } if draw.luck < failing => Reply::Error(takes(times)),
            Fault::Slow { times, .. } => Reply::Answer(takes(times)),
            Fault::Cold { times } => {
                let left = (during.end - at) as f32 / (during.end - during.start) as f32;
                Reply::Answer(takes(1.0 + (times - 1.0) * left))
            }
            Fault::Limit { per_second } if self.buckets[model].is_empty(per_second, at) => Reply::Limited(ERROR),
            Fault::Limit { .. } => Reply::Answer(takes(1.0)),
        }
    }

    /// Notes what became of a request.
    pub fn done(&mut self, request: usize, by: Option<usize>, at: Ms) {
        let row = &mut self.log.rows[request];
        row.took = at - row.arrived;
        row.by = by.map(|model| model as u8);
    }

    pub fn into_log(self) -> Log {
        self.log
    }
}

/// Calls that may be served at once.
#[derive(Default)]
struct Bucket {
    tokens: f32,
    filled: Ms,
}

impl Bucket {
    fn is_empty(&mut self, per_second: f32, at: Ms) -> bool {
        let new = (at - self.filled) as f32 * per_second / 1000.0;
        self.tokens = (self.tokens.max(0.0) + new).min(per_second);
        self.filled = at;
        self.tokens < 1.0
    }
}
