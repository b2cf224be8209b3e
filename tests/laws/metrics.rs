//! What a recorder is told: it adds up, whatever happens, and a recorder breaks nothing.

use crate::{
    script::{Act, Fault, Readiness, scripted_panic},
    world::{Outcome, World, answer, fates, ms, secs, setup, trips_after, world},
};
use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, LocalRecorderGuard, Metadata, Recorder,
    SharedString, Unit, set_default_local_recorder,
};
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_failover::{
    CircuitBreakerLayer, Command, Error, Fate, Hedge, Model, Models, Plan, Provider, Served, State, Why,
    circuit_breaker,
};

/// A recorder for this thread.
pub(crate) struct Hearing {
    recorder: &'static DebuggingRecorder,
    _guard: LocalRecorderGuard<'static>,
}

pub(crate) fn hear() -> Hearing {
    let recorder: &DebuggingRecorder = Box::leak(Box::default());
    Hearing { recorder, _guard: set_default_local_recorder(recorder) }
}

/// Each series, by its name and labels.
pub(crate) struct Told(Vec<(String, BTreeMap<String, String>, DebugValue)>);

impl Hearing {
    /// What was told since it was asked last.
    pub(crate) fn told(&self) -> Told {
        let series = self.recorder.snapshotter().snapshot().into_vec().into_iter().map(|(key, _, _, value)| {
            let labels = key.key().labels().map(|label| (label.key().to_owned(), label.value().to_owned()));
            (key.key().name().to_owned(), labels.collect(), value)
        });
        Told(series.collect())
    }
}

impl Told {
    fn of<'a>(&'a self, name: &str, labels: &'a [(&str, &str)]) -> impl Iterator<Item = &'a DebugValue> {
        let name = format!("tower_failover_{name}");
        let has = move |all: &BTreeMap<String, String>| {
            labels.iter().all(|(name, value)| all.get(*name).is_some_and(|other| other == value))
        };
        self.0.iter().filter(move |(other, all, _)| *other == name && has(all)).map(|(_, _, value)| value)
    }

    /// Of counters their sum, of histograms how many values.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let value = |value: &DebugValue| match value {
            DebugValue::Counter(count) => *count,
            DebugValue::Histogram(values) => values.len() as u64,
            DebugValue::Gauge(_) => panic!("{name} is a gauge"),
        };
        self.of(name, labels).map(value).sum()
    }

    /// The one gauge of these labels, if it has been set.
    fn gauge(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let all: Vec<_> = self.of(name, labels).collect();
        assert!(all.len() < 2, "{name} {labels:?}: {all:?}");
        all.first().map(|value| match value {
            DebugValue::Gauge(value) => value.0,
            other => panic!("{name} is {other:?}"),
        })
    }

    fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<f64> {
        let values = |value: &DebugValue| match value {
            DebugValue::Histogram(values) => values.iter().map(|value| value.0).collect::<Vec<_>>(),
            other => panic!("{name} is {other:?}"),
        };
        self.of(name, labels).flat_map(values).collect()
    }

    /// The states that are shown of a model.
    fn states(&self, model: &str) -> Vec<&str> {
        let shown = |word: &&str| self.gauge("breaker_state", &[("model", model), ("state", word)]) == Some(1.0);
        STATES.into_iter().filter(shown).collect()
    }
}

const STATES: [&str; 5] = ["closed", "open", "half_open", "forced_open", "disabled"];

pub(crate) fn word(state: State) -> &'static str {
    match state {
        State::Closed => "closed",
        State::Open => "open",
        State::HalfOpen => "half_open",
        State::ForcedOpen => "forced_open",
        State::Disabled => "disabled",
        other => panic!("{other}"),
    }
}

/// What requests have come to, as their callers saw it.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    ends: BTreeMap<&'static str, u64>,
    attempts: u64,
    lost: u64,
    skips: BTreeMap<String, u64>,
    cost: f64,
    at_risk: f64,
}

