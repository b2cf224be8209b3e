//! What is wrong says where it is.

use crate::{SMALL, outcome, read};
use tower_failover::{Config, ConfigError};

const MODEL: &str = "[[models]]\nname = 'm'\nprovider = 'a'\n";
const PROVIDER: &str = "[[providers]]\nname = 'a'\n";
const BREAKER: &str = "[[models]]\nname = 'm'\nprovider = 'a'\n[models.breaker]\n";
const TRIP: &str = "[[models]]\nname = 'm'\nprovider = 'a'\n[models.breaker]\ntrip = [\n{ consecutive = 5 },\n";

/// Line, column and message of the error for this file, in TOML.
#[track_caller]
fn error(file: &str) -> (usize, usize, String) {
    let error = toml::from_str::<Config>(file).expect_err(file);
    let shown = error.to_string();
    let place = shown.strip_prefix("TOML parse error at line ").and_then(|rest| rest.lines().next());
    let (line, column) = place.and_then(|place| place.split_once(", column ")).unwrap_or_else(|| panic!("{shown}"));
    (line.parse().unwrap(), column.parse().unwrap(), error.message().to_owned())
}

#[track_caller]
fn assert_error(file: &str, line: usize, column: usize, message: &str) {
    assert_eq!(error(file), (line, column, message.to_owned()), "{file}");
}

#[test]
fn a_field_that_does_not_exist_is_named_with_its_place() {
    let rows = [
        ("deadlin = '1s'\n".to_owned() + SMALL, (1, 1)),
        ("# A comment.\n[model_defaults]\nbreaker = {}\ndeadlin = '1s'".to_owned(), (4, 1)),
        (PROVIDER.to_owned() + "deadlin = '1s'", (3, 1)),
        (PROVIDER.to_owned() + "[providers.budget]\ndeadlin = '1s'", (4, 1)),
        (PROVIDER.to_owned() + "budget = { burst = 1, deadlin = '1s' }", (3, 23)),
        (PROVIDER.to_owned() + "credential = { deadlin = '1s' }", (3, 16)),
        (PROVIDER.to_owned() + "[providers.breaker]\ndeadlin = '1s'", (4, 1)),
        (MODEL.to_owned() + "deadlin = '1s'", (4, 1)),
        (MODEL.to_owned() + &MODEL.replace("'m'", "'n'") + "  deadlin = '1s'", (7, 3)),
        (BREAKER.to_owned() + "deadlin = '1s'", (5, 1)),
        (BREAKER.to_owned() + "close_after = { successes = 1, deadlin = '1s' }", (5, 32)),
        (BREAKER.to_owned() + "close_below = { deadlin = '1s' }", (5, 17)),
        (TRIP.to_owned() + "{ failure_rate = 0.5, deadlin = '1s' }]", (7, 23)),
        ("deadline = '1s'\nhedge = { deadlin = '1s' }".to_owned(), (2, 11)),
        ("order = { by = 'tiers', deadlin = '1s' }".to_owned(), (1, 25)),
        ("when_unavailable = { deadlin = '1s' }".to_owned(), (1, 22)),
    ];
    for (file, place) in rows {
        let (line, column, message) = error(&file);
        assert_eq!((line, column), place, "{file}");
        assert!(message.starts_with("unknown field `deadlin`, expected"), "{file}: {message}");
    }
    let file = "{\n  \"providers\": [],\n  \"models\": [\n    { \"name\": \"m\", \"provder\": \"a\" }\n  ]\n}";
    let error = serde_json::from_str::<Config>(file).unwrap_err();
    assert_eq!((error.line(), error.column()), (4, 28));
    assert!(error.to_string().starts_with("unknown field `provder`, expected one of `name`, `provider`, "), "{error}");
}

