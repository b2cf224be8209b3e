//! The future of one response: its head, and then its beginning.

use super::{
    commit::{Commit, Says},
    layer::{ERROR_BODY_TIMEOUT, Settings},
    response::{Response, sealed::Sealed},
};
use crate::{
    body::{Read, Resumed},
    classify::{Begins, Opening},
    models::Registry,
};
use http::response::Parts;
use http_body::Body;
use pin_project::pin_project;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// What a frame counts at least, so that many small ones are bounded too.
const SMALLEST_FRAME: usize = 64;

/// The future of one response.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<F, R: Response, C: Commit> {
    #[pin]
    call: F,
    commit: C,
    settings: Settings,
    began: Option<Instant>,
    reading: Option<Reading<R, C::Reader>>,
    #[pin]
    timer: Option<Sleep>,
}

/// A response whose head has come.
struct Reading<R: Response, T> {
    parts: Parts,
    body: Resumed<R::Body>,
    rest: <R as Sealed>::Rest,
    /// `None` for the body of an error.
    reader: Option<T>,
    bytes: usize,
    head: Instant,
    first_byte: Option<Instant>,
    /// Since when a poll has been waiting for the next frame.
    waiting_since: Option<Instant>,
}

impl<F, R: Response, C: Commit> ResponseFuture<F, R, C> {
    pub(super) fn new(call: F, commit: C, settings: Settings) -> Self {
        Self { call, commit, settings, began: None, reading: None, timer: None }
    }
}

impl<F, R, E, C> Future for ResponseFuture<F, R, C>
where
    F: Future<Output = Result<R, E>>,
    R: Response,
    C: Commit,
{
    type Output = Result<R::Resumed, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let began = *this.began.get_or_insert_with(Instant::now);
        if this.reading.is_none() {
            let response = ready!(this.call.poll(cx))?;
            let (parts, body, rest) = response.apart();
            let body = Resumed::new(body);
            let error = parts.status.is_client_error() || parts.status.is_server_error();
            let reader = if parts.status.is_success() { this.commit.reader(&parts) } else { None };
            let reads = reader.is_some() || (error && this.settings.error_bodies);
            // Nothing can be waited for where none is promised.
            if !reads || body.is_end_stream() {
                return Poll::Ready(Ok(R::together(parts, body, rest)));
            }
            *this.reading = Some(Reading::new(parts, body, rest, reader));
        }
        let reading = this.reading.as_mut().expect("just begun");
        let begins = match reading.poll(this.commit, this.settings, cx) {
            Poll::Ready(begins) => begins,
            Poll::Pending => {
                if reading.waiting_since.is_none() {
                    let ends = reading.waits(this.settings);
                    match this.timer.as_mut().as_pin_mut() {
                        Some(timer) => timer.reset(ends),
                        None => this.timer.set(Some(sleep_until(ends))),
                    }
                }
                if let Some(timer) = this.timer.as_pin_mut() {
                    ready!(timer.poll(cx));
                }
                reading.out_of_time()
            }
        };
        let reading = this.reading.take().expect("begun");
        Poll::Ready(Ok(reading.finish(began, begins)))
    }
}

impl<R: Response, T> Reading<R, T> {
    fn new(parts: Parts, body: Resumed<R::Body>, rest: R::Rest, reader: Option<T>) -> Self {
        let head = Instant::now();
        Self { parts, body, rest, reader, bytes: 0, head, first_byte: None, waiting_since: None }
    }

    /// Reads on until there is something to say.
    fn poll<C: Commit<Reader = T>>(&mut self, commit: &C, settings: &Settings, cx: &mut Context<'_>) -> Poll<Begins> {
        loop {
            let says = match ready!(self.body.poll_read(cx)) {
                Read::Frame(frame) => {
                    self.waiting_since = None;
                    let data = frame.data_ref().filter(|data| !data.is_empty());
                    self.bytes = self.bytes.saturating_add(data.map_or(0, |data| data.len()).max(SMALLEST_FRAME));
                    if data.is_some() {
                        self.first_byte.get_or_insert_with(Instant::now);
                    }
                    match (data, &mut self.reader) {
                        (Some(data), Some(reader)) => commit.read(reader, data),
                        _ => Says::Nothing,
                    }
                }
                Read::End => return Poll::Ready(self.at_its_end()),
                Read::Failed(_) if self.reader.is_none() => return Poll::Ready(self.error_body()),
                Read::Failed(error) => return Poll::Ready(Begins::Broken(R::words(error))),
            };
            match says {
                Says::Content => return Poll::Ready(Begins::Well),
                Says::Error(error) => return Poll::Ready(Begins::ErrorEvent(error)),
                Says::Nothing if self.bytes < settings.bytes => {}
                Says::Nothing if self.reader.is_none() => return Poll::Ready(self.error_body()),
                Says::Nothing => return Poll::Ready(Begins::Well),
            }
        }
    }

    fn at_its_end(&self) -> Begins {
        match self.reader {
            None => self.error_body(),
            Some(_) => Begins::Ended,
        }
    }

    fn error_body(&self) -> Begins {
        Begins::ErrorBody(self.body.bytes())
    }

    /// A poll begins to wait for the next frame. Says until when.
    fn waits(&mut self, settings: &Settings) -> Instant {
        let now = Instant::now();
        self.waiting_since = Some(now);
        let whole = if self.reader.is_none() { Some(ERROR_BODY_TIMEOUT) } else { settings.timeout };
        let after = |from: Instant, time: Duration| from.checked_add(time).unwrap_or_else(Registry::far_future);
        let gap = after(now, settings.idle_gap);
        whole.map_or(gap, |whole| gap.min(after(self.head, whole)))
    }

    fn out_of_time(&self) -> Begins {
        match self.reader {
            None => self.error_body(),
            Some(_) => Begins::Stalled(self.waiting_since.map_or(Duration::ZERO, |since| since.elapsed())),
        }
    }

    fn finish(mut self, began: Instant, begins: Begins) -> R::Resumed {
        let first_byte = self.first_byte.map(|at| at.duration_since(began));
        self.parts.extensions.insert(Opening::new(begins, self.head.duration_since(began), first_byte));
        R::together(self.parts, self.body, self.rest)
    }
}

impl<F, R: Response, C: Commit> fmt::Debug for ResponseFuture<F, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
