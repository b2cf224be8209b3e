//! The error object of OpenAI, which many other vendors give too.

use super::{Charge, Next, Ours, Verdict, http::row};
use http::StatusCode;
use serde_json::{Map, Value};
use std::time::Duration;

/// What a code means.
#[derive(Clone, Copy)]
enum Means {
    /// What this status means, whatever that of the answer is.
    Status(u16),
    /// Too much for this model, but perhaps not for the next.
    TooMuch,
    /// A request that is wrong, where a status does not say it better: in a stream, and for a 404, which without this
    /// is taken for "no such model".
    Wrong,
}
use Means::{Status, TooMuch, Wrong};

/// The codes that say more than a status. Sources: OpenAI's guide to error codes; `DeploymentNotFound` is Azure's;
/// `overloaded_error` and `rate_limit_error` are Anthropic's, and come in its streams.
const CODES: [(&str, Means); 12] = [
    ("context_length_exceeded", TooMuch),
    ("model_not_found", Status(404)),
    ("DeploymentNotFound", Status(404)),
    ("insufficient_quota", Status(402)),
    ("billing_hard_limit_reached", Status(402)),
    ("billing_not_active", Status(402)),
    ("invalid_api_key", Status(401)),
    ("rate_limit_exceeded", Status(429)),
    ("rate_limit_error", Status(429)),
    ("server_error", Status(500)),
    ("overloaded_error", Status(529)),
    ("invalid_request_error", Wrong),
];

/// What a known code means in an answer with this status, or in a stream; `None` if it says no more than that.
pub(super) fn verdict(
    code: &str,
    status: Option<StatusCode>,
    ours: Ours,
    asked: impl FnOnce() -> Option<Duration>,
) -> Option<Verdict> {
    let (_, means) = CODES.iter().find(|(known, _)| *known == code)?;
    match means {
        Status(status) => StatusCode::from_u16(*status).ok().map(|status| row(status, ours, asked)),
        TooMuch => Some(Verdict { next: Next::TryNext, charge: Charge::Nobody, ..Verdict::callers_fault() }),
        Wrong => matches!(status, None | Some(StatusCode::NOT_FOUND)).then(Verdict::callers_fault),
    }
}

/// The code of the error in this body, or without one its type: `{"error": {"code": .., "type": ..}}`, or the same
/// without the outer object.
pub(super) fn code(body: &[u8]) -> Option<Box<str>> {
    let Ok(Value::Object(body)) = serde_json::from_slice(body) else { return None };
    let error = match body.get("error") {
        Some(Value::Object(error)) => error,
        _ => &body,
    };
    name(error, "code").or_else(|| name(error, "type"))
}

/// One that could be a name: it goes into log lines.
fn name(error: &Map<String, Value>, field: &str) -> Option<Box<str>> {
    let name = error.get(field)?.as_str()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (!name.is_empty() && name.len() <= 64 && name.bytes().all(plain)).then(|| name.into())
}
