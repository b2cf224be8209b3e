//! From a description to a registry that cannot be wrong.

use super::{
    Models,
    catalogue::Catalogue,
    keys::{Keys, MAX_KEYS},
};
use crate::{
    lane::Striped,
    machine::{config::ConfigError, rng::Rng, stripe},
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
    seed: Option<u64>,
}

impl ModelsBuilder {
    pub(super) fn new() -> Self {
        Self { providers: Vec::new(), models: Vec::new(), max_keys: MAX_KEYS, seed: None }
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
    pub fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
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
        if self.max_keys == 0 {
            return Err(ConfigError::new("max_keys", "0", "must be at least 1"));
        }
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(self.models.len()));
        let catalogue = Arc::new(Catalogue::new(self.models, self.providers)?);
        let epoch = Instant::now();
        let registry = catalogue.begin(None, epoch, stripe::count(), seed);
        let keys = Keys::new(catalogue, epoch, self.max_keys, Rng::new(seed).next_u64());
        Ok(Models { registry: Striped::new(registry), keys: Arc::new(keys) })
    }
}
