//! The retry budget: a token bucket that calls fill and paid failovers empty.
//!
//! What calls earn is worked out from their count when a token is asked for, so that an ordinary
//! call writes nothing but the counter that it has anyway.

use super::{Nanos, config};
use crate::machine::config::ConfigError;

/// What failovers to a provider may cost it: a share of its calls, and a floor for quiet times.
///
/// Free are a request's first failover and its first attempt at each provider; every other failover
/// takes one token. Default: 20 % of calls and 3 a second, at most 30 saved up.
///
/// ```
/// use tower_failover::{Budget, Provider};
///
/// let provider = Provider::new("nexa").budget(Budget::default().share_of_calls(0.1).per_second(1.0));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Budget {
    share_of_calls: f64,
    per_second: f64,
    burst: f64,
}

impl Budget {
    /// The share of calls that may be paid failovers: 0.2.
    pub const SHARE_OF_CALLS: f64 = 0.2;
    /// Tokens that come by themselves, a second: 3.
    pub const PER_SECOND: f64 = 3.0;
    /// The most tokens saved up, and what a new bucket holds: 30.
    pub const BURST: f64 = 30.0;

    /// The share of calls that may be paid failovers. Default 0.2.
    pub fn share_of_calls(mut self, share: f64) -> Self {
        self.share_of_calls = share;
        self
    }

    /// How many tokens come by themselves, a second. Default 3.
    pub fn per_second(mut self, tokens: f64) -> Self {
        self.per_second = tokens;
        self
    }

    /// The most tokens that are saved up, and what a new bucket holds. Default 30.
    pub fn burst(mut self, tokens: f64) -> Self {
        self.burst = tokens;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        config::share("budget.share_of_calls", self.share_of_calls)?;
        config::finite("budget.per_second", self.per_second)?;
        config::finite("budget.burst", self.burst)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self { share_of_calls: Self::SHARE_OF_CALLS, per_second: Self::PER_SECOND, burst: Self::BURST }
    }
}

#[derive(Debug)]
pub(crate) struct Bucket {
    budget: Budget,
    tokens: f64,
    calls: u64,
    at: Nanos,
    /// Whether the last withdrawal was refused.
    exhausted: bool,
}

/// What came of asking for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Withdrawal {
    Granted,
    /// There is none, as when the last one was asked for.
    Refused,
    /// There is none, for the first time since one was granted.
    Exhausted,
}

impl Bucket {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { tokens: budget.burst, budget, calls: 0, at: 0, exhausted: false }
    }

    /// Another budget from now on. What was saved up stays, as far as it allows.
    pub(crate) fn set(&mut self, budget: Budget) {
        self.tokens = self.tokens.min(budget.burst);
        self.budget = budget;
    }

    /// Takes one token, `calls` being all calls so far, if there is one.
    pub(crate) fn withdraw(&mut self, calls: u64, now: Nanos) -> Withdrawal {
        self.tokens = self.left(calls, now);
        self.calls = self.calls.max(calls);
        self.at = self.at.max(now);
        let was_exhausted = std::mem::replace(&mut self.exhausted, self.tokens < 1.0);
        match (self.exhausted, was_exhausted) {
            (false, _) => {
                self.tokens -= 1.0;
                Withdrawal::Granted
            }
            (true, false) => Withdrawal::Exhausted,
            (true, true) => Withdrawal::Refused,
        }
    }

    /// Gives back a token that was not used.
    pub(crate) fn refund(&mut self) {
        self.tokens = (self.tokens + 1.0).min(self.budget.burst);
    }

    /// The tokens that there would be now.
    pub(crate) fn left(&self, calls: u64, now: Nanos) -> f64 {
        let earned = calls.saturating_sub(self.calls) as f64 * self.budget.share_of_calls
            + now.saturating_sub(self.at) as f64 * 1e-9 * self.budget.per_second;
        (self.tokens + earned).min(self.budget.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::{Withdrawal::*, *};
    use proptest::prelude::*;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn calls_and_time_fill_it_and_withdrawals_empty_it() {
        let mut bucket = Bucket::new(Budget::default().burst(2.0));
        let asked = [(0, 0), (0, 0), (0, 0), (4, 0), (5, 0), (5, SECOND / 3 - 1), (5, SECOND / 3 + 1), (5, SECOND / 2)];
        let came = asked.map(|(calls, now)| bucket.withdraw(calls, now));
        assert_eq!(came, [Granted, Granted, Exhausted, Refused, Granted, Exhausted, Granted, Exhausted]);
    }

    #[test]
    fn one_that_never_has_a_token_is_exhausted_once() {
        let mut bucket = Bucket::new(Budget::default().burst(0.0));
        assert_eq!([0, 1, 2].map(|at| bucket.withdraw(at, at * SECOND)), [Exhausted, Refused, Refused]);
        bucket.set(Budget::default());
        assert_eq!([2, 3].map(|at| bucket.withdraw(0, at * SECOND)), [Refused, Granted]);
    }

    proptest! {
        #[test]
        fn never_more_than_the_share_the_floor_and_the_burst(
            steps in prop::collection::vec((0_u64..50, 0_u64..2 * SECOND), 1..300),
        ) {
            let mut bucket = Bucket::new(Budget::default());
            let (mut calls, mut now, mut taken) = (0, 0, 0_u64);
            for (more, later) in steps {
                calls += more;
                now += later;
                while bucket.withdraw(calls, now) == Granted {
                    taken += 1;
                }
                let most = 30.0 + calls as f64 * 0.2 + now as f64 * 3e-9;
                prop_assert!(taken as f64 <= most + 1e-6);
                prop_assert!(bucket.left(calls, now) >= 0.0);
            }
        }
    }
}
