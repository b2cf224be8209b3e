//! Bodies: request bodies that can be sent again, and response bodies watched to the end.
//!
//! # Requests
//!
//! A request whose body is `Clone`, such as `Full<Bytes>`, can be sent again as it is. An upload that streams cannot: what
//! the first model has read is gone. With [`Recorded`](crate::Recorded) its body becomes a [`ReplayBody`], which streams as
//! before, and keeps what has passed, up to a cap ([`REPLAY_CAP`] unless told otherwise), for the next model. A request whose
//! body has outgrown the cap is sent to nobody else, and [`Served::could_fail_over`](crate::Served::could_fail_over) is
//! false. A model that could not even be reached has read nothing, so that after it any upload goes on.
//!
//! ```
//! use tower_failover::{FailoverLayer, HttpResend, Models, Recorded};
//!
//! # fn layers(models: Models) -> Result<(), tower_failover::ConfigError> {
//! // `http::Request<B>` with any body: the client inside gets `http::Request<ReplayBody<B>>`.
//! let layer = FailoverLayer::http(models).resend(HttpResend(Recorded::up_to(16 * 1024 * 1024))).build()?;
//! # Ok(())
//! # }
//! ```
//!
//! An upload that fails by itself is the caller's fault: it is returned, nobody else is asked and nobody is blamed. The
//! recording knows of it, whatever the client tells: over HTTP/1 the errors of hyper-util and reqwest have the
//! [`ReplayError`] among their sources, over HTTP/2 they say no more than that the stream was reset.
//!
//! # Responses
//!
//! A response is more than its head: AI answers stream, and a stream can break off. With
//! [`HttpFinish::watched`](crate::HttpFinish::watched) the body that the caller gets is a [`Watched`] one, and the call is
//! over when the body is:
//!
//! - a body that comes to its end is the success;
//! - one that fails, is cut short or stalls is a failure of the model, and evidence against its provider, when it happens;
//! - one that the caller drops early is neutral.
//!
//! A body that belongs to no success says nothing more of its model; but one that stalls ends with an error all the same,
//! or its reader would wait for ever.
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

mod error;
mod replay;
mod resumed;
mod tape;
mod waiting;
mod watched;

pub use error::ReplayError;
pub use replay::{REPLAY_CAP, ReplayBody};
pub(crate) use resumed::Read;
pub use resumed::Resumed;
pub use watched::{BodyError, IDLE_GAP, Watched};
