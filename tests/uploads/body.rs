//! The body alone: what streams, what is kept, and who is woken.

use crate::source::{Failure, Item, Reader, Source, Tap, data, text};
use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use std::{
    collections::VecDeque,
    error::Error,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};
use tower_failover::{ReplayBody, ReplayError};

const CAP: usize = 10_000;

fn readers(items: Vec<Item>) -> (Tap, Reader, Reader) {
    let (tap, source) = Tap::new(items, false);
    let first = Reader::new(ReplayBody::new(source, CAP));
    let second = first.again();
    (tap, first, second)
}

/// Runs what would hang for good if it were wrong.
fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || done.send(run()));
    end.recv_timeout(Duration::from_secs(10)).expect("in time, and without a panic")
}

#[test]
fn the_first_reader_waits_for_no_more_than_the_next_frame() {
    let (tap, mut first, mut second) = readers(vec![text("a "), text("picture")]);
    assert!(first.is_pending());
    tap.let_out();
    assert_eq!(first.data(), "a ");
    assert!(first.is_pending());
    assert_eq!(second.data(), "a ", "what has been read is there for others at once");
    tap.let_all_out();
    assert_eq!(second.data(), "picture", "and whoever comes first reads on");
    assert_eq!(first.data(), "picture");
    assert!(first.is_at_end() && second.is_at_end());
}

#[test]
fn a_frame_that_was_let_out_wakes_all_who_wait() {
    let (tap, mut first, mut second) = readers(vec![text("a picture")]);
    assert!(first.is_pending() && second.is_pending());
    tap.let_out();
    assert!(first.bell.take() && second.bell.take());
    assert_eq!(second.data(), "a picture");
    assert_eq!(first.data(), "a picture");
}

#[test]
fn one_who_is_dropped_takes_nobodys_waking_along() {
    for dropped_first in [true, false] {
        let (tap, mut first, mut second) = readers(vec![text("a picture")]);
        assert!(first.is_pending() && second.is_pending());
        let mut stays = if dropped_first { second } else { first };
        tap.let_out();
        assert!(stays.bell.take());
        assert_eq!(stays.data(), "a picture");
    }
}

