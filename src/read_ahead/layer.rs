//! The layer.

use super::{
    commit::{Commit, FirstByte, FirstEvent, Head, Says, content_or_error},
    events::Event,
    service::ReadAhead,
};
use crate::{
    body::IDLE_GAP,
    machine::config::{self, ConfigError},
};
use std::{fmt, time::Duration};
use tower::Layer;

/// Of a body read ahead: at most 64 KiB, and the frame in which they are exceeded.
pub const READ_AHEAD: usize = 64 * 1024;
/// The body of an error is read for 5 s at most; what has come by then has to do.
pub const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Makes an attempt last until its response has begun; see the [module](super).
#[derive(Clone)]
#[must_use]
pub struct ReadAheadLayer<C = Head> {
    commit: C,
    settings: Settings,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) bytes: usize,
    pub(super) idle_gap: Duration,
    pub(super) timeout: Option<Duration>,
    pub(super) error_bodies: bool,
}

impl ReadAheadLayer {
    /// Reads nothing ahead, until something else is asked for.
    pub fn new() -> Self {
        let settings = Settings { bytes: READ_AHEAD, idle_gap: IDLE_GAP, timeout: None, error_bodies: false };
        Self { commit: Head, settings }
    }
}

impl Default for ReadAheadLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<C> ReadAheadLayer<C> {
    /// Commits at the first byte of the body.
    pub fn first_byte(self) -> ReadAheadLayer<FirstByte> {
        self.until(FirstByte)
    }

    /// Commits at the first server-sent event that is content: one that is called `error`, or whose data is a JSON
    /// object with an `error`, fails the attempt; one called `ping` says nothing yet. An answer that is no
    /// `text/event-stream` is committed to at its first byte.
    pub fn first_event(self) -> ReadAheadLayer<FirstEvent> {
        self.until(FirstEvent(content_or_error))
    }

    /// The same, with what an event is said by you.
    ///
    /// ```
    /// use tower_failover::{ReadAheadLayer, read_ahead::Says};
    ///
    /// // Tokens only: not the role that some models send first.
    /// let layer = ReadAheadLayer::new().first_event_that(|event| match event.name {
    ///     "error" => Says::Error(event.data.to_owned().into()),
    ///     _ if event.data.contains(r#""content":"#) => Says::Content,
    ///     _ => Says::Nothing,
    /// });
    /// ```
    pub fn first_event_that<F>(self, says: F) -> ReadAheadLayer<FirstEvent<F>>
    where
        F: Fn(&Event<'_>) -> Says,
    {
        self.until(FirstEvent(says))
    }

    /// Commits where you say.
    pub fn until<D: Commit>(self, commit: D) -> ReadAheadLayer<D> {
        ReadAheadLayer { commit, settings: self.settings }
    }

    /// Reads the bodies of answers with a status of 4xx or 5xx as well, so that the error's code can be judged by; see
    /// [`HttpClassify`](crate::HttpClassify). For [`ERROR_BODY_TIMEOUT`] at most.
    pub fn error_bodies(mut self) -> Self {
        self.settings.error_bodies = true;
        self
    }

    /// How many bytes are read ahead at most. Default [`READ_AHEAD`], 64 KiB. A body that has said nothing by then is
    /// committed to; of an error's body, that much has to do. A frame counts for 64 bytes at least.
    ///
    /// # Errors
    ///
    /// When it is zero.
    pub fn bytes(mut self, bytes: usize) -> Result<Self, ConfigError> {
        config::at_least_one("bytes", u32::try_from(bytes).unwrap_or(u32::MAX))?;
        self.settings.bytes = bytes;
        Ok(self)
    }

    /// How far apart two frames may be, and the head and the first. Default [`IDLE_GAP`], 60 s.
    ///
    /// # Errors
    ///
    /// When it is zero.
    pub fn idle_gap(mut self, gap: Duration) -> Result<Self, ConfigError> {
        config::positive("idle_gap", gap)?;
        self.settings.idle_gap = gap;
        Ok(self)
    }

    /// How long the commit may take, from the head. Default: as long as the attempt.
    ///
    /// # Errors
    ///
    /// When it is zero.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        config::positive("timeout", timeout)?;
        self.settings.timeout = Some(timeout);
        Ok(self)
    }
}

impl<S, C: Clone> Layer<S> for ReadAheadLayer<C> {
    type Service = ReadAhead<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        ReadAhead::new(inner, self.commit.clone(), self.settings)
    }
}

impl<C> fmt::Debug for ReadAheadLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadAheadLayer").field("settings", &self.settings).finish_non_exhaustive()
    }
}
