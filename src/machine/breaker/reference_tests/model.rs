//! The slow and obvious model.

use super::super::*;
use crate::machine::window::Totals;
use std::time::Duration;

pub(super) struct Model {
    config: BreakerConfig,
    members: usize,
    state: State,
    shadow: bool,
    generation: u64,
    since: Nanos,
    cause: Option<Cause>,
    /// What this generation has been told; neutral results apart.
    results: Vec<Heard>,
    /// The probes that are out and the ends of their leases.
    probes: Vec<(Ticket, Nanos)>,
    probes_ever: u64,
    after_cooldown: bool,
    open_until: Nanos,
    cooldown_until: Nanos,
    openings: u32,
    tripped: bool,
    /// What a probe must not be slower than.
    slower_than: Option<Duration>,
    shadowed: u64,
}

/// One result.
#[derive(Clone, Copy)]
struct Heard {
    at: Nanos,
    outcome: Outcome,
    took: Duration,
}

impl Heard {
    fn is_good(&self) -> bool {
        self.outcome == Outcome::Success
    }
}

impl Model {
    pub(super) fn new(config: BreakerConfig, members: usize) -> Self {
        Self {
            config,
            members,
            state: State::Closed,
            shadow: false,
            generation: 0,
            since: 0,
            cause: None,
            results: Vec::new(),
            probes: Vec::new(),
            probes_ever: 0,
            after_cooldown: false,
            open_until: 0,
            cooldown_until: 0,
            openings: 0,
            tripped: false,
            slower_than: None,
            shadowed: 0,
        }
    }

    /// Why a breaker that is no shadow refuses.
    pub(super) fn refusal(&self, now: Nanos) -> Option<Refusal> {
        let leases = || self.probes.iter().map(|(_, ends)| *ends).filter(|ends| *ends > now);
        match self.state {
            State::Closed | State::Disabled => None,
            State::ForcedOpen => Some(Refusal::ForcedOpen),
            State::Open if self.cooldown_until > now => Some(Refusal::Cooldown { retry_at: self.retry_at() }),
            State::Open if self.open_until > now => Some(Refusal::Open { retry_at: self.open_until }),
            State::Open => None,
            State::HalfOpen if leases().count() < self.places() => None,
            State::HalfOpen => leases().min().map(|retry_at| Refusal::ProbesTaken { retry_at }),
        }
    }

    /// After a cooldown one probe goes first, and the others once it has succeeded.
    fn places(&self) -> usize {
        let good = self.results.iter().any(Heard::is_good);
        if self.after_cooldown && !good { 1 } else { self.config.probes as usize }
    }

    pub(super) fn peek(&self, now: Nanos) -> Result<(), Refusal> {
        self.refusal(now).filter(|_| !self.shadow).map_or(Ok(()), Err)
    }

    pub(super) fn admit(&mut self, now: Nanos, lease: Duration) -> Admission {
        match self.refusal(now) {
            Some(_) if self.shadow => {
                self.shadowed += 1;
                return Ok((Ticket::Uncounted, None));
            }
            Some(refusal) => return Err(refusal),
            None => {}
        }
        Ok(match self.state {
            State::Closed => (Ticket::Counted { generation: self.generation }, None),
            State::Open => {
                let transition = self.enter(State::HalfOpen, Cause::WaitElapsed, now);
                (self.probe(now, lease), Some(transition))
            }
            State::HalfOpen => (self.probe(now, lease), None),
            State::Disabled | State::ForcedOpen => (Ticket::Uncounted, None),
        })
    }

    pub(super) fn admit_last_resort(&mut self, now: Nanos, lease: Duration) -> Admission {
        match self.refusal(now) {
            Some(Refusal::Open { .. }) => Ok((Ticket::LastResort { generation: self.generation }, None)),
            _ => self.admit(now, lease),
        }
    }

    fn probe(&mut self, now: Nanos, lease: Duration) -> Ticket {
        let ticket = Ticket::Probe { generation: self.generation, id: self.probes_ever };
        self.probes_ever += 1;
        self.probes.retain(|(_, ends)| *ends > now);
        self.probes.push((ticket, now + nanos(lease)));
        ticket
    }

