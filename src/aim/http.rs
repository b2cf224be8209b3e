//! Aiming an HTTP request: base URL, credential, path segment, header, fields of a JSON body.

use super::{
    Aim, AimError, Target,
    body::{BodyAim, JsonFields, Untouched},
};
use crate::{
    classify::Ours,
    model::{Credential, Provider},
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, header, request::Parts, uri::PathAndQuery};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What a request may carry for somewhere else.
const CREDENTIALS: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-goog-api-key"),
    HeaderName::from_static("openai-organization"),
];

/// What a path segment may hold as it is: unreserved characters of RFC 3986, section 2.3.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Points an HTTP request at a model.
///
/// Always: the provider's base URL, if it has one, takes the place of scheme and host, and its path goes before the
/// request's own; the request's credentials are removed unless the provider takes them
/// ([`Provider::credential_from_request`]); the provider's credential is added. A `host` header is dropped when the
/// host changes, and a `content-length` follows the body.
///
/// On request, the model's name is written to where the upstream reads it: a field of the JSON body, a segment of the
/// path, a header.
///
/// ```
/// use tower_failover::HttpAim;
///
/// // {"model": "…", …}
/// let openai = HttpAim::new().json_field("model");
/// // POST /deployments/{model}/images
/// let azure = HttpAim::new().path_placeholder("{model}");
/// ```
#[derive(Debug, Clone)]
pub struct HttpAim<J = Untouched> {
    placeholder: Option<Box<str>>,
    header: Option<HeaderName>,
    body: J,
}

impl HttpAim {
    /// Base URL and credential only.
    pub fn new() -> Self {
        Self { placeholder: None, header: None, body: Untouched }
    }

    /// Writes the model's name into this top-level field of the JSON body, and the
    /// [fields of its configuration](crate::Model::field) beside it. The body must be there as a whole:
    /// [`WholeBody`](super::WholeBody).
    ///
    /// A body that is no JSON object, or lacks the field, is an [`AimError`], and nobody is asked. All other bytes of
    /// the body stay as they are.
    pub fn json_field(self, name: impl Into<String>) -> HttpAim<JsonFields> {
        self.body(JsonFields::new(name))
    }
}

impl Default for HttpAim {
    fn default() -> Self {
        Self::new()
    }
}

impl<J> HttpAim<J> {
    /// Aims the body in a way of your own.
    pub fn body<B>(self, body: B) -> HttpAim<B> {
        HttpAim { placeholder: self.placeholder, header: self.header, body }
    }

    /// Puts the model's name, percent-encoded, in the place of this text in the request's path, where it may be
    /// percent-encoded too. A path without it is an [`AimError`].
    pub fn path_placeholder(mut self, placeholder: impl Into<String>) -> Self {
        self.placeholder = Some(placeholder.into().into());
        self
    }

    /// Sends the model's name in this header.
    pub fn header(mut self, name: HeaderName) -> Self {
        self.header = Some(name);
        self
    }

    fn aim_parts(&self, target: Target<'_>, parts: &mut Parts) -> Result<(), AimError> {
        let name = target.model().get_upstream_name();
        self.aim_uri(target.provider(), name, parts)?;
        set_credentials(target.provider(), &mut parts.headers);
        if let Some(header) = &self.header {
            let value = HeaderValue::from_str(name).map_err(|_| AimError::NotAHeader { name: name.to_owned() })?;
            parts.headers.insert(header, value);
        }
        Ok(())
    }

    fn aim_uri(&self, provider: &Provider, name: &str, parts: &mut Parts) -> Result<(), AimError> {
        let base = provider.get_base_url();
        if base.is_none() && self.placeholder.is_none() {
            return Ok(());
        }
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let path = match self.placeholder.as_deref() {
            Some(placeholder) => fill(path, placeholder, name)?,
            None => path.to_owned(),
        };
        let not_a_url = |path: &str| {
            let path = path.split('?').next().unwrap_or_default();
            AimError::NotAUrl { path: path.to_owned() }
        };
        let mut uri = parts.uri.clone().into_parts();
        let prefix = base.map_or("", |base| base.path().trim_end_matches('/'));
        let slash = if path.starts_with('/') { "" } else { "/" };
        uri.path_and_query = Some(format!("{prefix}{slash}{path}").parse().map_err(|_| not_a_url(&path))?);
        if let Some(base) = base {
            uri.scheme = base.scheme().cloned();
            uri.authority = base.authority().cloned();
            parts.headers.remove(header::HOST);
        }
        parts.uri = Uri::from_parts(uri).map_err(|_| not_a_url(&path))?;
        Ok(())
    }
}

/// The path with the name in its placeholder's place. The query stays as it is.
fn fill(path_and_query: &str, placeholder: &str, name: &str) -> Result<String, AimError> {
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let encode = |text| utf8_percent_encode(text, SEGMENT).to_string();
    let encoded = encode(placeholder);
    let found = [placeholder, &encoded].into_iter().find(|form| !form.is_empty() && path.contains(form));
    let found =
        found.ok_or_else(|| AimError::NoPlaceholder { placeholder: placeholder.to_owned(), path: path.to_owned() })?;
    let mut filled = path.replace(found, &encode(name));
    if let Some(query) = query {
        filled.push('?');
        filled.push_str(query);
    }
    Ok(filled)
}

fn set_credentials(provider: &Provider, headers: &mut HeaderMap) {
    if !provider.takes_credential_from_request() {
        for name in &CREDENTIALS {
            headers.remove(name);
        }
    }
    if let Some((name, value)) = provider.get_credential().and_then(Credential::line) {
        if !headers.contains_key(name) || !provider.takes_credential_from_request() {
            headers.insert(name, value.clone());
        }
    }
}

impl<B, J: BodyAim<B>> Aim<Request<B>> for HttpAim<J> {
    type Request = Request<B>;

    fn aim(&self, target: Target<'_>, request: Request<B>) -> Result<Request<B>, AimError> {
        let (mut parts, body) = request.into_parts();
        self.aim_parts(target, &mut parts)?;
        let (body, length) = self.body.aim(target, body)?;
        if let (Some(length), header::Entry::Occupied(mut header)) =
            (length, parts.headers.entry(header::CONTENT_LENGTH))
        {
            header.insert(length.into());
        }
        Ok(Request::from_parts(parts, body))
    }

    fn ours(&self, target: Target<'_>, request: &Request<B>) -> Ours {
        let credential = target.provider().get_credential().and_then(Credential::line);
        Ours {
            name: J::WRITES_NAME || self.placeholder.is_some() || self.header.is_some(),
            credential: credential.is_some_and(|(name, value)| request.headers().get(name) == Some(value)),
        }
    }
}
