//! A body of which something has been read.

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// A body whose beginning has been read ahead, and which begins with it all the same: what was read, frame by frame, and
/// then the rest as it comes.
///
/// Once what was read has been handed on, frames pass straight through.
#[pin_project]
pub struct Resumed<B: Body> {
    read: VecDeque<Frame<Bytes>>,
    /// How it ended while it was read.
    end: Option<End<B::Error>>,
    #[pin]
    inner: B,
}

#[derive(Debug)]
enum End<E> {
    Clean,
    Failed(E),
}

impl<B: Body<Data = Bytes>> Resumed<B> {
    /// A body of which nothing has been read.
    pub(crate) fn new(inner: B) -> Self {
        Self { read: VecDeque::new(), end: None, inner }
    }

    /// The body inside, of which more has been read than has been handed on.
    pub fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The bytes that have been read and not been handed on.
    pub(crate) fn bytes(&self) -> Bytes {
        let mut data = self.read.iter().filter_map(Frame::data_ref);
        match (data.next(), data.next()) {
            (None, _) => Bytes::new(),
            (Some(only), None) => only.clone(),
            _ => self.read.iter().filter_map(Frame::data_ref).flatten().copied().collect(),
        }
    }
}

/// What reading ahead came to.
pub(crate) enum Read<'a, E> {
    Frame(&'a Frame<Bytes>),
    End,
    Failed(&'a E),
}

impl<B: Body<Data = Bytes> + Unpin> Resumed<B> {
    /// Reads one frame more, and keeps it.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Read<'_, B::Error>> {
        match std::task::ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => {
                self.read.push_back(frame);
                Poll::Ready(self.read.back().map_or(Read::End, Read::Frame))
            }
            Some(Err(error)) => match self.end.insert(End::Failed(error)) {
                End::Failed(error) => Poll::Ready(Read::Failed(error)),
                End::Clean => Poll::Ready(Read::End),
            },
            None => {
                self.end = Some(End::Clean);
                Poll::Ready(Read::End)
            }
        }
    }
}

impl<B: Body<Data = Bytes>> Body for Resumed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(frame) = this.read.pop_front() {
            return Poll::Ready(Some(Ok(frame)));
        }
        match this.end {
            None => this.inner.poll_frame(cx),
            Some(end) => match std::mem::replace(end, End::Clean) {
                End::Clean => Poll::Ready(None),
                End::Failed(error) => Poll::Ready(Some(Err(error))),
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty()
            && match self.end {
                None => self.inner.is_end_stream(),
                Some(End::Clean) => true,
                Some(End::Failed(_)) => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(Frame::data_ref).map(|data| data.remaining() as u64).sum::<u64>();
        // Of one that has failed, what it promised.
        let rest = if let Some(End::Clean) = self.end { SizeHint::with_exact(0) } else { self.inner.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

impl<B: Body + fmt::Debug> fmt::Debug for Resumed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumed").field("read", &self.read.len()).field("inner", &self.inner).finish_non_exhaustive()
    }
}
