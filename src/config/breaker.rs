//! Breakers and budgets, as they stand in a file.

use super::read::{self, FromTable, duration, from_table};
use crate::{
    Trip,
    machine::{breaker::BreakerConfig, budget::Budget, config::ConfigError},
};
use serde::{Deserialize, Deserializer, de};
use std::{fmt, time::Duration};

/// A breaker as it is written. What is left out has the crate's default.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BreakerTable {
    trip: Option<Vec<Trip>>,
    #[serde(default, deserialize_with = "duration")]
    open_wait: Option<Duration>,
    #[serde(default, deserialize_with = "duration")]
    longest_open_wait: Option<Duration>,
    jitter: Option<f64>,
    recovery: Option<Recovery>,
    probes: Option<u32>,
    close_after: Option<CloseAfter>,
    close_below: Option<CloseBelow>,
    #[serde(default, deserialize_with = "duration")]
    ramp: Option<Duration>,
}

/// When the open wait shrinks again.
enum Recovery {
    AtClose,
    Healthy(Duration),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `successes` and `probes`")]
struct CloseAfter {
    successes: u32,
    probes: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `failure_rate` and `probes`")]
struct CloseBelow {
    failure_rate: f64,
    probes: u32,
}

impl FromTable for BreakerConfig {
    type Table = BreakerTable;
    const EXPECTED: &'static str = "the table of a breaker";

    fn from_table(table: BreakerTable) -> Result<Self, String> {
        let mut breaker = Self::default();
        if let Some(rules) = table.trip {
            breaker = breaker.trip(rules);
        }
        let first = table.open_wait.unwrap_or(Self::OPEN_WAIT);
        let longest = table.longest_open_wait.unwrap_or(Self::LONGEST_OPEN_WAIT.max(first));
        breaker = breaker.open_wait(first, longest);
        if let Some(share) = table.jitter {
            breaker = breaker.jitter(share);
        }
        breaker = match table.recovery {
            Some(Recovery::AtClose) => breaker.recovery_at_close(),
            Some(Recovery::Healthy(period)) => breaker.recovery(period),
            None => breaker,
        };
        if let Some(concurrent) = table.probes {
            breaker = breaker.probes(concurrent);
        }
        breaker = match (table.close_after, table.close_below) {
            (Some(_), Some(_)) => return Err("`close_after` and `close_below` exclude each other".to_owned()),
            (Some(after), None) => breaker.close_after(after.successes, after.probes.unwrap_or(after.successes)),
            (None, Some(below)) => breaker.close_below(below.failure_rate, below.probes),
            (None, None) => breaker,
        };
        if let Some(length) = table.ramp {
            breaker = breaker.ramp(length);
        }
        breaker.check().map_err(|error| error.to_string())?;
        Ok(breaker)
    }
}

impl<'de> Deserialize<'de> for BreakerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_table(deserializer)
    }
}

impl<'de> Deserialize<'de> for Recovery {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Recovery;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"at_close\", or a duration with its unit, such as \"60s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Recovery, E> {
                match text {
                    "at_close" => Ok(Recovery::AtClose),
                    _ => read::parse_duration(text)
                        .map(Recovery::Healthy)
                        .map_err(|why| E::custom(format_args!("{why} (nor is it `at_close`)"))),
                }
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

/// A rule as it is written: one of the first four, and what goes with it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TripTable {
    consecutive: Option<u32>,
    failure_rate: Option<f64>,
    failure_rate_of_last: Option<f64>,
    slow_call_rate: Option<f64>,
    #[serde(default, deserialize_with = "duration")]
    spanning: Option<Duration>,
    calls: Option<u32>,
    #[serde(default, deserialize_with = "duration")]
    slower_than: Option<Duration>,
    minimum_calls: Option<u32>,
    #[serde(default, deserialize_with = "duration")]
    window: Option<Duration>,
    buckets: Option<u32>,
}

