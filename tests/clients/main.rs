//! Real clients: hyper-util's, reqwest's, and a stack of reqwest-middleware, against servers that commit one fault each, or play a
//! script.

#![cfg(all(feature = "hyper-util", feature = "reqwest-middleware"))]

mod client;
mod dropped;
mod matrix;
mod middleware;
mod reqwest;
mod retry;
mod server;
mod tracing;
mod upstream;
mod watched;
