//! The whole of a file.

use super::{ModelConfig, ModelDefaults, OrderConfig, ProviderConfig, read::duration};
use crate::{
    failover::{AllFailed, Hedge, Replay, Settings, WhenUnavailable},
    machine::config::ConfigError,
    models::{Models, ModelsBuilder},
};
use serde::Deserialize;
use std::time::Duration;

/// Models, providers and the settings of a layer, as they stand in a file; see the [module](super).
///
/// Made by deserializing, and open to changes from code, such as the base URL of a test's server:
/// [`models`](Self::models) and [`FailoverBuilder::configure`](crate::FailoverBuilder::configure) check it anew.
///
/// ```
/// use tower_failover::Config;
///
/// let config: Config = serde_json::from_str(
///     r#"{ "providers": [{ "name": "nexa" }], "models": [{ "name": "sdxl", "provider": "nexa" }] }"#,
/// )?;
/// let models = config.models()?.build()?;
/// assert_eq!(models.get("sdxl").unwrap().provider(), "nexa");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// How long one attempt may take to the response's head, more than zero. Default 120 s. A model may have its own.
    #[serde(deserialize_with = "duration")]
    pub attempt_timeout: Option<Duration>,
    /// How long everything together may take to the response's head, more than zero. Default 300 s.
    #[serde(deserialize_with = "duration")]
    pub deadline: Option<Duration>,
    /// How many models are asked for one request at most, at least 1. Default 3.
    pub max_attempts: Option<u32>,
    /// After which results another model is asked: `"maybe"`, the default, or `"not_executed"`.
    pub replay: Option<Replay>,
    /// What the caller gets when every model that was asked failed: `"last_response"`, the default, or `"error"`.
    pub all_failed: Option<AllFailed>,
    /// What to do when nobody can be asked: `"fail"`, the default, or `{ wait = 0.2 }`, the share of the time from the
    /// beginning of the request to its deadline, above 0 and at most 1.
    pub when_unavailable: Option<WhenUnavailable>,
    /// In which order the models are asked. Default `"tiers"`.
    pub order: Option<OrderConfig>,
    /// When the next model is asked beside one that is slow to answer: `{ after = "2s" }`, or
    /// `{ quantile = 0.95, at_least = "100ms" }` with a share in (0, 1). Default: never.
    pub hedge: Option<Hedge>,
    /// Whether the request that carries a probe is hedged. Default: it is.
    pub protect_probes: Option<bool>,
    /// How many keys may have state of their own at once, at least 1. Default 10,000. See [`Models::for_key`].
    pub max_keys: Option<usize>,
    /// What all models have that say nothing else.
    pub model_defaults: ModelDefaults,
    /// The providers, in any order.
    pub providers: Vec<ProviderConfig>,
    /// The models, in the order in which they are asked. At least one.
    pub models: Vec<ModelConfig>,
}

impl Config {
    /// Describes the registry, with the credentials of the process's environment. Everything is checked, the settings
    /// of the layer included: what comes back can be built.
    ///
    /// # Errors
    ///
    /// When an environment variable is not set, is empty or cannot be a header's value; the error names the provider,
    /// the field and the variable. Else as [`ModelsBuilder::build`] and
    /// [`FailoverBuilder::build`](crate::FailoverBuilder::build).
    pub fn models(&self) -> Result<ModelsBuilder, ConfigError> {
        self.models_with(|name| std::env::var(name).ok())
    }

    /// The same with credentials from somewhere else: the closure is given what a file has as the name of an
    /// environment variable. One that knows any name checks a file where the credentials are not at hand.
    ///
    /// ```
    /// use tower_failover::Config;
    ///
    /// let config: Config = toml::from_str(
    ///     r#"
    ///     providers = [{ name = "nexa", credential = { bearer_env = "NEXA_KEY" } }]
    ///     models = [{ name = "sdxl", provider = "nexa" }]
    ///     "#,
    /// )?;
    /// assert!(config.models_with(|_| Some("any".to_owned())).is_ok());
    ///
    /// let error = config.models_with(|_| None).unwrap_err();
    /// assert_eq!(error.field(), "provider `nexa`: credential.bearer_env");
    /// assert_eq!(error.value(), "NEXA_KEY");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`models`](Self::models).
    pub fn models_with(&self, mut variable: impl FnMut(&str) -> Option<String>) -> Result<ModelsBuilder, ConfigError> {
        self.change(&mut Settings::default())?;
        let mut builder = Models::builder();
        if let Some(keys) = self.max_keys {
            builder = builder.max_keys(keys);
        }
        for provider in &self.providers {
            builder = builder.provider(provider.provider(&mut variable)?);
        }
        for model in &self.models {
            builder = builder.model(model.model(&self.model_defaults));
        }
        builder.clone().check()?;
        Ok(builder)
    }
}
