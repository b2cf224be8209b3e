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
    /// What this generation has been told, when; neutral results apart.
    results: Vec<(Nanos, Outcome)>,
    /// The probes that are out and the ends of their leases.
    probes: Vec<(Ticket, Nanos)>,
    probes_ever: u64,
    after_cooldown: bool,
    open_until: Nanos,
    cooldown_until: Nanos,
    openings: u32,
    tripped: bool,
    shadowed: u64,
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
        let good = self.results.iter().any(|(_, outcome)| *outcome == Outcome::Success);
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
        seen: Option<Nanos>,
        now: Nanos,
    ) -> Option<Transition> {
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
                self.settle_probe(outcome, cooldown.is_some(), now)
            }
            Ticket::LastResort { .. } => self.settle_last_resort(outcome, cooldown.is_some(), now),
            _ => self.settle_counted(outcome, now),
        };
        let Some(wait) = cooldown else { return transition };
        self.lengthen_cooldown(wait, seen, now);
        if self.state == State::Open {
            return transition.map(|opened| Transition { retry_at: Some(self.retry_at()), ..opened });
        }
        Some(self.enter(State::Open, Cause::Cooldown, now))
    }

    pub(super) fn settle_counted(&mut self, outcome: Outcome, now: Nanos) -> Option<Transition> {
        if outcome != Outcome::Neutral {
            self.results.push((now, outcome));
        }
        if !matches!(outcome, Outcome::Failure(_)) {
            return None;
        }
        self.broken_rule(now).map(|cause| self.trip(cause, now))
    }

    pub(super) fn settle_probe(&mut self, outcome: Outcome, limited: bool, now: Nanos) -> Option<Transition> {
        if outcome == Outcome::Neutral || (outcome == Outcome::Success && limited) {
            return None;
        }
        self.results.push((now, outcome));
        let good = self.results.iter().filter(|(_, outcome)| *outcome == Outcome::Success).count();
        let bad = self.results.len() - good;
        let (needed, of) = self.good_probes_of();
        if good >= needed {
            Some(self.enter(State::Closed, Cause::ProbesSucceeded, now))
        } else if bad > of - needed {
            if self.cause == Some(Cause::ProviderRecovered) {
                self.openings = self.openings.saturating_sub(1);
            }
            Some(self.trip(Cause::ProbesFailed, now))
        } else {
            None
        }
    }

    pub(super) fn settle_last_resort(&mut self, outcome: Outcome, limited: bool, now: Nanos) -> Option<Transition> {
        if outcome != Outcome::Success || limited || self.cooldown_until > now {
            return None;
        }
        Some(self.enter(State::Closed, Cause::LastResort, now))
    }

    fn good_probes_of(&self) -> (usize, usize) {
        match self.tripped {
            true => (self.config.successes_to_close as usize, self.config.probes_to_judge as usize),
            false => (1, 1),
        }
    }

    /// The failures since the last success, oldest first.
    fn row(&self) -> &[(Nanos, Outcome)] {
        if self.state != State::Closed {
            return &[];
        }
        let from =
            self.results.iter().rposition(|(_, outcome)| *outcome == Outcome::Success).map_or(0, |last| last + 1);
        &self.results[from..]
    }

    fn broken_rule(&self, now: Nanos) -> Option<Cause> {
        let row = self.row();
        let spanning = Duration::from_nanos(now - row[0].0);
        let holds = |rule: &Trip| match *rule {
            Trip::Consecutive { failures, spanning: least } => {
                let holds = row.len() >= failures as usize && spanning >= least && self.row_counts();
                holds.then_some(Cause::Consecutive { failures: row.len() as u32, spanning })
            }
            Trip::FailureRate { rate, minimum_calls, .. } => {
                let Totals { successes, failures } = self.totals(now);
                let calls = successes + failures;
                let holds = calls >= u64::from(minimum_calls) && failures as f64 / calls as f64 >= rate;
                holds.then_some(Cause::FailureRate { failures, calls })
            }
        };
        self.config.trip.iter().find_map(holds)
    }

    /// Whether the row speaks against more than one of several members.
    fn row_counts(&self) -> bool {
        let said = |evidence| self.row().iter().any(|(_, outcome)| *outcome == Outcome::Failure(evidence));
        let members = (0..super::MEMBERS).filter(|member| said(Evidence::Member(*member))).count();
        said(Evidence::Blame) || members >= 2 || self.members == 1
    }

    fn totals(&self, now: Nanos) -> Totals {
        let [_, Trip::FailureRate { window, buckets, .. }] = self.config.trip[..] else {
            panic!("two rules, the second on a rate");
        };
        let bucket = nanos(window) / u64::from(buckets);
        let inside = |at: Nanos| at / bucket + u64::from(buckets) > now / bucket;
        let count = |success: bool| {
            let counted = |(at, outcome): &&(Nanos, Outcome)| inside(*at) && (*outcome == Outcome::Success) == success;
            self.results.iter().filter(counted).count() as u64
        };
        if self.state != State::Closed {
            return Totals::default();
        }
        Totals { successes: count(true), failures: count(false) }
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

    fn enter(&mut self, to: State, cause: Cause, now: Nanos) -> Transition {
        let from = self.state;
        if from == State::Closed {
            let healthy = (now - self.since) / nanos(self.config.recovery);
            self.openings = self.openings.saturating_sub(healthy as u32);
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
        self.tripped &= to != State::Closed;
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
            window: Some(self.totals(now)),
            probes: self.probes.len(),
            openings: self.openings,
            shadowed: self.shadowed,
        }
    }
}
