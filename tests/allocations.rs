//! What the watch over a response body allocates: nothing for a frame. And what an event does: nothing.

use allocation_counter::measure;
use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, Sleep, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_failover::{CircuitBreakerLayer, Command, FailoverLayer, HttpFinish, Model, Models, Provider};

const WAIT: Duration = Duration::from_secs(1);

/// A body of so many frames, which come at once or after a wait each.
struct Frames {
    left: u32,
    wait: Option<Pin<Box<Sleep>>>,
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(left) = self.left.checked_sub(1) else { return Poll::Ready(None) };
        if let Some(wait) = &mut self.wait {
            ready!(wait.as_mut().poll(cx));
            wait.as_mut().reset(Instant::now() + WAIT);
        }
        self.left = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a picture")))))
    }
}

impl Frames {
    fn new(frames: u32, wait: bool) -> Self {
        Self { left: frames, wait: wait.then(|| Box::pin(sleep(WAIT))) }
    }
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

/// What this thread allocates while it reads so many frames to their end.
fn bare(frames: u32, wait: bool) -> u64 {
    let runtime = runtime();
    let body = runtime.block_on(async { Frames::new(frames, wait) });
    read(&runtime, body, frames)
}

/// The same through the watch.
fn watched(frames: u32, wait: bool) -> u64 {
    let runtime = runtime();
    let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build();
    let models = models.expect("valid");
    let layer = FailoverLayer::http(models.clone()).finish(HttpFinish::new().watched()).build().expect("valid");
    let client =
        service_fn(|_: Request<()>| async move { Ok::<_, Infallible>(Response::new(Frames::new(frames, wait))) });
    let response = runtime.block_on(layer.layer(client).oneshot(Request::new(())));
    let body = response.expect("answered").into_body();
    let in_flight = || models.snapshot().model("sdxl").expect("known").in_flight;
    assert_eq!(in_flight(), 1, "under watch");
    let allocations = read(&runtime, body, frames);
    assert_eq!(in_flight(), 0, "to its end");
    allocations
}

fn read<B: Body + Unpin>(runtime: &Runtime, mut body: B, frames: u32) -> u64 {
    let mut count = 0;
    let read = async {
        while body.frame().await.is_some_and(|frame| frame.is_ok()) {
            count += 1
        }
    };
    let allocations = measure(|| runtime.block_on(read)).count_total;
    assert_eq!(count, frames);
    allocations
}

#[test]
fn frames_that_are_there_at_once_allocate_nothing() {
    let control = bare(10, false);
    assert_eq!(bare(1_000, false), control);
    assert_eq!((watched(10, false), watched(1_000, false)), (control, control));
}

#[test]
fn frames_that_are_waited_for_allocate_the_timer_of_the_first() {
    let control = bare(10, true);
    assert_eq!(bare(1_000, true), control);
    assert_eq!((watched(10, true), watched(1_000, true)), (control + 1, control + 1));
}

#[test]
fn an_event_allocates_nothing_whether_anybody_listens_or_not() {
    let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).build();
    let models = models.expect("valid");
    let command = || {
        for command in [Command::ForceOpen, Command::Reset] {
            models.command("sdxl", command).expect("known");
        }
    };
    command();
    assert_eq!(measure(command).count_total, 0);
    let mut events = models.events();
    // More than are kept.
    assert_eq!(measure(|| (0..1_000).for_each(|_| command())).count_total, 0);
    let heard = || while events.try_recv().is_some() {};
    assert_eq!(measure(heard).count_total, 0);
}

#[test]
fn a_key_takes_at_most_a_kibibyte_and_no_more_for_being_looked_at() {
    const KEYS: usize = 10_000;
    let models = Models::builder().provider(Provider::new("nexa")).model(Model::new("sdxl", "nexa")).max_keys(KEYS);
    let models = models.build().expect("valid");
    let layer = CircuitBreakerLayer::keyed(models.clone(), "sdxl", |key: &String| key.as_str()).expect("known");
    let mut breaker = layer.layer(service_fn(|_: String| std::future::ready(Ok::<_, Infallible>(()))));
    let names: Vec<String> = (0..KEYS).map(|key| format!("tenant-{key:06}")).collect();

    let mut call = || {
        for name in &names {
            assert!(matches!(breaker.call(name.clone()).now_or_never(), Some(Ok(()))));
        }
    };
    let at_rest = measure(&mut call).bytes_current;
    // Two of Apple's cache lines are longer.
    let most = if cfg!(all(target_arch = "aarch64", target_vendor = "apple")) { 1_152 } else { 1_024 };
    assert!(at_rest <= most * KEYS as i64, "{} bytes each", at_rest / KEYS as i64);
    assert_eq!(measure(&mut call).count_total, KEYS as u64, "but for the requests, a call of a key allocates nothing");
    let looked_at = measure(|| {
        for name in &names {
            let key = models.find_key(name).expect("made");
            drop((key.snapshot(), key.history()));
        }
    });
    assert_eq!(looked_at.bytes_current, 0);
}
