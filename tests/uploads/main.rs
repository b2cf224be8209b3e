//! Uploads that can be sent again: the body alone, and in the engine under fake and real clients.

#![cfg(all(feature = "hyper-util", feature = "reqwest-middleware"))]

mod body;
mod client;
mod engine;
mod model;
mod server;
mod sockets;
mod source;
mod threads;
