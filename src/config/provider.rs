//! A provider, as it stands in a file.

use crate::{
    machine::{breaker::BreakerConfig, budget::Budget, config::ConfigError},
    model::Provider,
};
use serde::Deserialize;

#[cfg(feature = "http")]
use super::read::{FromTable, from_table};
#[cfg(feature = "http")]
use crate::model::{Credential, check_base_url};
#[cfg(feature = "http")]
use serde::{Deserializer, de::Error};

/// A table of `[[providers]]`: a [`Provider`].
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProviderConfig {
    /// Its name, unique among the providers.
    pub name: String,
    /// Scheme, host and, where it has one, a path to which the request's own path is appended. Default: none, which
    /// leaves the request's URL as it is. See [`Provider::base_url`].
    #[cfg(feature = "http")]
    #[serde(default, deserialize_with = "base_url")]
    pub base_url: Option<String>,
    /// The credential that requests to it carry: `{ bearer_env = "NEXA_KEY" }`, or `{ header = "x-api-key", env =
    /// "NEXA_KEY" }`. Default: none.
    #[cfg(feature = "http")]
    pub credential: Option<CredentialConfig>,
    /// Whether the request's own credentials are let through to it. Default: no. See
    /// [`Provider::credential_from_request`].
    #[cfg(feature = "http")]
    #[serde(default)]
    pub credential_from_request: bool,
    /// What failovers to it may cost: `share_of_calls`, from 0 to 1, default 0.2; `per_second`, tokens a second,
    /// default 3; `burst`, tokens, default 30. See [`Budget`].
    pub budget: Option<Budget>,
    /// Its circuit breaker. Default: [`BreakerConfig::default`], whatever the models have. See [`Provider::breaker`]
    /// for what of it holds for a provider.
    pub breaker: Option<BreakerConfig>,
    /// How many calls to all its models may be under way at once, at least 1. Default: any number.
    pub max_in_flight: Option<u32>,
}

impl ProviderConfig {
    #[cfg_attr(not(feature = "http"), expect(unused_variables, reason = "credentials are HTTP's"))]
    pub(super) fn provider(&self, variable: &mut impl FnMut(&str) -> Option<String>) -> Result<Provider, ConfigError> {
        let mut provider = Provider::new(&*self.name);
        if let Some(budget) = &self.budget {
            provider = provider.budget(budget.clone());
        }
        if let Some(breaker) = &self.breaker {
            provider = provider.breaker(breaker.clone());
        }
        if let Some(calls) = self.max_in_flight {
            provider = provider.max_in_flight(calls);
        }
        #[cfg(feature = "http")]
        {
            if let Some(url) = &self.base_url {
                provider = provider.base_url(url);
            }
            if let Some(credential) = &self.credential {
                let owner = format_args!("provider `{}`", self.name);
                provider = provider.credential(credential.read(variable).map_err(|error| error.within(owner))?);
            }
            if self.credential_from_request {
                provider = provider.credential_from_request();
            }
        }
        Ok(provider)
    }
}

/// One that is none has no place to be shown from: a password may have slipped into it.
#[cfg(feature = "http")]
fn base_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let url = Option::<String>::deserialize(deserializer)?;
    url.as_deref().map_or(Ok(()), check_base_url).map_err(D::Error::custom)?;
    Ok(url)
}

/// Where the credential of a provider is to be found: never in the file itself.
#[cfg(feature = "http")]
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CredentialConfig {
    /// `authorization: Bearer …`.
    #[non_exhaustive]
    Bearer {
        /// The environment variable that holds the token.
        env: String,
    },
    /// A header.
    #[non_exhaustive]
    Header {
        /// The header's name, such as `x-api-key`.
        header: String,
        /// The environment variable that holds its value.
        env: String,
    },
}

#[cfg(feature = "http")]
impl CredentialConfig {
    fn read(&self, variable: &mut impl FnMut(&str) -> Option<String>) -> Result<Credential, ConfigError> {
        let (field, name) = match self {
            Self::Bearer { env } => ("credential.bearer_env", env),
            Self::Header { env, .. } => ("credential.env", env),
        };
        let wrong = |problem| ConfigError::new(field, name, problem);
        let secret =
            variable(name).ok_or_else(|| wrong("must name an environment variable that is set, to UTF-8 text"))?;
        if secret.trim().is_empty() {
            return Err(wrong("must name an environment variable that is not empty"));
        }
        let credential = match self {
            Self::Bearer { .. } => Credential::bearer(secret),
            Self::Header { header, .. } => Credential::header(header, secret),
        };
        credential.check().map_err(|_| wrong("must name an environment variable whose value a header can have"))?;
        Ok(credential)
    }
}

/// A credential as it is written.
#[cfg(feature = "http")]
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CredentialTable {
    bearer_env: Option<String>,
    header: Option<String>,
    env: Option<String>,
}

#[cfg(feature = "http")]
impl FromTable for CredentialConfig {
    type Table = CredentialTable;
    const EXPECTED: &'static str = "a table with `bearer_env`, or with `header` and `env`: a credential stands in an \
                                    environment variable, never in the file";

    fn from_table(table: CredentialTable) -> Result<Self, String> {
        let credential = match table {
            CredentialTable { bearer_env: Some(env), header: None, env: None } => Self::Bearer { env },
            CredentialTable { bearer_env: None, header: Some(header), env: Some(env) } => Self::Header { header, env },
            _ => return Err(format!("expected {}", Self::EXPECTED)),
        };
        // Neither is repeated: somebody may have put the credential itself there.
        let (Self::Bearer { env } | Self::Header { env, .. }) = &credential;
        if env.starts_with(|c: char| c.is_ascii_digit())
            || env.is_empty()
            || !env.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        {
            let field = if matches!(credential, Self::Bearer { .. }) { "bearer_env" } else { "env" };
            let name = "the name of an environment variable, of letters, digits and `_`";
            return Err(format!("`{field}` must be {name}; the credential itself does not belong here"));
        }
        if matches!(&credential, Self::Header { header, .. } if header.parse::<http::HeaderName>().is_err()) {
            return Err("`header` must be a valid header name".to_owned());
        }
        Ok(credential)
    }
}

#[cfg(feature = "http")]
impl<'de> Deserialize<'de> for CredentialConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        from_table(deserializer)
    }
}
