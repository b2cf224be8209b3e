//! Aiming an HTTP request: base URL, credential, path segment, header, fields of a JSON body.

use super::{
    Aim, AimError, Target,
    body::{BodyAim, JsonFields, Untouched},
};
use crate::{
    classify::Ours,
    model::{Credential, Provider},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Request, Uri, header,
    uri::{self, PathAndQuery},
};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::borrow::Cow;

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
    pub(crate) body: J,
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

    /// Credentials, the header with the model's name, and no `host` of somewhere else.
    pub(crate) fn aim_headers(&self, target: Target<'_>, headers: &mut HeaderMap) -> Result<(), AimError> {
        let name = target.model().get_upstream_name();
        if target.provider().get_base_url().is_some() && headers.keys().any(|name| *name == header::HOST) {
            headers.remove(header::HOST);
        }
        set_credentials(target.provider(), headers);
        if let Some(header) = &self.header {
            let value = HeaderValue::from_str(name).map_err(|_| AimError::NotAHeader { name: name.to_owned() })?;
            headers.insert(header, value);
        }
        Ok(())
    }

    fn aim_uri(&self, target: Target<'_>, own_uri: &mut Uri) -> Result<(), AimError> {
        let own = own_uri.path_and_query();
        let path = own.map_or("/", PathAndQuery::as_str);
        // The path that is no URL is put together once more to be named.
        let not_a_url = |_: http::Error| not_a_url(&self.aim_path(target, path).ok().flatten().unwrap_or_default());
        let mut uri = uri::Parts::default();
        uri.path_and_query = match own.filter(|_| self.keeps_path(target, path)) {
            Some(own) => Some(own.clone()),
            None => {
                let Some(aimed) = self.aim_path(target, path)? else { return Ok(()) };
                Some(PathAndQuery::try_from(aimed).map_err(|error| not_a_url(error.into()))?)
            }
        };
        if let Some(base) = target.provider().get_base_url() {
            uri.scheme = base.scheme().cloned();
            uri.authority = base.authority().cloned();
        } else {
            uri.scheme = own_uri.scheme().cloned();
            uri.authority = own_uri.authority().cloned();
        }
        *own_uri = Uri::from_parts(uri).map_err(|error| not_a_url(error.into()))?;
        Ok(())
    }

    /// Whether only scheme and host are another at this target.
    fn keeps_path(&self, target: Target<'_>, path: &str) -> bool {
        let base = target.provider().get_base_url();
        self.placeholder.is_none() && path.starts_with('/') && base.is_some_and(|base| base.path() == "/")
    }

    /// Path and query at this target, or `None` if the URL stays as it is.
    pub(crate) fn aim_path(&self, target: Target<'_>, path: &str) -> Result<Option<String>, AimError> {
        let base = target.provider().get_base_url();
        if base.is_none() && self.placeholder.is_none() {
            return Ok(None);
        }
        let path = match self.placeholder.as_deref() {
            Some(placeholder) => fill(path, placeholder, target.model().get_upstream_name())?.into(),
            None => Cow::Borrowed(path),
        };
        let prefix = base.map_or("", |base| base.path().trim_end_matches('/'));
        let slash = if path.starts_with('/') { "" } else { "/" };
        // Not a byte too many: a URL takes it over as it is.
        let mut aimed = String::with_capacity(prefix.len() + slash.len() + path.len());
        [prefix, slash, &path].into_iter().for_each(|part| aimed.push_str(part));
        Ok(Some(aimed))
    }

    /// What was written into a request with these headers.
    pub(crate) fn wrote(&self, target: Target<'_>, headers: &HeaderMap, body: bool) -> Ours {
        let credential = target.provider().get_credential().and_then(Credential::line);
        Ours {
            name: body || self.placeholder.is_some() || self.header.is_some(),
            credential: credential.is_some_and(|(name, value)| headers.get(name) == Some(value)),
        }
    }
}

/// The error of a path that makes no URL, without its query.
pub(crate) fn not_a_url(path_and_query: &str) -> AimError {
    let path = path_and_query.split('?').next().unwrap_or_default();
    AimError::NotAUrl { path: path.to_owned() }
}

/// A `content-length` that is there follows the body.
pub(crate) fn follow_length(headers: &mut HeaderMap, length: usize) {
    if let header::Entry::Occupied(mut header) = headers.entry(header::CONTENT_LENGTH) {
        header.insert(length.into());
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
    // To look at the few names that there are takes less than to look for six.
    let carries = || headers.keys().any(|name| CREDENTIALS.contains(name));
    if !provider.takes_credential_from_request() && carries() {
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

    #[inline]
    fn aim(&self, target: Target<'_>, mut request: Request<B>) -> Result<Request<B>, AimError> {
        self.aim_uri(target, request.uri_mut())?;
        self.aim_headers(target, request.headers_mut())?;
        let (mut parts, body) = request.into_parts();
        let (body, length) = self.body.aim(target, body)?;
        if let Some(length) = length {
            follow_length(&mut parts.headers, length);
        }
        Ok(Request::from_parts(parts, body))
    }

    fn ours(&self, target: Target<'_>, request: &Request<B>) -> Ours {
        self.wrote(target, request.headers(), J::WRITES_NAME)
    }
}
