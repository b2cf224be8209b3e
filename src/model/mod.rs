//! What can be asked: [`Model`], and the [`Provider`] that several of them share.

#[cfg(feature = "http")]
mod credential;
mod provider;

#[cfg(feature = "http")]
pub use credential::Credential;
pub use provider::Provider;
#[cfg(all(feature = "http", feature = "serde"))]
pub(crate) use provider::check_base_url;

use crate::machine::{
    breaker::BreakerConfig,
    config::{self, ConfigError},
};
use std::{sync::Arc, time::Duration};

/// What is asked for and can fail on its own: an AI model, a deployment, a region.
///
/// ```
/// use std::time::Duration;
/// use tower_failover::{BreakerConfig, Model, Trip};
///
/// let plain = Model::new("flux-schnell", "nexa");
/// let tuned = Model::new("azure-gpt-image", "azure")
///     .upstream_name("gpt-image-1")
///     .cost(0.04)
///     .attempt_timeout(Duration::from_secs(60))
///     .breaker(BreakerConfig::default().trip([Trip::consecutive(3, Duration::ZERO)]));
/// assert_eq!(tuned.get_upstream_name(), "gpt-image-1");
/// assert_eq!(plain.get_upstream_name(), "flux-schnell");
/// ```
#[derive(Debug, Clone)]
pub struct Model {
    name: Arc<str>,
    provider: Box<str>,
    upstream_name: Option<Box<str>>,
    cost: f64,
    attempt_timeout: Option<Duration>,
    max_in_flight: Option<u32>,
    latency_counts: bool,
    breaker: Arc<BreakerConfig>,
    #[cfg(feature = "http")]
    fields: Vec<(Box<str>, Box<str>)>,
}

impl Model {
    /// A model of this name, unique in its registry, on the provider of that name.
    pub fn new(name: impl Into<String>, provider: impl Into<String>) -> Self {
        Self {
            name: name.into().into(),
            provider: provider.into().into(),
            upstream_name: None,
            cost: 0.0,
            attempt_timeout: None,
            max_in_flight: None,
            latency_counts: false,
            breaker: Arc::default(),
            #[cfg(feature = "http")]
            fields: Vec::new(),
        }
    }

    /// What its provider calls it, where that differs. Default: its own name.
    pub fn upstream_name(mut self, name: impl Into<String>) -> Self {
        self.upstream_name = Some(name.into().into());
        self
    }

    /// What one executed call costs, in a currency of your choice. Default 0.
    pub fn cost(mut self, cost: f64) -> Self {
        self.cost = cost;
        self
    }

    /// How long one attempt may take to the response's head. Default: the layer's, which is 120 s.
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// How many calls to it may be under way at once, bodies that are watched included. Above that it is skipped, which is
    /// nobody's fault. Default: any number.
    pub fn max_in_flight(mut self, calls: u32) -> Self {
        self.max_in_flight = Some(calls);
        self
    }

    /// Lets latency count in its health score, so that a model which becomes slow comes after the others, although it never
    /// fails. Default: it does not count.
    ///
    /// The score, which is how likely its next call is to succeed, is then multiplied by
    /// `clamp(2 · L_long / L_short, 0.5, 1)`. `L_long` and `L_short` are averages of what its successes take to their first
    /// byte, over [300 s](crate::defaults::LATENCY_LONG) and over [10 s](crate::defaults::LATENCY_SHORT). Where the first
    /// byte is not known, as the body is neither watched nor read ahead, it is the time to the head. Calls that fail, time
    /// out, lose a hedge or are dropped say nothing here.
    ///
    /// - Up to twice as slow changes nothing. More than three times as slow makes it [degraded](crate::Tier::Degraded): ten
    ///   times after 3 s of slow answers, four times after 11 s. (That is for answers which come as often as before. Of a few
    ///   callers who wait for one before they ask again they do not, and ten times takes a quarter of a minute.)
    /// - What is usual has to be known first: nothing counts before
    ///   [20](crate::defaults::LATENCY_KNOWN_AFTER) successes, and in the first minute slow is easily taken for usual.
    /// - One that is fast again is healthy within about a minute, by the few requests that a degraded model still sees.
    /// - `L_long` stands still while the factor is below 1, so that slow does not become normal. One that stays slow stays
    ///   degraded, until [`Command::Reset`](crate::Command::Reset) makes normal what is so now. But one that no request
    ///   reaches any more is taken for healthy after a minute and a half, until its next slow answer.
    ///
    /// ```
    /// use tower_failover::{Model, Models, Provider};
    ///
    /// let models = Models::builder()
    ///     .provider(Provider::new("nexa"))
    ///     .model(Model::new("flux-schnell", "nexa").latency_counts())
    ///     .build()?;
    /// assert_eq!(models.snapshot().model("flux-schnell").unwrap().latency_factor, 1.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn latency_counts(mut self) -> Self {
        self.latency_counts = true;
        self
    }

    /// Its circuit breaker. Default: [`BreakerConfig::default`].
    pub fn breaker(mut self, config: BreakerConfig) -> Self {
        self.breaker = Arc::new(config);
        self
    }

    /// A field that a JSON body gets when [`HttpAim::json_field`](crate::HttpAim::json_field) aims it at this model:
    /// replaced where the body has it, else added.
    /// Of several values for one field the last counts.
    ///
    /// ```
    /// use tower_failover::Model;
    ///
    /// let model = Model::new("dall-e-3", "openai").field("quality", "hd").field("n", 1);
    /// ```
    #[cfg(feature = "http")]
    pub fn field(mut self, name: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        let name = name.into();
        self.fields.retain(|(other, _)| **other != *name);
        self.fields.push((name.into(), value.into().to_string().into()));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its provider.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// What its provider calls it.
    pub fn get_upstream_name(&self) -> &str {
        self.upstream_name.as_deref().unwrap_or(&self.name)
    }

    /// What one executed call costs.
    pub fn get_cost(&self) -> f64 {
        self.cost
    }

    /// Its own attempt timeout, if it has one.
    pub fn get_attempt_timeout(&self) -> Option<Duration> {
        self.attempt_timeout
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Whether it has this name, which is most often the very same one.
    #[inline]
    pub(crate) fn has_name(&self, name: &Arc<str>) -> bool {
        Arc::ptr_eq(&self.name, name) || self.name == *name
    }

    pub(crate) fn get_breaker(&self) -> &Arc<BreakerConfig> {
        &self.breaker
    }

    pub(crate) fn get_max_in_flight(&self) -> Option<u32> {
        self.max_in_flight
    }

    pub(crate) fn get_latency_counts(&self) -> bool {
        self.latency_counts
    }

    /// Its fields, with their values as JSON text.
    #[cfg(feature = "http")]
    pub fn fields(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (&**name, &**value))
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let owner = format_args!("model `{}`", self.name).to_string();
        let check = || {
            not_empty("name", &self.name)?;
            if let Some(name) = &self.upstream_name {
                not_empty("upstream_name", name)?;
            }
            config::finite("cost", self.cost)?;
            if let Some(timeout) = self.attempt_timeout {
                config::positive("attempt_timeout", timeout)?;
            }
            if let Some(calls) = self.max_in_flight {
                config::at_least_one("max_in_flight", calls)?;
            }
            self.breaker.check().map_err(|error| error.within("breaker"))
        };
        check().map_err(|error| error.within(owner))
    }
}

fn not_empty(field: &str, value: &str) -> Result<(), ConfigError> {
    if value.is_empty() {
        return Err(ConfigError::new(field, "", "must not be empty"));
    }
    Ok(())
}
