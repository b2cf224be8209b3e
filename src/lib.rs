//! tower-failover
mod machine;
mod sync;
pub use machine::{
    breaker::{BreakerConfig, Cause, Command, State, Trip},
    budget::Budget,
    config::ConfigError,
};
