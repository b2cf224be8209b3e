//! Configuration from a file, by TOML and by JSON.

#![cfg(all(feature = "serde", feature = "http"))]

mod errors;
mod fields;
mod full;
mod random;
mod secrets;

use tower_failover::{Config, ConfigError, FailoverLayer};

/// The file of the module's page.
const FULL: &str = include_str!("../../examples/config.toml");

/// One provider and one model.
const SMALL: &str = "providers = [{ name = 'a' }]\nmodels = [{ name = 'm', provider = 'a' }]\n";

#[track_caller]
fn read(file: &str) -> Config {
    toml::from_str(file).unwrap_or_else(|error| panic!("{error}"))
}

/// All that comes of it: the registry's description, the layer's, and the variables that were asked for.
fn outcome(config: &Config) -> Result<String, ConfigError> {
    let mut asked = Vec::new();
    let variable = |name: &str| {
        asked.push(name.to_owned());
        Some("any".to_owned())
    };
    let models = config.models_with(variable)?;
    let layer = FailoverLayer::builder(models.clone().build()?).configure(config)?;
    Ok(format!("{models:?} {layer:?} {asked:?}"))
}
