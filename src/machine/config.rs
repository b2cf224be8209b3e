//! What is wrong with a configuration, said at construction.

use std::{fmt, time::Duration};

/// A configuration that cannot work: which field, its value, and what is wrong with it.
///
/// Everything is checked once, when it is built; what has been built cannot be wrong afterwards.
///
/// ```
/// use tower_failover::{Model, Models, Provider};
///
/// let error = Models::builder()
///     .provider(Provider::new("nexa"))
///     .model(Model::new("sdxl", "nexa").cost(f64::NAN))
///     .build()
///     .unwrap_err();
/// assert_eq!(error.field(), "model `sdxl`: cost");
/// assert_eq!(error.value(), "NaN");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    field: String,
    value: String,
    problem: &'static str,
}

impl ConfigError {
    pub(crate) fn new(field: impl Into<String>, value: impl Into<String>, problem: &'static str) -> Self {
        Self { field: field.into(), value: value.into(), problem }
    }

    /// Says what the field belongs to.
    pub(crate) fn within(mut self, owner: impl fmt::Display) -> Self {
        self.field = format!("{owner}: {}", self.field);
        self
    }

    /// The field, with what it belongs to.
    pub fn field(&self) -> &str {
        &self.field
    }

    /// The value that was given.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What is wrong with the value.
    pub fn problem(&self) -> &str {
        self.problem
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is `{}`: {}", self.field, self.value, self.problem)
    }
}

impl std::error::Error for ConfigError {}

/// A duration that must be longer than zero.
pub(crate) fn positive(field: &str, value: Duration) -> Result<(), ConfigError> {
    if value.is_zero() {
        return Err(ConfigError::new(field, format!("{value:?}"), "must be longer than zero"));
    }
    Ok(())
}

/// A count that must be at least one.
pub(crate) fn at_least_one(field: &str, value: u32) -> Result<(), ConfigError> {
    if value == 0 {
        return Err(ConfigError::new(field, "0", "must be at least 1"));
    }
    Ok(())
}

/// A number that must be finite and not negative.
pub(crate) fn finite(field: &str, value: f64) -> Result<(), ConfigError> {
    if !value.is_finite() || value < 0.0 {
        return Err(ConfigError::new(field, value.to_string(), "must be a finite number that is not negative"));
    }
    Ok(())
}

/// A share that must lie in [0, 1].
pub(crate) fn share(field: &str, value: f64) -> Result<(), ConfigError> {
    if !(0.0..=1.0).contains(&value) {
        return Err(ConfigError::new(field, value.to_string(), "must lie between 0 and 1"));
    }
    Ok(())
}

/// A share that must lie in (0, 1].
pub(crate) fn share_above_zero(field: &str, value: f64) -> Result<(), ConfigError> {
    share(field, value)?;
    if value == 0.0 {
        return Err(ConfigError::new(field, "0", "must be above 0"));
    }
    Ok(())
}

/// A lower and an upper bound that must not cross.
pub(crate) fn ordered(field: &str, low: Duration, high: Duration) -> Result<(), ConfigError> {
    if high < low {
        return Err(ConfigError::new(field, format!("{high:?}"), "must not be below its lower bound"));
    }
    Ok(())
}
