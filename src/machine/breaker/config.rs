//! The configuration of a breaker: when it trips, how long it stays open, what closes it.

use super::{Rules, Trip};
use crate::machine::{
    config::{self, ConfigError},
    ramp::RAMP,
};
use std::time::Duration;

/// When a breaker trips, how long it stays open, and what closes it again.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::{BreakerConfig, Trip};
///
/// // The defaults but for two things: three failures in a row open it, for 2 s at first.
/// let config = BreakerConfig::default()
///     .trip([Trip::consecutive(3, Duration::ZERO)])
///     .open_wait(Duration::from_secs(2), Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BreakerConfig {
    pub(crate) trip: Rules,
    pub(crate) open_wait: Duration,
    pub(crate) longest_open_wait: Duration,
    pub(crate) jitter: f64,
    pub(crate) recovery: Recovery,
    pub(crate) probes: u32,
    pub(crate) close: Close,
    pub(crate) ramp: Duration,
}

/// When the open wait shrinks again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Recovery {
    /// One doubling for each healthy period so long.
    Healthy(Duration),
    /// All of it as soon as it closes.
    AtClose,
}

/// What the results of the probes decide, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Close {
    /// So many good ones close; as soon as that cannot be reached among so many probes it opens.
    Successes { successes: u32, probes: u32 },
    /// After so many probes, a share of failures below this closes.
    FailureRate { below: f64, probes: u32 },
}

impl Close {
    /// Whether so many results close it, or open it again, or do not decide yet.
    pub(crate) fn decide(self, successes: u32, failures: u32) -> Option<bool> {
        match self {
            Self::Successes { successes: enough, .. } if successes >= enough => Some(true),
            Self::Successes { successes: enough, probes } => (failures > probes - enough).then_some(false),
            Self::FailureRate { below, probes } => {
                let judged = u64::from(successes) + u64::from(failures);
                (judged >= u64::from(probes)).then(|| f64::from(failures) / (judged as f64) < below)
            }
        }
    }

    fn check(self) -> Result<(), ConfigError> {
        match self {
            Self::Successes { successes, probes } => {
                config::at_least_one("close_after.successes", successes)?;
                if probes < successes {
                    let problem = "must not be below the successes asked for";
                    return Err(ConfigError::new("close_after.probes", probes.to_string(), problem));
                }
                Ok(())
            }
            Self::FailureRate { below, probes } => {
                config::share_above_zero("close_below.failure_rate", below)?;
                config::at_least_one("close_below.probes", probes)
            }
        }
    }
}

impl BreakerConfig {
    /// The first open wait: 10 s.
    pub const OPEN_WAIT: Duration = Duration::from_secs(10);
    /// The longest open wait: 300 s.
    pub const LONGEST_OPEN_WAIT: Duration = Duration::from_secs(300);
    /// The share of an open wait that is random: 0.5, known as equal jitter.
    pub const JITTER: f64 = 0.5;
    /// The healthy time that takes back one doubling of the open wait: 60 s.
    pub const RECOVERY: Duration = Duration::from_secs(60);
    /// Concurrent probes while half-open: 1.
    pub const PROBES: u32 = 1;
    /// Good probes that close: 2 of 2.
    pub const SUCCESSES_TO_CLOSE: u32 = 2;
    /// The most probes that half-open admits at once: 1000.
    pub const MOST_PROBES: u32 = 1000;

    /// The rules that open a closed breaker; the first that holds does. Default: 5 failures in a row spanning at
    /// least 1 s; 20 in a row; 2 in a row spanning at least 30 s; at least 50 % of at least 10 calls in 60 s.
    /// ([`Trip::DEFAULT`].) An empty list never trips: such a breaker opens by a cooldown or by command only.
    pub fn trip(mut self, rules: impl IntoIterator<Item = Trip>) -> Self {
        self.trip = rules.into_iter().collect();
        self
    }

    /// How long an open breaker waits before it lets a probe through: `first`, doubled each time that it opens
    /// again, up to `longest`. Default 10 s and 300 s.
    pub fn open_wait(mut self, first: Duration, longest: Duration) -> Self {
        self.open_wait = first;
        self.longest_open_wait = longest;
        self
    }

