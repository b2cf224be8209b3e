//! The attempts of one request: one, and at times another beside it.

use super::{attempt::Run, finish::OpenPermit, journey::Choice};
use crate::machine::Nanos;
use pin_project::pin_project;
use std::pin::Pin;

/// Those under way, and one that has ended until it is cleared away.
#[pin_project]
pub(super) struct Runs<S, Fut> {
    #[pin]
    first: Option<Run<S, Fut>>,
    /// Started later.
    second: Option<Pin<Box<Run<S, Fut>>>>,
}

/// Which of the two.
#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    First,
    Second,
}

impl Which {
    pub(super) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl<S, Fut> Runs<S, Fut> {
    pub(super) fn none() -> Self {
        Self { first: None, second: None }
    }

    pub(super) fn are_none(&self) -> bool {
        self.first.is_none() && self.second.is_none()
    }

    pub(super) fn begin(self: Pin<&mut Self>, choice: Choice, client: S) {
        self.project().first.set(Some(Run::new(choice, client)));
    }

    pub(super) fn begin_beside(self: Pin<&mut Self>, choice: Choice, client: S) {
        *self.project().second = Some(Box::pin(Run::new(choice, client)));
    }

    pub(super) fn get(self: Pin<&mut Self>, which: Which) -> Option<Pin<&mut Run<S, Fut>>> {
        let this = self.project();
        match which {
            Which::First => this.first.as_pin_mut(),
            Which::Second => this.second.as_mut().map(Pin::as_mut),
        }
    }

    pub(super) fn choice(&self, which: Which) -> Option<Choice> {
        match which {
            Which::First => self.first.as_ref().map(|run| run.choice),
            Which::Second => self.second.as_ref().map(|run| run.choice),
        }
    }

    /// The permit of one that was made, where it is.
    pub(super) fn permit(self: Pin<&mut Self>, which: Which) -> Option<&mut OpenPermit> {
        self.get(which)?.permit().as_mut()
    }

    /// The same, as of now.
    #[inline(always)]
    pub(super) fn take_permit(self: Pin<&mut Self>, which: Which, now: Nanos) -> Option<OpenPermit> {
        let permit = self.get(which)?.permit();
        if let Some(permit) = permit {
            permit.now = now;
        }
        permit.take()
    }

    pub(super) fn clear(self: Pin<&mut Self>, which: Which) {
        let mut this = self.project();
        match which {
            Which::First => this.first.set(None),
            Which::Second => *this.second = None,
        }
    }
}
