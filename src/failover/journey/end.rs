//! How a request ends, and who is told.

use super::{Journey, UNDER_WAY};
use crate::{failover::served::Served, machine::Nanos, metrics::is_heard, outcome::RequestEnd, trace::Trace};

impl Journey {
    pub(crate) fn out_of_time(&self, now: Nanos) -> bool {
        now >= self.deadline
    }

    /// The end: a response of this model.
    pub(crate) fn answered(&mut self, model: usize, all_failed: bool, now: Nanos) {
        self.served_mut().answered(model, all_failed);
        self.end(if all_failed { RequestEnd::AllFailed } else { RequestEnd::Answered }, now);
    }

    /// What there is to tell in the end. From then on it is over.
    #[inline(always)]
    pub(crate) fn take_served(&mut self) -> Served {
        self.served.take().expect(UNDER_WAY)
    }

    /// The end, without a response.
    pub(crate) fn unanswered(&mut self, end: RequestEnd, now: Nanos) -> Box<Served> {
        if self.failed {
            self.served_mut().unanswered();
        }
        self.end(end, now);
        Box::new(self.take_served())
    }

    fn end(&mut self, end: RequestEnd, now: Nanos) {
        let began = self.began;
        self.served_mut().ended(began, now);
        self.count(end, now);
        // Whoever has the answer may keep this for a while.
        if self.unlogged.is_some() {
            self.unlogged = None;
        }
        self.trace = Trace::none();
    }

    /// Whether it has come to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.served.is_none()
    }

    /// The end, as nobody waits for it any longer.
    #[inline]
    pub(crate) fn dropped(&self) {
        if !self.is_over() {
            self.count_dropped();
        }
    }

    #[cold]
    fn count_dropped(&self) {
        if is_heard() || self.trace.is_some() {
            self.count(RequestEnd::Dropped, self.registry().now());
        }
    }

    #[inline]
    fn count(&self, end: RequestEnd, now: Nanos) {
        if self.trace.is_some() {
            self.trace.ends(end, self.served().model(), self.attempts);
        }
        if is_heard() {
            self.meter(end, now);
        }
    }

    #[inline(never)]
    fn meter(&self, end: RequestEnd, now: Nanos) {
        let meters = self.registry().meters();
        meters.request(end, now.saturating_sub(self.began));
        self.served().skips().for_each(|(model, reason)| meters.skip(model, reason));
    }
}
