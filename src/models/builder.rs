//! From a description to a registry that cannot be wrong.

use super::{
    Family, Models,
    catalogue::{Catalogue, Seeds},
    events::{Channel, EVENT_CAPACITY},
    keys::{Keys, MAX_KEYS},
    registry::Common,
};
use crate::{
    lane::Swap,
    machine::{config::ConfigError, stripe},
    model::{Model, Provider},
};
use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};
use tokio::time::Instant;

/// Describes a registry; see [`Models::builder`].
#[derive(Debug, Clone)]
#[must_use]
pub struct ModelsBuilder {
    providers: Vec<Provider>,
    models: Vec<Model>,
    max_keys: usize,
    event_capacity: usize,
    seed: Option<u64>,
}

/// More events than this are not kept: each takes its place from the first listener on.
const MOST_EVENTS: usize = 1 << 20;

impl ModelsBuilder {
    pub(super) fn new() -> Self {
        Self {
            providers: Vec::new(),
            models: Vec::new(),
            max_keys: MAX_KEYS,
            event_capacity: EVENT_CAPACITY,
            seed: None,
        }
    }

    /// Adds a provider.
    pub fn provider(mut self, provider: Provider) -> Self {
        self.providers.push(provider);
        self
    }

    /// Adds a model, to be asked after those added before.
    pub fn model(mut self, model: Model) -> Self {
        self.models.push(model);
        self
    }

    /// How many keys may have state of their own at once; see [`Models::for_key`]. Default: [`MAX_KEYS`], which is 10,000.
    ///
    /// One of a single model, with a short name and the default rules, takes at most 1 KiB while nothing goes wrong.
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
        self
    }

    /// How many events are kept for a listener that is slow, from 1 to 1,048,576, rounded up to a power of two; see
    /// [`Models::events`]. Each takes about 150 bytes, once somebody listens. Default: [`EVENT_CAPACITY`], which is 1,024.
    ///
    /// ```
    /// use tower_failover::{Models, Provider, Model};
    ///
    /// let builder = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa"));
    /// let models = builder.clone().event_capacity(64).build()?;
    /// assert_eq!(builder.event_capacity(0).build().unwrap_err().field(), "event_capacity");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn event_capacity(mut self, events: usize) -> Self {
        self.event_capacity = events;
        self
    }

    /// Seeds the jitter, so that a test can be repeated. Default: another seed each time.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Checks everything and brings the registry to life, every breaker closed.
    ///
    /// # Errors
    ///
    /// When there is no model; when a name is empty, is there twice, or is that of no provider; when a number is NaN,
    /// zero where it cannot be, or beyond its bounds. The error names the field and the value.
    pub fn build(self) -> Result<Models, ConfigError> {
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(self.models.len()));
        let events = Arc::new(Channel::new(self.event_capacity));
        let (catalogue, max_keys) = self.check()?;
        let (catalogue, seeds) = (Arc::new(catalogue), Arc::new(Seeds::new(seed)));
        let common = Arc::new(Common { epoch: Instant::now(), events });
        let registry = Swap::new(catalogue.begin(None, stripe::count(), &seeds, &common));
        let keys = Keys::new(catalogue, max_keys, Arc::clone(&seeds), Arc::clone(&common));
        let family = Arc::new(Family::new(registry.clone(), keys, seeds, common));
        Ok(Models { registry, key: None, family })
    }

    /// Everything that can be wrong is wrong here.
    pub(crate) fn check(self) -> Result<(Catalogue, usize), ConfigError> {
        if self.max_keys == 0 {
            return Err(ConfigError::new("max_keys", "0", "must be at least 1"));
        }
        if self.event_capacity == 0 || self.event_capacity > MOST_EVENTS {
            let value = self.event_capacity.to_string();
            return Err(ConfigError::new("event_capacity", value, "must lie between 1 and 1,048,576"));
        }
        Ok((Catalogue::new(self.models, self.providers)?, self.max_keys))
    }
}
