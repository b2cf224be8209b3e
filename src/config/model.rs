//! A model, as it stands in a file.

use super::read::duration;
use crate::{machine::breaker::BreakerConfig, model::Model};
use serde::Deserialize;
use std::time::Duration;

#[cfg(feature = "http")]
use serde::{Deserializer, de::Error};
#[cfg(feature = "http")]
use serde_json::Value;
#[cfg(feature = "http")]
use std::collections::BTreeMap;

/// A table of `[[models]]`: a [`Model`]. They are asked in the order in which they stand.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelConfig {
    /// Its name, unique among the models.
    pub name: String,
    /// The name of its provider.
    pub provider: String,
    /// What its provider calls it. Default: its own name.
    pub upstream_name: Option<String>,
    /// What one executed call costs, in a currency of your choice, at least 0. Default 0.
    #[serde(default)]
    pub cost: f64,
    /// How long one attempt may take to the response's head, more than zero. Default: [`Config::attempt_timeout`].
    ///
    /// [`Config::attempt_timeout`]: super::Config::attempt_timeout
    #[serde(default, deserialize_with = "duration")]
    pub attempt_timeout: Option<Duration>,
    /// How many calls to it may be under way at once, at least 1. Default: any number.
    pub max_in_flight: Option<u32>,
    /// Whether latency counts in its health score. Default: no. See [`Model::latency_counts`].
    #[serde(default)]
    pub latency_counts: bool,
    /// Fields that a JSON body gets when it is aimed at this model, of any kind that JSON has. Default: none. See
    /// [`Model::field`].
    #[cfg(feature = "http")]
    #[serde(default, deserialize_with = "fields")]
    pub fields: BTreeMap<String, Value>,
    /// Its circuit breaker. Default: [`ModelDefaults::breaker`], of which nothing is left where this is given.
    pub breaker: Option<BreakerConfig>,
}

/// The table `[model_defaults]`: what all models have that say nothing else.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelDefaults {
    /// The circuit breaker of every model that has none of its own. Default: [`BreakerConfig::default`].
    pub breaker: Option<BreakerConfig>,
}

impl ModelConfig {
    pub(super) fn model(&self, defaults: &ModelDefaults) -> Model {
        let mut model = Model::new(&*self.name, &*self.provider).cost(self.cost);
        if let Some(name) = &self.upstream_name {
            model = model.upstream_name(&**name);
        }
        if let Some(timeout) = self.attempt_timeout {
            model = model.attempt_timeout(timeout);
        }
        if let Some(calls) = self.max_in_flight {
            model = model.max_in_flight(calls);
        }
        if self.latency_counts {
            model = model.latency_counts();
        }
        if let Some(breaker) = self.breaker.as_ref().or(defaults.breaker.as_ref()) {
            model = model.breaker(breaker.clone());
        }
        #[cfg(feature = "http")]
        for (name, value) in &self.fields {
            model = model.field(&**name, value.clone());
        }
        model
    }
}

/// A date of TOML comes as a table of this one name.
#[cfg(feature = "http")]
const DATE: &str = "$__toml_private_datetime";

#[cfg(feature = "http")]
fn fields<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Value>, D::Error> {
    let fields = BTreeMap::<String, Value>::deserialize(deserializer)?;
    match fields.iter().find(|(_, value)| has_date(value)) {
        Some((name, _)) => Err(D::Error::custom(format_args!("`{name}` has a date, which JSON has only as a string"))),
        None => Ok(fields),
    }
}

#[cfg(feature = "http")]
fn has_date(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.contains_key(DATE) || fields.values().any(has_date),
        Value::Array(values) => values.iter().any(has_date),
        _ => false,
    }
}
