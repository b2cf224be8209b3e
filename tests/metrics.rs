//! The page of the module `metrics`, held against what a recorder hears that is installed late, in a run in which
//! everything happens: both ways.
#![cfg(feature = "metrics")]

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use metrics::Unit;
use metrics_util::{
    MetricKind,
    debugging::{DebuggingRecorder, Snapshotter},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_failover::{
    BodyError, BreakerConfig, Budget, CircuitBreakerLayer, Command, FailoverLayer, Hedge, HttpAim, HttpFinish, Model,
    Models, Plan, Provider, ReadAheadLayer, Trip,
};

/// A body: some frames, then an end, an error or nothing more.
#[derive(Debug, Clone, Copy)]
enum End {
    Well,
    Breaks,
    Hangs,
}

struct Frames(u32, End);

impl Body for Frames {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match (self.0, self.1) {
            (0, End::Well) => Poll::Ready(None),
            (0, End::Breaks) => Poll::Ready(Some(Err(io::Error::other("broken off")))),
            (0, End::Hangs) => Poll::Pending,
            _ => {
                self.0 -= 1;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"a picture")))))
            }
        }
    }
}

/// What the upstream does is in the path.
async fn upstream(request: Request<()>) -> Result<Response<Frames>, io::Error> {
    let model = request.headers()["x-model"].to_str().expect("a name").to_owned();
    let act = request.headers().get("x-act").map_or("200", |act| act.to_str().expect("a word"));
    let response = |status: u16, end| {
        let response = Response::builder().status(status);
        Ok(response.header("retry-after", "2").body(Frames(2, end)).expect("a response"))
    };
    if model != "sdxl" {
        return response(200, End::Well);
    }
    match act {
        "hangs" => std::future::pending().await,
        "slow" => {
            sleep(Duration::from_secs(5)).await;
            response(200, End::Well)
        }
        "breaks" => response(200, End::Breaks),
        "stalls" => response(200, End::Hangs),
        "refused" => Err(io::Error::from(io::ErrorKind::ConnectionRefused)),
        status => response(status.parse().expect("a status"), End::Well),
    }
}

fn described() -> tower_failover::ModelsBuilder {
    let breaker = BreakerConfig::default().trip([Trip::consecutive(1, Duration::ZERO)]).jitter(0.0);
    Models::builder()
        .seed(1)
        .provider(Provider::new("nexa").breaker(breaker.clone()).budget(Budget::default().burst(1.0).per_second(0.0)))
        .provider(Provider::new("openai"))
        .model(Model::new("sdxl", "nexa").breaker(breaker).cost(0.02))
        .model(Model::new("flux-dev", "nexa").cost(0.03))
        .model(Model::new("dall-e-3", "openai").cost(0.04))
}

async fn everything(models: &Models) {
    let upstream = service_fn(upstream);
    let http =
        || FailoverLayer::http(models.clone()).aim(HttpAim::new().header(http::HeaderName::from_static("x-model")));
    let watched = || HttpFinish::new().watched().idle_gap(Duration::from_secs(5)).expect("valid");
    let client =
        http().finish(watched()).attempt_timeout(Duration::from_secs(2)).build().expect("valid").layer(upstream);
    let hedging = http().finish(watched()).hedge(Hedge::after(Duration::from_secs(1))).build().expect("valid");
    let hedging = hedging.layer(upstream);
    let ahead = http().finish(watched()).build().expect("valid");
    let ahead = ahead.layer(ReadAheadLayer::new().first_byte().layer(upstream));
    let request = |act: &str| Request::get("http://models/").header("x-act", act).body(()).expect("a request");
    let well = || {
        models.command("sdxl", Command::Reset).expect("known");
        models.command_provider("nexa", Command::Reset).expect("known");
    };
    for act in ["200", "429", "503", "500", "400", "302", "hangs", "refused", "breaks", "stalls"] {
        well();
        // Then it is open, half-open and closed, or not.
        for act in [act, "200", "200"] {
            if let Ok(response) = client.clone().oneshot(request(act)).await {
                let read: Result<_, BodyError<io::Error>> = response.into_body().collect().await;
                let _ = read.map(|body| body.to_bytes());
            }
            models.record_metrics();
            advance(Duration::from_secs(10)).await;
        }
    }
    well();
    drop(client.clone().oneshot(request("200")).await);
    let _ = ahead.oneshot(request("200")).await.expect("answered").into_body().collect().await;
    let _ = hedging.clone().oneshot(request("slow")).await;
    let _ = timeout(Duration::from_millis(10), client.clone().oneshot(request("hangs"))).await;
    // The budget is one token.
    let _ = hedging.clone().oneshot(request("slow")).await;
    let nobody = Plan::new().models(["dall-e-4"]);
    assert!(client.clone().plan(nobody).oneshot(request("200")).await.is_err());
    let cheap = Plan::new().models(["dall-e-3"]).max_cost(0.01);
    assert!(client.clone().plan(cheap).oneshot(request("200")).await.is_err());
    models.command("dall-e-3", Command::ForceOpen).expect("known");
    assert!(client.clone().plan(Plan::new().models(["dall-e-3"])).oneshot(request("200")).await.is_err());
    models.command("dall-e-3", Command::Disable).expect("known");
    models.cool_down_provider("openai", Duration::from_secs(1)).expect("known");
    models.cool_down_provider("nexa", Duration::from_secs(1)).expect("known");
    models.command_provider("nexa", Command::ForceOpen).expect("known");
    well();
    for _ in 0..2 {
        let unpaid = service_fn(|_: Request<()>| async {
            Ok::<_, io::Error>(Response::builder().status(StatusCode::PAYMENT_REQUIRED).body(()).expect("valid"))
        });
        let paying = Models::builder()
            .provider(Provider::new("nexa").credential(tower_failover::Credential::bearer("nx-secret")))
            .model(Model::new("sdxl", "nexa"))
            .build()
            .expect("valid");
        let _ = FailoverLayer::http(paying).build().expect("valid").layer(unpaid).oneshot(request("402")).await;
    }
    let alone = CircuitBreakerLayer::new(models.clone(), "sdxl").expect("known");
    let mut alone = alone.layer(service_fn(|()| async { Err::<(), _>(fmt::Error) }));
    for _ in 0..2 {
        let _ = alone.ready().await.expect("ready").call(()).await;
    }
    models.record_metrics();
}