impl Tally {
    /// `None` for one that nobody waited for.
    pub(crate) fn hear(&mut self, outcome: Option<&Outcome>) {
        let end = match outcome {
            Some(Ok((_, served))) if served.all_failed() => "all_failed",
            Some(Ok(_)) => "answered",
            Some(Err(Error::AllFailed { .. })) => "all_failed",
            Some(Err(Error::Upstream { .. })) => "error",
            Some(Err(Error::TimedOut { .. })) => "timed_out",
            Some(Err(Error::Unavailable { .. })) => "unavailable",
            Some(Err(other)) => panic!("{other}"),
            None => "dropped",
        };
        *self.ends.entry(end).or_default() += 1;
        let served: Option<&Served> = match outcome {
            Some(Ok((_, served))) => Some(served),
            Some(Err(error)) => error.served(),
            None => None,
        };
        let Some(served) = served else { return };
        self.attempts += served.attempts() as u64;
        self.cost += served.cost();
        self.at_risk += served.cost_at_risk();
        for candidate in served.candidates() {
            match candidate.fate {
                Fate::Skipped(_) => *self.skips.entry(candidate.model.name().to_owned()).or_default() += 1,
                Fate::Tried(tried) => self.lost += u64::from(tried.why == Why::Lost),
            }
        }
    }

    /// Whether a recorder was told the same. The models were in these states when it was installed.
    pub(crate) fn check(&self, world: &World, told: &Told, before: &BTreeMap<String, State>) {
        let dropped = self.ends.get("dropped").copied().unwrap_or_default();
        for end in ["answered", "all_failed", "error", "timed_out", "unavailable", "dropped"] {
            let count = self.ends.get(end).copied().unwrap_or_default();
            assert_eq!(told.sum("requests_total", &[("outcome", end)]), count, "{end}: {self:?}");
            assert_eq!(told.sum("request_duration_seconds", &[("outcome", end)]), count, "{end}: {self:?}");
        }
        assert_eq!(told.sum("requests_total", &[]), self.ends.values().sum::<u64>());
        for (name, before) in before {
            let of = [("model", name.as_str())];
            assert_eq!(told.sum("attempts_total", &of), world.script.calls_of(name) as u64, "{name}");
            let skips = self.skips.get(name).copied().unwrap_or_default();
            let seen = told.sum("skips_total", &of);
            assert!(seen == skips || (seen > skips && dropped > 0), "{name}: {seen} skips, {self:?}");
            for outcome in OUTCOMES {
                let of = [("model", name.as_str()), ("outcome", outcome)];
                assert_eq!(told.sum("attempts_total", &of), told.sum("attempt_duration_seconds", &of), "{outcome}");
            }
            let after = world.state(name);
            for state in STATES {
                let transitions = |end| told.sum("breaker_transitions_total", &[("model", name), (end, state)]) as i64;
                let moved = transitions("to") - transitions("from");
                let expected = i64::from(word(after) == state) - i64::from(word(*before) == state);
                assert_eq!(moved, expected, "{name} {state}");
            }
            if told.sum("breaker_transitions_total", &of) > 0 {
                assert_eq!(told.states(name), [word(after)], "{name}");
            }
        }
        let lost = told.sum("attempts_total", &[("outcome", "lost")]);
        assert!(lost == self.lost || (lost > self.lost && dropped > 0), "{lost} lost: {self:?}");
        let costs = [("cost_billionths_total", self.cost), ("cost_at_risk_billionths_total", self.at_risk)];
        for (name, cost) in costs {
            let (seen, cost) = (told.sum(name, &[]), (cost * 1e9).round() as u64);
            assert!(seen == cost || (seen > cost && dropped > 0), "{name}: {seen}, {self:?}");
        }
        if dropped == 0 {
            assert_eq!(told.sum("attempts_total", &[]), self.attempts);
        }
    }
}

const OUTCOMES: [&str; 11] = [
    "success",
    "neutral",
    "limited",
    "failure",
    "provider_failure",
    "unauthorized",
    "timed_out",
    "lost",
    "dropped",
    "hung",
    "panicked",
];

#[tokio::test(start_paused = true)]
async fn attempts_have_one_outcome_each() {
    let hearing = hear();
    let world = setup("a1@a b1@b").layer(|layer| layer.attempt_timeout(secs(2))).build();
    let acts = [200_u16, 400, 429, 503, 401].map(Act::from);
    let acts = acts.into_iter().chain([Act::from(Fault::Connect), Act::Hang, Act::PanicInPoll, Act::PanicInCall]);
    for act in acts {
        world.script.play("a1", [act]);
        world.command("a1", Command::Reset);
        let _ = futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(world.ask_of("a1"))).await;
    }
    let told = hearing.told();
    let count = |outcome| told.sum("attempts_total", &[("model", "a1"), ("outcome", outcome)]);
    assert_eq!(OUTCOMES.map(count), [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 2]);
    assert_eq!(told.values("attempt_duration_seconds", &[("outcome", "timed_out")]), [2.0]);
    assert_eq!(told.sum("cooldowns_total", &[("model", "a1")]), 1);
    assert_eq!(told.sum("requests_total", &[("outcome", "dropped")]), 2, "the panics");
}

