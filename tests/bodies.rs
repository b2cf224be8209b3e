//! Response bodies, watched to the end: law 20, and what laws 1 to 4 say of a call that is not over at its head.

use bytes::Bytes;
use futures::{channel::mpsc, executor::block_on};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use std::{
    io,
    panic::AssertUnwindSafe,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::{advance, sleep, timeout},
};
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{
    BodyError, BreakerConfig, BreakerSnapshot, Command, Error, FailoverLayer, HttpFinish, Model, ModelSnapshot, Models,
    Provider, State, Tier, Trip, Watched, defaults::IDLE_GAP,
};

type Frames = mpsc::UnboundedSender<io::Result<Frame<Bytes>>>;
type AnyBody = BoxBody<Bytes, io::Error>;

const SECOND: Duration = Duration::from_secs(1);

fn models(config: BreakerConfig) -> Models {
    let provider = Provider::new("nexa");
    Models::builder()
        .provider(provider)
        .model(Model::new("sdxl", "nexa").breaker(config))
        .seed(1)
        .build()
        .expect("valid")
}

fn two_in_a_row() -> Models {
    models(
        BreakerConfig::default()
            .trip([Trip::consecutive(2, Duration::ZERO), Trip::failure_rate(1.0, u32::MAX, 60 * SECOND)]),
    )
}

fn model(models: &Models) -> ModelSnapshot {
    models.snapshot().model("sdxl").expect("known").clone()
}

fn breaker(models: &Models) -> BreakerSnapshot {
    model(models).breaker
}

/// Successes and failures that have been counted.
fn counted(models: &Models) -> (u64, u64) {
    breaker(models).window.map_or((0, 0), |window| (window.successes, window.failures))
}

/// The watched body of an answer with this one.
async fn answer_with(models: &Models, status: StatusCode, body: AnyBody) -> Watched<AnyBody> {
    let body = std::sync::Mutex::new(Some(body));
    let client = service_fn(|_: Request<()>| {
        let mut response = Response::new(body.lock().expect("not poisoned").take().expect("asked once"));
        *response.status_mut() = status;
        async move { Ok::<_, io::Error>(response) }
    });
    let layer = FailoverLayer::http(models.clone()).finish(HttpFinish::new().watched()).build().expect("valid");
    layer.layer(client).oneshot(Request::new(())).await.expect("answered").into_body()
}

async fn answer(models: &Models, body: AnyBody) -> Watched<AnyBody> {
    answer_with(models, StatusCode::OK, body).await
}

/// A body that comes frame by frame.
async fn stream(models: &Models) -> (Frames, Watched<AnyBody>) {
    let (frames, body) = mpsc::unbounded();
    (frames, answer(models, BodyExt::boxed(StreamBody::new(body))).await)
}

fn data(text: &'static str) -> io::Result<Frame<Bytes>> {
    Ok(Frame::data(Bytes::from_static(text.as_bytes())))
}

