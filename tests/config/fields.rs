//! Every field has an effect, and there is no field that is not in this table.

use crate::{FULL, SMALL, outcome, read};
use std::collections::BTreeSet;
use tower_failover::Config;

/// One level of a file, and a field that is none: what it names as its fields is what the table must have.
type Level = fn(&str) -> String;

fn root(field: &str) -> String {
    format!("{field}\n{SMALL}")
}

fn model(field: &str) -> String {
    format!("providers = [{{ name = 'a' }}]\nmodels = [{{ name = 'm', provider = 'a', {field} }}]")
}

fn provider(field: &str) -> String {
    format!("providers = [{{ name = 'a', {field} }}]\nmodels = [{{ name = 'm', provider = 'a' }}]")
}

fn model_defaults(field: &str) -> String {
    root(&format!("model_defaults = {{ {field} }}"))
}

fn breaker(field: &str) -> String {
    model(&format!("breaker = {{ {field} }}"))
}

fn trip(field: &str) -> String {
    breaker(&format!("trip = [{{ {field} }}]"))
}

fn close_after(field: &str) -> String {
    breaker(&format!("close_after = {{ {field} }}"))
}

fn close_below(field: &str) -> String {
    breaker(&format!("close_below = {{ {field} }}"))
}

fn budget(field: &str) -> String {
    provider(&format!("budget = {{ {field} }}"))
}

fn credential(field: &str) -> String {
    provider(&format!("credential = {{ {field} }}"))
}

fn hedge(field: &str) -> String {
    root(&format!("hedge = {{ {field} }}"))
}

fn order(field: &str) -> String {
    root(&format!("order = {{ {field} }}"))
}

fn when_unavailable(field: &str) -> String {
    root(&format!("when_unavailable = {{ {field} }}"))
}