#[tokio::test(start_paused = true)]
async fn of_attempts_that_nobody_waits_for_it_is_told_why() {
    let hearing = hear();
    let world = setup("a1@a b1@b").layer(|layer| layer.hedge(Hedge::after(secs(1)))).build();
    world.script.play("a1", [Act::Answer(200, ms(10)), Act::Hang]);
    answer(world.ask_of("a1").await);
    for patience in [ms(10), secs(10)] {
        assert!(tokio::time::timeout(patience, world.ask_of("a1")).await.is_err());
    }
    answer(world.ask().await);
    let told = hearing.told();
    let count = |outcome| told.sum("attempts_total", &[("model", "a1"), ("outcome", outcome)]);
    assert_eq!(["success", "dropped", "hung", "lost"].map(count), [1, 1, 1, 1]);
    assert_eq!(told.sum("requests_total", &[("outcome", "dropped")]), 2);
}

#[tokio::test(start_paused = true)]
async fn one_who_was_refused_and_is_asked_after_all_is_no_skip() {
    let hearing = hear();
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.trip("a1 b1").await;
    hearing.told();
    let (_, served) = answer(world.ask().await);
    assert_eq!(fates(&served).iter().filter(|(_, skip)| skip.is_some()).count(), 1, "{served}");
    let told = hearing.told();
    assert_eq!(told.sum("skips_total", &[]), 1);
    assert_eq!(told.sum("skips_total", &[("model", "b1"), ("reason", "model_open")]), 1);
    assert_eq!(told.sum("attempts_total", &[("model", "a1"), ("outcome", "success"), ("status", "none")]), 1);
}

#[tokio::test(start_paused = true)]
async fn the_old_state_goes_to_zero_when_the_new_one_goes_to_one() {
    let hearing = hear();
    let world = setup("a1@a").breakers(trips_after(1)).build();
    world.trip("a1").await;
    assert_eq!(hearing.told().states("a1"), ["open"]);
    advance(secs(10)).await;
    answer(world.ask().await);
    let told = hearing.told();
    assert_eq!(told.states("a1"), ["half_open"]);
    let of = [("from", "open"), ("to", "half_open"), ("cause", "wait_elapsed"), ("model", "a1"), ("provider", "a")];
    assert_eq!(told.sum("breaker_transitions_total", &of), 1);
    answer(world.ask().await);
    assert_eq!(hearing.told().states("a1"), ["closed"]);
    world.command("a1", Command::ForceOpen);
    world.command("@a", Command::Disable);
    let told = hearing.told();
    assert_eq!(told.states("a1"), ["forced_open"]);
    assert_eq!(told.gauge("provider_breaker_state", &[("provider", "a"), ("state", "disabled")]), Some(1.0));
    assert_eq!(told.gauge("provider_breaker_state", &[("provider", "a"), ("state", "closed")]), Some(0.0));
}

#[tokio::test(start_paused = true)]
async fn gauges_that_change_by_themselves_are_set_on_demand() {
    let world = setup("a1@a b1@b").models(|model| model.cost(0.25)).build();
    world.models.record_metrics();
    let hearing = hear();
    world.script.play("a1", [Act::from(429)]);
    world.script.play("b1", [Act::Hang]);
    let mut call = world.begin();
    assert!(futures::poll!(&mut call).is_pending());
    let told = hearing.told();
    assert_eq!((told.gauge("calls_in_flight", &[("model", "b1")]), told.gauge("health_score", &[])), (None, None));
    world.models.record_metrics();
    let told = hearing.told();
    assert_eq!(["a1", "b1"].map(|name| told.gauge("calls_in_flight", &[("model", name)])), [Some(0.0), Some(1.0)]);
    let left = told.gauge("cooldown_seconds", &[("model", "a1")]).expect("it is told");
    assert!((1.0..=1.1).contains(&left), "{left}");
    assert_eq!(told.gauge("cooldown_seconds", &[("model", "b1")]), Some(0.0));
    assert_eq!(told.gauge("provider_cooldown_seconds", &[("provider", "a")]), Some(0.0));
    assert_eq!(told.gauge("health_score", &[("model", "b1")]), Some(0.95));
    assert_eq!(told.gauge("provider_budget_left_tokens", &[("provider", "b")]), Some(30.0));
    assert_eq!([told.states("a1"), told.states("b1")], [["open"], ["closed"]]);
    assert_eq!(told.gauge("build_info", &[]), Some(1.0));
    drop(call);
    let told = hearing.told();
    assert_eq!(told.sum("cost_at_risk_billionths_total", &[("model", "b1")]), 250_000_000);
    assert_eq!(told.sum("cost_billionths_total", &[]), 0);
}

