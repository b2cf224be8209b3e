//! A source whose frames are let out one by one, and a reader with a waker of its own.

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};
use tower_failover::{ReplayBody, ReplayError};

/// What a source has in it.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    Data(Bytes),
    Trailers(&'static str),
    Fails,
    Panics,
}

/// Data of this length, no two bytes in a row alike.
pub(crate) fn data(length: usize) -> Item {
    Item::Data((0..length).map(|at| (at % 251) as u8).collect::<Vec<u8>>().into())
}

pub(crate) fn text(text: &'static str) -> Item {
    Item::Data(Bytes::from_static(text.as_bytes()))
}

pub(crate) fn trailers(value: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(http::HeaderName::from_static("x-checksum"), value.parse().expect("a value"))])
}

#[derive(Debug)]
pub(crate) struct Failure;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("disk on fire")
    }
}

impl std::error::Error for Failure {}

/// The caller's end of a source.
#[derive(Clone, Default)]
pub(crate) struct Tap(Arc<Mutex<Flow>>);

#[derive(Default)]
struct Flow {
    items: Vec<Item>,
    taken: usize,
    out: usize,
    closed: bool,
    waker: Option<Waker>,
    dropped: bool,
}

pub(crate) struct Source {
    flow: Tap,
    /// Whether it says how long it is, and that it has come to its end.
    says: bool,
}

impl Tap {
    /// A source of these items, none of which is out.
    pub(crate) fn new(items: Vec<Item>, says: bool) -> (Self, Source) {
        let tap = Self::default();
        tap.0.lock().unwrap().items = items;
        (tap.clone(), Source { flow: tap, says })
    }

    /// Lets one more item out, or the end after the last.
    pub(crate) fn let_out(&self) {
        let mut flow = self.0.lock().unwrap();
        if flow.out < flow.items.len() {
            flow.out += 1;
        } else {
            flow.closed = true;
        }
        let waker = flow.waker.take();
        drop(flow);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn let_all_out(&self) {
        let items = self.0.lock().unwrap().items.len();
        (0..=items).for_each(|_| self.let_out());
    }

    /// Whether the source has been dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        self.0.lock().unwrap().dropped
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.flow.0.lock().unwrap().dropped = true;
    }
}

impl Body for Source {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let mut flow = self.flow.0.lock().unwrap();
        if flow.taken < flow.out {
            let taken = flow.taken;
            // Not kept here, so that it can be seen who keeps it.
            let item = std::mem::replace(&mut flow.items[taken], Item::Fails);
            flow.taken += 1;
            drop(flow);
            return Poll::Ready(Some(match item {
                Item::Data(data) => Ok(Frame::data(data)),
                Item::Trailers(value) => Ok(Frame::trailers(trailers(value))),
                Item::Fails => Err(Failure),
                Item::Panics => panic!("in the upload's poll"),
            }));
        }
        if flow.closed {
            return Poll::Ready(None);
        }
        flow.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn is_end_stream(&self) -> bool {
        let flow = self.flow.0.lock().unwrap();
        self.says && flow.taken == flow.items.len()
    }

    fn size_hint(&self) -> SizeHint {
        if !self.says {
            return SizeHint::default();
        }
        let flow = self.flow.0.lock().unwrap();
        let rest = flow.items[flow.taken..].iter().map(|item| match item {
            Item::Data(data) => data.len() as u64,
            _ => 0,
        });
        SizeHint::with_exact(rest.sum())
    }
}

/// A waker that notes that it was called.
#[derive(Default)]
pub(crate) struct Bell(AtomicBool);

impl Bell {
    /// Whether it has rung since the last look.
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn has_rung(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A reader, as a task that runs when it is woken.
pub(crate) struct Reader<B = Source> {
    pub(crate) body: ReplayBody<B>,
    pub(crate) bell: Arc<Bell>,
}

pub(crate) type Polled = Poll<Option<Result<Frame<Bytes>, ReplayError>>>;

impl<B> Reader<B>
where
    B: Body,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    pub(crate) fn new(body: ReplayBody<B>) -> Self {
        Self { body, bell: Arc::default() }
    }

    pub(crate) fn again(&self) -> Self {
        Self::new(self.body.clone())
    }

    pub(crate) fn poll(&mut self) -> Polled {
        let waker = Waker::from(self.bell.clone());
        Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&waker))
    }

    /// The data that is there now.
    #[track_caller]
    pub(crate) fn data(&mut self) -> Bytes {
        match self.poll() {
            Poll::Ready(Some(Ok(frame))) => frame.into_data().expect("data"),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn is_pending(&mut self) -> bool {
        self.poll().is_pending()
    }

    #[track_caller]
    pub(crate) fn is_at_end(&mut self) -> bool {
        matches!(self.poll(), Poll::Ready(None))
    }

    #[track_caller]
    pub(crate) fn error(&mut self) -> ReplayError {
        match self.poll() {
            Poll::Ready(Some(Err(error))) => error,
            other => panic!("{other:?}"),
        }
    }
}
