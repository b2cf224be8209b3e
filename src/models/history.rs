//! What was, for people: the last minutes in cells, and the last errors.

use super::Registry;
use crate::{
    classify::Why,
    machine::{
        Nanos,
        breaker::{State, Transition},
        history::{Cells, HistoryCell},
    },
    sync::{Mutex, lock},
};
use std::{collections::VecDeque, time::Duration};

/// So many errors of a model or provider are kept: 5.
pub const RECENT_ERRORS: usize = 5;

/// What was, of every model and provider; see [`Models::history`](super::Models::history).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct History {
    /// Of the models, in the caller's order.
    pub models: Vec<Past>,
    /// Of the providers, in the order in which they were added.
    pub providers: Vec<Past>,
}

/// What was, of one model or provider.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Past {
    /// Its name.
    pub name: String,
    /// The last [15 min](crate::defaults::HISTORY_CELLS), the oldest first; the last cell is under way.
    pub cells: Vec<HistoryCell>,
    /// Its last failures and limits, the newest first; [5](crate::defaults::RECENT_ERRORS) at the most.
    pub errors: Vec<RecentError>,
}

/// One failure or limit of a model or a provider.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RecentError {
    /// How long ago it was.
    pub ago: Duration,
    /// How long the call took.
    pub took: Duration,
    /// What it was.
    pub why: Why,
}

/// What was, of one that is live.
#[derive(Debug)]
pub(crate) struct Record {
    cells: Cells,
    errors: Mutex<VecDeque<(Nanos, Nanos, Why)>>,
}

impl Record {
    pub(super) fn new() -> Self {
        Self { cells: Cells::new(), errors: Mutex::default() }
    }

    /// A call has been counted.
    #[inline]
    pub(crate) fn outcome(&self, success: bool, now: Nanos) {
        self.cells.record(success, now);
    }

    /// The breaker has changed.
    pub(super) fn changed(&self, transition: &Transition, now: Nanos) {
        self.cells.changed(transition.to == State::Closed, now);
    }

    /// A call that took so long has failed, or was limited.
    pub(crate) fn failed(&self, why: Why, took: Nanos, now: Nanos) {
        let dropped = {
            let mut errors = lock(&self.errors);
            errors.push_front((now, took, why));
            if errors.len() > RECENT_ERRORS { errors.pop_back() } else { None }
        };
        drop(dropped);
    }

    /// Of one that may have none.
    fn past(record: Option<&Self>, name: &str, now: Nanos) -> Past {
        let error = |(at, took, why): &(Nanos, Nanos, Why)| RecentError {
            ago: Duration::from_nanos(now.saturating_sub(*at)),
            took: Duration::from_nanos(*took),
            why: why.clone(),
        };
        let (cells, errors) = match record {
            Some(record) => (record.cells.cells(now), lock(&record.errors).iter().map(error).collect()),
            None => (Cells::new().cells(now), Vec::new()),
        };
        Past { name: name.to_owned(), cells, errors }
    }
}

impl History {
    pub(super) fn take(registry: &Registry) -> Self {
        let now = registry.now();
        let models = registry.models.iter().map(|live| Record::past(live.known_record(), live.model.name(), now));
        let models: Vec<Past> = models.collect();
        let providers = registry.providers.iter().enumerate().map(|(index, live)| {
            let mut past = Record::past(live.known_record(), live.provider.name(), now);
            let of_provider = registry.catalogue.models_of(index);
            for (cell_index, cell) in past.cells.iter_mut().enumerate() {
                cell.succeeded = of_provider.iter().any(|model| models[*model].cells[cell_index].succeeded);
            }
            past
        });
        let providers = providers.collect();
        Self { models, providers }
    }
}
