//! The state machines: plain, synchronous, and told the time.
//!
//! Time is nanoseconds since the registry's epoch, as an atomic cannot hold an `Instant`. Nothing in
//! here knows a service, HTTP or a runtime, and nothing in here calls out: what a machine has to say
//! it returns, and its caller speaks after the lock is gone.

pub(crate) mod breaker;
pub(crate) mod budget;
pub(crate) mod calls;
pub(crate) mod config;
pub(crate) mod cooldown;
pub(crate) mod count_window;
pub(crate) mod divisor;
pub(crate) mod explore;
pub(crate) mod gate;
pub(crate) mod history;
pub(crate) mod latency;
pub(crate) mod plan;
pub(crate) mod quantile;
pub(crate) mod ramp;
pub(crate) mod rng;
pub(crate) mod score;
pub(crate) mod skips;
pub(crate) mod stripe;
pub(crate) mod window;

use std::time::Duration;

/// Nanoseconds since the registry's epoch.
pub(crate) type Nanos = u64;

/// A duration in nanoseconds; what does not fit (584 years) is the longest that does.
#[inline]
pub(crate) fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
