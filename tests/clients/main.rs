//! Real clients: hyper-util's, reqwest's, and a stack of reqwest-middleware, against servers that commit one fault each, or play a
//! script.

#![cfg(all(feature = "hyper-util", feature = "reqwest-middleware"))]

mod body;
mod client;
mod dropped;
mod faults;
mod http2;
mod matrix;
mod middleware;
mod refused;
mod reqwest;
mod retry;
mod server;
mod tracing;
mod upstream;
mod watched;