#[test]
fn durations_have_units() {
    let rows = [
        ("30", "invalid type: integer `30`, expected a duration with its unit, such as \"30s\""),
        ("1.5", "invalid type: floating point `1.5`, expected a duration with its unit, such as \"30s\""),
        ("'30'", "`30` is no duration: the unit is missing, as in \"30s\""),
        ("'0'", "`0` is no duration: the unit is missing, as in \"0s\""),
        ("'-30s'", "`-30s` is no duration: it must not be negative"),
        ("'5M'", "`5M` is no duration: `M` would be months; minutes are `m` or `min`"),
        ("'18446744073709551615s 1s'", "`18446744073709551615s 1s` is no duration: it is too long"),
        ("''", "`` is no duration: it is empty; expected one such as \"30s\""),
    ];
    for (value, message) in rows {
        assert_error(&format!("max_attempts = 1\ndeadline = {value}"), 2, 12, message);
        assert_error(&format!("{MODEL}attempt_timeout = {value}"), 4, 19, message);
        assert_error(&format!("{BREAKER}jitter = 0\nopen_wait = {value}"), 6, 13, message);
        assert_error(&format!("{TRIP}{{ failure_rate = 1, window = {value} }}]"), 7, 30, message);
    }
    let long = error("deadline = '18446744073709551616s'");
    assert_eq!((long.0, long.1), (1, 12));
    assert!(long.2.contains("number is too large"), "{}", long.2);
}

#[test]
fn values_that_cannot_be_say_what_can() {
    let replay = "unknown variant `never`, expected `maybe` or `not_executed`";
    assert_error("deadline = '1s'\nreplay = 'never'", 2, 10, replay);
    assert_error("all_failed = 'never'", 1, 14, "unknown variant `never`, expected `last_response` or `error`");
    let orders = "unknown variant `never`, expected one of `tiers`, `listed`, `cheapest_first`, `best_score_first`";
    assert_error("order = 'never'", 1, 9, orders);
    assert_error("order = { by = 'never' }", 1, 16, orders);
    assert_error("order = { margin = 0.1 }", 1, 9, "missing field `by`");
    assert_error("order = { by = 'tiers', margin = 0.1 }", 1, 9, "`margin` goes with `best_score_first` only");
    let error = "`a_second_costs` goes with `cheapest_first` only";
    assert_error("order = { by = 'best_score_first', a_second_costs = 1 }", 1, 9, error);
    let error = "order: margin is `2`: must lie between 0 and 1";
    assert_error("order = { by = 'best_score_first', margin = 2 }", 1, 9, error);
    let error = "order: a_second_costs is `-1`: must be a finite number that is not negative";
    assert_error("order = { by = 'cheapest_first', a_second_costs = -1 }", 1, 9, error);
    let when = "when_unavailable is `0`: must be above 0 and at most 1";
    assert_error("when_unavailable = { wait = 0 }", 1, 20, when);
    let when = "unknown word `wait`, expected \"fail\", or a table with `wait`";
    assert_error("when_unavailable = 'wait'", 1, 20, when);
    let hedges = "expected a table with either `after` or `quantile`";
    for hedge in ["'2s'", "{}", "{ at_least = '1s' }", "{ after = '1s', quantile = 0.5 }"] {
        assert_error(&format!("hedge = {hedge}"), 1, 9, hedges);
    }
    assert_error("hedge = { after = '1s', at_least = '2s' }", 1, 9, "`at_least` does not go with `after`");
    assert_error("hedge = { quantile = 1 }", 1, 9, "hedge: quantile is `1`: must lie between 0 and 1");
    assert_error("hedge = { after = '0s' }", 1, 9, "hedge: after is `0ns`: must be longer than zero");
    assert_error("max_attempts = -1", 1, 16, "invalid value: integer `-1`, expected u32");
    assert_error("[[models]]\nname = 'm'", 1, 1, "missing field `provider`");
    let error = "`at` has a date, which JSON has only as a string";
    assert_error(&format!("{MODEL}fields = {{ at = [{{ day = 2026-01-01 }}] }}"), 4, 10, error);
}

