//! From a description to a registry that cannot be wrong.

use super::{
    Family, Models,
    catalogue::{Catalogue, Seeds},
    keys::{Keys, MAX_KEYS},
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
        let seed = self.seed.unwrap_or_else(|| RandomState::new().hash_one(self.models.len()));
        let (catalogue, max_keys) = self.check()?;
        let (catalogue, seeds, epoch) = (Arc::new(catalogue), Arc::new(Seeds::new(seed)), Instant::now());
        let registry = Swap::new(catalogue.begin(None, epoch, stripe::count(), &seeds));
        let keys = Keys::new(catalogue, epoch, max_keys, Arc::clone(&seeds));
        Ok(Models { registry: registry.clone(), key: None, family: Arc::new(Family::new(registry, keys, seeds)) })
    }

    /// Everything that can be wrong is wrong here.
    pub(crate) fn check(self) -> Result<(Catalogue, usize), ConfigError> {
        if self.max_keys == 0 {
            return Err(ConfigError::new("max_keys", "0", "must be at least 1"));
        }
        Ok((Catalogue::new(self.models, self.providers)?, self.max_keys))
    }
}