impl TripTable {
    /// That nothing is given that the rule would not look at.
    fn only(&self, rule: &str, fields: &[&str]) -> Result<(), String> {
        let given = [
            ("spanning", self.spanning.is_some()),
            ("calls", self.calls.is_some()),
            ("slower_than", self.slower_than.is_some()),
            ("minimum_calls", self.minimum_calls.is_some()),
            ("window", self.window.is_some()),
            ("buckets", self.buckets.is_some()),
        ];
        match given.into_iter().find(|(name, given)| *given && !fields.contains(name)) {
            Some((name, _)) => Err(format!("`{name}` does not go with `{rule}`")),
            None => Ok(()),
        }
    }

    fn minimum_calls(&self) -> u32 {
        self.minimum_calls.unwrap_or(Trip::MINIMUM_CALLS)
    }

    fn window(&self) -> Duration {
        self.window.unwrap_or(Trip::WINDOW)
    }

    fn buckets(&self) -> u32 {
        self.buckets.unwrap_or(Trip::BUCKETS)
    }
}

impl FromTable for Trip {
    type Table = TripTable;
    const EXPECTED: &'static str =
        "a rule with `consecutive`, `failure_rate`, `failure_rate_of_last` or `slow_call_rate`";

    fn from_table(table: TripTable) -> Result<Self, String> {
        let rule = match (table.consecutive, table.failure_rate, table.failure_rate_of_last, table.slow_call_rate) {
            (Some(failures), None, None, None) => {
                table.only("consecutive", &["spanning"])?;
                Self::consecutive(failures, table.spanning.unwrap_or_default())
            }
            (None, Some(rate), None, None) => {
                table.only("failure_rate", &["minimum_calls", "window", "buckets"])?;
                Self::failure_rate(rate, table.minimum_calls(), table.window()).buckets(table.buckets())
            }
            (None, None, Some(rate), None) => {
                table.only("failure_rate_of_last", &["calls", "minimum_calls"])?;
                let calls = table.calls.ok_or("`failure_rate_of_last` needs `calls`")?;
                Self::failure_rate_of_last(rate, calls).minimum_calls(table.minimum_calls.unwrap_or(calls))
            }
            (None, None, None, Some(rate)) => {
                table.only("slow_call_rate", &["slower_than", "minimum_calls", "window", "buckets"])?;
                let slower_than = table.slower_than.ok_or("`slow_call_rate` needs `slower_than`")?;
                Self::slow_call_rate(rate, slower_than, table.minimum_calls(), table.window()).buckets(table.buckets())
            }
            (None, None, None, None) => return Err(format!("expected {}", Self::EXPECTED)),
            _ => return Err(format!("expected one rule, not several: {}", Self::EXPECTED)),
        };
        rule.check().map_err(|error| as_written(&error))?;
        Ok(rule)
    }
}

/// The crate calls a field `trip.failure_rate.rate` that a file calls `failure_rate`.
fn as_written(error: &ConfigError) -> String {
    let mut names = error.field().rsplit('.');
    let name = match (names.next(), names.next()) {
        (Some("rate" | "failures"), Some(rule)) => rule,
        (name, _) => name.unwrap_or_default(),
    };
    format!("{name} is `{}`: {}", error.value(), error.problem())
}

impl<'de> Deserialize<'de> for Trip {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_table(deserializer)
    }
}

/// A budget as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BudgetTable {
    share_of_calls: Option<f64>,
    per_second: Option<f64>,
    burst: Option<f64>,
}

impl FromTable for Budget {
    type Table = BudgetTable;
    const EXPECTED: &'static str = "the table of a budget";

    fn from_table(table: BudgetTable) -> Result<Self, String> {
        let budget = Self::default()
            .share_of_calls(table.share_of_calls.unwrap_or(Self::SHARE_OF_CALLS))
            .per_second(table.per_second.unwrap_or(Self::PER_SECOND))
            .burst(table.burst.unwrap_or(Self::BURST));
        budget.check().map_err(|error| error.to_string())?;
        Ok(budget)
    }
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_table(deserializer)
    }
}
