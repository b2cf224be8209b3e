//! From a description to a registry that cannot be wrong.

use super::{
    Models, Registry,
    live::{LiveModel, LiveProvider},
};
use crate::{
    lane::Striped,
    machine::{config::ConfigError, rng::Rng},
    model::{Model, Provider},
};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};
use tokio::time::Instant;

/// Describes a registry; see [`Models::builder`].
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct ModelsBuilder {
    providers: Vec<Provider>,
    models: Vec<Model>,
    seed: Option<u64>,
}

impl ModelsBuilder {
    pub(super) fn new() -> Self {
        Self::default()
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
        if self.models.is_empty() {
            return Err(ConfigError::new("models", "[]", "must name at least one model"));
        }
        let provider_names = names("providers", self.providers.iter().map(Provider::name))?;
        let names = names("models", self.models.iter().map(Model::name))?;
        self.providers.iter().try_for_each(Provider::check)?;
        self.models.iter().try_for_each(Model::check)?;

        let mut seeds = Rng::new(self.seed.unwrap_or_else(|| RandomState::new().hash_one(self.models.len())));
        let mut members = vec![Vec::new(); self.providers.len()];
        let mut models = Vec::with_capacity(self.models.len());
        for (index, model) in self.models.into_iter().enumerate() {
            let Some(provider) = provider_names.get(model.provider()).copied() else {
                let error =
                    ConfigError::new("provider", model.provider(), "must be the name of a provider that was added");
                return Err(error.within(format_args!("model `{}`", model.name())));
            };
            members[provider].push(index);
            models.push(LiveModel::new(model, provider, seeds.next_u64()));
        }
        let providers = self.providers.into_iter().zip(members);
        let providers =
            providers.map(|(provider, models)| LiveProvider::new(provider, models, seeds.next_u64())).collect();
        let registry = Registry { epoch: Instant::now(), models: models.into(), providers, names };
        Ok(Models { registry: Striped::new(registry) })
    }
}

fn names<'a>(field: &str, all: impl Iterator<Item = &'a str>) -> Result<HashMap<Box<str>, usize>, ConfigError> {
    let mut names = HashMap::new();
    for (index, name) in all.enumerate() {
        if names.insert(Box::from(name), index).is_some() {
            return Err(ConfigError::new(field, name, "must be there only once"));
        }
    }
    Ok(names)
}
