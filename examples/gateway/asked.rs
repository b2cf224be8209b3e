//! What a request asks for: the model of its body, the list of its header, the path behind a base URL.

use http::{HeaderMap, HeaderName, Uri, uri::PathAndQuery};
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The header with a list of models, in place of the one that is configured.
pub const MODELS: HeaderName = HeaderName::from_static("x-failover-models");

/// What a body says of its model.
#[derive(Debug, PartialEq)]
pub enum Asked {
    Model(String),
    /// It is JSON without a model, or no JSON at all.
    Nothing,
    /// Its model is no string.
    NoName,
}

/// Of a model that is there twice the last counts. Nothing but names is looked at, at any depth.
pub fn model(body: &[u8]) -> Asked {
    let mut json = serde_json::Deserializer::from_slice(body);
    let found = json.deserialize_map(TopLevel).and_then(|found| json.end().map(|()| found));
    match found {
        Ok(Some(value)) => serde_json::from_str(value.get()).map_or(Asked::NoName, Asked::Model),
        Ok(None) | Err(_) => Asked::Nothing,
    }
}

struct TopLevel;

impl<'de> Visitor<'de> for TopLevel {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some((name, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            // A name that is no Unicode text is none of ours.
            if serde_json::from_str::<String>(name.get()).is_ok_and(|name| name == "model") {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

/// The list of the header, if it is there; `Err` if it is no text.
pub fn list(headers: &HeaderMap) -> Result<Option<Vec<String>>, ()> {
    let mut names = Vec::new();
    for value in headers.get_all(MODELS) {
        let value = value.to_str().map_err(drop)?;
        names.extend(value.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned));
    }
    Ok(headers.contains_key(MODELS).then_some(names))
}

/// The path and the query behind a provider's base URL: without the `/v1` that clients write, and that base URLs have.
/// `None` for a path that would lead out of there.
pub fn path(uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let path = match path.strip_prefix("/v1") {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => rest,
        _ => path,
    };
    let segments = path.split('?').next().unwrap_or_default().split(['/', '\\']);
    let leads_out = |segment: &str| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..");
    if segments.into_iter().any(leads_out) {
        return None;
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    format!("{slash}{path}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_of_a_body() {
        let model = |body: &str| super::model(body.as_bytes());
        let named = |name: &str| Asked::Model(name.to_owned());
        assert_eq!(model(r#"{"messages": [{"model": "no"}], "model": "gpt"}"#), named("gpt"));
        assert_eq!(model(r#"{"model": "first", "mod\u0065l": "l\u0061st", "\ud800": 1}"#), named("last"));
        for body in ["", "{}", "[]", r#""model""#, r#"{"Model": "gpt"}"#, r#"{"model": "gpt""#, r#"{"model": "gpt"} x"#]
        {
            assert_eq!(model(body), Asked::Nothing, "{body}");
        }
        for body in [r#"{"model": 5}"#, r#"{"model": null}"#, r#"{"model": ["gpt"]}"#, r#"{"model": "\ud800"}"#] {
            assert_eq!(model(body), Asked::NoName, "{body}");
        }
        let deep = format!(r#"{{"a": {}{}, "model": "gpt"}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(model(&deep), named("gpt"));
    }

    #[test]
    fn the_path_behind_a_base_url() {
        let path = |path: &str| super::path(&path.parse().expect("a URI")).map(|uri| uri.to_string());
        for (from, to) in [
            ("/v1/chat/completions?a=b%2F..", "/chat/completions?a=b%2F.."),
            ("/v1", "/"),
            ("/v1?a=/../b", "/?a=/../b"),
            ("/v1beta/models", "/v1beta/models"),
            ("/v2/v1/x", "/v2/v1/x"),
            ("http://elsewhere.example/v1/x...y/..z", "/x...y/..z"),
        ] {
            assert_eq!(path(from).as_deref(), Some(to), "{from}");
        }
        for out in ["/v1/..", "/../x", "/v1/a/./b", "/v1/%2e%2E/x", "/v1/.%2e", "/v1/..\\x"] {
            assert_eq!(path(out), None, "{out}");
        }
    }
}
