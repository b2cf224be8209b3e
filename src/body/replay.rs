//! An upload that can be read again from its start.

use super::{
    error::{Panicked, ReplayError},
    tape::{Position, Tape},
    waiting::Waiting,
};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use std::{
    error::Error,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// How much of an upload is kept to be sent again: 1 MiB. Enough for a long prompt, and Envoy's own default limit of what it
/// buffers of a connection, for retries too ([`per_connection_buffer_limit_bytes`][envoy]); a thousand uploads at once then
/// hold 1 GiB at the most. Pictures and sound may want more.
///
/// [envoy]: https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/listener/v3/listener.proto
pub const REPLAY_CAP: usize = 1024 * 1024;

/// A request body whose clones all read the same upload, each from its start.
///
/// The first reader streams the upload as it comes: nothing waits for the whole. What has been read is kept, up to a cap,
/// and is what a clone reads first; where that ends, whoever polls drives the upload, for all. So several can read at
/// once, and one that is dropped, or stops, keeps nobody else from going on.
///
/// With the frame that crosses the cap the upload can no longer be sent again: what was kept is freed, that frame and all
/// that follow go to the reader that got there first, and every other reader gets [`ReplayError::PastCap`]. If the upload
/// says beforehand that it is longer than the cap, nothing is kept of it, and its first frame crosses the cap.
///
/// [`Recorded`](crate::Recorded) makes one of every request's body.
///
/// ```
/// use bytes::Bytes;
/// use http_body_util::{BodyExt, Full};
/// use tower_failover::ReplayBody;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let first = ReplayBody::new(Full::<Bytes>::from("a picture"), 1024);
/// let again = first.clone();
/// assert_eq!(first.collect().await?.to_bytes(), "a picture");
/// assert!(again.is_whole());
/// assert_eq!(again.collect().await?.to_bytes(), "a picture");
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ReplayError`]: the upload's own, which every reader gets that has not come to the end, or that it is past the cap.
pub struct ReplayBody<B> {
    shared: Arc<Shared<B>>,
    id: u64,
    position: Position,
    /// Whether it has had its error.
    failed: bool,
}

struct Shared<B> {
    /// Held for moments only: never while foreign code runs, be it the upload's, a waker's or a drop of either.
    state: Mutex<State<B>>,
    waiting: Arc<Waiting>,
    /// The same, as the source knows it.
    waker: Waker,
    cap: usize,
    /// What is kept of it: nothing of an upload that says beforehand that it is longer.
    room: usize,
}

struct State<B> {
    tape: Tape,
    record: Record,
    source: Source<B>,
    /// What the source said when it was last polled.
    hint: SizeHint,
    /// Whether somebody came while the source was out, who thus is not known to it.
    came_meanwhile: bool,
    readers: u64,
}

enum Source<B> {
    Here(Pin<Box<B>>),
    /// Somebody polls it.
    Out,
    /// It has ended or failed, or nobody may read it any more.
    Gone,
}

enum Record {
    Whole,
    /// Past the cap: the rest is for this one alone.
    Only(u64),
    Failed(ReplayError),
}

enum Seen {
    Frame(Frame<Bytes>),
    End,
    Failed(ReplayError),
    /// This reader is where the source is.
    Ahead,
}

impl<B: Body> ReplayBody<B> {
    /// Keeps up to `cap` bytes of data and trailers. With a cap of zero nothing is kept, so that it can be sent again only
    /// until something has been read.
    pub fn new(body: B, cap: usize) -> Self {
        let hint = body.size_hint();
        let fits = usize::try_from(hint.lower()).is_ok_and(|lower| lower <= cap);
        let room = if fits { cap } else { 0 };
        let source = if body.is_end_stream() { Source::Gone } else { Source::Here(Box::pin(body)) };
        let waiting = Arc::<Waiting>::default();
        let state =
            State { tape: Tape::default(), record: Record::Whole, source, hint, came_meanwhile: false, readers: 1 };
        let shared = Shared { state: Mutex::new(state), waker: Waker::from(waiting.clone()), waiting, cap, room };
        Self { shared: Arc::new(shared), id: 0, position: Position::default(), failed: false }
    }
}

impl<B> ReplayBody<B> {
    /// Whether a clone could still read everything from the start: the upload has neither grown past the cap nor failed.
    pub fn is_whole(&self) -> bool {
        matches!(self.shared.state().record, Record::Whole)
    }

    /// The upload's own error, if it has failed by itself.
    pub fn error(&self) -> Option<ReplayError> {
        match &self.shared.state().record {
            Record::Failed(error) => Some(error.clone()),
            Record::Whole | Record::Only(_) => None,
        }
    }
}

impl<B> Shared<B> {
    /// A thread that panicked can have left nothing half done, as no foreign code runs under the lock.
    fn state(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B> State<B> {
    fn look(&self, id: u64, position: &mut Position, cap: usize) -> Seen {
        match &self.record {
            Record::Failed(error) => return Seen::Failed(error.clone()),
            Record::Only(leader) if *leader != id => return Seen::Failed(ReplayError::PastCap(cap)),
            Record::Only(_) => {}
            Record::Whole => {
                if let Some(frame) = self.tape.next(position) {
                    return Seen::Frame(frame);
                }
            }
        }
        if matches!(self.source, Source::Gone) { Seen::End } else { Seen::Ahead }
    }
}

impl<B> Shared<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    /// Polls the source, unless somebody else does or has done so meanwhile.
    fn advance(&self, id: u64, position: &mut Position) -> Poll<Seen> {
        let mut state = self.state();
        let seen = state.look(id, position, self.cap);
        if !matches!(seen, Seen::Ahead) {
            return Poll::Ready(seen);
        }
        let Source::Here(source) = mem::replace(&mut state.source, Source::Out) else {
            state.came_meanwhile = true;
            return Poll::Pending;
        };
        drop(state);
        let mut turn = Turn { shared: self, id, source: Some(source) };
        match turn.source().as_mut().poll_frame(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => {
                turn.wait();
                Poll::Pending
            }
            Poll::Ready(Some(Ok(frame))) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                turn.record(&frame, position);
                Poll::Ready(Seen::Frame(frame))
            }
            Poll::Ready(Some(Err(error))) => {
                let error = ReplayError::Upload(error.into().into());
                turn.fail(error.clone());
                Poll::Ready(Seen::Failed(error))
            }
            Poll::Ready(None) => {
                turn.end();
                Poll::Ready(Seen::End)
            }
        }
    }
}

/// One poll of the source, which is out meanwhile. If it panics, the upload has failed.
struct Turn<'a, B> {
    shared: &'a Shared<B>,
    id: u64,
    /// `None` once the turn is over.
    source: Option<Pin<Box<B>>>,
}

impl<B: Body> Turn<'_, B> {
    fn source(&mut self) -> &mut Pin<Box<B>> {
        self.source.as_mut().expect("there until the turn is over")
    }

    /// Nothing has come. Who came meanwhile is not known to the source, and must poll it himself.
    fn wait(mut self) {
        let hint = self.source().size_hint();
        let mut state = self.shared.state();
        state.hint = hint;
        state.source = self.source.take().map_or(Source::Gone, Source::Here);
        if mem::take(&mut state.came_meanwhile) {
            drop(state);
            self.shared.waiting.wake_all_but(Some(self.id));
        }
    }

    fn record(mut self, frame: &Frame<Bytes>, position: &mut Position) {
        let (hint, at_end) = (self.source().size_hint(), self.source().is_end_stream());
        let source = self.source.take();
        let mut state = self.shared.state();
        state.hint = hint;
        state.came_meanwhile = false;
        let mut given_up = Tape::default();
        if matches!(state.record, Record::Whole) {
            if state.tape.record(frame, self.shared.room) {
                *position = state.tape.end();
            } else {
                state.record = Record::Only(self.id);
                given_up = mem::take(&mut state.tape);
            }
        }
        let (rest, ended) =
            if at_end { (Source::Gone, source) } else { (source.map_or(Source::Gone, Source::Here), None) };
        state.source = rest;
        drop(state);
        self.shared.waiting.wake_all_but(Some(self.id));
        drop((given_up, ended));
    }
}

impl<B> Turn<'_, B> {
    fn end(mut self) {
        let ended = self.source.take();
        self.shared.state().source = Source::Gone;
        self.shared.waiting.wake_all_but(Some(self.id));
        drop(ended);
    }

    fn fail(&mut self, error: ReplayError) {
        let failed = self.source.take();
        let mut state = self.shared.state();
        state.source = Source::Gone;
        state.record = Record::Failed(error);
        let given_up = mem::take(&mut state.tape);
        drop(state);
        self.shared.waiting.wake_all_but(Some(self.id));
        drop((given_up, failed));
    }
}

impl<B> Drop for Turn<'_, B> {
    fn drop(&mut self) {
        if self.source.is_some() {
            self.fail(ReplayError::Upload(Arc::new(Panicked)));
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = ReplayError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplayError>>> {
        let this = self.get_mut();
        if this.failed {
            return Poll::Ready(None);
        }
        let shared = &*this.shared;
        let mut seen = shared.state().look(this.id, &mut this.position, shared.cap);
        if matches!(seen, Seen::Ahead) {
            // Before the next look: whatever comes after it, wakes.
            shared.waiting.add(this.id, cx.waker().clone());
            seen = match shared.advance(this.id, &mut this.position) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(seen) => seen,
            };
            shared.waiting.remove(this.id);
        }
        Poll::Ready(match seen {
            Seen::Frame(frame) => Some(Ok(frame)),
            Seen::End | Seen::Ahead => None,
            Seen::Failed(error) => {
                this.failed = true;
                Some(Err(error))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        let state = self.shared.state();
        let gone = matches!(state.source, Source::Gone);
        self.failed
            || match state.record {
                Record::Whole => gone && state.tape.ends_at(&self.position),
                Record::Only(leader) => gone && leader == self.id,
                Record::Failed(_) => false,
            }
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.shared.state();
        let rest = match state.record {
            Record::Whole => state.tape.rest(&self.position),
            Record::Only(leader) if leader == self.id => 0,
            Record::Only(_) | Record::Failed(_) => return SizeHint::default(),
        };
        if matches!(state.source, Source::Gone) {
            return SizeHint::with_exact(rest);
        }
        let mut hint = SizeHint::new();
        hint.set_lower(rest.saturating_add(state.hint.lower()));
        if let Some(upper) = state.hint.upper().and_then(|upper| upper.checked_add(rest)) {
            hint.set_upper(upper);
        }
        hint
    }
}

/// A reader that begins at the start, wherever this one is.
impl<B> Clone for ReplayBody<B> {
    fn clone(&self) -> Self {
        let mut state = self.shared.state();
        let id = state.readers;
        state.readers += 1;
        drop(state);
        Self { shared: self.shared.clone(), id, position: Position::default(), failed: false }
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        self.shared.waiting.remove(self.id);
        let mut state = self.shared.state();
        if matches!(state.record, Record::Only(leader) if leader == self.id) {
            let unread = mem::replace(&mut state.source, Source::Gone);
            drop(state);
            drop(unread);
        }
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").field("cap", &self.shared.cap).field("whole", &self.is_whole()).finish()
    }
}