fn cut() -> io::Result<Frame<Bytes>> {
    Err(io::ErrorKind::ConnectionReset.into())
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_to_its_end_is_the_success() {
    let models = two_in_a_row();
    let (frames, mut body) = stream(&models).await;
    frames.unbounded_send(data("a pic")).expect("read");
    assert!(body.frame().await.expect("a frame").is_ok());
    assert_eq!((counted(&models), model(&models).in_flight), ((0, 0), 1), "not over yet");
    drop(frames);
    assert!(body.frame().await.is_none());
    assert_eq!((counted(&models), model(&models).in_flight), ((1, 0), 0));
}

/// Of a rule on calls slower than 1 s: which were, and how many there were.
fn slow(models: &Models) -> (u64, u64) {
    breaker(models).slow_calls.map_or((0, 0), |counted| (counted.slow, counted.calls))
}

#[tokio::test(start_paused = true)]
async fn a_long_stream_is_not_a_slow_call_however_it_ends() {
    let models = models(BreakerConfig::default().trip([Trip::slow_call_rate(0.5, SECOND, 3, 600 * SECOND)]));
    for ends_well in [true, false] {
        let (frames, mut body) = stream(&models).await;
        for _ in 0..5 {
            advance(10 * SECOND).await;
            frames.unbounded_send(data("a token")).expect("read");
            assert!(body.frame().await.expect("a frame").is_ok());
        }
        if !ends_well {
            frames.unbounded_send(cut()).expect("read");
        }
        drop(frames);
        assert_eq!(body.frame().await.is_none(), ends_well);
    }
    assert_eq!(slow(&models), (0, 2));
    let (_frames, mut body) = stream(&models).await;
    body.frame().await.expect("a frame").expect_err("stalled");
    assert_eq!((breaker(&models).state, slow(&models)), (State::Closed, (0, 3)));
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_is_a_slow_call_once_its_body_has_ended() {
    let models = models(BreakerConfig::default().trip([Trip::slow_call_rate(0.5, SECOND, 3, 600 * SECOND)]));
    let client = service_fn(|_: Request<()>| async {
        sleep(SECOND + Duration::from_millis(1)).await;
        Ok::<_, io::Error>(Response::new(Full::<Bytes>::from("a picture")))
    });
    let layer = FailoverLayer::http(models.clone()).finish(HttpFinish::new().watched()).build().expect("valid");
    for call in 1..=3 {
        let response = layer.layer(client).oneshot(Request::new(())).await.expect("answered");
        assert_eq!(slow(&models), (call - 1, call - 1));
        response.into_body().collect().await.expect("a picture");
        assert_eq!(slow(&models), if call < 3 { (call, call) } else { (0, 0) });
    }
    assert_eq!(breaker(&models).state, State::Open);
}

#[tokio::test(start_paused = true)]
async fn law_03_a_slow_probe_is_decided_at_its_head() {
    let rule = Trip::slow_call_rate(1.0, SECOND, 1, 600 * SECOND);
    let config = BreakerConfig::default().trip([rule]).open_wait(SECOND, SECOND).close_after_all(1);
    for (second, expected) in [(SECOND + Duration::from_millis(1), State::Open), (SECOND, State::Closed)] {
        let models = models(config.clone());
        for (head, state) in [(2 * SECOND, State::Closed), (second, expected)] {
            let client = service_fn(|_: Request<()>| async move {
                sleep(head).await;
                Ok::<_, io::Error>(Response::new(Full::<Bytes>::from("a picture")))
            });
            let layer = FailoverLayer::http(models.clone()).finish(HttpFinish::new().watched()).build().expect("valid");
            let response = layer.layer(client).oneshot(Request::new(())).await.expect("answered");
            assert_eq!(breaker(&models).state, state, "at the head");
            response.into_body().collect().await.expect("a picture");
            advance(SECOND).await;
        }
        assert_eq!(breaker(&models).state, expected, "nor does a fast end change that");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_at_its_end_need_not_be_read() {
    let models = two_in_a_row();
    answer(&models, Empty::new().map_err(|never| match never {}).boxed()).await;
    assert_eq!(counted(&models), (1, 0));
    let mut body = answer(&models, Full::from("a picture").map_err(|never| match never {}).boxed()).await;
    assert_eq!(counted(&models), (1, 0));
    assert!(body.frame().await.expect("a frame").is_ok());
    assert_eq!(counted(&models), (2, 0), "after its only frame it is at its end");
}

#[tokio::test(start_paused = true)]
async fn law_20_a_body_that_fails_is_a_failure_when_it_happens() {
    let models = two_in_a_row();
    for failures in 1..=2 {
        let (frames, mut body) = stream(&models).await;
        frames.unbounded_send(data("a pic")).expect("read");
        assert!(body.frame().await.expect("a frame").is_ok());
        assert_eq!(counted(&models).1, failures - 1);
        frames.unbounded_send(cut()).expect("read");
        let error = body.frame().await.expect("a frame").expect_err("cut");
        assert!(matches!(error, BodyError::Body(error) if error.kind() == io::ErrorKind::ConnectionReset));
        assert_eq!(model(&models).in_flight, 0);
    }
    assert_eq!(breaker(&models).state, State::Open, "no head between them was a success");
    assert_eq!(models.snapshot().provider("nexa").expect("known").breaker.consecutive_failures, 1, "its last evidence");
}

#[tokio::test(start_paused = true)]
async fn law_20_a_body_that_the_caller_drops_early_is_neutral() {
    let models = two_in_a_row();
    for _ in 0..5 {
        let (frames, mut body) = stream(&models).await;
        frames.unbounded_send(data("a pic")).expect("read");
        assert!(body.frame().await.expect("a frame").is_ok());
        drop(body);
        let (_frames, body) = stream(&models).await;
        drop(body);
    }
    assert_eq!((counted(&models), model(&models).in_flight), ((0, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn law_20_a_body_that_stalls_is_an_error_and_a_failure() {
    for away in [Duration::ZERO, 10 * IDLE_GAP] {
        let models = two_in_a_row();
        let (frames, mut body) = stream(&models).await;
        assert!(timeout(IDLE_GAP - SECOND, body.frame()).await.is_err());
        frames.unbounded_send(data("a pic")).expect("read");
        assert!(body.frame().await.expect("a frame").is_ok());
        advance(away).await;
        let begun = tokio::time::Instant::now();
        let error = timeout(2 * IDLE_GAP, body.frame()).await.expect("in time").expect("a frame").expect_err("stalled");
        assert!(matches!(error, BodyError::Stalled(gap) if gap == IDLE_GAP), "{error}");
        assert_eq!(begun.elapsed(), IDLE_GAP, "whatever an earlier wait has left");
        assert_eq!(counted(&models), (0, 1));
        assert!(body.is_end_stream() && body.frame().await.is_none(), "it is over");
    }
}

#[tokio::test(start_paused = true)]
async fn law_20_a_slow_reader_is_not_a_slow_model() {
    let models = two_in_a_row();
    let (frames, mut body) = stream(&models).await;
    for _ in 0..3 {
        assert!(timeout(SECOND, body.frame()).await.is_err(), "waits for a frame");
        frames.unbounded_send(data("a pic")).expect("read");
        assert!(body.frame().await.expect("a frame").is_ok());
        advance(10 * IDLE_GAP).await;
    }
    drop(body);
    assert_eq!(counted(&models), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn law_04_a_body_dropped_after_a_long_wait_for_its_next_frame_was_hanging() {
    for (waited, failures) in [(SECOND / 2, 0), (SECOND, 1)] {
        let models = two_in_a_row();
        let (frames, mut body) = stream(&models).await;
        frames.unbounded_send(data("a pic")).expect("read");
        assert!(body.frame().await.expect("a frame").is_ok());
        assert!(timeout(waited, body.frame()).await.is_err());
        drop(body);
        assert_eq!(counted(&models), (0, failures), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn law_03_a_probe_is_decided_at_its_head_and_its_place_is_free() {
    let config = BreakerConfig::default().trip([Trip::consecutive(2, Duration::ZERO)]).close_after(1, 1);
    let models = models(config);
    for _ in 0..2 {
        answer_with(&models, StatusCode::SERVICE_UNAVAILABLE, Empty::new().map_err(|never| match never {}).boxed())
            .await;
    }
    advance(10 * SECOND).await;
    let (frames, mut body) = stream(&models).await;
    assert_eq!((breaker(&models).state, breaker(&models).probes), (State::Closed, 0));
    assert_eq!(model(&models).in_flight, 1);
    frames.unbounded_send(cut()).expect("read");
    assert!(body.frame().await.expect("a frame").is_err());
    assert_eq!(
        (breaker(&models).state, breaker(&models).consecutive_failures),
        (State::Closed, 1),
        "an ordinary failure"
    );
    assert_eq!(model(&models).in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn law_01_a_body_of_an_earlier_generation_changes_nothing() {
    let models = two_in_a_row();
    for end in [Some(cut()), None] {
        let (frames, mut body) = stream(&models).await;
        models.command("sdxl", Command::Reset).expect("known");
        match end {
            Some(end) => frames.unbounded_send(end).expect("read"),
            None => drop(frames),
        }
        let _ = body.frame().await;
        assert_eq!((counted(&models), model(&models).in_flight), ((0, 0), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn law_02_a_panic_that_unwinds_through_a_poll_of_the_body_is_one_failure() {
    let models = two_in_a_row();
    let mut body = answer(&models, BodyExt::boxed(Panics)).await;
    let poll = AssertUnwindSafe(|| block_on(body.frame()));
    assert!(std::panic::catch_unwind(poll).is_err(), "it goes on unwinding");
    drop(body);
    assert_eq!((counted(&models), model(&models).in_flight), ((0, 1), 0));
}

#[tokio::test(start_paused = true)]
async fn frames_trailers_and_hints_pass_unchanged() {
    let models = two_in_a_row();
    let (frames, mut body) = stream(&models).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "42".parse().expect("a value"));
    frames.unbounded_send(data("a picture")).expect("read");
    frames.unbounded_send(Ok(Frame::trailers(trailers.clone()))).expect("read");
    drop(frames);
    assert_eq!(body.frame().await.expect("a frame").expect("data").into_data().expect("data"), "a picture");
    assert_eq!(body.frame().await.expect("a frame").expect("trailers").into_trailers().expect("trailers"), trailers);
    assert!(body.frame().await.is_none());

    let body = answer(&models, Full::from("a picture").map_err(|never| match never {}).boxed()).await;
    assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(9), false));
    assert_eq!(body.collect().await.expect("whole").to_bytes(), "a picture");
}

#[tokio::test(start_paused = true)]
async fn latency_is_known_to_the_head_and_to_the_first_byte() {
    let models = two_in_a_row();
    let (frames, mut body) = stream(&models).await;
    assert!(timeout(3 * SECOND, body.frame()).await.is_err());
    frames.unbounded_send(data("a pic")).expect("read");
    assert!(body.frame().await.expect("a frame").is_ok());
    advance(SECOND).await;
    frames.unbounded_send(data("ture")).expect("read");
    assert!(body.frame().await.expect("a frame").is_ok());
    let first_byte = model(&models).usual_first_byte.expect("seen");
    assert!((3 * SECOND..3 * SECOND + SECOND / 100).contains(&first_byte), "{first_byte:?}");
    assert!(model(&models).usual_latency.expect("seen") < SECOND / 100);
}

/// A model whose latency counts, and that has taken 100 ms to the first frame of each body for five minutes.
async fn latency_counts() -> Models {
    let model = Model::new("sdxl", "nexa").latency_counts();
    let models = Models::builder().provider(Provider::new("nexa")).model(model).seed(1).build().expect("valid");
    five_minutes(&models).await;
    models
}

async fn five_minutes(models: &Models) {
    for _ in 0..300 {
        frame_after(models, SECOND / 10).await;
        advance(SECOND - SECOND / 10).await;
    }
    assert_eq!(model_factor(models), 1.0);
}

fn model_factor(models: &Models) -> f64 {
    model(models).latency_factor
}

/// Reads a body whose frame comes so long after its head, for which its reader waits.
async fn frame_after(models: &Models, time: Duration) {
    let (frames, mut body) = stream(models).await;
    let sent = async {
        sleep(time).await;
        frames.unbounded_send(data("a picture")).expect("read");
        drop(frames);
    };
    tokio::join!(sent, async { while body.frame().await.is_some() {} });
}

#[tokio::test(start_paused = true)]
async fn the_latency_that_counts_is_that_to_the_first_frame() {
    let models = latency_counts().await;
    for _ in 0..10 {
        frame_after(&models, SECOND).await;
    }
    assert_eq!((model_factor(&models), model(&models).tier), (0.5, Tier::Degraded));
    assert!(model(&models).usual_latency.expect("known") < SECOND / 100, "the head came at once");
}

#[tokio::test(start_paused = true)]
async fn one_is_degraded_by_a_first_frame_and_not_only_by_the_end() {
    let models = latency_counts().await;
    let mut bodies = Vec::new();
    for _ in 0..10 {
        let (frames, mut body) = stream(&models).await;
        assert!(timeout(SECOND, body.frame()).await.is_err());
        frames.unbounded_send(data("a pic")).expect("read");
        assert!(body.frame().await.expect("a frame").is_ok());
        bodies.push((frames, body));
    }
    assert_eq!((model_factor(&models), model(&models).tier, model(&models).in_flight), (0.5, Tier::Degraded, 10));
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_a_slow_model() {
    let models = latency_counts().await;
    for _ in 0..20 {
        let (frames, mut body) = stream(&models).await;
        frames.unbounded_send(data("a picture")).expect("read");
        drop(frames);
        advance(10 * SECOND).await;
        while body.frame().await.is_some() {
            advance(10 * SECOND).await;
        }
    }
    assert_eq!(model_factor(&models), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_body_without_a_frame_has_the_latency_of_its_head() {
    let models = latency_counts().await;
    let client = service_fn(|_: Request<()>| async {
        sleep(SECOND).await;
        Ok::<_, io::Error>(Response::new(Empty::<Bytes>::new()))
    });
    let layer = FailoverLayer::http(models.clone()).finish(HttpFinish::new().watched()).build().expect("valid");
    for _ in 0..10 {
        layer.layer(client).oneshot(Request::new(())).await.expect("answered");
    }
    assert_eq!(model_factor(&models), 0.5);
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_or_breaks_before_its_first_frame_says_nothing_of_latency() {
    let models = latency_counts().await;
    for call in 0..20 {
        let (frames, mut body) = stream(&models).await;
        assert!(timeout(SECOND, body.frame()).await.is_err());
        if call % 2 == 0 {
            frames.unbounded_send(cut()).expect("read");
            assert!(body.frame().await.expect("a frame").is_err());
        }
    }
    assert_eq!(model_factor(&models), 1.0);
}

#[tokio::test(start_paused = true)]
async fn law_01_a_late_frame_does_not_touch_the_averages() {
    let models = latency_counts().await;
    let mut late = Vec::new();
    for _ in 0..30 {
        let (frames, mut body) = stream(&models).await;
        assert!(timeout(SECOND / 100, body.frame()).await.is_err());
        late.push((frames, body));
    }
    models.command("sdxl", Command::Reset).expect("known");
    five_minutes(&models).await;
    for (frames, mut body) in late {
        frames.unbounded_send(data("a picture")).expect("read");
        drop(frames);
        assert!(body.frame().await.expect("a frame").is_ok());
    }
    assert_eq!(model_factor(&models), 1.0);
}

/// Nobody is blamed twice, but nobody waits for ever either.
#[tokio::test(start_paused = true)]
async fn the_body_of_anything_but_a_success_stalls_for_its_reader() {
    for (status, failures) in [(StatusCode::BAD_GATEWAY, 1), (StatusCode::BAD_REQUEST, 0)] {
        let models = two_in_a_row();
        let (frames, body) = mpsc::unbounded();
        let mut body = answer_with(&models, status, BodyExt::boxed(StreamBody::new(body))).await;
        frames.unbounded_send(data("a pic")).expect("read");
        assert!(body.frame().await.expect("a frame").is_ok());
        advance(10 * IDLE_GAP).await;
        let begun = tokio::time::Instant::now();
        let error = timeout(2 * IDLE_GAP, body.frame()).await.expect("in time").expect("a frame").expect_err("stalled");
        assert!(matches!(error, BodyError::Stalled(IDLE_GAP)), "{error}");
        assert_eq!((begun.elapsed(), breaker(&models).consecutive_failures), (IDLE_GAP, failures));
        assert!(body.is_end_stream() && body.frame().await.is_none(), "it is over");
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_anything_but_a_success_is_settled_at_its_head() {
    for (status, failures) in [(StatusCode::BAD_GATEWAY, 1), (StatusCode::BAD_REQUEST, 0)] {
        let models = two_in_a_row();
        let (frames, body) = mpsc::unbounded();
        let mut body = answer_with(&models, status, BodyExt::boxed(StreamBody::new(body))).await;
        assert_eq!((counted(&models), model(&models).in_flight), ((0, failures), 0));
        frames.unbounded_send(cut()).expect("read");
        assert!(body.frame().await.expect("a frame").is_err());
        assert_eq!(counted(&models), (0, failures), "and no more");
    }
}

#[tokio::test]
async fn law_20_a_content_length_that_lies_is_a_failure_of_the_model() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback");
    let base = format!("http://{}", listener.local_addr().expect("bound"));
    let upstream = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let _ = socket.read(&mut [0; 1024]).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nten bytes.").await.expect("written");
    });
    let provider = Provider::new("nexa").base_url(base);
    let models = Models::builder().provider(provider).model(Model::new("sdxl", "nexa")).build().expect("valid");
    let layer = FailoverLayer::http(models.clone()).finish(HttpFinish::new().watched()).build().expect("valid");
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let call = layer.layer(client).oneshot(Request::new(Empty::new()));
    let mut body = timeout(5 * SECOND, call).await.expect("in time").expect("a head").into_body();
    let first = timeout(5 * SECOND, body.frame()).await.expect("in time").expect("a frame").expect("data");
    assert_eq!(first.into_data().expect("data"), "ten bytes.");
    let error = timeout(5 * SECOND, body.frame()).await.expect("in time").expect("a frame").expect_err("cut short");
    assert!(matches!(error, BodyError::Body(_)), "{error}");
    assert_eq!(breaker(&models).consecutive_failures, 1);
    upstream.await.expect("no panic");
}

struct Panics;

impl Body for Panics {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        panic!("in poll")
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[tokio::test(start_paused = true)]
async fn law_02_a_body_holds_its_place_until_it_ends_however_it_does() {
    let bounded = |model: Model, provider: Provider| {
        Models::builder().provider(provider).model(model).build().expect("one below the bound")
    };
    let (model, provider) = (Model::new("sdxl", "nexa"), Provider::new("nexa"));
    for models in [
        bounded(model.clone().max_in_flight(1), provider.clone()),
        bounded(model.clone(), provider.clone().max_in_flight(1)),
    ] {
        let layer = FailoverLayer::http(models.clone()).finish(HttpFinish::new().watched()).build().expect("valid");
        let client = service_fn(|_: Request<()>| async { Ok::<_, io::Error>(Response::new(Empty::<Bytes>::new())) });
        let asks = || layer.layer(client).oneshot(Request::new(()));
        for ending in ["read", "cut", "dropped", "of an earlier generation"] {
            let (frames, mut body) = stream(&models).await;
            assert!(matches!(asks().await, Err(Error::Unavailable { .. })), "{ending}: it is full");
            match ending {
                "read" => {
                    drop(frames);
                    assert!(body.frame().await.is_none());
                }
                "cut" => {
                    frames.unbounded_send(cut()).expect("read");
                    assert!(body.frame().await.expect("a frame").is_err());
                }
                "dropped" => drop(body),
                _ => {
                    models.command("sdxl", Command::Reset).expect("known");
                    models.command_provider("nexa", Command::Reset).expect("known");
                    assert!(asks().await.is_err(), "a reset makes no place");
                    drop(body);
                }
            }
            assert!(asks().await.is_ok(), "{ending}");
        }
    }
}
