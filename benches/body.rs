//! What the watch over a response body costs, a frame: 100 MB in frames of 16 KiB that are there at once, and are copied
//! out as a reader would do.
//!
//! `cargo bench --bench body`
//!
//! Rounds of both rows are interleaved; each row is the median of its rounds.

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body, Frame};
use std::{
    convert::Infallible,
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{FailoverLayer, HttpFinish, Model, Models, Provider};

const FRAME: usize = 16 * 1024;
const FRAMES: usize = 100_000_000 / FRAME;
const ROUNDS: usize = 21;

/// A body whose frames are there at once.
struct Frames {
    left: usize,
    frame: Bytes,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

fn main() {
    let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build();
    let layer = FailoverLayer::http(models.expect("valid")).finish(HttpFinish::new().watched()).build().expect("valid");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let frame = Bytes::from(vec![7; FRAME]);
    let body = || Frames { left: FRAMES, frame: frame.clone() };
    let watched = || {
        let client = service_fn(|_: Request<()>| async { Ok::<_, std::io::Error>(Response::new(body())) });
        runtime.block_on(layer.layer(client).oneshot(Request::new(()))).expect("answered").into_body()
    };
    let (mut bare, mut over) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(read(body()));
        over.push(read(watched()));
    }
    let (bare, over) = (median(&mut bare), median(&mut over));
    let a_frame = |time: Duration| time.as_secs_f64() * 1e9 / FRAMES as f64;
    println!("bare     {bare:>10.1?} for 100 MB, {:>6.1} ns a frame", a_frame(bare));
    println!("watched  {over:>10.1?} for 100 MB, {:>6.1} ns a frame", a_frame(over));
}

fn read<B: Body<Data = Bytes>>(body: B) -> Duration {
    let mut body = pin!(body);
    let mut buffer = BytesMut::with_capacity(FRAME);
    let mut context = Context::from_waker(Waker::noop());
    let start = Instant::now();
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut context) {
        buffer.clear();
        buffer.extend_from_slice(frame.data_ref().expect("data"));
        black_box(&buffer);
    }
    assert!(body.is_end_stream());
    start.elapsed()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}
