//! A registry, a scripted client and the engine between them, in one line.

use crate::script::{Client, Fault, Numbered, Script};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use tokio::time::advance;
use tower::{Service, ServiceExt};
use tower_failover::{
    Attempts, BreakerConfig, BreakerSnapshot, ByProvider, Charge, ClassifyFn, Command, Cooldown, Error, Executed,
    Failover, FailoverBuilder, FailoverLayer, Fate, Model, ModelSnapshot, Models, ModelsBuilder, Next, Plan, Provider,
    ProviderSnapshot, Resend, Served, Skip, State, Tried, Trip, Verdict, Vouches, Why, WithServed, classify,
    defaults::MAX_KEYS,
};

/// A request: its number, and what it asks for itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Req {
    pub(crate) number: u32,
    pub(crate) plan: Option<Plan>,
    pub(crate) fickle: Option<Arc<Fickle>>,
}

/// What a request says of itself, time after time: bit by bit, and over again.
#[derive(Debug)]
pub(crate) struct Fickle {
    pub(crate) keeps: AtomicU32,
    pub(crate) whole: AtomicU32,
}

impl Fickle {
    fn next(says: &AtomicU32) -> bool {
        let word = says.load(Ordering::Relaxed);
        says.store(word.rotate_right(1), Ordering::Relaxed);
        word & 1 != 0
    }
}

impl Numbered for Req {
    fn number(&self) -> u32 {
        self.number
    }
}

impl From<Plan> for Req {
    fn from(plan: Plan) -> Self {
        Self { plan: Some(plan), ..Self::default() }
    }
}

/// Keeps a clone, unless the request is fickle, and finds the plan in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned;

impl Resend<Req> for Planned {
    type Request = Req;

    fn prepare(&self, request: Req) -> Req {
        request
    }

    fn keep(&self, request: &Req) -> Option<Req> {
        request.fickle.as_ref().is_none_or(|fickle| Fickle::next(&fickle.keeps)).then(|| request.clone())
    }

    fn whole(&self, request: &Req) -> bool {
        request.fickle.as_ref().is_none_or(|fickle| Fickle::next(&fickle.whole))
    }

    fn plan(&self, request: &Req) -> Option<Plan> {
        request.plan.clone()
    }
}

pub(crate) type Judge = fn(Result<&u16, &Fault>) -> Verdict;
pub(crate) type Builder = FailoverBuilder<Attempts, ClassifyFn<Judge>, Planned, WithServed>;
pub(crate) type Engine = Failover<ByProvider<Client>, Attempts, ClassifyFn<Judge>, Planned, WithServed>;
pub(crate) type Outcome = Result<(u16, Served), Error<Fault>>;

/// About what the table of statuses says.
pub(crate) fn judge(result: Result<&u16, &Fault>) -> Verdict {
    let failed = Verdict::model_failed;
    let fault = Verdict::callers_fault;
    match result {
        Ok(200) => Verdict::success(),
        Ok(401) => but(Verdict::provider_failed(), |verdict| verdict.charge = Charge::Credential),
        Ok(402) => but(Verdict::provider_failed(), |verdict| verdict.cooldown = Some(Cooldown::For(secs(60)))),
        Ok(404) => but(fault(), |verdict| verdict.next = Next::TryNext),
        Ok(429) => Verdict::limited(Cooldown::Growing),
        Ok(500) => but(failed(), |verdict| verdict.charge = Charge::ModelOrRequest),
        Ok(503) => failed(),
        // An answer that proves only that somebody is there, and one that proves nothing.
        Ok(204) => but(fault(), |verdict| verdict.vouches = Some(Vouches::Alive)),
        Ok(205) => but(fault(), |verdict| verdict.vouches = Some(Vouches::No)),
        // Failures that were executed, maybe, not at all.
        Ok(601) => but(failed(), |verdict| verdict.executed = Executed::Yes),
        Ok(602) => but(failed(), |verdict| verdict.executed = Executed::Maybe),
        Ok(603) => but(failed(), |verdict| verdict.executed = Executed::No),
        Ok(_) => fault(),
        Err(Fault::Reset) => failed().because(Why::Broken("reset".into())),
        Err(Fault::Connect) => Verdict::provider_failed(),
        Err(Fault::Local | Fault::Unready) => but(fault(), |verdict| verdict.next = Next::TryNext),
    }
}