    /// `seen` is the cooldown that the breaker shows afterwards: only its jitter is taken from it.
    pub(super) fn settle(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        cooldown: Option<Duration>,
        took: Duration,
        seen: Option<Nanos>,
        now: Nanos,
    ) -> Option<Transition> {
        let heard = Heard { at: now, outcome, took };
        let generation = match ticket {
            Ticket::Uncounted => return None,
            Ticket::Counted { generation } | Ticket::Probe { generation, .. } | Ticket::LastResort { generation } => {
                generation
            }
        };
        if generation != self.generation {
            if let (Some(wait), true) = (cooldown, self.cooldown_until > now) {
                self.lengthen_cooldown(wait, seen, now);
            }
            return None;
        }
        let transition = match ticket {
            Ticket::Probe { .. } => {
                let place = self.probes.iter().position(|(probe, _)| *probe == ticket)?;
                self.probes.remove(place);
                self.settle_probe(heard, cooldown.is_some())
            }
            Ticket::LastResort { .. } => self.settle_last_resort(heard, cooldown.is_some()),
            _ => self.settle_counted(heard),
        };
        let Some(wait) = cooldown else { return transition };
        self.lengthen_cooldown(wait, seen, now);
        if self.state == State::Open {
            return transition.map(|opened| Transition { retry_at: Some(self.retry_at()), ..opened });
        }
        Some(self.enter(State::Open, Cause::Cooldown, now))
    }

    fn settle_counted(&mut self, heard: Heard) -> Option<Transition> {
        if heard.outcome == Outcome::Neutral {
            return None;
        }
        self.results.push(heard);
        let (rule, cause) = self.broken_rule(heard)?;
        self.slower_than = match rule {
            Trip::SlowCallRate { slower_than, .. } => Some(slower_than),
            _ => None,
        };
        Some(self.trip(cause, heard.at))
    }

    /// A slow probe has failed where slow calls had opened it.
    fn settle_probe(&mut self, heard: Heard, limited: bool) -> Option<Transition> {
        if heard.outcome == Outcome::Neutral || (heard.is_good() && limited) {
            return None;
        }
        let outcome = if self.is_slow_probe(heard) { Outcome::Failure(Evidence::Blame) } else { heard.outcome };
        self.results.push(Heard { outcome, ..heard });
        let good = self.results.iter().filter(|result| result.is_good()).count() as u32;
        let bad = self.results.len() as u32 - good;
        let closes = match self.asked_of_probes() {
            Close::Successes { successes, .. } if good >= successes => true,
            Close::Successes { successes, probes } if good + (probes - good - bad) < successes => false,
            Close::FailureRate { below, probes } if good + bad == probes => f64::from(bad) / f64::from(probes) < below,
            _ => return None,
        };
        if closes && limited {
            return None;
        }
        if !closes && self.cause == Some(Cause::ProviderRecovered) {
            self.openings = self.openings.saturating_sub(1);
        }
        Some(match closes {
            true => self.enter(State::Closed, Cause::ProbesSucceeded, heard.at),
            false => self.trip(Cause::ProbesFailed, heard.at),
        })
    }

    fn settle_last_resort(&mut self, heard: Heard, limited: bool) -> Option<Transition> {
        let is_news = heard.is_good() && !limited && self.cooldown_until <= heard.at && !self.is_slow_probe(heard);
        if !is_news {
            return None;
        }
        Some(self.enter(State::Closed, Cause::LastResort, heard.at))
    }

    fn is_slow_probe(&self, heard: Heard) -> bool {
        heard.is_good() && self.slower_than.is_some_and(|slower_than| heard.took > slower_than)
    }

    fn asked_of_probes(&self) -> Close {
        if self.tripped { self.config.close } else { Close::Successes { successes: 1, probes: 1 } }
    }

    /// The failures since the last success, oldest first.
    fn row(&self) -> &[Heard] {
        if self.state != State::Closed {
            return &[];
        }
        let from = self.results.iter().rposition(Heard::is_good).map_or(0, |last| last + 1);
        &self.results[from..]
    }

