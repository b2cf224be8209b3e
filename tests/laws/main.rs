//! The laws of `DESIGN.md`, tried on the engine through the public API: paused time, seeded jitter, no sockets.

mod apply;
mod clients;
mod config;
mod cooldowns;
mod deadlines;
mod events;
mod fallback;
mod health;
mod hedges;
mod keys;
mod listeners;
mod logs;
mod metrics;
mod mirror;
mod order;
mod outage;
mod permits;
mod providers;
mod random;
mod requests;
mod script;
mod slow_calls;
mod traces;
mod unavailable;
mod world;
