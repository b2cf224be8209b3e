//! The watch over one body.

use crate::{models::Registry, permit::Committed};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use std::{
    fmt, io,
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::time::{Instant, Sleep, sleep_until};

/// The longest time between two frames: 60 s.
pub const IDLE_GAP: Duration = Duration::from_secs(60);

/// A response body that tells the breaker how it ends; see the [module](super).
#[pin_project]
pub struct Watched<B> {
    #[pin]
    inner: B,
    /// `None` once the call is settled.
    call: Option<Committed>,
    idle_gap: Duration,
    /// Until when a poll waits for the next frame, if it does.
    waits_until: Option<Instant>,
    timer: Option<Timer>,
    stalled: bool,
}

/// Made at the first wait. It may still be set to the end of an earlier wait, and is set anew only when that has come:
/// hardly a wait is so long.
struct Timer {
    set_to: Instant,
    /// Boxed, so that the body stays `Unpin` if the one inside is.
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    /// Ready when the time has come; makes the timer if there is none.
    fn poll(this: &mut Option<Self>, ends: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let timer = this.get_or_insert_with(|| Self { set_to: ends, sleep: Box::pin(sleep_until(ends)) });
        loop {
            ready!(timer.sleep.as_mut().poll(cx));
            if timer.set_to >= ends {
                return Poll::Ready(());
            }
            timer.set_to = ends;
            timer.sleep.as_mut().reset(ends);
        }
    }
}

/// Why a watched body broke off. `E` is the body's own error.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError<E> {
    /// The body's own error.
    Body(E),
    /// No frame came within the idle gap. Its source is an [`io::Error`] of kind `TimedOut`.
    Stalled(Duration),
}

impl<E: fmt::Display> fmt::Display for BodyError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body(error) => error.fmt(f),
            Self::Stalled(gap) => write!(f, "no frame of the body came within {gap:?}"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for BodyError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Body(error) => error.source(),
            Self::Stalled(_) => Some(&*TIMED_OUT),
        }
    }
}

/// Below a stall, for whoever looks for a timeout in the chain of an error of unknown type.
static TIMED_OUT: LazyLock<io::Error> = LazyLock::new(|| io::ErrorKind::TimedOut.into());

impl<B: Body> Watched<B> {
    /// Watches a body until its call is settled; without a call only for a stall, of which its reader alone is told.
    pub(crate) fn new(inner: B, mut call: Option<Committed>, idle_gap: Duration) -> Self {
        if inner.is_end_stream() {
            end(&mut call);
        }
        Self { inner, call, idle_gap, waits_until: None, timer: None, stalled: false }
    }

    /// The body inside.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }
}

fn end(call: &mut Option<Committed>) {
    if let Some(call) = call.take() {
        call.ended();
    }
}

impl<B: Body> Body for Watched<B> {
    type Data = B::Data;
    type Error = BodyError<B::Error>;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let mut this = self.project();
        if *this.stalled {
            return Poll::Ready(None);
        }
        let polled = match this.call {
            Some(call) => call.enter(|| this.inner.as_mut().poll_frame(cx)),
            None => this.inner.as_mut().poll_frame(cx),
        };
        match polled {
            Poll::Pending => {
                let ends = *this.waits_until.get_or_insert_with(|| {
                    let now = Instant::now();
                    if let Some(call) = this.call {
                        call.waits(now);
                    }
                    now.checked_add(*this.idle_gap).unwrap_or_else(Registry::far_future)
                });
                ready!(Timer::poll(this.timer, ends, cx));
                *this.stalled = true;
                if let Some(call) = this.call.take() {
                    call.failed();
                }
                Poll::Ready(Some(Err(BodyError::Stalled(*this.idle_gap))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                *this.waits_until = None;
                if let Some(call) = this.call {
                    call.arrived();
                }
                if this.inner.is_end_stream() {
                    end(this.call);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                if let Some(call) = this.call.take() {
                    call.failed();
                }
                Poll::Ready(Some(Err(BodyError::Body(error))))
            }
            Poll::Ready(None) => {
                end(this.call);
                Poll::Ready(None)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stalled || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl<B: fmt::Debug> fmt::Debug for Watched<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("inner", &self.inner).field("idle_gap", &self.idle_gap).finish_non_exhaustive()
    }
}
