//! What a breaker is, says and is told.

use crate::machine::{Nanos, window::Totals};
use std::{fmt, time::Duration};

/// The state of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Calls go through and are counted.
    Closed,
    /// Calls are refused, until the open wait and any cooldown have elapsed.
    Open,
    /// A few probes go through; their results close the breaker or open it again.
    HalfOpen,
    /// Calls are refused until a command says otherwise.
    ForcedOpen,
    /// Calls go through and nothing is counted, until a command says otherwise.
    Disabled,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced open",
            Self::Disabled => "disabled",
        })
    }
}

/// What an operator can tell a breaker. Each does what it says in every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Command {
    /// Refuse every call until another command.
    ForceOpen,
    /// Admit every call and count nothing until another command.
    Disable,
    /// Go on measuring, changing state and reporting, but refuse nothing, until another command. A call that would
    /// have been refused goes through uncounted. A forced state ends.
    Shadow,
    /// Back to closed and enforcing, as newly made: counts, waits, cooldowns and forced states are forgotten.
    Reset,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ForceOpen => "force open",
            Self::Disable => "disable",
            Self::Shadow => "shadow",
            Self::Reset => "reset",
        })
    }
}

/// Why a breaker changed its state.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Cause {
    /// So many failures in a row, the first and the last so far apart.
    #[non_exhaustive]
    Consecutive {
        /// Failures without a success between.
        failures: u32,
        /// From the first to the last.
        spanning: Duration,
    },
    /// So many failures among the calls of the window.
    #[non_exhaustive]
    FailureRate {
        /// Failures in the window.
        failures: u64,
        /// Calls in the window.
        calls: u64,
    },
    /// So many slow calls among those of the window.
    #[non_exhaustive]
    SlowCallRate {
        /// Slow calls in the window.
        slow: u64,
        /// Calls in the window.
        calls: u64,
    },
    /// The upstream asked to be left alone.
    Cooldown,
    /// The open wait or the cooldown has elapsed, and a call came.
    WaitElapsed,
    /// Enough probes succeeded.
    ProbesSucceeded,
    /// Too many probes failed, or were slow where slow calls had opened it.
    ProbesFailed,
    /// The provider of this model answers again.
    ProviderRecovered,
    /// Nobody could be asked, and a last resort was answered: by this one, which closed, or by another, which made this one
    /// half-open.
    LastResort,
    /// An operator said so.
    Command(Command),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consecutive { failures, spanning } => {
                let spanning = Duration::from_millis(u64::try_from(spanning.as_millis()).unwrap_or(u64::MAX));
                write!(f, "{failures} failures in a row spanning {spanning:?}")
            }
            Self::FailureRate { failures, calls } => write!(f, "{failures} failures in {calls} calls"),
            Self::SlowCallRate { slow, calls } => write!(f, "{slow} slow calls in {calls}"),
            Self::Cooldown => f.write_str("cooldown"),
            Self::WaitElapsed => f.write_str("wait elapsed"),
            Self::ProbesSucceeded => f.write_str("probes succeeded"),
            Self::ProbesFailed => f.write_str("probes failed"),
            Self::ProviderRecovered => f.write_str("provider recovered"),
            Self::LastResort => f.write_str("a last resort was answered"),
            Self::Command(command) => write!(f, "command: {command}"),
        }
    }
}

/// One change of state, to be told once no lock is held.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Transition {
    pub(crate) from: State,
    pub(crate) to: State,
    pub(crate) cause: Cause,
    /// From when a probe may go through, if it opened for a time.
    pub(crate) retry_at: Option<Nanos>,
}

/// What has changed of a breaker, to be told once no lock is held.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Changed {
    pub(crate) transition: Option<Transition>,
    /// The end of a cooldown that has begun or become longer.
    pub(crate) cooldown_until: Option<Nanos>,
}

impl Changed {
    pub(crate) fn is_nothing(&self) -> bool {
        self.transition.is_none() && self.cooldown_until.is_none()
    }
}

impl From<Option<Transition>> for Changed {
    fn from(transition: Option<Transition>) -> Self {
        Self { transition, cooldown_until: None }
    }
}

/// Why a call was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Open {
        retry_at: Nanos,
    },
    Cooldown {
        retry_at: Nanos,
    },
    /// All probes are taken; the oldest one's lease ends then.
    ProbesTaken {
        retry_at: Nanos,
    },
    ForcedOpen,
}

impl Refusal {
    /// From when a call may be admitted; a forced state does not end by itself.
    pub(crate) fn retry_at(self) -> Nanos {
        match self {
            Self::Open { retry_at } | Self::Cooldown { retry_at } | Self::ProbesTaken { retry_at } => retry_at,
            Self::ForcedOpen => Nanos::MAX,
        }
    }
}

/// The right to one call, and under which terms its result counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ticket {
    /// Admitted while closed.
    Counted { generation: u64 },
    /// One of the probes of a half-open breaker.
    Probe { generation: u64, id: u64 },
    /// Admitted while open, as nobody else could be asked: only its success says anything.
    LastResort { generation: u64 },
    /// Admitted by a breaker that is disabled, or that would have refused it if it were not a shadow.
    Uncounted,
}

impl Ticket {
    /// The generation that admitted it; none for a call that is not counted.
    pub(crate) fn generation(self) -> Option<u64> {
        match self {
            Self::Counted { generation } | Self::Probe { generation, .. } | Self::LastResort { generation } => {
                Some(generation)
            }
            Self::Uncounted => None,
        }
    }
}

/// What a result says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure(Evidence),
    Neutral,
}

/// Whom a failure speaks against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// The breaker's own upstream.
    Blame,
    /// One member of what the breaker guards: only together with another member's does it count.
    Member(usize),
}

/// Everything there is to see of a breaker at one time.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct View {
    pub(crate) state: State,
    pub(crate) shadow: bool,
    pub(crate) cause: Option<Cause>,
    pub(crate) since: Nanos,
    pub(crate) retry_at: Option<Nanos>,
    pub(crate) cooldown_until: Option<Nanos>,
    pub(crate) consecutive_failures: u32,
    pub(crate) window: Option<Totals>,
    /// Slow calls stand for failures.
    pub(crate) slow_calls: Option<Totals>,
    pub(crate) probes: usize,
    pub(crate) openings: u32,
    pub(crate) shadowed: u64,
}
