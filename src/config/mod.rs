//! Models, providers and the settings of a layer from a file: [`Config`].
//!
//! A [`Config`] is deserialized by any serde format that says of itself what it holds, such as TOML or JSON; the crate
//! brings none. It becomes a registry by [`Config::models`], and the settings of a layer by
//! [`FailoverBuilder::configure`](crate::FailoverBuilder::configure):
//!
//! ```
//! use tower_failover::{Config, FailoverLayer};
//!
//! # let file = "providers = [{ name = 'nexa' }]\nmodels = [{ name = 'sdxl', provider = 'nexa' }]";
//! let config: Config = toml::from_str(file)?;
//! let models = config.models()?.build()?;
//! let layer = FailoverLayer::builder(models).configure(&config)?.build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The file
//!
//! This one has every field, and the comments have what holds where it is left out.
//!
//! ```
//! let config: tower_failover::Config = toml::from_str(r#"
#![doc = include_str!("../../examples/config.toml")]
//! "#)?;
//! let models = config.models_with(|variable| Some(format!("the secret in {variable}")))?.build()?;
//! assert_eq!(models.iter().count(), 3);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - **Durations** are written with their units: `"250ms"`, `"30s"`, `"1m 30s"`, `"1.5h"`; as [humantime] reads them,
//!   but for its `M`, which would be months.
//! - **Credentials** stand in environment variables, and the file has the variables' names. They are read when the
//!   registry is described, and no `Debug` and no error shows them.
//! - **What is given for one model or provider** takes the place of the default as a whole: a model with a `breaker`
//!   has nothing of that in `model_defaults`.
//! - **What is not here** stands in code: how requests are aimed and kept, what a status means.
//!
//! # What is wrong says where
//!
//! A field that does not exist, a value of the wrong kind, a duration without a unit, a rule of a breaker that cannot
//! work: an error of the format, with the place in the file as far as the format knows it.
//!
//! ```
//! use tower_failover::Config;
//!
//! let error = toml::from_str::<Config>("max_attempts = 2\ndeadlin = '60s'").unwrap_err();
//! assert!(error.to_string().starts_with("TOML parse error at line 2, column 1"));
//! assert!(error.message().starts_with("unknown field `deadlin`, expected one of"));
//!
//! let error = serde_json::from_str::<Config>(r#"{ "deadline": 60 }"#).unwrap_err();
//! let expected = "invalid type: integer `60`, expected a duration with its unit, such as \"30s\" at line 1 column 16";
//! assert_eq!(error.to_string(), expected);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What can be seen only of the whole, such as a name that is there twice or a variable that is not set, is a
//! [`ConfigError`](crate::ConfigError), which names model or provider, field and value. [`Config::models`] finds all
//! there is to find before anything is built.
//!
//! (An error of the `toml` crate quotes the line that it is about. So that no log ever shows a credential that somebody
//! has put into the file after all, log its `message()`.)
//!
//! # While requests run
//!
//! A file that has changed is applied to the registry that there is; the settings of the layer stay as they were made.
//!
//! ```
//! use tower_failover::{Config, Models};
//!
//! fn reload(models: &Models, file: &str) -> Result<(), Box<dyn std::error::Error>> {
//!     let config: Config = toml::from_str(file)?;
//!     // Of a file with anything wrong in it, nothing is applied.
//!     Ok(models.apply(config.models()?)?)
//! }
//! ```
//!
//! # In a configuration of your own
//!
//! [`Config`] may be a field of another structure, but is not to be flattened into it: flattening loses places. The
//! parts can be read as well, such as a breaker that stands alone: [`BreakerConfig`](crate::BreakerConfig),
//! [`Trip`](crate::Trip), [`Budget`](crate::Budget), [`Hedge`](crate::Hedge), [`Replay`](crate::Replay),
//! [`AllFailed`](crate::AllFailed), [`WhenUnavailable`](crate::WhenUnavailable).
//!
//! ```
//! use serde::Deserialize;
//! use tower_failover::{BreakerConfig, CircuitBreakerLayer, Model, Models, Provider};
//!
//! #[derive(Deserialize)]
//! struct Search {
//!     host: String,
//!     #[serde(default)]
//!     breaker: BreakerConfig,
//! }
//!
//! let search: Search = toml::from_str("host = 'search.internal'\nbreaker = { open_wait = '2s' }")?;
//! let models = Models::builder()
//!     .provider(Provider::new("search"))
//!     .model(Model::new(search.host, "search").breaker(search.breaker))
//!     .build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [humantime]: https://docs.rs/humantime

mod breaker;
mod document;
mod layer;
mod model;
mod provider;
mod read;

pub use document::Config;
pub use layer::OrderConfig;
pub use model::{ModelConfig, ModelDefaults};
#[cfg(feature = "http")]
pub use provider::CredentialConfig;
pub use provider::ProviderConfig;
