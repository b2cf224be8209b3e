//! The beginning of a response body, read before the response is handed on.

#[allow(dead_code, unreachable_pub)]
mod events;