    /// The first rule that holds, and is about such a result.
    fn broken_rule(&self, heard: Heard) -> Option<(Trip, Cause)> {
        let failed = !heard.is_good();
        let reached = |(bad, calls): (u64, u64), rate: f64, minimum: u32| {
            calls >= u64::from(minimum) && bad as f64 / calls as f64 >= rate
        };
        let holds = |rule: &Trip| {
            let counted = self.counted(rule, heard.at);
            match *rule {
                Trip::Consecutive { failures, spanning: least } if failed => {
                    let row = self.row();
                    let spanning = Duration::from_nanos(heard.at - row[0].at);
                    let holds = row.len() >= failures as usize && spanning >= least && self.row_counts();
                    holds.then_some(Cause::Consecutive { failures: row.len() as u32, spanning })
                }
                Trip::FailureRate { rate, minimum_calls, .. } | Trip::FailureRateOfLast { rate, minimum_calls, .. }
                    if failed =>
                {
                    let holds = reached(counted, rate, minimum_calls);
                    holds.then_some(Cause::FailureRate { failures: counted.0, calls: counted.1 })
                }
                Trip::SlowCallRate { rate, slower_than, minimum_calls, .. } if heard.took > slower_than => {
                    let holds = reached(counted, rate, minimum_calls);
                    holds.then_some(Cause::SlowCallRate { slow: counted.0, calls: counted.1 })
                }
                _ => None,
            }
        };
        self.config.trip.iter().find_map(|rule| holds(rule).map(|cause| (rule.clone(), cause)))
    }

    /// Whether the row speaks against more than one of several members.
    fn row_counts(&self) -> bool {
        let said = |evidence| self.row().iter().any(|result| result.outcome == Outcome::Failure(evidence));
        let members = (0..super::MEMBERS).filter(|member| said(Evidence::Member(*member))).count();
        said(Evidence::Blame) || members >= 2 || self.members == 1
    }

    /// How many calls of a rule's window are what it minds, and how many calls that holds.
    fn counted(&self, rule: &Trip, now: Nanos) -> (u64, u64) {
        if self.state != State::Closed {
            return (0, 0);
        }
        let window: Vec<&Heard> = match *rule {
            Trip::Consecutive { .. } => Vec::new(),
            Trip::FailureRateOfLast { calls, .. } => self.results.iter().rev().take(calls as usize).collect(),
            Trip::FailureRate { window, buckets, .. } | Trip::SlowCallRate { window, buckets, .. } => {
                let bucket = nanos(window) / u64::from(buckets);
                let inside = |at: Nanos| at / bucket + u64::from(buckets) > now / bucket;
                self.results.iter().filter(|result| inside(result.at)).collect()
            }
        };
        let minds = |result: &&&Heard| match *rule {
            Trip::SlowCallRate { slower_than, .. } => result.took > slower_than,
            _ => !result.is_good(),
        };
        (window.iter().filter(minds).count() as u64, window.len() as u64)
    }

    /// What the first rule on failures or on slow calls has counted.
    fn totals(&self, slow: bool, now: Nanos) -> Option<Totals> {
        let is_slow = |rule: &Trip| matches!(rule, Trip::SlowCallRate { .. });
        let rates = |rule: &&Trip| !matches!(rule, Trip::Consecutive { .. }) && is_slow(rule) == slow;
        let (failures, calls) = self.counted(self.config.trip.iter().find(rates)?, now);
        Some(Totals { successes: calls - failures, failures })
    }

    fn trip(&mut self, cause: Cause, now: Nanos) -> Transition {
        let transition = self.enter(State::Open, cause, now);
        let longest = self.config.longest_open_wait;
        let wait = longest.min(self.config.open_wait * 2_u32.pow(self.openings));
        self.openings += u32::from(wait < longest);
        self.open_until = now + nanos(wait);
        self.tripped = true;
        Transition { retry_at: Some(self.retry_at()), ..transition }
    }