#[test]
fn breakers_and_budgets_that_cannot_work() {
    // At the table's own place.
    let breaker = |field: &str, message: &str| assert_error(&format!("{BREAKER}{field}"), 4, 1, message);
    breaker("open_wait = '0s'", "open_wait is `0ns`: must be longer than zero");
    breaker("longest_open_wait = '5s'", "longest_open_wait is `5s`: must not be below its lower bound");
    breaker("jitter = 1.5", "jitter is `1.5`: must lie between 0 and 1");
    breaker("jitter = nan", "jitter is `NaN`: must lie between 0 and 1");
    breaker("recovery = '0s'", "recovery is `0ns`: must be longer than zero");
    breaker("probes = 0", "probes is `0`: must be at least 1");
    breaker("close_after = { successes = 0 }", "close_after.successes is `0`: must be at least 1");
    let error = "close_after.probes is `1`: must not be below the successes asked for";
    breaker("close_after = { successes = 2, probes = 1 }", error);
    let error = "close_below.failure_rate is `0`: must be above 0";
    breaker("close_below = { failure_rate = 0, probes = 1 }", error);
    let both = "close_after = { successes = 1 }\nclose_below = { failure_rate = 0.5, probes = 1 }";
    breaker(both, "`close_after` and `close_below` exclude each other");
    let recovery = "`soon` is no duration: expected number at 0 (nor is it `at_close`)";
    assert_error(&format!("{BREAKER}recovery = 'soon'"), 5, 12, recovery);
    let recovery = "invalid type: integer `60`, expected \"at_close\", or a duration with its unit, such as \"60s\"";
    assert_error(&format!("{BREAKER}recovery = 60"), 5, 12, recovery);
    let error = "invalid type: integer `2`, expected a table with `successes` and `probes`";
    assert_error(&format!("{BREAKER}close_after = 2"), 5, 15, error);
    assert_error(&format!("{MODEL}breaker = 'fast'"), 4, 11, "expected the table of a breaker");
    assert_error(&format!("{PROVIDER}[providers.breaker]\nprobes = 0"), 3, 1, "probes is `0`: must be at least 1");
    assert_error("\n[model_defaults.breaker]\nprobes = 0", 2, 1, "probes is `0`: must be at least 1");

    let trip = |rule: &str, message: &str| assert_error(&format!("{TRIP} {rule}]"), 7, 2, message);
    trip("{ consecutive = 0 }", "consecutive is `0`: must be at least 1");
    trip("{ failure_rate = 2 }", "failure_rate is `2`: must lie between 0 and 1");
    trip("{ failure_rate = 0.5, minimum_calls = 0 }", "minimum_calls is `0`: must be at least 1");
    trip("{ failure_rate = 0.5, window = '9ms' }", "window is `9ms`: must give each bucket at least 1 ms");
    trip("{ failure_rate = 0.5, buckets = 0 }", "buckets is `0`: must be at least 1");
    trip("{ failure_rate = 0.5, calls = 5 }", "`calls` does not go with `failure_rate`");
    trip("{ consecutive = 5, window = '5s' }", "`window` does not go with `consecutive`");
    trip("{ failure_rate_of_last = 0.5 }", "`failure_rate_of_last` needs `calls`");
    let error = "failure_rate_of_last is `0`: must be above 0";
    trip("{ failure_rate_of_last = 0, calls = 9 }", error);
    let error = "minimum_calls is `10`: must not be above the calls of the window";
    trip("{ failure_rate_of_last = 0.5, calls = 9, minimum_calls = 10 }", error);
    trip("{ slow_call_rate = 0.5 }", "`slow_call_rate` needs `slower_than`");
    let error = "slower_than is `0ns`: must be longer than zero";
    trip("{ slow_call_rate = 0.5, slower_than = '0s' }", error);
    for rule in ["buckets = 1", "calls = 1", "minimum_calls = 1", "slower_than = '1s'", "window = '1s'"] {
        let name = rule.split(' ').next().unwrap();
        trip(&format!("{{ consecutive = 1, {rule} }}"), &format!("`{name}` does not go with `consecutive`"));
    }
    trip("{ slow_call_rate = 1, spanning = '1s' }", "`spanning` does not go with `slow_call_rate`");
    let kinds = "a rule with `consecutive`, `failure_rate`, `failure_rate_of_last` or `slow_call_rate`";
    trip("{}", &format!("expected {kinds}"));
    trip("'often'", &format!("expected {kinds}"));
    trip("{ consecutive = 5, failure_rate = 0.5 }", &format!("expected one rule, not several: {kinds}"));

    let budget = |field: &str, message: &str| {
        assert_error(&format!("{PROVIDER}max_in_flight = 1\nbudget = {{ {field} }}"), 4, 10, message);
    };
    budget("share_of_calls = 1.5", "budget.share_of_calls is `1.5`: must lie between 0 and 1");
    budget("per_second = -1", "budget.per_second is `-1`: must be a finite number that is not negative");
    budget("burst = inf", "budget.burst is `inf`: must be a finite number that is not negative");
}

