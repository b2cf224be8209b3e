//! What the watch over a response body costs: for a frame, and for a download.
//!
//! `cargo bench --bench body`
//!
//! - A frame that is there at once, or at the second poll, which is how frames come from a connection: then the watch
//!   reads the clock and polls its timer.
//! - Downloads of 100 MB from a server on the loopback, by the bare client and by the same client under the layer. The
//!   server sends one piece, or chunks of 16 KiB, each of which is a frame. Two more columns are the bare client again:
//!   `control`, where any difference is noise, and `a timer`, while another task of its runtime sleeps, for a runtime
//!   with a timer to wait for has more to do, whoever set it. Server and client share a thread, for between two the
//!   scheduler's noise is ten times the cost.
//!
//! Rounds of all columns are interleaved, and a time is the median of its rounds. How much longer a download takes is
//! the median, with the quartiles, of single rounds over their bare ones.

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, combinators::BoxBody};
use hyper::server::conn::http1;
use hyper_util::{
    client::legacy::Client,
    rt::{TokioExecutor, TokioIo},
};
use std::{
    convert::Infallible,
    future::ready,
    hint::black_box,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_failover::{AtEnd, FailoverLayer, HttpAim, HttpClassify, HttpFinish, HttpResend, Model, Models, Provider};

const FRAME: usize = 16 * 1024;
const FRAMES: usize = 100_000_000 / FRAME;
const ROUNDS: usize = 301;
const DOWNLOADS: usize = 100;

/// A body of 100 MB.
struct Frames {
    left: usize,
    frame: Bytes,
    /// Whether each frame comes at the second poll.
    waits: bool,
    waiting: bool,
}

impl Frames {
    fn new(waits: bool) -> Self {
        Self { left: FRAMES, frame: Bytes::from(vec![7; FRAME]), waits, waiting: false }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        self.waiting = self.waits && !self.waiting;
        if self.waiting {
            return Poll::Pending;
        }
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(self.frame.clone()))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }
}

fn main() {
    println!("a frame, {ROUNDS} rounds of {FRAMES}");
    frames("at once", false);
    frames("after a wait", true);
    let whole = Bytes::from(vec![7; FRAME * FRAMES]);
    downloads("one piece", move || Full::from(whole.clone()).boxed());
    downloads("chunks of 16 KiB", || Frames::new(false).boxed());
}

fn layer() -> FailoverLayer<HttpAim, HttpClassify, HttpResend, HttpFinish<AtEnd>> {
    let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build();
    FailoverLayer::http(models.expect("valid")).finish(HttpFinish::new().watched()).build().expect("valid")
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn frames(name: &str, waits: bool) {
    let layer = layer();
    let runtime = runtime();
    let watched = || {
        let client = service_fn(|_: Request<()>| async { Ok::<_, Infallible>(Response::new(Frames::new(waits))) });
        runtime.block_on(layer.layer(client).oneshot(Request::new(()))).expect("answered").into_body()
    };
    let _entered = runtime.enter();
    let (mut bare, mut over) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(read(Frames::new(waits)));
        over.push(read(watched()));
    }
    let [bare, over] = [bare, over].map(|times| median(times).as_secs_f64() * 1e9 / FRAMES as f64);
    println!("{name:<12}  bare {bare:>5.1} ns, watched {over:>5.1} ns, {:>+5.1} ns", over - bare);
}

fn read<B: Body<Data = Bytes>>(body: B) -> Duration {
    let mut body = pin!(body);
    let mut context = Context::from_waker(Waker::noop());
    let start = Instant::now();
    loop {
        match body.as_mut().poll_frame(&mut context) {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                black_box(frame);
            }
            Poll::Ready(_) => break,
        }
    }
    assert!(body.is_end_stream());
    start.elapsed()
}

fn downloads(name: &str, body: impl Fn() -> BoxBody<Bytes, Infallible> + Clone + Send + 'static) {
    let runtime = runtime();
    let uri = runtime.block_on(serve(body));
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let watched = layer().layer(client.clone());
    let bare = || runtime.block_on(download(client.clone(), &uri));
    let over = || runtime.block_on(download(watched.clone(), &uri));
    let timer = || {
        let sleeper = runtime.spawn(async { sleep(Duration::from_secs(3600)).await });
        let result = bare();
        sleeper.abort();
        result
    };
    let columns: [&dyn Fn() -> (Duration, usize); 4] = [&bare, &over, &bare, &timer];
    let mut times = [(); 4].map(|()| Vec::new());
    let (_, mut frames) = bare();
    for round in 0..DOWNLOADS {
        for turn in 0..columns.len() {
            let column = (round + turn) % columns.len();
            let (time, count) = columns[column]();
            times[column].push(time);
            frames = frames.max(count);
        }
    }
    println!("\na download of 100 MB in {name}, at most {frames} frames, {DOWNLOADS} rounds");
    println!("bare     {:>8.2?}", median(times[0].clone()));
    for (name, column) in [("watched", 1), ("control", 2), ("a timer", 3)] {
        let pairs = times[column].iter().zip(&times[0]);
        let mut over: Vec<_> = pairs.map(|(time, bare)| (time.div_duration_f64(*bare) - 1.0) * 100.0).collect();
        over.sort_by(f64::total_cmp);
        let [low, middle, high] = [1, 2, 3].map(|quarter| over[over.len() * quarter / 4]);
        let time = median(times[column].clone());
        println!("{name:<8} {time:>8.2?}, {middle:>+5.2} % (quartiles {low:>+5.2} %, {high:>+5.2} %)");
    }
}

/// A server that answers everything with this body, on the runtime's own thread.
async fn serve(body: impl Fn() -> BoxBody<Bytes, Infallible> + Clone + Send + 'static) -> Uri {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
    let uri = format!("http://{}", listener.local_addr().expect("bound"));
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.expect("a connection");
            let body = body.clone();
            let service = hyper::service::service_fn(move |_| ready(Ok::<_, Infallible>(Response::new(body()))));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
        }
    });
    uri.parse().expect("a URI")
}

/// How long one download takes, and in how many frames it comes.
async fn download<S, B>(client: S, uri: &Uri) -> (Duration, usize)
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri.clone();
    let start = Instant::now();
    let Ok(response) = client.oneshot(request).await else { panic!("no answer") };
    let mut body = pin!(response.into_body());
    let (mut bytes, mut frames) = (0, 0);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { panic!("cut short") };
        bytes += frame.data_ref().map_or(0, |data| black_box(data).len());
        frames += 1;
    }
    assert_eq!(bytes, FRAME * FRAMES);
    (start.elapsed(), frames)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
