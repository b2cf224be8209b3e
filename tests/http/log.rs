//! What an operator reads: a WARN for each failed attempt, an INFO for each change of a breaker.

use crate::support::{Sent, ask, client, hang, host, model, request, status, two_models};
use http::HeaderName;
use std::{cell::RefCell, io, sync::Once, time::Duration};
use tokio::time::advance;
use tower::Layer;
use tower_failover::{BreakerConfig, Command, FailoverLayer, HttpAim, Model, Models, Provider, Trip};
use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    static TEXT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Everything that is logged on this thread, at TRACE.
///
/// One subscriber for the whole process: a callsite that a thread without one meets first could stay mute for all.
pub(crate) struct Log;

impl Log {
    pub(crate) fn listen() -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(Self);
            subscriber.without_time().with_ansi(false).with_target(false).init();
        });
        TEXT.take();
        Self
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(TEXT.with_borrow(Vec::clone)).expect("text")
    }

    /// The lines of this level since the last look, without the level.
    fn take(&self, level: &str) -> Vec<String> {
        let text = self.text();
        TEXT.take();
        text.lines()
            .filter_map(|line| line.trim_start().strip_prefix(level))
            .map(|line| line.trim().to_owned())
            .collect()
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        TEXT.with_borrow_mut(|text| text.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn each_failed_attempt_warns_and_says_who_is_next() {
    let log = Log::listen();
    let models = two_models().model(model("c", "one")).build().expect("models");
    models.command("c", Command::ForceOpen).expect("c");
    let layer = FailoverLayer::http(models).build().expect("a layer");
    let both_fail = layer.layer(client(&Sent::default(), |request| match host(request) {
        "one.test" => hang(),
        _ => status(503),
    }));
    log.take("INFO");
    let _ = ask(&both_fail, request()).await;
    let a = ["model=\"a\"", "provider=\"one\"", "why=timed out", "took_ms=120000", "next=\"b\""];
    let b = ["model=\"b\"", "provider=\"two\"", "why=status 503", "took_ms=0", "next=\"nobody\""];
    assert_says(&log.take("WARN"), &[&a, &b]);
}

/// As many lines, each with its words.
#[track_caller]
fn assert_says(lines: &[String], expected: &[&[&str]]) {
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, words) in lines.iter().zip(expected) {
        for word in *words {
            assert!(line.contains(word), "{word} in {line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_and_the_callers_own_error_say_nothing() {
    let log = Log::listen();
    let layer = FailoverLayer::http(two_models().build().expect("models")).build().expect("a layer");
    for answer in [200, 302, 400, 422] {
        let _ = ask(&layer.layer(client(&Sent::default(), move |_| status(answer))), request()).await;
    }
    assert_eq!(log.text(), "");
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_warns_although_the_next_cannot_be_aimed() {
    let log = Log::listen();
    let odd = Model::new("odd", "two").upstream_name("a\nb");
    let models = two_models().model(odd).build().expect("models");
    models.command("b", Command::ForceOpen).expect("b");
    log.take("INFO");
    let aim = HttpAim::new().header(HeaderName::from_static("x-model"));
    let layer = FailoverLayer::http(models).aim(aim).build().expect("a layer");
    let answer =
        ask(&layer.layer(client(&Sent::default(), |_| status(503))), request()).await.expect("the first one's");
    assert_eq!(answer.status(), 503);
    assert_says(&log.take("WARN"), &[&["model=\"a\"", "why=status 503"]]);
}

#[tokio::test(start_paused = true)]
async fn each_change_of_a_breaker_is_one_line() {
    let log = Log::listen();
    let models = two_models().build().expect("models");
    let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
    let limits = layer.layer(client(&Sent::default(), |request| match host(request) {
        "one.test" => status(429).header("retry-after", "5"),
        _ => status(200),
    }));
    let works = layer.layer(client(&Sent::default(), |_| status(200)));

    let _ = ask(&limits, request()).await;
    let opens = ["model=\"a\"", "provider=\"one\"", "from=closed", "to=open", "cause=cooldown", "retry_in_ms=5"];
    assert_says(&log.take("INFO"), &[&opens]);
    let _ = ask(&limits, request()).await;
    assert_says(&log.take("INFO"), &[]);
    advance(Duration::from_secs(6)).await;
    let _ = ask(&works, request()).await;
    let half_opens = ["model=\"a\"", "from=open", "to=half-open", "cause=wait elapsed"];
    let closes = ["model=\"a\"", "from=half-open", "to=closed", "cause=probes succeeded"];
    assert_says(&log.take("INFO"), &[&half_opens, &closes]);

    for _ in 0..2 {
        models.command_provider("one", Command::ForceOpen).expect("one");
    }
    let forced = ["provider=\"one\"", "from=closed", "to=forced open", "cause=command: force open"];
    assert_says(&log.take("INFO"), &[&forced]);
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_recovers_tells_of_each_model_that_it_takes_along() {
    let log = Log::listen();
    let brittle = BreakerConfig::default().trip([Trip::consecutive(1, Duration::ZERO)]);
    let models = Models::builder()
        .provider(Provider::new("one").base_url("http://one.test"))
        .model(model("a", "one").breaker(brittle))
        .model(model("c", "one"))
        .build()
        .expect("models");
    let layer = FailoverLayer::http(models.clone()).build().expect("a layer");
    let _ = ask(&layer.layer(client(&Sent::default(), |_| status(502))), request()).await;
    models.cool_down_provider("one", Duration::from_secs(1)).expect("one");
    advance(Duration::from_secs(2)).await;
    log.take("INFO");
    let _ = ask(&layer.layer(client(&Sent::default(), |_| status(200))), request()).await;
    let expected: [&[&str]; 3] = [
        &["provider=\"one\"", "from=open", "to=half-open", "cause=wait elapsed"],
        &["provider=\"one\"", "from=half-open", "to=closed", "cause=probes succeeded"],
        &["model=\"a\"", "from=open", "to=half-open", "cause=provider recovered"],
    ];
    assert_says(&log.take("INFO"), &expected);
}
