//! What a registry is made from: checked once, and shared by the registries of all keys.

use super::{
    Registry,
    live::{LiveModel, LiveProvider},
};
use crate::{
    machine::{config::ConfigError, rng::Rng},
    model::{Model, Provider},
};
use std::{collections::HashMap, sync::Arc};
use tokio::time::Instant;

/// Models and providers as they were described, each model with the number of its provider.
#[derive(Debug)]
pub(crate) struct Catalogue {
    models: Box<[(Arc<Model>, usize)]>,
    providers: Box<[Shared]>,
    names: HashMap<Box<str>, usize>,
}

/// A provider with the numbers of its models.
#[derive(Debug)]
struct Shared {
    provider: Arc<Provider>,
    models: Arc<[usize]>,
}

impl Catalogue {
    pub(super) fn new(models: Vec<Model>, providers: Vec<Provider>) -> Result<Self, ConfigError> {
        if models.is_empty() {
            return Err(ConfigError::new("models", "[]", "must name at least one model"));
        }
        let provider_names = unique("providers", providers.iter().map(Provider::name))?;
        let names = unique("models", models.iter().map(Model::name))?;
        providers.iter().try_for_each(Provider::check)?;
        models.iter().try_for_each(Model::check)?;

        let mut members = vec![Vec::new(); providers.len()];
        let mut placed = Vec::with_capacity(models.len());
        for (index, model) in models.into_iter().enumerate() {
            let Some(provider) = provider_names.get(model.provider()).copied() else {
                let error =
                    ConfigError::new("provider", model.provider(), "must be the name of a provider that was added");
                return Err(error.within(format_args!("model `{}`", model.name())));
            };
            members[provider].push(index);
            placed.push((Arc::new(model), provider));
        }
        let shared = |(provider, models)| Shared { provider: Arc::new(provider), models: Arc::from(models) };
        let providers = providers.into_iter().zip(members).map(shared).collect();
        Ok(Self { models: placed.into(), providers, names })
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Brings it to life, every breaker closed. `stripes` is a power of two.
    pub(super) fn begin(
        self: &Arc<Self>,
        key: Option<Box<str>>,
        epoch: Instant,
        stripes: usize,
        seed: u64,
    ) -> Registry {
        let mut seeds = Rng::new(seed);
        let live = |(model, provider): &(Arc<Model>, usize)| {
            LiveModel::new(Arc::clone(model), *provider, stripes, seeds.next_u64())
        };
        let models = self.models.iter().map(live).collect();
        let providers = self.providers.iter().map(|shared| {
            let (provider, models) = (Arc::clone(&shared.provider), Arc::clone(&shared.models));
            LiveProvider::new(provider, models, stripes, seeds.next_u64())
        });
        Registry { epoch, models, providers: providers.collect(), catalogue: Arc::clone(self), key }
    }
}

fn unique<'a>(field: &str, all: impl Iterator<Item = &'a str>) -> Result<HashMap<Box<str>, usize>, ConfigError> {
    let mut names = HashMap::new();
    for (index, name) in all.enumerate() {
        if names.insert(Box::from(name), index).is_some() {
            return Err(ConfigError::new(field, name, "must be there only once"));
        }
    }
    Ok(names)
}