#[test]
fn a_base_url_that_cannot_work_has_its_place() {
    for (url, message) in [
        ("new.test", "base_url is `new.test`: must begin with http:// or https:// and a host"),
        ("https://a.test?b", "base_url is `https://a.test?…`: must have neither a query nor a fragment"),
    ] {
        assert_error(&format!("{PROVIDER}base_url = '{url}'"), 3, 12, message);
    }
}

#[test]
fn json_has_lines_and_columns_too() {
    let file = |rule: &str| {
        format!(
            "{{\n\"models\": [\n{{ \"name\": \"m\", \"provider\": \"a\",\n\"breaker\": {{ \"trip\": [\n{rule}\n] }} }}] }}"
        )
    };
    for (rule, column, message) in [
        (r#"{ "consecutive": 5, "spannin": "1s" }"#, 29, "unknown field `spannin`, expected one of `consecutive`, "),
        (r#"{ "consecutive": 0 }"#, 20, "consecutive is `0`: must be at least 1 at line 5 column 20"),
        (r#"{ "consecutive": 5, "spanning": 1 }"#, 33, "invalid type: integer `1`, expected a duration with its unit"),
    ] {
        let error = serde_json::from_str::<Config>(&file(rule)).unwrap_err();
        assert_eq!((error.line(), error.column()), (5, column), "{error}");
        assert!(error.to_string().starts_with(message), "{error}");
    }
}

#[track_caller]
fn assert_wrong(file: &str, field: &str, value: &str) {
    let error: ConfigError = outcome(&read(file)).expect_err(field);
    assert_eq!((error.field(), error.value()), (field, value));
}

#[test]
fn what_only_the_whole_shows_is_an_error_of_the_whole() {
    let model = |field: &str| format!("{PROVIDER}{MODEL}{field}");
    assert_wrong("", "models", "[]");
    assert_wrong(PROVIDER, "models", "[]");
    assert_wrong(MODEL, "model `m`: provider", "a");
    assert_wrong(&format!("{PROVIDER}{MODEL}{MODEL}"), "models", "m");
    assert_wrong(&format!("{PROVIDER}{PROVIDER}{MODEL}"), "providers", "a");
    assert_wrong(&model("upstream_name = ''"), "model `m`: upstream_name", "");
    assert_wrong(&model("cost = -0.5"), "model `m`: cost", "-0.5");
    assert_wrong(&model("attempt_timeout = '0s'"), "model `m`: attempt_timeout", "0ns");
    assert_wrong(&model("max_in_flight = 0"), "model `m`: max_in_flight", "0");
    assert_wrong(&format!("{PROVIDER}max_in_flight = 0\n{MODEL}"), "provider `a`: max_in_flight", "0");
    assert_wrong(&format!("max_keys = 0\n{SMALL}"), "max_keys", "0");
    // Those of the layer, already where the registry is described.
    for (line, field, value) in [
        ("attempt_timeout = '0s'", "attempt_timeout", "0ns"),
        ("deadline = '0s'", "deadline", "0ns"),
        ("max_attempts = 0", "max_attempts", "0"),
    ] {
        let config = read(&format!("{line}\n{SMALL}"));
        let error = config.models().expect_err(field);
        assert_eq!((error.field(), error.value()), (field, value));
        let sound = read(SMALL).models().unwrap().build().unwrap();
        assert_eq!(tower_failover::FailoverLayer::builder(sound).configure(&config).unwrap_err(), error);
    }
}

#[test]
fn what_code_changes_is_checked_again() {
    let mut config = read(SMALL);
    config.providers[0].base_url = Some("new.test".to_owned());
    assert_eq!(config.models().unwrap_err().field(), "provider `a`: base_url");
    config.providers[0].base_url = Some("http://127.0.0.1:80".to_owned());
    assert!(config.models().is_ok());
    config.hedge = Some(tower_failover::Hedge::quantile(f64::NAN));
    assert_eq!(config.models().unwrap_err().field(), "hedge: quantile");
    config.hedge = None;
    config.models[0].breaker = Some(tower_failover::BreakerConfig::default().probes(0));
    assert_eq!(config.models().unwrap_err().field(), "model `m`: breaker: probes");
}
