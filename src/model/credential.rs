//! A credential, which no output ever shows.

use crate::machine::config::ConfigError;
use http::{HeaderName, HeaderValue, header};
use std::fmt;

/// A header that proves to a provider who is asking. Never shown by any `Debug`, log line or error.
///
/// ```
/// use tower_failover::Credential;
///
/// let bearer = Credential::bearer("sk-secret");
/// let header = Credential::header("x-api-key", "secret");
/// assert_eq!(format!("{bearer:?} {header:?}"), "Credential(authorization) Credential(x-api-key)");
/// ```
#[derive(Clone)]
pub struct Credential {
    name: Option<HeaderName>,
    value: Option<HeaderValue>,
}

impl Credential {
    /// `authorization: Bearer …`.
    pub fn bearer(token: impl AsRef<str>) -> Self {
        Self::new(Some(header::AUTHORIZATION), &format!("Bearer {}", token.as_ref()), token.as_ref())
    }

    /// A header of this name, such as `x-api-key` or `api-key`. A name or value that no header can have is an error
    /// when the registry is built.
    pub fn header(name: impl AsRef<str>, value: impl AsRef<str>) -> Self {
        Self::new(name.as_ref().parse().ok(), value.as_ref(), value.as_ref())
    }

    fn new(name: Option<HeaderName>, line: &str, secret: &str) -> Self {
        let value = HeaderValue::from_str(line).ok().filter(|_| !secret.trim().is_empty());
        let value = value.map(|mut value| {
            value.set_sensitive(true);
            value
        });
        Self { name, value }
    }

    /// The header's name and value, for an aim of your own.
    pub fn line(&self) -> Option<(&HeaderName, &HeaderValue)> {
        self.name.as_ref().zip(self.value.as_ref())
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.name.is_none() {
            return Err(ConfigError::new("credential", "…", "must have a valid header name"));
        }
        if self.value.is_none() {
            return Err(ConfigError::new("credential", "…", "must be a header value that is not empty"));
        }
        Ok(())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_ref().map_or("?", HeaderName::as_str);
        write!(f, "Credential({name})")
    }
}
