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

mod resumed;
mod watched;

pub(crate) use resumed::Read;
pub use resumed::Resumed;
pub use watched::{BodyError, IDLE_GAP, Watched};
