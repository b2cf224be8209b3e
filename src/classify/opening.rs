//! What reading ahead in a response's body has shown.

use bytes::Bytes;
use std::time::Duration;

/// What reading ahead in a response's body has shown, in the response's extensions.
///
/// [`ReadAhead`](crate::ReadAhead) puts it there, and [`HttpClassify`](crate::HttpClassify) judges by it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Opening {
    /// How the body began.
    pub begins: Begins,
    /// How long the head took, from the call.
    pub head: Duration,
    /// How long the first byte of the body took, from the call; `None` if none came.
    pub first_byte: Option<Duration>,
}

/// How a body begins.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Begins {
    /// With what was waited for, or with more bytes than are read ahead.
    Well,
    /// It is that of an error: as much of it as was read.
    ErrorBody(Bytes),
    /// With an error in the stream: what it says.
    ErrorEvent(Bytes),
    /// It broke off before. With the error's own words.
    Broken(Box<str>),
    /// It came to its end before.
    Ended,
    /// Nothing came for too long.
    Stalled(Duration),
}

impl Opening {
    pub(crate) fn new(begins: Begins, head: Duration, first_byte: Option<Duration>) -> Self {
        Self { begins, head, first_byte }
    }
}
