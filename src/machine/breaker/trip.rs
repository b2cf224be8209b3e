//! The rules that open a closed breaker.

use crate::machine::{
    config::{self, ConfigError},
    count_window,
};
use std::time::Duration;

/// One rule that opens a closed breaker. Thresholds are inclusive (≥), rates exact quotients.
///
/// Failures are judged when a failure is recorded, slow calls when a slow call is; never on any other success. What is
/// neutral, such as a caller's own fault or a call that was given up, is no call to any rule.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::{BreakerConfig, Trip};
///
/// // Half of the last 100 calls failed, or four fifths of the last minute's took longer than 20 s.
/// let config = BreakerConfig::default().trip([
///     Trip::failure_rate_of_last(0.5, 100),
///     Trip::slow_call_rate(0.8, Duration::from_secs(20), 10, Duration::from_secs(60)),
/// ]);
/// ```
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
    /// So large a share of failures among the last so many calls, however long ago they were.
    #[non_exhaustive]
    FailureRateOfLast {
        /// Failures ÷ calls, above 0 and at most 1.
        rate: f64,
        /// How many calls the window holds.
        calls: u32,
        /// From how many calls on it is judged, at most `calls`.
        minimum_calls: u32,
    },
    /// So large a share of slow calls among those of a sliding time window.
    #[non_exhaustive]
    SlowCallRate {
        /// Slow calls ÷ calls, above 0 and at most 1.
        rate: f64,
        /// A call that took longer than this is slow; one that took exactly as long is not.
        slower_than: Duration,
        /// The least number of calls in the window.
        minimum_calls: u32,
        /// The length of the window.
        window: Duration,
        /// Into how many buckets the window is divided: it slides by one bucket at a time.
        buckets: u32,
    },
}

impl Trip {
    /// The least number of calls that the default rule on a rate judges: 10.
    pub const MINIMUM_CALLS: u32 = 10;
    /// The window of the default rule on a rate: 60 s.
    pub const WINDOW: Duration = Duration::from_secs(60);
    /// The buckets of a window: 10.
    pub const BUCKETS: u32 = 10;
    /// The shortest bucket: 1 ms.
    pub const SHORTEST_BUCKET: Duration = Duration::from_millis(1);
    /// The most buckets of a window: 1000.
    pub const MOST_BUCKETS: u32 = 1000;
    /// The most calls of a window that counts calls: 100,000. Each takes eight bytes, for every model with such a rule.
    pub const MOST_CALLS: u32 = count_window::MOST_CALLS;

    /// `failures` in a row, the first and the last at least `spanning` apart.
    pub fn consecutive(failures: u32, spanning: Duration) -> Self {
        Self::Consecutive { failures, spanning }
    }

    /// At least `rate` of at least `minimum_calls` in a sliding `window` of [`Trip::BUCKETS`] buckets.
    pub fn failure_rate(rate: f64, minimum_calls: u32, window: Duration) -> Self {
        Self::FailureRate { rate, minimum_calls, window, buckets: Self::BUCKETS }
    }

    /// At least `rate` of exactly the last `calls`, judged once there have been so many since the breaker closed;
    /// [`minimum_calls`](Self::minimum_calls) judges earlier.
    ///
    /// Good calls of the past buy no further failures: after any number of them, `rate` × `calls` failures open it.
    /// All threads share its cursor, which a window of time spares them.
    pub fn failure_rate_of_last(rate: f64, calls: u32) -> Self {
        Self::FailureRateOfLast { rate, calls, minimum_calls: calls }
    }

    /// At least `rate` of at least `minimum_calls` in a sliding `window` of [`Trip::BUCKETS`] buckets took longer than
    /// `slower_than`. No default rule is one on slow calls.
    ///
    /// A call takes from its beginning to the response's head, or to the first byte or event where it is read ahead: a
    /// long stream is not slow. Failures and timeouts that took longer are slow as well. A slow success is a success to
    /// everything else: to the other rules, to the score, to the caller.
    ///
    /// A breaker that such a rule has opened takes a probe that was slower still for a failed one, until it has closed.
    /// One that failures have opened does not: a few slow calls are what the rule allows.
    pub fn slow_call_rate(rate: f64, slower_than: Duration, minimum_calls: u32, window: Duration) -> Self {
        Self::SlowCallRate { rate, slower_than, minimum_calls, window, buckets: Self::BUCKETS }
    }

