//! When a body has begun well enough to commit to it.

use super::events::{Event, Events};
use bytes::Bytes;
use http::{header, response::Parts};
use serde_json::Value;
use std::{fmt, ops::ControlFlow};

/// What the beginning of a body says so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// Nothing yet: read on.
    Nothing,
    /// Content: commit to it.
    Content,
    /// An error, which is that of the attempt: what it says.
    Error(Bytes),
}

/// Decides when a body has begun well enough to commit to it.
///
/// [`Head`], [`FirstByte`] and [`FirstEvent`] are made by the methods of [`ReadAheadLayer`](crate::ReadAheadLayer).
/// One of your own reads the bytes of one body, frame by frame:
///
/// ```
/// use http::response::Parts;
/// use tower_failover::{ReadAheadLayer, read_ahead::{Commit, Says}};
///
/// /// Lines of JSON, of which the first says how it went.
/// #[derive(Clone)]
/// struct FirstLine;
///
/// impl Commit for FirstLine {
///     type Reader = Vec<u8>;
///
///     fn reader(&self, _head: &Parts) -> Option<Vec<u8>> {
///         Some(Vec::new())
///     }
///
///     fn read(&self, line: &mut Vec<u8>, data: &[u8]) -> Says {
///         line.extend_from_slice(data);
///         match line.split(|byte| *byte == b'\n').next() {
///             Some(first) if first.len() == line.len() => Says::Nothing,
///             Some(first) if first.starts_with(br#"{"error":"#) => Says::Error(first.to_vec().into()),
///             _ => Says::Content,
///         }
///     }
/// }
///
/// let layer = ReadAheadLayer::new().until(FirstLine);
/// ```
pub trait Commit {
    /// What is kept while one body is read.
    type Reader;

    /// Begins to read the body of a 2xx answer with this head; `None` commits to it at once.
    fn reader(&self, head: &Parts) -> Option<Self::Reader>;

    /// Reads the next bytes, never none.
    fn read(&self, reader: &mut Self::Reader, data: &[u8]) -> Says;
}

/// Commits at the head: nothing of a good answer is read ahead.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head;

impl Commit for Head {
    type Reader = ();

    fn reader(&self, _: &Parts) -> Option<()> {
        None
    }

    fn read(&self, (): &mut (), _: &[u8]) -> Says {
        Says::Content
    }
}

/// Commits at the first byte.
#[derive(Debug, Clone, Copy, Default)]
pub struct FirstByte;

impl Commit for FirstByte {
    type Reader = ();

    fn reader(&self, _: &Parts) -> Option<()> {
        Some(())
    }

    fn read(&self, (): &mut (), _: &[u8]) -> Says {
        Says::Content
    }
}

/// Commits at the first server-sent event that is content, and at the first byte of an answer that is no such stream.
///
/// `F` says of each event what it is; [`content_or_error`] if nothing else is asked for.
#[derive(Clone, Copy)]
pub struct FirstEvent<F = fn(&Event<'_>) -> Says>(pub(super) F);

/// What [`FirstEvent`] keeps of a stream: the unfinished event.
#[derive(Debug)]
pub struct EventReader(
    /// `None` for what is no stream of events.
    Option<Events>,
);

impl<F: Fn(&Event<'_>) -> Says> Commit for FirstEvent<F> {
    type Reader = EventReader;

    fn reader(&self, head: &Parts) -> Option<EventReader> {
        let content_type = head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|value| value.split(';').next()).map(str::trim);
        let streams = essence.is_some_and(|essence| essence.eq_ignore_ascii_case("text/event-stream"));
        Some(EventReader(streams.then(Events::default)))
    }

    fn read(&self, reader: &mut EventReader, data: &[u8]) -> Says {
        let Some(events) = &mut reader.0 else { return Says::Content };
        let said = events.push(data, |event| match (self.0)(&event) {
            Says::Nothing => ControlFlow::Continue(()),
            said => ControlFlow::Break(said),
        });
        match said {
            ControlFlow::Break(said) => said,
            ControlFlow::Continue(()) => Says::Nothing,
        }
    }
}

impl<F> fmt::Debug for FirstEvent<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FirstEvent")
    }
}

/// What an event is at the vendors that stream JSON: an error if it is called `error`, or its data is an object with an
/// `error` that is not null; nothing yet if it is called `ping`; else content.
pub fn content_or_error(event: &Event<'_>) -> Says {
    let is_error = || match serde_json::from_str(event.data) {
        Ok(Value::Object(object)) => object.get("error").is_some_and(|error| !error.is_null()),
        _ => false,
    };
    match event.name {
        "ping" => Says::Nothing,
        name if name == "error" || is_error() => Says::Error(Bytes::copy_from_slice(event.data.as_bytes())),
        _ => Says::Content,
    }
}
