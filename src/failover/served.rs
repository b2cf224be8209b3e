//! Who answered, and what became of every candidate before.

use super::{
    notes::{Entry, Notes, What},
    skip::Skip,
};
use crate::{
    classify::{Charge, Executed, Why},
    lane::Lane,
    machine::{Nanos, nanos},
    model::Model,
    models::Registry,
    outcome::SkipReason,
    permit::Refused,
};
use std::{fmt, time::Duration};

/// Which model answered, and every candidate before it: skipped or tried, why, how long, at what cost.
///
/// In the extensions of an HTTP response; in the [`Error`](crate::Error) when nobody answered. Its `Display` is one
/// line for people.
///
/// ```
/// use tower_failover::{Fate, Served};
///
/// fn report(served: &Served) {
///     for candidate in served.candidates() {
///         match candidate.fate {
///             Fate::Skipped(skip) => println!("{} was not asked: {skip}", candidate.model.name()),
///             Fate::Tried(tried) => println!("{}: {} in {:?}", candidate.model.name(), tried.why, tried.took),
///         }
///     }
///     println!("{} spent, {} at risk", served.cost(), served.cost_at_risk());
/// }
/// ```
#[derive(Clone)]
pub struct Served {
    registry: Lane<Registry>,
    candidates: Notes,
    answered_by: Option<usize>,
    all_failed: bool,
    could_fail_over: bool,
    began: Nanos,
    ended: Nanos,
}

/// A candidate, and what became of it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The model.
    pub model: &'a Model,
    /// What became of it.
    pub fate: Fate<'a>,
}

/// What became of a candidate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fate<'a> {
    /// It was not asked.
    Skipped(Skip),
    /// It was asked.
    Tried(&'a Tried),
}

/// One attempt.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Tried {
    /// What came of it.
    pub why: Why,
    /// Whom that credits or blames.
    pub charge: Charge,
    /// Whether it may have been executed, and so have cost something.
    pub executed: Executed,
    /// From the choice of the model to the result, waiting for the client's readiness included.
    pub took: Duration,
    /// Whether it went through although its breaker was open, as nobody else could be asked.
    pub last_resort: bool,
}

impl Served {
    pub(crate) fn new(registry: Lane<Registry>) -> Self {
        Self {
            registry,
            candidates: Notes::default(),
            answered_by: None,
            all_failed: false,
            could_fail_over: true,
            began: 0,
            ended: 0,
        }
    }

    pub(crate) fn registry(&self) -> &Lane<Registry> {
        &self.registry
    }

    /// The registry, and where to note what becomes of many candidates.
    pub(super) fn noting(&mut self) -> (&Registry, &mut Notes) {
        (&self.registry, &mut self.candidates)
    }

    /// Notes of a candidate that it was not asked.
    pub(crate) fn note_skipped(&mut self, model: usize, why: SkipReason, at: Nanos) {
        self.candidates.push(Entry::skipped(model, why, at));
    }

    /// The same, of one that was refused.
    pub(crate) fn note_refused(&mut self, model: usize, refused: Refused, at: Nanos) {
        self.candidates.push(Entry::refused(model, refused, at));
    }

    /// Notes what an attempt came to.
    #[inline(always)]
    pub(crate) fn note_tried(&mut self, model: usize, tried: Tried, at: Nanos) {
        self.candidates.push_tried(model, tried, at);
    }

    /// What was noted last is of one that was under way beside the last but one.
    pub(crate) fn swap_last(&mut self) {
        self.candidates.swap_last();
    }

    /// Forgets why a candidate was skipped that is looked at again: each is there once, for what became of it in the end.
    pub(crate) fn forget(&mut self, model: usize) {
        self.candidates.forget(model);
    }

    /// Brings up to date why those are skipped that were refused. One that would be admitted now stays as it was.
    pub(crate) fn refused_again(&mut self, now: Nanos, refused: impl Fn(usize) -> Option<Refused>) {
        for entry in &mut *self.candidates {
            if !matches!(entry.what, What::Skipped(why, _) if why.is_refusal()) {
                continue;
            }
            if let Some(refused) = refused(entry.model) {
                *entry = Entry::refused(entry.model, refused, now);
            }
        }
    }

    /// When the first of those may be back that were refused and that `of` asks for, where that is known. Where calls
    /// under way stand before it, that may be at any moment: then it is time to look again.
    pub(crate) fn soonest(&self, look_again: Duration, of: impl Fn(usize) -> bool) -> Option<Nanos> {
        use SkipReason::{
            ModelCooldown, ModelFull, ModelOpen, ModelProbesTaken, ProviderCooldown, ProviderFull, ProviderOpen,
            ProviderProbesTaken,
        };
        let back = self.skipped().filter_map(|(model, why, retry_at, at)| match why {
            ModelProbesTaken | ProviderProbesTaken | ModelFull | ProviderFull if of(model) => {
                Some(at.saturating_add(nanos(look_again)))
            }
            ModelOpen | ProviderOpen | ModelCooldown | ProviderCooldown if of(model) => Some(retry_at),
            _ => None,
        });
        back.min()
    }