#[tokio::test(start_paused = true)]
async fn a_recorder_that_comes_late_hears_everything_from_then_on() {
    let world = setup("a1@a b1@b").breakers(trips_after(2)).build();
    world.script.play("a1", [503]);
    for _ in 0..2 {
        answer(world.ask().await);
    }
    // Of no size, as the stand-in is which hears nothing.
    struct Nothing;
    impl Recorder for Nothing {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            Counter::noop()
        }
        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::noop()
        }
        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }
    metrics::with_local_recorder(&Nothing, || world.models.record_metrics());
    let hearing = hear();
    answer(world.ask().await);
    let told = hearing.told();
    assert_eq!(told.sum("requests_total", &[]), 1);
    assert_eq!(told.sum("attempts_total", &[("model", "b1")]), 1);
    assert_eq!(told.sum("skips_total", &[("model", "a1"), ("reason", "model_open")]), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_rejected_once_whenever_its_breaker_opens() {
    let hearing = hear();
    let models = setup("a1@a").registry();
    // Since the last look.
    let counted = || hearing.told().sum("skips_total", &[("model", "a1"), ("reason", "model_forced_open")]);
    let limited = ConcurrencyLimit::new(service_fn(|(): ()| async { Ok::<_, Fault>(()) }), 1);
    let layer = CircuitBreakerLayer::new(models.clone(), "a1").unwrap();
    let mut client = layer.layer(limited.clone());

    // After readiness.
    client.ready().await.unwrap();
    models.command("a1", Command::ForceOpen).unwrap();
    assert!(matches!(client.call(()).await, Err(circuit_breaker::Error::Rejected(_))));
    assert_eq!(counted(), 1);

    // Before, and nobody comes for the answer.
    client.ready().await.unwrap();
    client.ready().await.unwrap();
    assert_eq!(counted(), 0);
    drop(client.call(()));
    assert_eq!(counted(), 1);

    // While the service inside is not ready.
    models.command("a1", Command::Reset).unwrap();
    let mut other = limited.clone();
    other.ready().await.unwrap();
    let by_name = CircuitBreakerLayer::by_name(models.clone(), |(): &()| "a1").layer(limited);
    let mut call = Box::pin(by_name.oneshot(()));
    assert!(futures::poll!(&mut call).is_pending());
    models.command("a1", Command::ForceOpen).unwrap();
    drop(other);
    assert!(matches!(call.await, Err(circuit_breaker::Error::Rejected(_))));
    assert_eq!(counted(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_breaker_alone_counts_attempts_states_and_rejections() {
    let hearing = hear();
    let models = setup("a1@a").breakers(trips_after(2)).registry();
    let layer = CircuitBreakerLayer::new(models.clone(), "a1").unwrap();
    let mut client = layer.layer(service_fn(|good: bool| async move { if good { Ok(()) } else { Err(Fault::Reset) } }));
    for good in [true, false, false, true, true] {
        let _ = client.ready().await.unwrap().call(good).await;
    }
    let told = hearing.told();
    let attempts = |outcome| told.sum("attempts_total", &[("model", "a1"), ("provider", "a"), ("outcome", outcome)]);
    assert_eq!(["success", "failure"].map(attempts), [1, 2]);
    assert_eq!(told.sum("skips_total", &[("model", "a1"), ("reason", "model_open")]), 2);
    assert_eq!((told.states("a1"), told.sum("requests_total", &[])), (vec!["open"], 0));
}

#[tokio::test(start_paused = true)]
async fn keys_count_together_and_show_no_gauge() {
    let hearing = hear();
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    let mut series = 0;
    for tenant in 0..20 {
        world.script.play("a1", [503, 200]);
        answer(world.send(Plan::new().key(format!("tenant-{tenant}"))).await);
        let told = hearing.told();
        assert!(told.of("breaker_state", &[]).all(|state| *state == DebugValue::Gauge(0.0.into())), "asked for or not");
        world.models.for_key(&format!("tenant-{tenant}")).record_metrics();
        assert_eq!(hearing.told().states("a1"), ["closed"], "that of requests without a key");
        assert_eq!(told.sum("attempts_total", &[("model", "a1"), ("provider", "a"), ("outcome", "failure")]), 1);
        assert_eq!(told.sum("breaker_transitions_total", &[("model", "a1"), ("to", "open")]), 1);
        assert!(tenant < 2 || told.0.len() == series, "{} series", told.0.len());
        assert!(told.0.iter().all(|(_, labels, _)| labels.values().all(|value| !value.contains("tenant"))));
        series = told.0.len();
    }
    // Nor in passing, before the root's are set again.
    for name in ["a1", "b1"] {
        world.script.play(name, [503, 200]);
    }
    let _ = world.send(Plan::new().key("last")).await;
    let told = hearing.told();
    assert_eq!(told.sum("breaker_transitions_total", &[("to", "open")]), 2);
    assert!(["a1", "b1"].iter().all(|name| !told.states(name).contains(&"open")), "of requests without a key");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_has_gone_shows_zero_and_one_that_stays_counts_on() {
    let hearing = hear();
    let described = |names| setup(names).breakers(trips_after(1)).described();
    let world = setup("a1@a b1@b").breakers(trips_after(1)).build();
    world.trip("a1").await;
    answer(world.ask().await);
    // To look takes what there is to see: so nobody looks between.
    world.models.record_metrics();
    world.models.apply(described("b1@b c1@b")).unwrap();
    let told = hearing.told();
    assert!(told.states("a1").is_empty() && told.gauge("health_score", &[("model", "a1")]) == Some(0.0));
    assert_eq!(told.gauge("provider_budget_left_tokens", &[("provider", "a")]), Some(0.0));
    assert!(told.gauge("health_score", &[("model", "b1")]).is_some_and(|score| score > 0.9));
    assert_eq!(told.states("b1"), ["closed"]);
    answer(world.ask().await);
    answer(world.ask_of("c1").await);
    world.models.record_metrics();
    let told = hearing.told();
    assert_eq!(["b1", "c1"].map(|name| told.sum("attempts_total", &[("model", name)])), [1, 1]);
    assert_eq!([told.states("b1"), told.states("c1")], [["closed"], ["closed"]]);
    assert!(told.states("a1").is_empty());
    // One that has been shown is remembered however long it stays.
    world.models.record_metrics();
    world.models.apply(described("b1@b c1@b d1@d")).unwrap();
    world.models.apply(described("c1@b d1@d")).unwrap();
    let told = hearing.told();
    assert_eq!(told.gauge("health_score", &[("model", "b1")]), Some(0.0));
    assert!(told.states("b1").is_empty() && told.states("c1") == ["closed"]);
    // The same name at another provider is another series.
    world.models.apply(described("b1@d")).unwrap();
    world.models.record_metrics();
    let told = hearing.told();
    assert_eq!(told.gauge("health_score", &[("model", "b1"), ("provider", "b")]), Some(0.0));
    assert_eq!(told.gauge("breaker_state", &[("model", "b1"), ("provider", "d"), ("state", "closed")]), Some(1.0));
}

/// Calls somebody back whatever it is told.
struct Wild(Arc<dyn Fn() + Send + Sync>);

impl Recorder for Wild {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        (self.0)();
    }

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        (self.0)();
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        (self.0)();
    }

    fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
        (self.0)();
        Counter::from_arc(Arc::new(Wild(self.0.clone())))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        (self.0)();
        Gauge::from_arc(Arc::new(Wild(self.0.clone())))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        (self.0)();
        Histogram::from_arc(Arc::new(Wild(self.0.clone())))
    }
}

impl CounterFn for Wild {
    fn increment(&self, _: u64) {
        (self.0)();
    }

    fn absolute(&self, _: u64) {}
}

impl GaugeFn for Wild {
    fn increment(&self, _: f64) {}

    fn decrement(&self, _: f64) {}

    fn set(&self, _: f64) {
        (self.0)();
    }
}

impl HistogramFn for Wild {
    fn record(&self, _: f64) {
        (self.0)();
    }
}

fn run_wild(f: impl Fn() + Send + Sync + 'static) -> LocalRecorderGuard<'static> {
    set_default_local_recorder(Box::leak(Box::new(Wild(Arc::new(f)))))
}

/// Something of everything.
async fn live(world: &World) {
    world.script.play("a1", [503, 429, 200]);
    for _ in 0..3 {
        let _ = world.ask().await;
        advance(secs(10)).await;
    }
    world.models.record_metrics();
}

#[tokio::test(start_paused = true)]
async fn law_08_a_recorder_that_panics_breaks_nothing() {
    let hushed = setup("a1@a b1@b").breakers(trips_after(1)).provider_breakers(trips_after(2)).build();
    live(&hushed).await;
    let expected = hushed.models.snapshot();
    let world = setup("a1@a b1@b").breakers(trips_after(1)).provider_breakers(trips_after(2)).build();
    {
        let _guard = run_wild(|| scripted_panic());
        live(&world).await;
    }
    assert_eq!(world.script.called(), hushed.script.called());
    assert_eq!(world.models.snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn law_08_a_recorder_that_panics_while_a_call_unwinds_does_not_abort() {
    let world = world("a1@a");
    world.script.play("a1", [Act::PanicInPoll]);
    let _guard = run_wild(|| scripted_panic());
    assert!(futures::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(world.ask())).await.is_err());
    assert_eq!((world.in_flight(), world.failures("a1")), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn law_08_a_recorder_may_call_any_command_and_make_any_request() {
    let world = setup("a1@a b1@b").breakers(trips_after(1)).provider_breakers(trips_after(2)).build();
    let (models, engine) = (world.models.clone(), world.engine.clone());
    std::thread_local!(static WITHIN: std::cell::Cell<u32> = const { std::cell::Cell::new(0) });
    let _guard = run_wild(move || {
        // What it is told of what it does itself, it leaves at that after the second time.
        if WITHIN.get() < 2 {
            WITHIN.set(WITHIN.get() + 1);
            assert_eq!(models.snapshot().models.len(), 2);
            for command in [Command::ForceOpen, Command::Disable, Command::Shadow, Command::Reset] {
                models.command("a1", command).unwrap();
                models.command_provider("a", command).unwrap();
            }
            models.record_metrics();
            models.apply(setup("a1@a b1@b").breakers(trips_after(1)).described()).unwrap();
            let _ = futures::FutureExt::now_or_never(engine.clone().oneshot(Default::default()));
            WITHIN.set(WITHIN.get() - 1);
        }
    });
    live(&world).await;
    assert_eq!((world.state("a1"), world.in_flight()), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn law_08_a_recorder_may_make_the_same_request_whenever_it_is_told_something() {
    let mut counted = Vec::new();
    for nth in 0..60 {
        let world = world("a1@a");
        let (engine, told) = (world.engine.clone(), AtomicU32::new(0));
        let _guard = run_wild(move || {
            if told.fetch_add(1, Ordering::Relaxed) == nth {
                assert!(futures::FutureExt::now_or_never(engine.clone().oneshot(Default::default())).is_some());
            }
        });
        answer(world.ask().await);
        counted.push(world.script.calls().len());
    }
    assert_eq!((counted[0], counted[59]), (2, 1), "from the first to the last that it is told");
}

#[test]
fn two_registries_of_one_name_count_together() {
    let hearing = hear();
    let registry = || Models::builder().provider(Provider::new("a")).model(Model::new("a1", "a")).build().unwrap();
    for models in [registry(), registry()] {
        models.command("a1", Command::ForceOpen).unwrap();
    }
    let told = hearing.told();
    assert_eq!(told.sum("breaker_transitions_total", &[("cause", "command")]), 2);
}

/// Where the client is not ready, and where the caller is at fault.
#[tokio::test(start_paused = true)]
async fn what_was_not_asked_has_a_reason() {
    let hearing = hear();
    let world = setup("a1@a b1@b c1@c").build();
    world.script.ready("a", Readiness::Fails);
    world.command("b1", Command::ForceOpen);
    answer(world.ask().await);
    assert!(world.send(Plan::new().models(["d1"])).await.is_err());
    let told = hearing.told();
    assert_eq!(told.sum("skips_total", &[("model", "a1"), ("reason", "not_ready")]), 1);
    assert_eq!(told.sum("skips_total", &[("model", "b1"), ("reason", "model_forced_open")]), 1);
    assert_eq!(told.sum("skips_total", &[]), 2);
    assert_eq!(told.sum("requests_total", &[("outcome", "bad_plan")]), 1);
}