    fn lengthen_cooldown(&mut self, wait: Duration, seen: Option<Nanos>, now: Nanos) {
        let (earliest, latest) = (now + nanos(wait), now + nanos(wait) + nanos(wait) / 10);
        match seen {
            Some(end) if end > self.cooldown_until => {
                assert!((earliest..=latest).contains(&end), "{wait:?} from {now} until {end}");
                self.cooldown_until = end;
            }
            _ => assert!(earliest <= self.cooldown_until, "{wait:?} from {now} went unheard"),
        }
    }

    pub(super) fn cooldown_until(&self) -> Nanos {
        self.cooldown_until
    }

    /// The end of the cooldown, if it was an earlier one before.
    pub(super) fn cooldown_since(&self, before: Nanos) -> Option<Nanos> {
        (self.cooldown_until > before).then_some(self.cooldown_until)
    }

    fn enter(&mut self, to: State, cause: Cause, now: Nanos) -> Transition {
        let from = self.state;
        match self.config.recovery {
            Recovery::Healthy(period) if from == State::Closed => {
                let healthy = (now - self.since) / nanos(period);
                self.openings = self.openings.saturating_sub(healthy as u32);
            }
            Recovery::AtClose if to == State::Closed => self.openings = 0,
            _ => {}
        }
        self.state = to;
        self.generation += 1;
        self.since = now;
        self.cause = Some(cause);
        self.results.clear();
        self.probes.clear();
        self.after_cooldown = to == State::HalfOpen && self.cooldown_until != 0;
        if to != State::Open {
            (self.open_until, self.cooldown_until) = (0, 0);
        }
        if to == State::Closed {
            (self.tripped, self.slower_than) = (false, None);
        }
        Transition { from, to, cause, retry_at: (to == State::Open).then(|| self.retry_at()) }
    }

    fn retry_at(&self) -> Nanos {
        self.open_until.max(self.cooldown_until)
    }

    pub(super) fn cool_down(&mut self, wait: Duration, seen: Option<Nanos>, now: Nanos) -> Option<Transition> {
        if matches!(self.state, State::ForcedOpen | State::Disabled) {
            return None;
        }
        self.lengthen_cooldown(wait, seen, now);
        (self.state != State::Open).then(|| self.enter(State::Open, Cause::Cooldown, now))
    }

    pub(super) fn hasten(&mut self, now: Nanos) -> Option<Transition> {
        if self.state != State::Open {
            return None;
        }
        self.open_until = 0;
        (self.cooldown_until <= now).then(|| self.enter(State::HalfOpen, Cause::ProviderRecovered, now))
    }

    pub(super) fn end_wait(&mut self, now: Nanos) -> bool {
        let ends =
            self.state == State::Open && self.open_until > now && now - self.since >= nanos(self.config.open_wait);
        if ends {
            self.open_until = now;
        }
        ends
    }

    pub(super) fn command(&mut self, command: Command, now: Nanos) -> Option<Transition> {
        let forced = matches!(self.state, State::ForcedOpen | State::Disabled);
        let to = match command {
            Command::ForceOpen => State::ForcedOpen,
            Command::Disable => State::Disabled,
            Command::Shadow if !forced => self.state,
            Command::Shadow | Command::Reset => State::Closed,
        };
        self.shadow = command == Command::Shadow;
        let changes = to != self.state;
        let transition = (changes || command == Command::Reset).then(|| self.enter(to, Cause::Command(command), now));
        if command == Command::Reset {
            (self.openings, self.shadowed) = (0, 0);
        }
        transition.filter(|_| changes)
    }

    pub(super) fn view(&self, now: Nanos) -> View {
        let open = self.state == State::Open;
        View {
            state: self.state,
            shadow: self.shadow,
            cause: self.cause,
            since: self.since,
            retry_at: open.then(|| self.retry_at()),
            cooldown_until: (open && self.cooldown_until > now).then_some(self.cooldown_until),
            consecutive_failures: self.row().len() as u32,
            window: self.totals(false, now),
            slow_calls: self.totals(true, now),
            probes: self.probes.len(),
            openings: self.openings,
            shadowed: self.shadowed,
        }
    }
}
