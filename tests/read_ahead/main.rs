//! First byte, then commit: reading ahead below the engine, on the paused clock.

#![cfg(feature = "http")]

mod commit;
mod errors;
mod given_back;
mod script;
