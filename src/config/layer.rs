//! The settings of a layer, as they stand in a file.

use super::{
    Config,
    read::{FromTable, duration, from_table},
};
use crate::{
    failover::{BestScoreFirst, CheapestFirst, FailoverBuilder, Hedge, Order, Settings, WhenUnavailable},
    machine::config::ConfigError,
};
use serde::{
    Deserialize, Deserializer,
    de::{IntoDeserializer, value::Error as WordError},
};
use std::{sync::Arc, time::Duration};

/// In which order the models are asked: `"tiers"`, `"listed"`, `"cheapest_first"` or `"best_score_first"`. With a number
/// it is a table: `{ by = "cheapest_first", a_second_costs = 0.001 }` or `{ by = "best_score_first", margin = 0.1 }`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub enum OrderConfig {
    /// As they stand in the file, inside tiers. The default.
    #[default]
    Tiers,
    /// As they stand in the file, whatever their health: [`FailoverBuilder::in_listed_order`].
    Listed,
    /// [`CheapestFirst`].
    #[non_exhaustive]
    CheapestFirst {
        /// What a second of waiting is worth, in the currency of the models' cost. Default 0.
        a_second_costs: f64,
    },
    /// [`BestScoreFirst`].
    #[non_exhaustive]
    BestScoreFirst {
        /// By how much another model's score must be better, from 0 to 1. Default 0.05.
        margin: f64,
    },
}

impl OrderConfig {
    /// Whether there are tiers, and the order in their place.
    fn make(self) -> Result<(bool, Option<Arc<dyn Order>>), ConfigError> {
        let within = |error: ConfigError| error.within("order");
        Ok(match self {
            Self::Tiers => (true, None),
            Self::Listed => (false, None),
            Self::CheapestFirst { a_second_costs } => {
                (true, Some(Arc::new(CheapestFirst::new().a_second_costs(a_second_costs).map_err(within)?)))
            }
            Self::BestScoreFirst { margin } => {
                (true, Some(Arc::new(BestScoreFirst::new().margin(margin).map_err(within)?)))
            }
        })
    }
}

/// An order as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderTable {
    by: By,
    a_second_costs: Option<f64>,
    margin: Option<f64>,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum By {
    Tiers,
    Listed,
    CheapestFirst,
    BestScoreFirst,
}

impl FromTable for OrderConfig {
    type Table = OrderTable;
    const EXPECTED: &'static str = "the name of an order, or a table with its name as `by`";

    fn from_table(table: OrderTable) -> Result<Self, String> {
        let OrderTable { by, a_second_costs, margin } = table;
        if a_second_costs.is_some() && by != By::CheapestFirst {
            return Err("`a_second_costs` goes with `cheapest_first` only".to_owned());
        }
        if margin.is_some() && by != By::BestScoreFirst {
            return Err("`margin` goes with `best_score_first` only".to_owned());
        }
        let order = match by {
            By::Tiers => Self::Tiers,
            By::Listed => Self::Listed,
            By::CheapestFirst => Self::CheapestFirst { a_second_costs: a_second_costs.unwrap_or_default() },
            By::BestScoreFirst => Self::BestScoreFirst { margin: margin.unwrap_or(BestScoreFirst::MARGIN) },
        };
        order.make().map_err(|error| error.to_string())?;
        Ok(order)
    }

    fn from_word(word: &str) -> Result<Self, String> {
        let by = By::deserialize(word.into_deserializer()).map_err(|error: WordError| error.to_string())?;
        Self::from_table(OrderTable { by, a_second_costs: None, margin: None })
    }
}

impl<'de> Deserialize<'de> for OrderConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_table(deserializer)
    }
}

/// A wait as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitTable {
    wait: f64,
}

impl FromTable for WhenUnavailable {
    type Table = WaitTable;
    const EXPECTED: &'static str = "\"fail\", or a table with `wait`";

    fn from_table(table: WaitTable) -> Result<Self, String> {
        let wait = Self::Wait(table.wait);
        wait.check().map_err(|error| error.to_string())?;
        Ok(wait)
    }

    fn from_word(word: &str) -> Result<Self, String> {
        if word == "fail" { Ok(Self::Fail) } else { Err(format!("unknown word `{word}`, expected {}", Self::EXPECTED)) }
    }
}

impl<'de> Deserialize<'de> for WhenUnavailable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_table(deserializer)
    }
}

/// A hedge as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HedgeTable {
    #[serde(default, deserialize_with = "duration")]
    after: Option<Duration>,
    quantile: Option<f64>,
    #[serde(default, deserialize_with = "duration")]
    at_least: Option<Duration>,
}

impl FromTable for Hedge {
    type Table = HedgeTable;
    const EXPECTED: &'static str = "a table with either `after` or `quantile`";

    fn from_table(table: HedgeTable) -> Result<Self, String> {
        let hedge = match table {
            HedgeTable { after: Some(delay), quantile: None, at_least: None } => Self::after(delay),
            HedgeTable { after: Some(_), quantile: None, .. } => {
                return Err("`at_least` does not go with `after`".to_owned());
            }
            HedgeTable { after: None, quantile: Some(share), at_least } => {
                Self::quantile(share).at_least(at_least.unwrap_or_default())
            }
            _ => return Err(format!("expected {}", Self::EXPECTED)),
        };
        hedge.check().map_err(|error| error.to_string())?;
        Ok(hedge)
    }
}

impl<'de> Deserialize<'de> for Hedge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_table(deserializer)
    }
}

impl<A, K, R, F> FailoverBuilder<A, K, R, F> {
    /// Takes over what a [`Config`] says of the layer. What it leaves out stays as it is.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_failover::{Config, FailoverLayer};
    ///
    /// let config: Config = toml::from_str(
    ///     r#"
    ///     deadline = "1m 30s"
    ///     hedge = { quantile = 0.95, at_least = "200ms" }
    ///
    ///     [[providers]]
    ///     name = "nexa"
    ///
    ///     [[models]]
    ///     name = "sdxl"
    ///     provider = "nexa"
    ///     "#,
    /// )?;
    /// let layer = FailoverLayer::builder(config.models()?.build()?)
    ///     .max_attempts(2)
    ///     .configure(&config)?
    ///     .build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), and when a number of the order is out of its bounds.
    pub fn configure(mut self, config: &Config) -> Result<Self, ConfigError> {
        config.change(&mut self.settings)?;
        Ok(self)
    }
}

impl Config {
    /// Changes and checks the settings of a layer.
    pub(super) fn change(&self, settings: &mut Settings) -> Result<(), ConfigError> {
        settings.attempt_timeout = self.attempt_timeout.unwrap_or(settings.attempt_timeout);
        settings.deadline = self.deadline.unwrap_or(settings.deadline);
        settings.max_attempts = self.max_attempts.unwrap_or(settings.max_attempts);
        settings.replay = self.replay.unwrap_or(settings.replay);
        settings.all_failed = self.all_failed.unwrap_or(settings.all_failed);
        settings.when_unavailable = self.when_unavailable.unwrap_or(settings.when_unavailable);
        if let Some(order) = self.order {
            (settings.tiers, settings.order) = order.make()?;
        }
        settings.hedge = self.hedge.or(settings.hedge);
        if let Some(protect) = self.protect_probes {
            settings.protect_probes = protect.then(Hedge::of_probes);
        }
        settings.check()
    }
}