    /// The share of each open wait that is random, from 0 (none) to 1 (all of it). Default 0.5: a wait of `w` ends
    /// evenly between `w/2` and `w`.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// For how long a breaker must have been closed to take back one doubling of the open wait. Default 60 s. Undoes
    /// [`recovery_at_close`](Self::recovery_at_close).
    pub fn recovery(mut self, healthy: Duration) -> Self {
        self.recovery = Recovery::Healthy(healthy);
        self
    }

    /// Takes back every doubling of the open wait as soon as the breaker closes, instead of one for each healthy
    /// minute: the next time it waits as long as the first time. An upstream that answers a few probes and fails again
    /// is then asked for ever at the pace of the first wait.
    pub fn recovery_at_close(mut self) -> Self {
        self.recovery = Recovery::AtClose;
        self
    }

    /// How many probes half-open admits at once. Default 1.
    pub fn probes(mut self, concurrent: u32) -> Self {
        self.probes = concurrent;
        self
    }

    /// `successes` good ones among `probes` probes close a half-open breaker; as soon as they cannot be reached
    /// any more it opens again. Default 2 of 2. With two equal numbers the first failure opens it:
    /// [`close_after_all`](Self::close_after_all).
    ///
    /// Each of `close_after`, `close_after_all` and [`close_below`](Self::close_below) undoes the others. After a
    /// cooldown without failures one good probe closes, whatever is said here.
    pub fn close_after(mut self, successes: u32, probes: u32) -> Self {
        self.close = Close::Successes { successes, probes };
        self
    }

    /// `probes` good ones with no failure between close a half-open breaker; the first failure opens it again.
    pub fn close_after_all(self, probes: u32) -> Self {
        self.close_after(probes, probes)
    }

    /// A half-open breaker is judged when `probes` probes have succeeded or failed, and not before: it closes if the
    /// share of failures among them is below `failure_rate`, and else opens again.
    ///
    /// ```
    /// use tower_failover::BreakerConfig;
    ///
    /// // Up to four failures among ten probes, three of them at a time, are well enough.
    /// let config = BreakerConfig::default().probes(3).close_below(0.5, 10);
    /// ```
    pub fn close_below(mut self, failure_rate: f64, probes: u32) -> Self {
        self.close = Close::FailureRate { below: failure_rate, probes };
        self
    }

    /// Over how long traffic returns once the breaker has closed after it had tripped (not after a cooldown alone): from every tenth request evenly to all of them; the others
    /// prefer another model, but are not refused. Zero lets all come at once. Default 10 s. It is for
    /// [`FailoverLayer`](crate::FailoverLayer), where there are other models. A reset by command ends it.
    pub fn ramp(mut self, length: Duration) -> Self {
        self.ramp = length;
        self
    }

    /// The rules by which a provider trips: the model's, without those on a rate.
    pub(crate) fn for_provider(mut self) -> Self {
        self.trip = self.trip.iter().filter(|rule| !rule.is_rate()).cloned().collect();
        self.close_after(1, 1)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.trip.iter().try_for_each(Trip::check)?;
        config::positive("open_wait", self.open_wait)?;
        config::ordered("longest_open_wait", self.open_wait, self.longest_open_wait)?;
        config::share("jitter", self.jitter)?;
        if let Recovery::Healthy(period) = self.recovery {
            config::positive("recovery", period)?;
        }
        config::at_least_one("probes", self.probes)?;
        if self.probes > Self::MOST_PROBES {
            return Err(ConfigError::new("probes", self.probes.to_string(), "must be at most 1000"));
        }
        self.close.check()
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            trip: Trip::DEFAULT.into_iter().collect(),
            open_wait: Self::OPEN_WAIT,
            longest_open_wait: Self::LONGEST_OPEN_WAIT,
            jitter: Self::JITTER,
            recovery: Recovery::Healthy(Self::RECOVERY),
            probes: Self::PROBES,
            close: Close::Successes { successes: Self::SUCCESSES_TO_CLOSE, probes: Self::SUCCESSES_TO_CLOSE },
            ramp: RAMP,
        }
    }
}