/// A row of the page: type, unit, labels.
type Row = (String, String, BTreeSet<String>);

/// The page, and every word in it.
fn page() -> (BTreeMap<String, Row>, BTreeSet<String>) {
    let page = include_str!("../src/metrics/mod.rs");
    let page = page.lines().filter_map(|line| line.strip_prefix("//!"));
    let ticked = |text: &str| -> Vec<String> { text.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
    let (mut rows, mut words) = (BTreeMap::new(), BTreeSet::new());
    for line in page {
        words.extend(ticked(line));
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        if let [name, kind, unit, labels, _] = cells[..] {
            if name.starts_with('`') {
                let row = (kind.to_owned(), unit.to_owned(), ticked(labels).into_iter().collect());
                assert!(rows.insert(name.trim_matches('`').to_owned(), row).is_none(), "{name} is there twice");
            }
        }
    }
    (rows, words)
}

/// What was heard: each metric, and every value of a label that the configuration does not name.
fn heard(snapshotter: &Snapshotter) -> (BTreeMap<String, Row>, BTreeSet<(String, String)>) {
    let (mut rows, mut words) = (BTreeMap::<String, Row>::new(), BTreeSet::new());
    for (key, unit, description, _) in snapshotter.snapshot().into_vec() {
        let (kind, key) = (key.kind(), key.key().clone());
        let kind = match kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        };
        assert!(description.is_some(), "{key} is described");
        let labels = key.labels().map(|label| label.key().to_owned()).collect();
        let row = (kind.to_owned(), unit.expect("described").as_str().to_owned(), labels);
        let before = rows.insert(key.name().to_owned(), row.clone());
        assert!(before.is_none_or(|before| before == row), "{key} has other labels elsewhere");
        for label in key.labels() {
            if !["model", "provider", "version"].contains(&label.key()) {
                words.insert((label.key().to_owned(), label.value().to_owned()));
            }
        }
        assert!(unit != Some(Unit::Seconds) || key.name().ends_with("_seconds"), "{key}");
        assert!(kind != "counter" || key.name().ends_with("_total"), "{key}");
    }
    (rows, words)
}

#[tokio::test(start_paused = true)]
async fn the_page_lists_what_is_told_and_nothing_else() {
    let models = described().build().expect("valid");
    // Nobody hears this.
    everything(&models).await;
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().expect("the only one");
    everything(&models).await;

    let (page, on_page) = page();
    let (heard, words) = heard(&snapshotter);
    for (name, row) in &heard {
        assert_eq!(page.get(name), Some(row), "{name} is told, and so on the page");
    }
    for name in page.keys() {
        assert!(heard.contains_key(name), "{name} is on the page, and was told");
    }
    for (label, word) in words {
        assert!(on_page.contains(&word), "{label}={word} is on the page");
    }
}
