//! What several models share and lose together.

use super::not_empty;
use crate::machine::{
    breaker::BreakerConfig,
    budget::Budget,
    config::{self, ConfigError},
};

#[cfg(feature = "http")]
use super::credential::Credential;
use std::sync::Arc;

/// What several models share and lose together: a host and a credential. 56 models behind one endpoint are 56 models
/// on one provider.
///
/// ```
/// # #[cfg(feature = "http")] {
/// use tower_failover::{Credential, Provider};
///
/// let provider = Provider::new("openai")
///     .base_url("https://api.openai.com/v1")
///     .credential(Credential::bearer("sk-secret"));
/// assert!(!format!("{provider:?}").contains("sk-secret"));
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Provider {
    name: Arc<str>,
    breaker: BreakerConfig,
    /// What it comes to for a provider.
    its_breaker: Arc<BreakerConfig>,
    budget: Budget,
    max_in_flight: Option<u32>,
    #[cfg(feature = "http")]
    http: HttpProvider,
}

/// What HTTP needs to know of a provider.
#[cfg(feature = "http")]
#[derive(Debug, Clone, Default)]
struct HttpProvider {
    base_url: Option<BaseUrl>,
    credential: Option<Credential>,
    credential_from_request: bool,
}

/// A base URL, which may turn out to be none.
#[cfg(feature = "http")]
#[derive(Debug, Clone)]
enum BaseUrl {
    Good(http::Uri),
    Bad(ConfigError),
}

impl Provider {
    /// A provider of this name, unique in its registry.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into().into(),
            breaker: BreakerConfig::default(),
            its_breaker: Arc::new(BreakerConfig::default().for_provider()),
            budget: Budget::default(),
            max_in_flight: None,
            #[cfg(feature = "http")]
            http: HttpProvider::default(),
        }
    }

    /// Its circuit breaker. A provider never trips on a rate, and any good answer closes it: such rules are left out,
    /// and one of one probe closes. Default: [`BreakerConfig::default`].
    pub fn breaker(mut self, config: BreakerConfig) -> Self {
        self.its_breaker = Arc::new(config.clone().for_provider());
        self.breaker = config;
        self
    }

    /// What failovers to it may cost. Default: [`Budget::default`].
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// How many calls to all its models may be under way at once, bodies that are watched included. Above that its models
    /// are skipped, which is nobody's fault. Default: any number.
    pub fn max_in_flight(mut self, calls: u32) -> Self {
        self.max_in_flight = Some(calls);
        self
    }

    /// Where it lives: scheme, host and, where it has one, a path to which the request's own path is appended.
    /// Default: none, which leaves the request's URL as it is.
    ///
    /// What is no such URL is an error when the registry is built. Credentials do not belong in it.
    #[cfg(feature = "http")]
    pub fn base_url(mut self, url: impl AsRef<str>) -> Self {
        self.http.base_url = Some(match parse_base_url(url.as_ref()) {
            Ok(uri) => BaseUrl::Good(uri),
            Err(error) => BaseUrl::Bad(error),
        });
        self
    }

    /// The credential that requests to it carry. Default: none.
    #[cfg(feature = "http")]
    pub fn credential(mut self, credential: Credential) -> Self {
        self.http.credential = Some(credential);
        self
    }

    /// Lets the request's own credentials through to this provider. By default `authorization`, `x-api-key`,
    /// `api-key`, `x-goog-api-key`, `cookie` and `openai-organization` are removed from every request that is aimed
    /// at a provider, as they were meant for somewhere else.
    #[cfg(feature = "http")]
    pub fn credential_from_request(mut self) -> Self {
        self.http.credential_from_request = true;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(crate) fn get_breaker(&self) -> &Arc<BreakerConfig> {
        &self.its_breaker
    }

    pub(crate) fn get_budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn get_max_in_flight(&self) -> Option<u32> {
        self.max_in_flight
    }

    /// Where it lives, if that was said.
    #[cfg(feature = "http")]
    pub fn get_base_url(&self) -> Option<&http::Uri> {
        match &self.http.base_url {
            Some(BaseUrl::Good(uri)) => Some(uri),
            _ => None,
        }
    }

    /// The credential that requests to it carry, if there is one.
    #[cfg(feature = "http")]
    pub fn get_credential(&self) -> Option<&Credential> {
        self.http.credential.as_ref()
    }

    /// Whether the request's own credentials are let through to it.
    #[cfg(feature = "http")]
    pub fn takes_credential_from_request(&self) -> bool {
        self.http.credential_from_request
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let check = || -> Result<(), ConfigError> {
            not_empty("name", &self.name)?;
            self.breaker.check().map_err(|error| error.within("breaker"))?;
            self.budget.check()?;
            if let Some(calls) = self.max_in_flight {
                config::at_least_one("max_in_flight", calls)?;
            }
            #[cfg(feature = "http")]
            self.http.check()?;
            Ok(())
        };
        check().map_err(|error| error.within(format_args!("provider `{}`", self.name)))
    }
}

#[cfg(feature = "http")]
impl HttpProvider {
    fn check(&self) -> Result<(), ConfigError> {
        if let Some(BaseUrl::Bad(error)) = &self.base_url {
            return Err(error.clone());
        }
        self.credential.as_ref().map_or(Ok(()), Credential::check)
    }
}

/// Whether it is a base URL. The error shows nothing that may be secret.
#[cfg(all(feature = "http", feature = "serde"))]
pub(crate) fn check_base_url(url: &str) -> Result<(), ConfigError> {
    parse_base_url(url).map(drop)
}

#[cfg(feature = "http")]
fn parse_base_url(url: &str) -> Result<http::Uri, ConfigError> {
    let error = |value: &str, problem| ConfigError::new("base_url", value, problem);
    // No message repeats a password, which may have slipped into the path, nor what follows a `?`, which may be a key.
    if url.contains('@') {
        return Err(error("…@…", "must not hold a user or a password, nor any other `@`"));
    }
    let shown = url.split(['?', '#']).next().unwrap_or_default();
    let uri: http::Uri = url.parse().map_err(|_| error(shown, "must be a URL"))?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.authority().is_none() {
        return Err(error(shown, "must begin with http:// or https:// and a host"));
    }
    if uri.query().is_some() || url.contains('#') {
        return Err(error(&format!("{shown}?…"), "must have neither a query nor a fragment"));
    }
    Ok(uri)
}
