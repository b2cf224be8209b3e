//! The status as JSON: durations in milliseconds, as numbers; what is not known is null.

use crate::{
    machine::history::HistoryCell,
    models::{BreakerSnapshot, History, Past, Snapshot},
};
use serde_json::{Value, json};
use std::time::Duration;

pub(super) fn json(snapshot: &Snapshot, history: &History) -> Value {
    let models = snapshot.models.iter().zip(&history.models).map(|(model, past)| {
        let mut value = breaker(&model.breaker);
        extend(
            &mut value,
            json!({
                "name": model.name,
                "provider": model.provider,
                "tier": model.tier.to_string(),
                "score": model.score,
                "latency_factor": model.latency_factor,
                "outcomes": model.outcomes,
                "usual_latency_ms": ms(model.usual_latency),
                "usual_first_byte_ms": ms(model.usual_first_byte),
                "in_flight": model.in_flight,
                "calls": model.calls,
            }),
        );
        extend(&mut value, self::past(past));
        value
    });
    let providers = snapshot.providers.iter().zip(&history.providers).map(|(provider, past)| {
        let mut value = breaker(&provider.breaker);
        extend(
            &mut value,
            json!({
                "name": provider.name,
                "budget_left": provider.budget_left,
                "in_flight": provider.in_flight,
                "calls": provider.calls,
            }),
        );
        extend(&mut value, self::past(past));
        value
    });
    json!({
        "models": models.collect::<Vec<_>>(),
        "providers": providers.collect::<Vec<_>>(),
        "history_cell_ms": ms(Some(crate::machine::history::HISTORY_CELL)),
    })
}

fn breaker(breaker: &BreakerSnapshot) -> Value {
    json!({
        "state": breaker.state.to_string(),
        "cause": breaker.cause.map(|cause| cause.to_string()),
        "for_ms": ms(Some(breaker.for_time)),
        "retry_in_ms": ms(breaker.retry_in),
        "cooldown_ms": ms(breaker.cooldown),
        "shadow": breaker.shadow,
        "consecutive_failures": breaker.consecutive_failures,
        "window": breaker.window.map(|window| json!({"successes": window.successes, "failures": window.failures})),
        "probes": breaker.probes,
    })
}

/// The cells are the oldest first; the last is under way.
fn past(past: &Past) -> Value {
    let cell = |cell: &HistoryCell| json!({"succeeded": cell.succeeded, "failures": cell.failures, "not_closed": cell.not_closed});
    let errors = past.errors.iter().map(
        |error| json!({"ago_ms": ms(Some(error.ago)), "took_ms": ms(Some(error.took)), "why": error.why.to_string()}),
    );
    json!({
        "history": past.cells.iter().map(cell).collect::<Vec<_>>(),
        "errors": errors.collect::<Vec<_>>(),
    })
}

fn ms(time: Option<Duration>) -> Option<u64> {
    time.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn extend(value: &mut Value, more: Value) {
    if let (Value::Object(value), Value::Object(more)) = (value, more) {
        value.extend(more);
    }
}
