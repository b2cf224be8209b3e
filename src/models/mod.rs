//! The registry: every model and provider with all its live state.

mod builder;
mod catalogue;
mod changes;
mod events;
mod family;
mod gauges;
mod history;
mod keys;
mod live;
mod registry;
mod snapshot;

pub use builder::ModelsBuilder;
pub use events::{EVENT_CAPACITY, Event, EventKind, Events, Missed, Operation};
pub use history::{History, Past, RECENT_ERRORS, RecentError};
pub use keys::{KEY_FORGOTTEN, KEY_IDLE, MAX_KEYS};
pub use live::{
    LAST_RESORT_EVERY, SUSPECT_CALLS, SUSPECT_FLOOR, SUSPECT_MULTIPLE, SUSPECT_SUCCESSES, UNAUTHORIZED_IN_A_ROW,
};
pub(crate) use live::{LiveModel, LiveProvider};
pub(crate) use registry::Registry;
pub use snapshot::{BreakerSnapshot, ModelSnapshot, ProviderSnapshot, SlowCallsSnapshot, Snapshot, WindowSnapshot};

use crate::{
    lane::{Kept, Lane, Seen, Swap},
    machine::{Nanos, breaker::Command, config::ConfigError},
    model::Model,
};
use changes::Who;
use family::Family;
use std::{fmt, sync::Arc, time::Duration};

/// The ordered models and their live state: what every layer shares, and what an operator reads and commands.
///
/// Cheap to clone; all clones are one registry.
///
/// ```
/// use tower_failover::{Command, Model, Models, Provider, State};
///
/// let models = Models::builder()
///     .provider(Provider::new("nexa"))
///     .model(Model::new("flux-schnell", "nexa"))
///     .model(Model::new("sdxl", "nexa"))
///     .build()?;
///
/// models.command("sdxl", Command::ForceOpen)?;
/// assert_eq!(models.snapshot().model("sdxl").unwrap().breaker.state, State::ForcedOpen);
/// models.command("sdxl", Command::Reset)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Models {
    registry: Swap<Registry>,
    key: Option<Arc<str>>,
    family: Arc<Family>,
}

/// A model by its name, and the number that it had when it was looked up first.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    name: Arc<str>,
    index: usize,
}

impl Named {
    pub(crate) fn find(models: &Models, name: &str) -> Result<Self, UnknownName> {
        let registry = models.local();
        let index = registry.find(name).ok_or_else(|| UnknownName::model(name))?;
        Ok(Self { name: registry.models[index].model.shared_name(), index })
    }

    /// Its number in this registry, if it is there still.
    #[inline]
    pub(crate) fn index(&self, registry: &Registry) -> Option<usize> {
        let still = registry.models.get(self.index).is_some_and(|live| live.model.has_name(&self.name));
        if still { Some(self.index) } else { registry.find(&self.name) }
    }

    /// That it is there no longer.
    #[cold]
    pub(crate) fn unknown(&self) -> UnknownName {
        UnknownName::model(&self.name)
    }
}

/// No model, or no provider, has this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName {
    kind: &'static str,
    name: String,
}

impl UnknownName {
    pub(crate) fn model(name: &str) -> Self {
        Self { kind: "model", name: name.to_owned() }
    }

    fn provider(name: &str) -> Self {
        Self { kind: "provider", name: name.to_owned() }
    }

    /// The name that nobody has.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no {} is called `{}`", self.kind, self.name)
    }
}

impl std::error::Error for UnknownName {}

impl Models {
    /// Describes a registry.
    pub fn builder() -> ModelsBuilder {
        ModelsBuilder::new()
    }

    /// The configured models, in the caller's order.
    pub fn iter(&self) -> impl Iterator<Item = Arc<Model>> {
        let registry = self.local();
        (0..registry.models.len()).map(move |index| Arc::clone(&registry.models[index].model))
    }

    /// The configuration of one model.
    pub fn get(&self, name: &str) -> Option<Arc<Model>> {
        let registry = self.local();
        registry.find(name).map(|index| Arc::clone(&registry.models[index].model))
    }

