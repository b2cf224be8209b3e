//! Law 25 over every output that there is: log, spans, events, metrics, the status page, and whatever can be printed.

use bytes::Bytes;
use http::{Request, Response, header::HeaderName};
use http_body_util::{BodyExt, Empty, Full};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{Command, Config, FailoverLayer, Plan, Served, Status};
use tracing_subscriber::{filter::LevelFilter, fmt::MakeWriter, fmt::format::FmtSpan};

const SECRET: &str = "sk-5eCrE7";

const FILE: &str = r#"
hedge = { after = "100ms" }

[[providers]]
name = "bearer"
base_url = "http://bearer.test/v1"
credential = { bearer_env = "BEARER_KEY" }

[[providers]]
name = "header"
base_url = "http://header.test/v1"
credential = { header = "x-api-key", env = "HEADER_KEY" }

[[providers]]
name = "callers"
base_url = "http://callers.test/v1"
credential_from_request = true

[[models]]
name = "one"
provider = "bearer"

[[models]]
name = "two"
provider = "header"

[[models]]
name = "three"
provider = "callers"
"#;

/// Everything that was put out, and where.
#[derive(Clone, Default)]
struct Outputs(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Outputs {
    fn put(&self, place: &'static str, text: impl fmt::Display) {
        self.0.lock().expect("nobody panics with it").push((place, text.to_string()));
    }

    fn debug(&self, place: &'static str, what: &impl fmt::Debug) {
        self.put(place, format_args!("{what:?} {what:#?}"));
    }
}

impl io::Write for Outputs {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put("log", String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Outputs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn request() -> Request<Full<Bytes>> {
    let body = format!(r#"{{"model": "", "user": "{SECRET}"}}"#);
    let mut request = Request::post(format!("http://models/images?key={SECRET}")).body(Full::from(body)).expect("one");
    for name in ["authorization", "x-api-key", "api-key", "x-goog-api-key", "cookie", "openai-organization"] {
        request.headers_mut().insert(HeaderName::from_static(name), SECRET.parse().expect("a value"));
    }
    request
}

/// Answers so, or breaks off so; with the secret in all that nobody has to read.
fn answer(turn: usize) -> Result<Response<Full<Bytes>>, io::Error> {
    let body = Full::from(format!(r#"{{"error": {{"message": "not with {SECRET}"}}}}"#));
    let status = match turn % 9 {
        0 => 200,
        1 => 401,
        2 => 402,
        3 => 404,
        4 => 429,
        5 => 500,
        6 => 503,
        7 => return Err(io::ErrorKind::ConnectionRefused.into()),
        _ => return Err(io::ErrorKind::ConnectionReset.into()),
    };
    Ok(Response::builder().status(status).header("set-cookie", SECRET).body(body).expect("a response"))
}

#[tokio::test(start_paused = true)]
async fn law_25_no_output_shows_a_credential() {
    let outputs = Outputs::default();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_writer(outputs.clone())
        .init();
    let metrics = PrometheusBuilder::new().install_recorder().expect("the only one");

    let config: Config = toml::from_str(FILE).expect("a good file");
    outputs.debug("configuration", &config);
    let missing = config.models_with(|name| (name == "BEARER_KEY").then(|| SECRET.to_owned()));
    outputs.put("error of the configuration", missing.expect_err("one is not set"));
    let bad = config.models_with(|_| Some(format!("{SECRET}\n")));
    outputs.put("error of the configuration", bad.expect_err("no header can be that"));
    let builder = config.models_with(|_| Some(SECRET.to_owned())).expect("both are set");
    outputs.debug("models", &builder);
    let models = builder.build().expect("good");
    let mut events = models.events();

    let turn = Arc::new(Mutex::new(0));
    let upstream = service_fn(move |request: Request<Full<Bytes>>| {
        let turn = {
            let mut turn = turn.lock().expect("nobody panics with it");
            *turn += 1;
            *turn
        };
        async move {
            assert!(request.headers().values().any(|value| value.as_bytes().ends_with(SECRET.as_bytes())));
            sleep(Duration::from_millis(if turn % 4 == 0 { 300 } else { 20 })).await;
            answer(turn)
        }
    });
    let layer = FailoverLayer::json(models.clone()).configure(&config).expect("good").build().expect("good");
    outputs.debug("layer", &layer);
    let client = layer.layer(upstream);
    for number in 0..120 {
        let mut request = request();
        if number % 3 == 0 {
            request.extensions_mut().insert(Plan::new().key("tenant"));
        }
        match client.clone().oneshot(request).await {
            Ok(response) => {
                let served = response.extensions().get::<Served>().expect("every response has it");
                outputs.put("served", served);
                outputs.debug("served", served);
            }
            Err(error) => {
                outputs.put("error", &error);
                outputs.debug("error", &error);
            }
        }
        advance(Duration::from_secs(number % 20)).await;
    }
    for command in [Command::ForceOpen, Command::Shadow, Command::Reset] {
        models.command("one", command).expect("known");
    }
    models.apply(config.models_with(|_| Some(format!("{SECRET}-2"))).expect("good")).expect("good");
    models.record_metrics();
    outputs.put("metrics", metrics.render());
    while let Some(event) = events.try_recv() {
        let event = event.expect("none is missed");
        outputs.put("event", &event);
        outputs.debug("event", &event);
    }
    outputs.debug("models", &models);
    outputs.debug("snapshot", &models.snapshot());
    outputs.debug("history", &models.history());
    for accept in ["text/html", "application/json"] {
        let request = Request::get("/status").header("accept", accept).body(Empty::<Bytes>::new()).expect("a request");
        let page = Status::new(models.clone()).oneshot(request).await.expect("it never fails");
        outputs.debug("head of the page", page.headers());
        let page = page.into_body().collect().await.expect("whole").to_bytes();
        outputs.put("page", String::from_utf8_lossy(&page));
    }

    let outputs = outputs.0.lock().expect("nobody panics with it");
    for place in ["log", "metrics", "event", "page", "served", "error"] {
        assert!(outputs.iter().any(|(other, text)| *other == place && text.len() > 20), "nothing of {place}");
    }
    for (place, text) in outputs.iter() {
        assert!(!text.contains(SECRET), "{place}: {text}");
    }
}