    /// The same with another number of buckets, if this is a rule on a window of time: it slides by one at a time.
    #[must_use]
    pub fn buckets(mut self, count: u32) -> Self {
        if let Self::FailureRate { buckets, .. } | Self::SlowCallRate { buckets, .. } = &mut self {
            *buckets = count;
        }
        self
    }

    /// The same judged from another number of calls on, if this is a rule on a rate.
    #[must_use]
    pub fn minimum_calls(mut self, count: u32) -> Self {
        if let Self::FailureRate { minimum_calls, .. }
        | Self::FailureRateOfLast { minimum_calls, .. }
        | Self::SlowCallRate { minimum_calls, .. } = &mut self
        {
            *minimum_calls = count;
        }
        self
    }

    /// The default rules: 5 in a row spanning at least 1 s; 20 in a row; 2 in a row spanning at least 30 s; at least 50 %
    /// of at least 10 calls in 60 s.
    pub const DEFAULT: [Self; 4] = [
        Self::Consecutive { failures: 5, spanning: Duration::from_secs(1) },
        Self::Consecutive { failures: 20, spanning: Duration::ZERO },
        Self::Consecutive { failures: 2, spanning: Duration::from_secs(30) },
        Self::FailureRate {
            rate: 0.5,
            minimum_calls: Self::MINIMUM_CALLS,
            window: Self::WINDOW,
            buckets: Self::BUCKETS,
        },
    ];

    /// Whether it counts calls in a window. Such rules are for models: a provider has none.
    pub(super) fn is_rate(&self) -> bool {
        !matches!(self, Self::Consecutive { .. })
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        match *self {
            Self::Consecutive { failures, .. } => config::at_least_one("trip.consecutive.failures", failures),
            Self::FailureRate { rate, minimum_calls, window, buckets } => {
                check_rate("trip.failure_rate", rate, minimum_calls)?;
                check_window("trip.failure_rate", window, buckets)
            }
            Self::FailureRateOfLast { rate, calls, minimum_calls } => {
                config::at_least_one("trip.failure_rate_of_last.calls", calls)?;
                if calls > Self::MOST_CALLS {
                    let field = "trip.failure_rate_of_last.calls";
                    return Err(ConfigError::new(field, calls.to_string(), "must be at most 100,000"));
                }
                check_rate("trip.failure_rate_of_last", rate, minimum_calls)?;
                if minimum_calls > calls {
                    let field = "trip.failure_rate_of_last.minimum_calls";
                    return Err(ConfigError::new(
                        field,
                        minimum_calls.to_string(),
                        "must not be above the calls of the window",
                    ));
                }
                Ok(())
            }
            Self::SlowCallRate { rate, slower_than, minimum_calls, window, buckets } => {
                config::positive("trip.slow_call_rate.slower_than", slower_than)?;
                check_rate("trip.slow_call_rate", rate, minimum_calls)?;
                check_window("trip.slow_call_rate", window, buckets)
            }
        }
    }
}

fn check_rate(rule: &str, rate: f64, minimum_calls: u32) -> Result<(), ConfigError> {
    config::share_above_zero(&format!("{rule}.rate"), rate)?;
    config::at_least_one(&format!("{rule}.minimum_calls"), minimum_calls)
}

fn check_window(rule: &str, window: Duration, buckets: u32) -> Result<(), ConfigError> {
    config::at_least_one(&format!("{rule}.buckets"), buckets)?;
    if buckets > Trip::MOST_BUCKETS {
        return Err(ConfigError::new(format!("{rule}.buckets"), buckets.to_string(), "must be at most 1000"));
    }
    if window / buckets < Trip::SHORTEST_BUCKET {
        let value = format!("{window:?}");
        return Err(ConfigError::new(format!("{rule}.window"), value, "must give each bucket at least 1 ms"));
    }
    Ok(())
}
