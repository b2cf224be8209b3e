//! Letting calls through, or not.

use super::{Breaker, Cause, Locked, Refusal, State, Ticket, Transition, word::Word};
use crate::{machine::Nanos, sync::Ordering};
use std::time::Duration;

/// A ticket, with what changed on the way; or why there is none.
pub(crate) type Admission = Result<(Ticket, Option<Transition>), Refusal>;

impl Breaker {
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        Word::is_closed(self.word.load(Ordering::Acquire))
    }

    /// Whether it is in this generation still.
    #[inline]
    pub(crate) fn is_at(&self, generation: u64) -> bool {
        self.word().generation == generation
    }

    /// Its generation, if it is closed.
    #[inline]
    pub(crate) fn if_closed(&self) -> Option<u64> {
        let word = self.word.load(Ordering::Acquire);
        Word::is_closed(word).then(|| Word::unpack(word).generation)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn state(&self) -> State {
        self.word().state
    }

    /// Whether the result of a call still counts: not after a change of state, nor if it was let through uncounted, nor
    /// that of a probe which has lost its place.
    pub(crate) fn is_live(&self, ticket: Ticket) -> bool {
        let of_now = || ticket.generation() == Some(self.word().generation);
        match ticket {
            Ticket::Probe { id, .. } => {
                let locked = self.lock();
                of_now() && locked.probes.holds(id)
            }
            _ => of_now(),
        }
    }

    /// Whether a call would be admitted now. Changes nothing.
    #[inline]
    pub(crate) fn peek(&self, now: Nanos) -> Result<(), Refusal> {
        let word = self.word.load(Ordering::Acquire);
        if Word::is_closed(word) {
            Ok(())
        } else if Word::is_open(word) {
            self.waiting(now).map_or(Ok(()), Err)
        } else {
            self.peek_otherwise(Word::unpack(word), now)
        }
    }

    #[cold]
    fn peek_otherwise(&self, word: Word, now: Nanos) -> Result<(), Refusal> {
        match word.state {
            _ if word.shadow => Ok(()),
            State::Closed | State::Disabled => Ok(()),
            State::ForcedOpen => Err(Refusal::ForcedOpen),
            State::Open => self.waiting(now).map_or(Ok(()), Err),
            State::HalfOpen => match self.rest().place_at.load(Ordering::Relaxed) {
                at if at > now => Err(Refusal::ProbesTaken { retry_at: at }),
                _ => Ok(()),
            },
        }
    }

    /// Admits a call or refuses it. A probe that has not been settled when its lease ends loses its place.
    pub(crate) fn admit(&self, now: Nanos, lease: Duration) -> Admission {
        let word = self.word();
        match word.state {
            State::Closed => Ok((Ticket::Counted { generation: word.generation }, None)),
            State::Disabled => Ok((Ticket::Uncounted, None)),
            State::ForcedOpen => Err(Refusal::ForcedOpen),
            State::Open => match self.waiting(now) {
                Some(refusal) => self.refuse(word, refusal),
                None => self.admit_probe(now, lease),
            },
            State::HalfOpen => self.admit_probe(now, lease),
        }
    }

    /// Admits a call although the open wait has not elapsed, as nobody else can be asked. Cooldowns and
    /// forced states hold all the same.
    pub(crate) fn admit_last_resort(&self, now: Nanos, lease: Duration) -> Admission {
        let word = self.word();
        match self.waiting(now) {
            Some(Refusal::Open { .. }) if word.state == State::Open => {
                Ok((Ticket::LastResort { generation: word.generation }, None))
            }
            _ => self.admit(now, lease),
        }
    }

    /// Whether [`admit_last_resort`](Self::admit_last_resort) would admit a call now. Changes nothing.
    pub(crate) fn peek_last_resort(&self, now: Nanos) -> bool {
        matches!(self.peek(now), Ok(()) | Err(Refusal::Open { .. }))
    }

    /// A ticket for what is still to come of a call whose probe has been settled.
    #[cfg(feature = "http")]
    pub(crate) fn follow_up(&self) -> Ticket {
        match self.word() {
            Word { state: State::Closed, generation, .. } => Ticket::Counted { generation },
            _ => Ticket::Uncounted,
        }
    }

    fn admit_probe(&self, now: Nanos, lease: Duration) -> Admission {
        let mut locked = self.lock();
        let mut word = self.word();
        let mut transition = None;
        match word.state {
            State::Closed => return Ok((Ticket::Counted { generation: word.generation }, None)),
            State::Disabled => return Ok((Ticket::Uncounted, None)),
            State::ForcedOpen => return Err(Refusal::ForcedOpen),
            State::Open => {
                if let Some(refusal) = self.waiting(now) {
                    return self.refuse(word, refusal);
                }
                transition = Some(self.enter(&mut locked, State::HalfOpen, Cause::WaitElapsed, now));
                word = self.word();
            }
            State::HalfOpen => {}
        }
        let places = self.places(&locked);
        let admitted = locked.probes.admit(now, lease, places);
        self.publish_places(&locked);
        match admitted {
            Ok(id) => Ok((Ticket::Probe { generation: word.generation, id }, transition)),
            Err(retry_at) => self.refuse(word, Refusal::ProbesTaken { retry_at }),
        }
    }

    /// How many probes may be under way: after a cooldown a single one, until it has succeeded.
    fn places(&self, locked: &Locked) -> u32 {
        if locked.after_cooldown && locked.probes.successes() == 0 { 1 } else { self.config.probes }
    }

    pub(super) fn publish_places(&self, locked: &Locked) {
        self.rest().place_at.store(locked.probes.place_at(self.places(locked)), Ordering::Relaxed);
    }

    fn refuse(&self, word: Word, refusal: Refusal) -> Admission {
        if !word.shadow {
            return Err(refusal);
        }
        self.rest().shadowed.fetch_add(1, Ordering::Relaxed);
        Ok((Ticket::Uncounted, None))
    }

    /// What an open breaker still waits for. What has elapsed exactly has elapsed.
    #[inline]
    pub(super) fn waiting(&self, now: Nanos) -> Option<Refusal> {
        let rest = self.rest.get()?;
        let open = rest.open_until.load(Ordering::Relaxed);
        let cooldown = rest.cooldown_until.load(Ordering::Relaxed);
        if cooldown > now {
            return Some(Refusal::Cooldown { retry_at: open.max(cooldown) });
        }
        (open > now).then_some(Refusal::Open { retry_at: open })
    }
}
