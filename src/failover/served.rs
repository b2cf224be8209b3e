//! Who answered, and what became of every candidate before.

use super::{
    notes::{Entry, Notes},
    skip::Skip,
};
use crate::{
    classify::{Charge, Executed, Verdict, Why},
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
    elapsed: Duration,
}

/// A candidate, and what became of it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Candidate<'a> {
    /// The model.
    pub model: &'a Model,
    /// What became of it.
    pub fate: &'a Fate,
}

/// What became of a candidate.
#[derive(Debug, Clone, PartialEq)]
pub enum Fate {
    /// It was not asked.
    Skipped(Skip),
    /// It was asked.
    Tried(Tried),
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
            elapsed: Duration::ZERO,
        }
    }

    pub(crate) fn registry(&self) -> &Lane<Registry> {
        &self.registry
    }

    /// The registry, and where to note what becomes of many candidates.
    pub(super) fn noting(&mut self) -> (&Registry, &mut Notes) {
        (&self.registry, &mut self.candidates)
    }

    /// Notes what became of a candidate.
    #[inline(always)]
    pub(crate) fn note(&mut self, model: usize, fate: Fate, at: Nanos) {
        self.candidates.push(Entry::new(model, fate, at));
    }

    /// Notes of a candidate that it was refused.
    pub(crate) fn note_refused(&mut self, model: usize, refused: Refused, at: Nanos) {
        self.candidates.push(Entry::refused(model, refused, at));
    }

    /// Notes what an attempt came to.
    #[inline(always)]
    pub(crate) fn note_tried(&mut self, model: usize, verdict: &Verdict, took: Duration, last_resort: bool, at: Nanos) {
        self.candidates.push(Entry {
            model,
            fate: Fate::Tried(Tried {
                why: verdict.why.clone(),
                charge: verdict.charge,
                executed: verdict.executed,
                took,
                last_resort,
            }),
            at,
            retry_at: 0,
        });
    }

    /// Notes it of one that was under way beside the last.
    pub(crate) fn note_before_last(&mut self, model: usize, fate: Fate, at: Nanos) {
        self.candidates.insert_before_last(Entry::new(model, fate, at));
    }

    /// Forgets why a candidate was skipped that is looked at again: each is there once, for what became of it in the end.
    pub(crate) fn forget(&mut self, model: usize) {
        self.candidates.retain(|entry| entry.model != model);
    }

    /// Brings up to date why those are skipped that were refused. One that would be admitted now stays as it was.
    pub(crate) fn refused_again(&mut self, now: Nanos, refused: impl Fn(usize) -> Option<Refused>) {
        for entry in &mut *self.candidates {
            if !matches!(&entry.fate, Fate::Skipped(skip) if skip.is_refusal()) {
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
        let back = self.candidates.iter().filter_map(|entry| match &entry.fate {
            Fate::Skipped(Skip::ProbesTaken(..) | Skip::Full(_)) if of(entry.model) => {
                Some(entry.at.saturating_add(nanos(look_again)))
            }
            Fate::Skipped(Skip::Open(..) | Skip::Cooldown(..)) if of(entry.model) => Some(entry.retry_at),
            _ => None,
        });
        back.min()
    }

    /// The skipped candidate that a breaker refused and that `back` says would be admitted now.
    pub(crate) fn refused_but(&self, mut back: impl FnMut(usize) -> bool) -> Option<usize> {
        let refused = |fate: &Fate| matches!(fate, Fate::Skipped(skip) if skip.is_refusal());
        let mut skipped = self.candidates.iter().filter(|entry| refused(&entry.fate)).map(|entry| entry.model);
        skipped.find(|model| back(*model))
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
        self.elapsed = Duration::from_nanos(now.saturating_sub(began));
        for entry in &mut *self.candidates {
            if let Fate::Skipped(skip) = &mut entry.fate {
                skip.tell(entry.retry_at, now);
            }
        }
    }

    /// Each model that was skipped, and why it was in the end.
    pub(crate) fn skips(&self) -> impl Iterator<Item = (usize, SkipReason)> {
        self.candidates.iter().filter_map(|entry| match &entry.fate {
            Fate::Skipped(skip) => Some((entry.model, skip.reason())),
            Fate::Tried(_) => None,
        })
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
        self.candidates
            .iter()
            .map(|entry| Candidate { model: &self.registry.models[entry.model].model, fate: &entry.fate })
    }

    /// How many models were asked: as often as the service inside was called.
    pub fn attempts(&self) -> usize {
        self.tried().count()
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
        self.elapsed
    }

    /// How long until the first of the skipped candidates may be asked again, where that is known.
    pub fn retry_in(&self) -> Option<Duration> {
        let skips = self.candidates.iter().filter_map(|entry| match &entry.fate {
            Fate::Skipped(skip) => skip.retry_in(),
            Fate::Tried(_) => None,
        });
        skips.min()
    }

    fn tried(&self) -> impl Iterator<Item = (usize, &Tried)> {
        self.candidates.iter().filter_map(|entry| match &entry.fate {
            Fate::Tried(tried) => Some((entry.model, tried)),
            Fate::Skipped(_) => None,
        })
    }

    fn cost_of(&self, executed: Executed) -> f64 {
        let costs = self.tried().filter(|(_, tried)| tried.executed == executed);
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

impl fmt::Display for Fate {
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