/// A verdict with something changed.
pub(crate) fn but(mut verdict: Verdict, change: impl FnOnce(&mut Verdict)) -> Verdict {
    change(&mut verdict);
    verdict
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Trips on so many failures in a row, for exactly 10 s, 20 s, 40 s …
pub(crate) fn trips_after(failures: u32) -> BreakerConfig {
    BreakerConfig::default().trip([Trip::consecutive(failures, Duration::ZERO)]).jitter(0.0)
}

/// Never trips on failures.
pub(crate) fn never_trips() -> BreakerConfig {
    BreakerConfig::default().trip([]).jitter(0.0)
}

/// Describes a world.
pub(crate) struct Setup {
    models: Vec<Model>,
    providers: Vec<Provider>,
    judge: Judge,
    max_keys: usize,
    layer: Box<dyn FnOnce(Builder) -> Builder>,
}

/// `"a1@a b1@b"`: models at their providers, whose breakers never trip.
pub(crate) fn setup(names: &str) -> Setup {
    let pairs: Vec<(&str, &str)> = names.split(' ').map(|name| name.split_once('@').expect("model@provider")).collect();
    let mut providers: Vec<&str> = Vec::new();
    for (_, provider) in &pairs {
        if !providers.contains(provider) {
            providers.push(provider);
        }
    }
    Setup {
        models: pairs.iter().map(|(model, provider)| Model::new(*model, *provider).breaker(never_trips())).collect(),
        providers: providers.iter().map(|name| Provider::new(*name).breaker(never_trips())).collect(),
        judge,
        max_keys: MAX_KEYS,
        layer: Box::new(|builder| builder),
    }
}

/// The world of these models with everything else as [`setup`] has it.
pub(crate) fn world(names: &str) -> World {
    setup(names).build()
}

impl Setup {
    pub(crate) fn breakers(self, config: BreakerConfig) -> Self {
        self.models(|model| model.breaker(config.clone()))
    }

    pub(crate) fn models(mut self, change: impl FnMut(Model) -> Model) -> Self {
        self.models = self.models.into_iter().map(change).collect();
        self
    }

    pub(crate) fn providers(mut self, change: impl FnMut(Provider) -> Provider) -> Self {
        self.providers = self.providers.into_iter().map(change).collect();
        self
    }

    pub(crate) fn provider_breakers(self, config: BreakerConfig) -> Self {
        self.providers(|provider| provider.breaker(config.clone()))
    }

    pub(crate) fn max_keys(mut self, keys: usize) -> Self {
        self.max_keys = keys;
        self
    }

    pub(crate) fn judge(mut self, judge: Judge) -> Self {
        self.judge = judge;
        self
    }

    pub(crate) fn layer(mut self, change: impl FnOnce(Builder) -> Builder + 'static) -> Self {
        self.layer = Box::new(change);
        self
    }

    pub(crate) fn registry(&self) -> Models {
        self.described().build().expect("a good configuration")
    }

    pub(crate) fn described(&self) -> ModelsBuilder {
        let builder = Models::builder().seed(1).max_keys(self.max_keys);
        let builder = self.providers.iter().cloned().fold(builder, |all, one| all.provider(one));
        self.models.iter().cloned().fold(builder, |all, one| all.model(one))
    }

    pub(crate) fn build(self) -> World {
        let models = self.registry();
        let builder =
            FailoverLayer::builder(models.clone()).classify(classify(self.judge)).resend(Planned).finish(WithServed);
        let script = Script::default();
        let layer = (self.layer)(builder).build().expect("good settings");
        let engine = layer.by_provider(script.clients());
        World { models, script, engine }
    }
}

/// See [`setup`].
pub(crate) struct World {
    pub(crate) models: Models,
    pub(crate) script: Script,
    pub(crate) engine: Engine,
}

impl World {
    pub(crate) async fn ask(&self) -> Outcome {
        self.send(Req::default()).await
    }

    pub(crate) async fn send(&self, request: impl Into<Req>) -> Outcome {
        self.engine.clone().oneshot(request.into()).await
    }

    /// Asks these models only.
    pub(crate) async fn ask_of(&self, names: &str) -> Outcome {
        self.send(Plan::new().models(names.split(' '))).await
    }

    /// The future of one request, polled by nobody yet.
    pub(crate) fn begin(&self) -> std::pin::Pin<Box<<Engine as Service<Req>>::Future>> {
        self.begin_with(Req::default())
    }

    pub(crate) fn begin_with(&self, request: impl Into<Req>) -> std::pin::Pin<Box<<Engine as Service<Req>>::Future>> {
        Box::pin(self.engine.clone().call(request.into()))
    }

    pub(crate) fn model(&self, name: &str) -> ModelSnapshot {
        self.models.snapshot().model(name).expect("a model").clone()
    }

    pub(crate) fn provider(&self, name: &str) -> ProviderSnapshot {
        self.models.snapshot().provider(name).expect("a provider").clone()
    }

    /// The breaker of a model or, `"@a"`, of a provider.
    pub(crate) fn breaker(&self, name: &str) -> BreakerSnapshot {
        match name.strip_prefix('@') {
            Some(name) => self.provider(name).breaker,
            None => self.model(name).breaker,
        }
    }

    pub(crate) fn state(&self, name: &str) -> State {
        self.breaker(name).state
    }

    pub(crate) fn failures(&self, name: &str) -> u32 {
        self.breaker(name).consecutive_failures
    }

    pub(crate) fn in_flight(&self) -> u64 {
        let snapshot = self.models.snapshot();
        let providers: u64 = snapshot.providers.iter().map(|provider| provider.in_flight).sum();
        snapshot.models.iter().map(|model| model.in_flight).sum::<u64>() + providers
    }

    pub(crate) fn command(&self, name: &str, command: Command) {
        let done = match name.strip_prefix('@') {
            Some(name) => self.models.command_provider(name, command),
            None => self.models.command(name, command),
        };
        done.expect("a known name");
    }

    /// Opens a breaker of [`trips_after`]`(1)`, and leaves its model answering 200.
    pub(crate) async fn trip(&self, names: &str) {
        for name in names.split(' ') {
            self.script.play(name, [503]);
            let _ = self.ask_of(name).await;
            self.script.play(name, [200]);
            assert_eq!(self.state(name), State::Open, "{name}");
        }
    }

    /// Opens the breaker of a model and lets its wait of 10 s elapse.
    pub(crate) async fn half_open(&self, name: &str) {
        self.trip(name).await;
        advance(secs(10)).await;
    }
}

/// The answer of a request that got one.
#[track_caller]
pub(crate) fn answer(outcome: Outcome) -> (u16, Served) {
    outcome.expect("an answer")
}

/// Who served, answered or not.
#[track_caller]
pub(crate) fn served(outcome: Outcome) -> Served {
    match outcome {
        Ok((_, served)) => served,
        Err(error) => error.served().expect("an error that tells").clone(),
    }
}

/// What became of each candidate: its name, and for a skipped one why.
pub(crate) fn fates(served: &Served) -> Vec<(String, Option<Skip>)> {
    let fate = |fate: Fate<'_>| match fate {
        Fate::Skipped(skip) => Some(skip),
        Fate::Tried(_) => None,
    };
    served.candidates().map(|candidate| (candidate.model.name().to_owned(), fate(candidate.fate))).collect()
}

/// The models that were asked, in order.
pub(crate) fn tried(served: &Served) -> Vec<String> {
    fates(served).into_iter().filter_map(|(name, skip)| skip.is_none().then_some(name)).collect()
}

/// Each attempt.
pub(crate) fn attempts(served: &Served) -> Vec<Tried> {
    let tried = served.candidates().filter_map(|candidate| match candidate.fate {
        Fate::Tried(tried) => Some(tried.clone()),
        Fate::Skipped(_) => None,
    });
    tried.collect()
}

/// Why a candidate was skipped.
#[track_caller]
pub(crate) fn skip(served: &Served, name: &str) -> Skip {
    let fate = fates(served).into_iter().find(|(model, _)| model == name).expect("a candidate");
    fate.1.expect("a skipped one")
}

/// Whether two times are the same but for the timer's rounding.
#[track_caller]
pub(crate) fn assert_about(time: Duration, expected: Duration) {
    assert!(time.abs_diff(expected) <= ms(2), "{time:?} is not about {expected:?}");
}
