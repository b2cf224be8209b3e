//! The HTTP side of the crate, through its public API alone: what an upstream is sent, what its answer means, and what
//! the caller and the operator see of it.
//!
//! All but `sockets` runs on a paused clock around a client that answers as it is told.

#![cfg(feature = "http")]

mod aim;
mod cooldowns;
mod extensions;
mod log;
mod secrets;
#[cfg(feature = "hyper-util")]
mod sockets;
mod statuses;
mod support;