    /// Everything there is to see, now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::take(&self.local())
    }

    /// What was, of every model and provider: the last minutes, and the last errors. Of a key only since its first failure.
    pub fn history(&self) -> History {
        History::take(&self.local())
    }

    /// Both as of one moment.
    #[cfg(feature = "status")]
    pub(crate) fn status(&self) -> (Snapshot, History) {
        let registry = self.local();
        (Snapshot::take(&registry), History::take(&registry))
    }

    /// What happens from now on: transitions of breakers, changes of tier, cooldowns, exhausted budgets, commands; of this
    /// registry and of all keys, whichever of them is asked. For any number of listeners, none of whom slows a request.
    ///
    /// ```
    /// use tower_failover::{Command, Model, Models, Provider};
    ///
    /// let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build()?;
    /// let mut events = models.events();
    /// models.for_key("tenant-7").command("sdxl", Command::Disable)?;
    ///
    /// let event = events.try_recv().expect("one")?;
    /// assert_eq!((event.key.as_deref(), event.model()), (Some("tenant-7"), Some("sdxl")));
    /// assert_eq!(event.kind.to_string(), "command: disable");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn events(&self) -> Events {
        self.family.common.events.listen()
    }

    /// Goes on with another configuration while requests run: other models, another order, other costs, timeouts, bounds,
    /// budgets, breakers, URLs and credentials, for all keys as well.
    ///
    /// Models and providers that are in both, by name, keep their state: breakers, scores, cooldowns, tokens, calls under
    /// way. One whose breaker is configured in another way stays open, forced or closed as it was, and counts anew. Requests
    /// that have begun end as they would have, and may still be sent to a model that is gone; once this has returned, no
    /// request that begins is. What a layer was told, such as its deadline, is not in here.
    ///
    /// ```
    /// use tower_failover::{Command, Model, Models, Provider, State};
    ///
    /// let nexa = || Models::builder().provider(Provider::new("nexa"));
    /// let models = nexa().model(Model::new("sdxl", "nexa")).build()?;
    /// models.command("sdxl", Command::ForceOpen)?;
    ///
    /// models.apply(nexa().model(Model::new("flux-dev", "nexa")).model(Model::new("sdxl", "nexa").cost(0.01)))?;
    /// assert_eq!(models.iter().map(|model| model.name().to_owned()).collect::<Vec<_>>(), ["flux-dev", "sdxl"]);
    /// assert_eq!(models.snapshot().model("sdxl").unwrap().breaker.state, State::ForcedOpen);
    ///
    /// assert!(models.apply(nexa()).is_err(), "no model at all");
    /// assert_eq!(models.iter().count(), 2, "and nothing has changed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ModelsBuilder::build`]; then nothing has changed. A [`seed`](ModelsBuilder::seed) is not looked at, and the
    /// [`event_capacity`](ModelsBuilder::event_capacity) stays.
    pub fn apply(&self, builder: ModelsBuilder) -> Result<(), ConfigError> {
        let (catalogue, max_keys) = builder.check()?;
        self.family.apply(catalogue, max_keys);
        self.local().applied();
        Ok(())
    }

    /// Tells a model's breaker what to do.
    ///
    /// # Errors
    ///
    /// When no model has this name.
    pub fn command(&self, model: &str, command: Command) -> Result<(), UnknownName> {
        let registry = self.local();
        let index = registry.find(model).ok_or_else(|| UnknownName::model(model))?;
        registry.operate(Who::Model(index), Operation::Command(command));
        Ok(())
    }

    /// Tells a provider's breaker what to do.
    ///
    /// # Errors
    ///
    /// When no provider has this name.
    pub fn command_provider(&self, provider: &str, command: Command) -> Result<(), UnknownName> {
        let registry = self.local();
        let index = registry.find_provider(provider)?;
        registry.operate(Who::Provider(index), Operation::Command(command));
        Ok(())
    }

    /// Leaves a model alone for so long, as if it had asked for it; jitter of up to 10 % is added. A longer cooldown
    /// that is in force stays; forced states stay.
    ///
    /// # Errors
    ///
    /// When no model has this name.
    pub fn cool_down(&self, model: &str, wait: Duration) -> Result<(), UnknownName> {
        let registry = self.local();
        let index = registry.find(model).ok_or_else(|| UnknownName::model(model))?;
        registry.operate(Who::Model(index), Operation::CoolDown(wait));
        Ok(())
    }

    /// Leaves a provider, with all its models, alone for so long; see [`cool_down`](Self::cool_down).
    ///
    /// # Errors
    ///
    /// When no provider has this name.
    pub fn cool_down_provider(&self, provider: &str, wait: Duration) -> Result<(), UnknownName> {
        let registry = self.local();
        let index = registry.find_provider(provider)?;
        registry.operate(Who::Provider(index), Operation::CoolDown(wait));
        Ok(())
    }

    /// The same models with state of its own for this key, a tenant or a host: breakers, scores, cooldowns, budgets and
    /// bounds on calls, of models and of providers. What happens to one key is nothing to the others, nor to this registry.
    ///
    /// Made when the key first comes; requests come to it by [`Plan::key`](crate::Plan::key) or by
    /// [`CircuitBreakerLayer::keyed`](crate::CircuitBreakerLayer::keyed). There are at most
    /// [`max_keys`](ModelsBuilder::max_keys). At that bound a new key takes the place of the one that has been idle for
    /// longest, of up to 64 that are looked at, if that is [`KEY_IDLE`], 60 s, at least; below it, keys that have been idle
    /// for [`KEY_FORGOTTEN`], 10 min, go one by one as new ones come. When none may go, new keys share the
    /// [`overflow`](Self::overflow) until there is room.
    ///
    /// A key never goes while a breaker of it is not closed, nor while it is in use: by a request, by whoever holds these
    /// `Models`, or by one who keeps a [`Served`](crate::Served) of it. One that comes again knows nothing of before.
    ///
    /// Looking up a key takes a short lock, on one of a few parts of the table.
    ///
    /// ```
    /// use tower_failover::{Command, Model, Models, Provider, State};
    ///
    /// let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build()?;
    /// let tenant = models.for_key("tenant-7");
    /// tenant.command("sdxl", Command::ForceOpen)?;
    ///
    /// let state = |models: &Models| models.snapshot().model("sdxl").unwrap().breaker.state;
    /// assert_eq!(state(&tenant), State::ForcedOpen);
    /// assert_eq!(state(&models.for_key("tenant-8")), State::Closed);
    /// assert_eq!(state(&models), State::Closed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_key(&self, key: &str) -> Self {
        self.with(self.family.keys.shared(key, self.local().now()))
    }

    /// The same, if this key has state of its own now. Makes none.
    pub fn find_key(&self, key: &str) -> Option<Self> {
        self.family.keys.find(key).map(|registry| self.with(registry))
    }

    /// What all keys share that find no room.
    pub fn overflow(&self) -> Self {
        self.with(self.family.keys.overflow())
    }

    /// The keys that have state of their own now, in no particular order.
    pub fn keys(&self) -> Vec<String> {
        self.family.keys.names()
    }

    /// Whose state this is; `None` for that of requests without a key.
    pub fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    fn with(&self, registry: Swap<Registry>) -> Self {
        let key = registry.local().key.clone();
        Self { registry, key, family: Arc::clone(&self.family) }
    }

    pub(crate) fn local(&self) -> Lane<Registry> {
        self.registry.local()
    }

    /// The same, for one who comes often.
    #[inline]
    pub(crate) fn kept<'a, F>(
        &self,
        kept: &'a mut Kept<Registry, F>,
        find: impl FnOnce(&Registry) -> F,
    ) -> &'a (Seen<Registry>, F) {
        kept.get(&self.registry, find)
    }

    /// The registry of now, which may be the one that was seen.
    #[inline]
    pub(crate) fn latest(&self, seen: Option<Seen<Registry>>) -> Lane<Registry> {
        match seen {
            Some(seen) if seen.is_of(&self.registry) => seen.into_lane(),
            _ => self.local(),
        }
    }

    /// Looks at it without owning a handle.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Registry) -> R) -> R {
        self.registry.read(look)
    }

    pub(crate) fn local_for(&self, key: &str, now: Nanos) -> Lane<Registry> {
        self.family.keys.local(key, now)
    }
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|model| model.name().to_owned())).finish()
    }
}