type Run = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;
type Says = Poll<Option<Result<Frame<Bytes>, Failure>>>;
/// What a poll finds, how it says so, and the cap.
type Row = (&'static str, fn() -> Says, usize);

/// Runs something when it is first polled, and says then whatever comes.
struct Meanwhile {
    run: Run,
    says: fn() -> Says,
}

impl Body for Meanwhile {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Says {
        let Some(run) = self.run.lock().unwrap().take() else { return Poll::Ready(None) };
        // Whoever comes after this is not woken by it.
        cx.waker().wake_by_ref();
        run();
        (self.says)()
    }
}

#[test]
fn who_comes_while_another_polls_is_woken_whatever_that_one_finds() {
    let rows: [Row; 6] = [
        ("nothing", || Poll::Pending, CAP),
        ("a frame", || Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a picture"))))), CAP),
        ("past the cap", || Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a picture"))))), 3),
        ("the end", || Poll::Ready(None), CAP),
        ("an error", || Poll::Ready(Some(Err(Failure))), CAP),
        ("a panic", || panic!("in the upload's poll"), CAP),
    ];
    for (finds, says, cap) in rows {
        in_time(move || {
            let run = Run::default();
            let mut first = Reader::new(ReplayBody::new(Meanwhile { run: run.clone(), says }, cap));
            let second = Arc::new(Mutex::new(first.again()));
            let comes = second.clone();
            *run.lock().unwrap() = Some(Box::new(move || assert!(comes.lock().unwrap().is_pending())));
            let polled = catch_unwind(AssertUnwindSafe(|| first.poll()));
            assert_eq!(polled.is_err(), finds == "a panic");
            assert!(first.bell.take(), "a source may wake its reader at once");
            drop(first);
            let mut second = second.lock().unwrap();
            assert!(second.bell.take(), "{finds}");
            match finds {
                "nothing" | "the end" => assert!(second.is_at_end()),
                "a frame" => assert_eq!(second.data(), "a picture"),
                "past the cap" => assert!(matches!(second.error(), ReplayError::PastCap(3))),
                _ => assert!(matches!(second.error(), ReplayError::Upload(_))),
            }
        });
    }
}

/// A waker that reads on at once, inside `wake`.
struct ReadsOn(Mutex<Reader>, Mutex<Vec<Bytes>>);

impl Wake for ReadsOn {
    fn wake(self: Arc<Self>) {
        if let Poll::Ready(Some(Ok(frame))) = self.0.lock().unwrap().poll() {
            self.1.lock().unwrap().push(frame.into_data().expect("data"));
        }
    }
}

#[test]
fn no_lock_is_held_while_a_waker_runs() {
    in_time(|| {
        let (tap, mut first, mut second) = readers(vec![text("a "), text("picture")]);
        let third = Arc::new(ReadsOn(Mutex::new(first.again()), Mutex::default()));
        let waker = Waker::from(third.clone());
        assert!(Pin::new(&mut second.body).poll_frame(&mut Context::from_waker(&waker)).is_pending());
        assert!(first.is_pending());
        tap.let_out();
        assert_eq!(*third.1.lock().unwrap(), ["a "]);
        assert!(Pin::new(&mut second.body).poll_frame(&mut Context::from_waker(&waker)).is_ready());
        assert!(Pin::new(&mut second.body).poll_frame(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(first.data(), "a ");
        tap.let_out();
        assert_eq!(*third.1.lock().unwrap(), ["a ", "picture"]);
    });
}

#[test]
fn data_is_not_copied() {
    let Item::Data(large) = data(5000) else { unreachable!() };
    let (tap, mut first, mut second) = readers(vec![text("a picture"), Item::Data(large.clone())]);
    tap.let_all_out();
    assert_eq!(first.data(), "a picture");
    assert_eq!(first.data().as_ptr(), large.as_ptr());
    assert_eq!(second.data(), "a picture");
    assert_eq!(second.data().as_ptr(), large.as_ptr());
}

/// Data that tells when it is dropped.
struct Tells {
    data: Vec<u8>,
    _kept: Arc<()>,
}

impl AsRef<[u8]> for Tells {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

#[test]
fn a_small_frame_keeps_no_large_buffer() {
    let alive = Arc::new(());
    let buffer = Bytes::from_owner(Tells { data: vec![7; 100_000], _kept: alive.clone() });
    let (tap, mut first, mut second) = readers(vec![Item::Data(buffer.slice(..10)), Item::Data(buffer.slice(10..30))]);
    drop(buffer);
    tap.let_all_out();
    assert_eq!((first.data().len(), first.data().len()), (10, 20));
    assert_eq!(Arc::strong_count(&alive), 1);
    assert_eq!(second.data(), vec![7; 30]);
}

#[test]
fn nothing_is_left_of_a_reader_that_is_dropped() {
    let (tap, mut first, mut second) = readers(vec![text("a picture")]);
    assert!(first.is_pending() && second.is_pending());
    let Reader { body, bell } = first;
    assert_eq!(Arc::strong_count(&bell), 2);
    drop(body);
    assert_eq!(Arc::strong_count(&bell), 1);
    tap.let_out();
    second.data();
    assert_eq!(Arc::strong_count(&second.bell), 1, "nor of one that has what it waited for");
}

#[test]
fn past_the_cap_only_who_is_ahead_reads_on_and_what_was_kept_is_freed() {
    let kept = Arc::new(());
    let beginning = Bytes::from_owner(Tells { data: vec![7; CAP], _kept: kept.clone() });
    let (tap, mut first, mut behind) = readers(vec![Item::Data(beginning), text("!"), text("more")]);
    tap.let_out();
    tap.let_out();
    assert_eq!(first.data().len(), CAP);
    assert!(behind.body.is_whole(), "to the byte");
    assert_eq!(Arc::strong_count(&kept), 2);
    assert_eq!(first.data(), "!", "the frame that crosses it is given out");
    assert_eq!(Arc::strong_count(&kept), 1);
    assert!(!behind.body.is_whole());
    assert!(matches!(behind.error(), ReplayError::PastCap(CAP)));
    assert!(behind.is_at_end(), "an error comes once");
    assert!(matches!(first.again().error(), ReplayError::PastCap(CAP)));
    tap.let_all_out();
    assert_eq!(first.data(), "more");
    assert!(first.is_at_end());
    assert!(matches!(first.again().error(), ReplayError::PastCap(CAP)), "also when all has been read");
}

#[test]
fn one_that_says_beforehand_that_it_is_longer_is_not_kept_at_all() {
    for (length, whole) in [(CAP, true), (CAP + 1, false)] {
        let (tap, source) = Tap::new(vec![text("!"), data(length - 1)], true);
        tap.let_all_out();
        let mut first = Reader::new(ReplayBody::new(source, CAP));
        let mut second = first.again();
        assert!(first.body.is_whole(), "nothing is lost as yet");
        assert_eq!(second.body.size_hint().exact(), Some(length as u64));
        assert_eq!(second.data(), "!");
        assert_eq!(first.body.is_whole(), whole);
        assert_eq!(matches!(first.poll(), Poll::Ready(Some(Ok(_)))), whole);
        assert_eq!(second.data().len(), length - 1);
    }
}

#[test]
fn a_cap_of_zero_keeps_nothing_but_the_empty_body() {
    let empty = ReplayBody::new(Full::<Bytes>::default(), 0);
    assert!(empty.is_whole() && empty.is_end_stream() && empty.clone().is_end_stream());
    for says in [false, true] {
        let (tap, source) = Tap::new(vec![text("!")], says);
        let mut first = Reader::new(ReplayBody::new(source, 0));
        assert!(first.body.is_whole());
        tap.let_all_out();
        assert_eq!(first.data(), "!");
        assert!(!first.body.is_whole() && first.is_at_end());
    }
}

#[test]
fn the_source_goes_when_it_has_ended_or_nobody_may_read_it() {
    let (tap, mut first, second) = readers(vec![text("a picture")]);
    tap.let_all_out();
    first.data();
    assert!(!tap.is_dropped());
    assert!(first.is_at_end());
    assert!(tap.is_dropped());
    assert_eq!(second.body.size_hint().exact(), Some(9));

    let (tap, mut first, second) = readers(vec![data(CAP + 1), text("never read")]);
    tap.let_out();
    first.data();
    assert!(!tap.is_dropped());
    drop(first);
    assert!(tap.is_dropped());
    drop(second);
}

#[test]
fn an_upload_that_fails_says_so_to_all_and_is_no_longer_whole() {
    let (tap, mut first, mut second) = readers(vec![text("a pic"), Item::Fails]);
    tap.let_all_out();
    first.data();
    let error = first.error();
    assert_eq!(error.to_string(), "the upload failed");
    assert!(error.source().is_some_and(|source| source.is::<Failure>()));
    assert!(first.is_at_end() && first.body.is_end_stream(), "an error comes once");
    assert!(!second.body.is_whole() && tap.is_dropped());
    assert!(matches!(second.error(), ReplayError::Upload(_)));
    assert!(matches!(first.again().error(), ReplayError::Upload(_)));
}

#[test]
fn an_upload_that_panics_has_failed() {
    let (tap, mut first, mut second) = readers(vec![Item::Panics]);
    tap.let_out();
    assert!(catch_unwind(AssertUnwindSafe(|| first.poll())).is_err(), "it goes on unwinding");
    let error = second.error();
    assert_eq!(error.source().map(ToString::to_string).as_deref(), Some("its body panicked"));
    assert!(!second.body.is_whole());
}

/// Data that is no `Bytes`, and comes in pieces.
struct Pieces(Vec<VecDeque<u8>>);

impl Body for Pieces {
    type Data = VecDeque<u8>;
    type Error = Failure;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<VecDeque<u8>>, Failure>>> {
        Poll::Ready(self.0.pop().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.remaining() as u64).sum())
    }
}

#[tokio::test]
async fn any_body_will_do() {
    let body = ReplayBody::new(Pieces(vec![VecDeque::from(*b"ture"), VecDeque::from(*b"a pic")]), CAP);
    assert_eq!(body.size_hint().exact(), Some(9));
    let again = body.clone();
    assert_eq!(body.collect().await.expect("whole").to_bytes(), "a picture");
    assert_eq!(again.collect().await.expect("whole").to_bytes(), "a picture");
}

#[test]
fn one_that_has_read_half_begins_at_the_start_for_its_clone() {
    let (tap, mut first, _) = readers(vec![text("a "), text("picture")]);
    tap.let_out();
    first.data();
    let mut clone = first.again();
    assert_eq!(clone.data(), "a ");
    assert!(clone.is_pending());
}

#[test]
fn it_can_go_where_clients_need_it() {
    fn goes<T: Send + Sync + Unpin + 'static>() {}
    goes::<ReplayBody<Source>>();
}
