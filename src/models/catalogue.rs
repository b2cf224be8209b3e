//! What a registry is made from: checked once, and shared by the registries of all keys.

use super::{
    live::{LiveModel, LiveProvider},
    registry::{Common, Registry},
};
use crate::{
    lane::Swap,
    machine::{config::ConfigError, rng::Rng},
    metrics::Meters,
    model::{Model, Provider},
    sync::{Mutex, lock},
};
use std::{collections::HashMap, sync::Arc};

/// Models and providers as they were described, each model with the number of its provider.
#[derive(Debug)]
pub(crate) struct Catalogue {
    models: Box<[(Arc<Model>, usize)]>,
    providers: Box<[Shared]>,
    names: HashMap<Box<str>, usize>,
    meters: Meters,
}

/// A provider with the numbers of its models.
#[derive(Debug)]
struct Shared {
    provider: Arc<Provider>,
    models: Box<[usize]>,
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
        let shared = |(provider, models)| Shared { provider: Arc::new(provider), models: Box::from(models) };
        let providers: Box<[Shared]> = providers.into_iter().zip(members).map(shared).collect();
        let of_providers = providers.iter().map(|shared| shared.provider.name());
        let meters = Meters::new(placed.iter().map(|(model, _)| &**model), of_providers);
        Ok(Self { models: placed.into(), providers, names, meters })
    }

    /// Counts on where another one does.
    pub(super) fn follow(mut self, before: &Self) -> Self {
        self.meters.follow(&before.meters);
        self
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// The models of a provider, by their place in the registry.
    pub(super) fn models_of(&self, provider: usize) -> &[usize] {
        &self.providers[provider].models
    }

    pub(super) fn find(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    /// Brings it to life, every breaker closed. `stripes` is all that there are, or 1.
    pub(super) fn begin(
        self: &Arc<Self>,
        key: Option<Arc<str>>,
        stripes: usize,
        seeds: &Seeds,
        common: &Arc<Common>,
    ) -> Registry {
        let models = self.models.iter();
        let models = models
            .map(|(model, provider)| LiveModel::new(Arc::clone(model), *provider, stripes, seeds.next(key.is_some())));
        let models = models.collect();
        let providers = self.providers.iter();
        let providers = providers.map(|shared| shared.begin(stripes, seeds.next(key.is_some()))).collect();
        Registry { models, providers, catalogue: Arc::clone(self), key, common: Arc::clone(common) }
    }

    /// Puts a registry of this catalogue in the place of another. Models and providers that are in both keep their state.
    pub(super) fn succeed(self: &Arc<Self>, place: &Swap<Registry>, seeds: &Seeds) {
        let (before, stripes) = (place.local(), place.stripes());
        let of_key = before.key.is_some();
        let models = self.models.iter().map(|(model, provider)| match before.find(model.name()) {
            Some(index) => before.models[index].succeeded_by(Arc::clone(model), *provider),
            None => LiveModel::new(Arc::clone(model), *provider, stripes, seeds.next(of_key)),
        });
        let models = models.collect();
        let providers = self.providers.iter().map(|shared| match before.find_provider(shared.provider.name()) {
            Ok(index) => before.providers[index].succeeded_by(Arc::clone(&shared.provider), shared.models.len()),
            Err(_) => shared.begin(stripes, seeds.next(of_key)),
        });
        let providers = providers.collect();
        let (key, common) = (before.key.clone(), Arc::clone(&before.common));
        place.set(Registry { models, providers, catalogue: Arc::clone(self), key, common });
    }
}

impl Shared {
    fn begin(&self, stripes: usize, seed: Seed) -> LiveProvider {
        LiveProvider::new(Arc::clone(&self.provider), self.models.len(), stripes, seed)
    }
}

/// Gives everything that comes to life its randomness and, within one family of registries, a number of its own.
#[derive(Debug)]
pub(super) struct Seeds(Mutex<(usize, Rng)>);

/// What one model or provider has of [`Seeds`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed {
    pub(super) number: usize,
    pub(super) seed: u64,
    pub(super) of_key: bool,
}

impl Seeds {
    pub(super) fn new(seed: u64) -> Self {
        Self(Mutex::new((0, Rng::new(seed))))
    }

    fn next(&self, of_key: bool) -> Seed {
        let mut next = lock(&self.0);
        next.0 += 1;
        Seed { number: next.0, seed: next.1.next_u64(), of_key }
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
