//! The other crates that a bench measures beside this one, each as its own documentation sets it up: with its defaults,
//! and as near to this crate's defaults as it can be.
//!
//! tower-resilience comes as its parts: they are at 0.14, the crate that bundles them is at 0.13.

#![allow(dead_code, reason = "each bench uses some of it")]

pub mod failsafe;
pub mod recloser;
pub mod retry;
pub mod tower_resilience;

use std::time::Duration;

/// How a peer is set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settings {
    /// As it comes.
    Defaults,
    /// As near to this crate's defaults as it can be.
    AsOurs,
}

/// What this crate does by default, in the words that the peers know.
pub mod ours {
    use super::Duration;

    /// Half of at least so many calls in so long open a breaker.
    pub const FAILURE_RATE: f32 = 0.5;
    pub const MINIMUM_CALLS: u32 = 10;
    pub const WINDOW: Duration = Duration::from_secs(60);
    /// So do so many failures in a row.
    pub const FAILURES: u32 = 20;
    /// A breaker is open for so long, doubled up to the second.
    pub const OPEN: Duration = Duration::from_secs(10);
    pub const LONGEST_OPEN: Duration = Duration::from_secs(300);
    pub const ATTEMPT: Duration = Duration::from_secs(120);
    pub const DEADLINE: Duration = Duration::from_secs(300);
    /// Retries, as a share of calls and by the second.
    pub const RETRIES: f32 = 0.2;
    pub const RETRIES_PER_SECOND: u32 = 3;
}