/// The level, the field with what goes with it, and what shows it then and does not otherwise.
const ROWS: [(Level, &str, &str); 65] = [
    (root, "attempt_timeout = '7s'", "attempt_timeout: 7s"),
    (root, "deadline = '7m'", "deadline: 420s"),
    (root, "max_attempts = 7", "max_attempts: 7"),
    (root, "replay = 'not_executed'", "replay: NotExecuted"),
    (root, "all_failed = 'error'", "all_failed: Error"),
    (root, "when_unavailable = { wait = 1 }", "when_unavailable: Wait(1.0)"),
    (root, "order = 'listed'", "tiers: false"),
    (root, "order = 'cheapest_first'", "order: Some(CheapestFirst { cost_of_a_second: 0.0 })"),
    (root, "order = 'best_score_first'", "order: Some(BestScoreFirst { margin: 0.05,"),
    (root, "hedge = { after = '2s' }", "hedge: Some(Hedge { quantile: None, after: 2s"),
    (root, "protect_probes = false", "protect_probes: None"),
    (root, "max_keys = 7", "max_keys: 7"),
    (root, "model_defaults = { breaker = { probes = 7 } }", "probes: 7"),
    (order, "by = 'cheapest_first'", "order: Some(CheapestFirst { cost_of_a_second: 0.0 })"),
    (order, "by = 'listed'", "tiers: false"),
    (order, "a_second_costs = 0.25, by = 'cheapest_first'", "cost_of_a_second: 0.25"),
    (order, "margin = 0.25, by = 'best_score_first'", "margin: 0.25"),
    (hedge, "after = '2s'", "hedge: Some(Hedge { quantile: None, after: 2s"),
    (hedge, "quantile = 0.9", "quantile: Some(0.9)"),
    (hedge, "at_least = '70ms', quantile = 0.95", "after: 70ms"),
    (when_unavailable, "wait = 0.25", "when_unavailable: Wait(0.25)"),
    (model_defaults, "breaker = { probes = 7 }", "probes: 7"),
    (provider, "base_url = 'https://a.test/v1'", "base_url: Some(Good(https://a.test/v1))"),
    (provider, "credential = { bearer_env = 'KEY' }", "Credential(authorization)"),
    (provider, "credential_from_request = true", "credential_from_request: true"),
    (provider, "budget = { burst = 7 }", "burst: 7.0"),
    (provider, "breaker = { probes = 7 }", "probes: 7"),
    (provider, "max_in_flight = 7", "max_in_flight: Some(7)"),
    (credential, "bearer_env = 'KEY'", "[\"KEY\"]"),
    (credential, "header = 'X-Own', env = 'KEY'", "Credential(x-own)"),
    (credential, "env = 'OWN_KEY', header = 'x-own'", "[\"OWN_KEY\"]"),
    (budget, "share_of_calls = 0.7", "share_of_calls: 0.7"),
    (budget, "per_second = 0", "per_second: 0.0"),
    (budget, "burst = 7", "burst: 7.0"),
    (model, "upstream_name = 'other'", "upstream_name: Some(\"other\")"),
    (model, "cost = 7", "cost: 7.0"),
    (model, "attempt_timeout = '7s'", "attempt_timeout: Some(7s)"),
    (model, "max_in_flight = 7", "max_in_flight: Some(7)"),
    (model, "latency_counts = true", "latency_counts: true"),
    (model, "fields = { n = [1, { a = 'b' }] }", r#"fields: [("n", "[1,{\"a\":\"b\"}]")]"#),
    (model, "breaker = { probes = 7 }", "probes: 7"),
    (breaker, "trip = []", "trip: []"),
    (breaker, "open_wait = '7s'", "open_wait: 7s"),
    (breaker, "longest_open_wait = '7m'", "longest_open_wait: 420s"),
    (breaker, "jitter = 0", "jitter: 0.0"),
    (breaker, "recovery = '7s'", "recovery: Healthy(7s)"),
    (breaker, "recovery = 'at_close'", "recovery: AtClose"),
    (breaker, "probes = 7", "probes: 7"),
    (breaker, "close_after = { successes = 7 }", "close: Successes { successes: 7, probes: 7 }"),
    (breaker, "close_below = { failure_rate = 0.7, probes = 7 }", "close: FailureRate { below: 0.7, probes: 7 }"),
    (breaker, "ramp = '0s'", "ramp: 0ns"),
    (close_after, "successes = 7", "successes: 7, probes: 7"),
    (close_after, "probes = 7, successes = 2", "successes: 2, probes: 7"),
    (close_below, "failure_rate = 0.7, probes = 7", "below: 0.7"),
    (close_below, "probes = 9, failure_rate = 0.7", "probes: 9"),
    (trip, "consecutive = 7", "trip: [Consecutive { failures: 7, spanning: 0ns }]"),
    (trip, "spanning = '7s', consecutive = 5", "spanning: 7s"),
    (trip, "failure_rate = 0.7", "FailureRate { rate: 0.7, minimum_calls: 10, window: 60s, buckets: 10 }"),
    (trip, "minimum_calls = 7, failure_rate = 0.5", "minimum_calls: 7"),
    (trip, "window = '7s', failure_rate = 0.5", "window: 7s"),
    (trip, "buckets = 7, failure_rate = 0.5", "buckets: 7"),
    (trip, "failure_rate_of_last = 0.7, calls = 7", "FailureRateOfLast { rate: 0.7, calls: 7, minimum_calls: 7 }"),
    (trip, "calls = 9, failure_rate_of_last = 0.7, minimum_calls = 7", "calls: 9, minimum_calls: 7"),
    (
        trip,
        "slow_call_rate = 0.7, slower_than = '7s'",
        "SlowCallRate { rate: 0.7, slower_than: 7s, minimum_calls: 10, window: 60s, buckets: 10 }",
    ),
    (
        trip,
        "slower_than = '7s', slow_call_rate = 1, minimum_calls = 8, window = '9s', buckets = 2",
        "SlowCallRate { rate: 1.0, slower_than: 7s, minimum_calls: 8, window: 9s, buckets: 2 }",
    ),
];

/// The fields of a level, as its error has them for one that it does not have.
pub(crate) fn names(level: Level) -> BTreeSet<String> {
    let error = toml::from_str::<Config>(&level("no_such_field = 1")).expect_err("no such field");
    let list = error.message().strip_prefix("unknown field `no_such_field`, expected ").expect("the fields");
    list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_field_has_an_effect() {
    let without = outcome(&read(SMALL)).unwrap();
    for (level, field, shown) in ROWS {
        let with = outcome(&read(&level(field))).unwrap_or_else(|error| panic!("{field}: {error}"));
        assert!(!without.contains(shown), "{field}: {shown} is there in any case");
        assert!(with.contains(shown), "{field}: no {shown} in {with}");
    }
}

#[test]
fn every_field_is_in_the_table() {
    for (level, rest) in [
        (root as Level, &["providers", "models"][..]),
        (model_defaults, &[]),
        (provider, &["name"]),
        (model, &["name", "provider"]),
        (credential, &[]),
        (budget, &[]),
        (breaker, &[]),
        (trip, &[]),
        (close_after, &[]),
        (close_below, &[]),
        (hedge, &[]),
        (order, &[]),
        (when_unavailable, &[]),
    ] {
        let of_level = ROWS.iter().filter(|(other, ..)| other("x") == level("x"));
        let mut rows: BTreeSet<String> =
            of_level.map(|(_, field, _)| field.split(' ').next().unwrap().to_owned()).collect();
        rows.extend(rest.iter().map(|name| (*name).to_owned()));
        assert_eq!(names(level), rows);
        assert!(rows.iter().all(|name| FULL.contains(name)), "the module's page has them all: {rows:?}");
    }
}

#[test]
fn names_and_order_are_the_files() {
    let config = read(
        "providers = [{ name = 'a' }, { name = 'b' }]
         models = [{ name = 'n', provider = 'b' }, { name = 'm', provider = 'a' }, { name = 'o', provider = 'b' }]",
    );
    let models = config.models().unwrap().build().unwrap();
    let named: Vec<_> = models.iter().map(|model| (model.name().to_owned(), model.provider().to_owned())).collect();
    assert_eq!(named, [("n", "b"), ("m", "a"), ("o", "b")].map(|(name, provider)| (name.into(), provider.into())));
}

#[test]
fn a_models_own_breaker_has_nothing_of_the_default() {
    let config = read(
        "model_defaults = { breaker = { open_wait = '1s', probes = 7 } }
         providers = [{ name = 'a' }]
         models = [{ name = 'm', provider = 'a' }, { name = 'n', provider = 'a', breaker = { open_wait = '2s' } }]",
    );
    let shown = format!("{:?}", config.models().unwrap());
    let of = |name: &str| {
        let breakers = shown.split("{ name: ").find(|part| part.starts_with(name)).unwrap();
        ["open_wait: 1s", "open_wait: 2s", "open_wait: 10s", "probes: 7"].map(|field| breakers.contains(field))
    };
    assert_eq!(of("\"m\""), [true, false, false, true]);
    assert_eq!(of("\"n\""), [false, true, false, false]);
    assert_eq!(of("\"a\""), [false, false, true, false]);
}
