//! Whatever a file says: a configuration that can be built, or an error that says something.

use crate::{FULL, outcome};
use proptest::{collection::vec, prelude::*, sample::Index};
use serde_json::{Map, Value, json};
use tower_failover::Config;

/// Every name of a field, and one that is none.
const NAMES: [&str; 52] = [
    "attempt_timeout",
    "deadline",
    "max_attempts",
    "replay",
    "all_failed",
    "when_unavailable",
    "order",
    "hedge",
    "protect_probes",
    "max_keys",
    "model_defaults",
    "providers",
    "models",
    "wait",
    "by",
    "a_second_costs",
    "margin",
    "after",
    "quantile",
    "at_least",
    "breaker",
    "trip",
    "open_wait",
    "longest_open_wait",
    "jitter",
    "recovery",
    "probes",
    "close_after",
    "close_below",
    "ramp",
    "successes",
    "failure_rate",
    "consecutive",
    "spanning",
    "failure_rate_of_last",
    "calls",
    "minimum_calls",
    "slow_call_rate",
    "slower_than",
    "window",
    "buckets",
    "name",
    "base_url",
    "credential",
    "credential_from_request",
    "budget",
    "share_of_calls",
    "max_in_flight",
    "provider",
    "upstream_name",
    "fields",
    "none",
];

/// What is not nested.
fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-2_i64..5).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (0.0..2.0).prop_map(Value::from),
        "[0-9]{1,20}(\\.[0-9]{1,3})?(ns|us|ms|s|m|h|d|w|y|M)?( 1000000000ns)?".prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["a", "m", "nexa", "sdxl", "fail", "tiers", "best_score_first", "maybe", "error"])
            .prop_map(Value::from),
        Just(json!("at_close")),
        Just(json!("https://a.test/v1")),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 6, |inner| {
        let field = (prop::sample::select(&NAMES[..]), inner.clone());
        prop_oneof![
            vec(inner, 0..4).prop_map(Value::from),
            vec(field, 0..5).prop_map(|fields| {
                Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
            }),
        ]
    })
}

/// What is described can be built; what is wrong says something.
fn check(config: &Config) -> Result<(), TestCaseError> {
    match config.models_with(|_| Some("any".to_owned())) {
        Ok(_) => prop_assert!(outcome(config).is_ok()),
        Err(error) => prop_assert!(!error.field().is_empty() && !error.problem().is_empty()),
    }
    prop_assert_ne!(format!("{config:?}"), "");
    Ok(())
}

/// Every place in it, as a JSON pointer.
fn places(value: &Value, at: String, all: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| places(value, format!("{at}/{name}"), all)),
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(index, value)| places(value, format!("{at}/{index}"), all));
        }
        _ => {}
    }
    all.push(at);
}

proptest! {
    #[test]
    fn any_value(value in value()) {
        if let Ok(config) = serde_json::from_value::<Config>(value) {
            check(&config)?;
        }
    }

    #[test]
    fn the_full_file_with_other_values(changes in vec((any::<Index>(), value()), 1..4)) {
        let table: toml::Table = toml::from_str(FULL).unwrap();
        let mut full = serde_json::to_value(table).unwrap();
        for (place, value) in changes {
            let mut all = Vec::new();
            places(&full, String::new(), &mut all);
            *full.pointer_mut(place.get::<String>(&all)).unwrap() = value;
        }
        match serde_json::from_str::<Config>(&full.to_string()) {
            Ok(config) => check(&config)?,
            Err(error) => prop_assert!(error.line() == 1 && !error.to_string().is_empty(), "{error}"),
        }
    }

    #[test]
    fn the_full_file_with_other_leaves(place in any::<Index>(), value in leaf()) {
        let table: toml::Table = toml::from_str(FULL).unwrap();
        let mut full = serde_json::to_value(table).unwrap();
        let mut all = Vec::new();
        places(&full, String::new(), &mut all);
        all.retain(|place| !full.pointer(place).unwrap().is_object() && !full.pointer(place).unwrap().is_array());
        *full.pointer_mut(place.get::<String>(&all)).unwrap() = value;
        if let Ok(config) = serde_json::from_value::<Config>(full) {
            check(&config)?;
        }
    }

    #[test]
    fn the_full_file_with_slips_of_the_pen(
        slips in vec((any::<Index>(), 0_usize..12, "[a-z0-9_={}\\[\\]\"'.,# \\n-]{0,3}"), 1..4),
    ) {
        let mut file = FULL.to_owned();
        for (place, gone, put) in slips {
            let from = place.index(file.len());
            let to = (from + gone).min(file.len());
            file.replace_range(from..to, &put);
        }
        match toml::from_str::<Config>(&file) {
            Ok(config) => check(&config)?,
            Err(error) => prop_assert!(error.to_string().starts_with("TOML parse error at line "), "{error}"),
        }
    }
}