    /// The skipped candidate that a breaker refused and that `back` says would be admitted now.
    pub(crate) fn refused_but(&self, mut back: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut refused = self.skipped().filter(|(_, why, ..)| why.is_refusal()).map(|(model, ..)| model);
        refused.find(|model| back(*model))
    }

    /// Those that were not asked: which model, why, from when on it may be, and when that was noted.
    fn skipped(&self) -> impl Iterator<Item = (usize, SkipReason, Nanos, Nanos)> {
        self.candidates.iter().filter_map(|entry| match entry.what {
            What::Skipped(why, retry_at) => Some((entry.model, why, retry_at, entry.at)),
            What::Tried(_) => None,
        })
    }

    pub(crate) fn answered(&mut self, model: usize, all_failed: bool) {
        self.answered_by = Some(model);
        self.all_failed = all_failed;
    }

    pub(crate) fn unanswered(&mut self) {
        self.all_failed = true;
    }

    pub(crate) fn cannot_fail_over(&mut self) {
        self.could_fail_over = false;
    }

    /// The request has ended: what is told of times to come is told as of now.
    #[inline]
    pub(crate) fn ended(&mut self, began: Nanos, now: Nanos) {
        (self.began, self.ended) = (began, now);
    }

    /// Each model that was skipped, and why it was in the end.
    pub(crate) fn skips(&self) -> impl Iterator<Item = (usize, SkipReason)> {
        self.skipped().map(|(model, why, ..)| (model, why))
    }

    /// The model whose response this is; `None` when there is none.
    pub fn model(&self) -> Option<&Model> {
        self.answered_by.map(|index| &*self.registry.models[index].model)
    }

    /// Whether every model that was asked failed, and at least one was: the response, if there is one, is the last
    /// failure.
    pub fn all_failed(&self) -> bool {
        self.all_failed
    }

    /// Whether the request could have been sent again. False for one that is not `Clone`, or not any more.
    pub fn could_fail_over(&self) -> bool {
        self.could_fail_over
    }

    /// Every candidate that was looked at, in that order; the one that answered is the last.
    pub fn candidates(&self) -> impl ExactSizeIterator<Item = Candidate<'_>> {
        self.candidates.iter().map(|entry| Candidate {
            model: &self.registry.models[entry.model].model,
            fate: match entry.what {
                What::Skipped(why, retry_at) => Fate::Skipped(self.skip(why, retry_at)),
                What::Tried(which) => Fate::Tried(&self.candidates.tried()[which]),
            },
        })
    }

    fn skip(&self, why: SkipReason, retry_at: Nanos) -> Skip {
        Skip::of(why, Duration::from_nanos(retry_at.saturating_sub(self.ended)))
    }

    /// How many models were asked: as often as the service inside was called.
    pub fn attempts(&self) -> usize {
        self.candidates.tried().len()
    }

    /// What was spent: the cost of every attempt that was executed.
    pub fn cost(&self) -> f64 {
        self.cost_of(Executed::Yes)
    }

    /// What may have been spent besides: the cost of every attempt of which nobody knows.
    pub fn cost_at_risk(&self) -> f64 {
        self.cost_of(Executed::Maybe)
    }

    /// From the first poll to the response's head, or to the error.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.ended.saturating_sub(self.began))
    }

    /// How long until the first of the skipped candidates may be asked again, where that is known.
    pub fn retry_in(&self) -> Option<Duration> {
        self.skipped().filter_map(|(_, why, retry_at, _)| self.skip(why, retry_at).retry_in()).min()
    }

    fn cost_of(&self, executed: Executed) -> f64 {
        let tried = self.candidates.iter().filter_map(|entry| match entry.what {
            What::Tried(which) => Some((entry.model, &self.candidates.tried()[which])),
            What::Skipped(..) => None,
        });
        let costs = tried.filter(|(_, tried)| tried.executed == executed);
        // Not `sum`, whose empty sum is -0.
        costs.fold(0.0, |sum, (index, _)| sum + self.registry.models[index].model.get_cost())
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Served({self})")
    }
}

impl fmt::Display for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, candidate) in self.candidates().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(f, "{separator}{candidate}")?;
        }
        if self.candidates.is_empty() {
            f.write_str("nobody was asked")?;
        }
        Ok(())
    }
}

impl fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.model.name(), self.fate)
    }
}

impl fmt::Display for Fate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(skip) => write!(f, "skipped, {skip}"),
            Self::Tried(tried) => {
                let resort = if tried.last_resort { " as last resort" } else { "" };
                write!(f, "{}{resort} after {} ms", tried.why, tried.took.as_millis())
            }
        }
    }
}
