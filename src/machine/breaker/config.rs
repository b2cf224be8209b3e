//! The configuration of a breaker: when it trips, how long it stays open, what closes it.

use crate::machine::{
    config::{self, ConfigError},
    ramp::RAMP,
};
use std::time::Duration;

/// One rule that opens a closed breaker. Thresholds are inclusive (≥), rates exact quotients; rules are
/// judged when a failure is recorded, never on a success.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Trip {
    /// So many failures in a row, the first and the last at least so far apart.
    #[non_exhaustive]
    Consecutive {
        /// How many failures, with no success between.
        failures: u32,
        /// The least time from the first to the last; zero asks for none.
        spanning: Duration,
    },
    /// So large a share of failures among the calls of a sliding time window.
    #[non_exhaustive]
    FailureRate {
        /// Failures ÷ calls, above 0 and at most 1.
        rate: f64,
        /// The least number of calls in the window.
        minimum_calls: u32,
        /// The length of the window.
        window: Duration,
        /// Into how many buckets the window is divided: it slides by one bucket at a time.
        buckets: u32,
    },
}

impl Trip {
    /// The buckets of a window: 10.
    pub const BUCKETS: u32 = 10;
    /// The shortest bucket: 1 ms.
    pub const SHORTEST_BUCKET: Duration = Duration::from_millis(1);
    /// The most buckets of a window: 1000.
    pub const MOST_BUCKETS: u32 = 1000;

    /// `failures` in a row, the first and the last at least `spanning` apart.
    pub fn consecutive(failures: u32, spanning: Duration) -> Self {
        Self::Consecutive { failures, spanning }
    }

    /// At least `rate` of at least `minimum_calls` in a sliding `window` of [`Trip::BUCKETS`] buckets.
    pub fn failure_rate(rate: f64, minimum_calls: u32, window: Duration) -> Self {
        Self::FailureRate { rate, minimum_calls, window, buckets: Self::BUCKETS }
    }

    /// The same with another number of buckets, if this is a rule on a rate: the window slides by one at a time.
    #[must_use]
    pub fn buckets(mut self, count: u32) -> Self {
        if let Self::FailureRate { buckets, .. } = &mut self {
            *buckets = count;
        }
        self
    }

    /// The default rules: 5 in a row spanning at least 1 s; 20 in a row; 2 in a row spanning at least 30 s; at least 50 %
    /// of at least 10 calls in 60 s.
    pub const DEFAULT: [Self; 4] = [
        Self::Consecutive { failures: 5, spanning: Duration::from_secs(1) },
        Self::Consecutive { failures: 20, spanning: Duration::ZERO },
        Self::Consecutive { failures: 2, spanning: Duration::from_secs(30) },
        Self::FailureRate { rate: 0.5, minimum_calls: 10, window: Duration::from_secs(60), buckets: Self::BUCKETS },
    ];

    fn check(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Consecutive { failures, .. } => config::at_least_one("trip.consecutive.failures", failures),
            Self::FailureRate { rate, minimum_calls, window, buckets } => {
                config::share("trip.failure_rate.rate", rate)?;
                if rate == 0.0 {
                    return Err(ConfigError::new("trip.failure_rate.rate", "0", "must be above 0"));
                }
                config::at_least_one("trip.failure_rate.minimum_calls", minimum_calls)?;
                config::at_least_one("trip.failure_rate.buckets", buckets)?;
                if buckets > Self::MOST_BUCKETS {
                    let value = buckets.to_string();
                    return Err(ConfigError::new("trip.failure_rate.buckets", value, "must be at most 1000"));
                }
                if window / buckets < Self::SHORTEST_BUCKET {
                    let value = format!("{window:?}");
                    return Err(ConfigError::new(
                        "trip.failure_rate.window",
                        value,
                        "must give each bucket at least 1 ms",
                    ));
                }
                Ok(())
            }
        }
    }
}

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
    pub(crate) trip: Vec<Trip>,
    pub(crate) open_wait: Duration,
    pub(crate) longest_open_wait: Duration,
    pub(crate) jitter: f64,
    pub(crate) recovery: Duration,
    pub(crate) probes: u32,
    pub(crate) successes_to_close: u32,
    pub(crate) probes_to_judge: u32,
    pub(crate) ramp: Duration,
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

    /// For how long a breaker must have been closed to take back one doubling of the open wait. Default 60 s.
    pub fn recovery(mut self, healthy: Duration) -> Self {
        self.recovery = healthy;
        self
    }

    /// How many probes half-open admits at once. Default 1.
    pub fn probes(mut self, concurrent: u32) -> Self {
        self.probes = concurrent;
        self
    }

    /// `successes` good ones among `probes` probes close a half-open breaker; as soon as they cannot be reached
    /// any more it opens again. Default 2 of 2.
    pub fn close_after(mut self, successes: u32, probes: u32) -> Self {
        self.successes_to_close = successes;
        self.probes_to_judge = probes;
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
        self.trip.retain(|rule| !matches!(rule, Trip::FailureRate { .. }));
        self.close_after(1, 1)
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.trip.iter().try_for_each(Trip::check)?;
        config::positive("open_wait", self.open_wait)?;
        config::ordered("longest_open_wait", self.open_wait, self.longest_open_wait)?;
        config::share("jitter", self.jitter)?;
        config::positive("recovery", self.recovery)?;
        config::at_least_one("probes", self.probes)?;
        if self.probes > Self::MOST_PROBES {
            return Err(ConfigError::new("probes", self.probes.to_string(), "must be at most 1000"));
        }
        config::at_least_one("close_after.successes", self.successes_to_close)?;
        if self.probes_to_judge < self.successes_to_close {
            let value = self.probes_to_judge.to_string();
            return Err(ConfigError::new("close_after.probes", value, "must not be below the successes asked for"));
        }
        Ok(())
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        Self {
            trip: Trip::DEFAULT.to_vec(),
            open_wait: Self::OPEN_WAIT,
            longest_open_wait: Self::LONGEST_OPEN_WAIT,
            jitter: Self::JITTER,
            recovery: Self::RECOVERY,
            probes: Self::PROBES,
            successes_to_close: Self::SUCCESSES_TO_CLOSE,
            probes_to_judge: Self::SUCCESSES_TO_CLOSE,
            ramp: RAMP,
        }
    }
}
