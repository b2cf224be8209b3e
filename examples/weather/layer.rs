//! This crate in the weather: one layer around a client that looks up what becomes of each call.

use std::{
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    runtime::Builder,
    time::{Instant, sleep, sleep_until},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{
    BreakerConfig, Classify, Cooldown, FailoverBuilder, FailoverLayer, Model, Models, Provider, Tier, Verdict, Why,
    aim as aim_by, classify as classify_by,
};

use super::{
    policy::Policy,
    scenario::{MODELS, Ms, PROVIDERS, deadline},
    upstream::{Case, Log, Reply, Upstream},
};

/// The one place where policies differ: each rule that `breakers_only` does without is switched off here.
fn configured<A, K, R, F>(layer: FailoverBuilder<A, K, R, F>, policy: Policy) -> FailoverBuilder<A, K, R, F> {
    match policy {
        Policy::BreakersOnly => layer.in_listed_order().protect_probes(false),
        _ => layer,
    }
}

fn breaker(policy: Policy) -> BreakerConfig {
    match policy {
        Policy::BreakersOnly => BreakerConfig::default().ramp(Duration::ZERO),
        _ => BreakerConfig::default(),
    }
}

#[derive(Debug)]
struct NoConnection;

impl std::fmt::Display for NoConnection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection refused")
    }
}

impl std::error::Error for NoConnection {}

/// How often a run that is watched is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// One request.
type Call = u32;
/// The model that was asked, and what it said.
type Response = (usize, Reply);

/// Runs a case to its end.
pub fn run(policy: Policy, case: &Case) -> Log {
    let upstream = Arc::new(Mutex::new(Upstream::new(case.clone())));
    on_paused_clock(drive(policy, case, Arc::clone(&upstream), &models(policy, case.seed)));
    let upstream = Arc::into_inner(upstream).expect("whatever was spawned ended with its runtime");
    upstream.into_inner().unwrap_or_else(PoisonError::into_inner).into_log()
}

/// Runs it once more, and says when a breaker or a tier is seen to have changed, and what all are then.
pub fn watch(policy: Policy, case: &Case) -> Vec<(Ms, String)> {
    on_paused_clock(async {
        let models = models(policy, case.seed);
        let mut seen: Vec<(Ms, String)> = Vec::new();
        let start = Instant::now();
        let watch = async {
            loop {
                let states = states(&models);
                if seen.last().is_none_or(|(_, last)| *last != states) {
                    seen.push((since(start), states));
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let upstream = Arc::new(Mutex::new(Upstream::new(case.clone())));
        tokio::select! {
            biased;
            () = drive(policy, case, upstream, &models) => {}
            () = watch => {}
        }
        seen
    })
}

fn states(models: &Models) -> String {
    let snapshot = models.snapshot();
    let models = snapshot.models.iter().map(|model| match model.tier {
        Tier::Healthy => format!("{} {}", model.name, model.breaker.state),
        tier => format!("{} {}, {tier}", model.name, model.breaker.state),
    });
    let providers = snapshot.providers.iter().map(|provider| format!("{} {}", provider.name, provider.breaker.state));
    models.chain(providers).collect::<Vec<_>>().join("; ")
}

fn on_paused_clock<T>(future: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("no system calls");
    runtime.block_on(future)
}

/// Sends every request when it is due, whatever became of those before, and waits for all.
async fn drive(policy: Policy, case: &Case, upstream: Arc<Mutex<Upstream>>, models: &Models) {
    let start = Instant::now();
    let client = {
        let upstream = Arc::clone(&upstream);
        service_fn(move |(model, request): (usize, Call)| {
            let reply = lock(&upstream).call(request as usize, model, since(start));
            async move {
                match reply.after() {
                    Some(after) => sleep(ms(after)).await,
                    None => pending().await,
                }
                if let Reply::NoConnection(_) = reply { Err(NoConnection) } else { Ok((model, reply)) }
            }
        })
    };
    let aim = aim_by(|model: &Model, request: Call| Ok((index(model), request)));
    let layer = FailoverLayer::builder(models.clone()).aim(aim).classify(table()).attempt_timeout(ms(case.timeout));
    let layer = configured(layer.deadline(ms(deadline(case.timeout))), policy);
    let service = layer.build().expect("nothing is zero").layer(client);
    for (request, at) in case.chance.arrivals.iter().enumerate() {
        sleep_until(start + ms(*at)).await;
        let (response, upstream) = (service.clone().oneshot(request as Call), Arc::clone(&upstream));
        tokio::spawn(async move {
            let by = match response.await {
                Ok((model, Reply::Answer(_))) => Some(model),
                _ => None,
            };
            lock(&upstream).done(request, by, since(start));
        });
    }
    // No request outlives its deadline.
    sleep(ms(deadline(case.timeout) + 1)).await;
}

fn models(policy: Policy, seed: u64) -> Models {
    let breaker = breaker(policy);
    let provider = |name: &&str| Provider::new(*name).breaker(breaker.clone());
    let models = PROVIDERS.iter().map(provider).fold(Models::builder(), |models, provider| models.provider(provider));
    let model = |model: &super::scenario::Model| {
        Model::new(model.name, PROVIDERS[model.provider]).cost(model.price).breaker(breaker.clone())
    };
    let models = MODELS.iter().map(model).fold(models, |models, model| models.model(model));
    models.seed(seed).build().expect("names are unique")
}

/// What the table of statuses says.
fn table() -> impl Classify<Response, NoConnection> + Send + Sync + 'static {
    classify_by(|result: Result<&Response, &NoConnection>| match result {
        Ok((_, Reply::Answer(_))) => Verdict::success().because(Why::Status(200)),
        Ok((_, Reply::Limited(_))) => Verdict::limited(Cooldown::For(Duration::from_secs(1))).because(Why::Status(429)),
        Ok(_) => Verdict::model_failed().because(Why::Status(503)),
        Err(error) => Verdict::provider_failed().because(Why::Connect(error.to_string().into())),
    })
}

fn index(model: &Model) -> usize {
    let position = MODELS.iter().position(|known| known.name == model.name());
    position.expect("the registry was made of these models")
}

fn lock(upstream: &Mutex<Upstream>) -> MutexGuard<'_, Upstream> {
    upstream.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since(start: Instant) -> Ms {
    start.elapsed().as_millis() as Ms
}

fn ms(ms: Ms) -> Duration {
    Duration::from_millis(ms.into())
}
