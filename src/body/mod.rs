//! Response bodies, watched to the end.
//!
//! A response is more than its head: AI answers stream, and a stream can break off. With
//! [`HttpFinish::watched`](crate::HttpFinish::watched) the body that the caller gets is a [`Watched`] one, and the call is
//! over when the body is:
//!
//! - a body that comes to its end is the success;
//! - one that fails, is cut short or stalls is a failure of the model, and evidence against its provider, when it happens;
//! - one that the caller drops early is neutral.
//!
//! A probe is decided by its head all the same, so that its place is free for the next; a failure of its body is then an
//! ordinary one. Frames, trailers, size hints and the end of the stream pass through unchanged, and nothing is buffered.
//!
//! It is the same for every client: around hyper-util's the caller gets `http::Response<Watched<B>>`, and around reqwest, or
//! in a stack of reqwest-middleware, reqwest's own `Response`, whose body is a watched one.
//!
//! # Which error it was
//!
//! The error of a watched body is a [`BodyError`] of the client's own one. A client that boxes the errors of bodies, as
//! reqwest does, has it in the chain of sources, where its type has to be named in full: `BodyError<reqwest::Error>`.
//! Who does not know the client finds an [`io::Error`](std::io::Error) of kind `TimedOut` below every stall; that is also
//! what `reqwest::Error::is_timeout` looks for.

mod resumed;
mod watched;

pub(crate) use resumed::Read;
pub use resumed::Resumed;
pub use watched::{BodyError, IDLE_GAP, Watched};
