//! The gateway of the examples, over sockets: what it passes on, to whom, and what it bounds.

#![cfg(all(feature = "hyper-util", feature = "serde", feature = "status"))]
#![allow(unreachable_pub, dead_code, reason = "modules of a program")]

#[path = "../../examples/gateway/main.rs"]
mod gateway;
mod upstream;

use gateway::{Clients, File, Gateway, Settings, reload};

use http::{HeaderMap, StatusCode};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};
use tower_failover::{Command, State};
use upstream::{Mode, Upstream, says, stream};

/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1/base";

/// Two models, each on a provider of its own.
fn file(settings: &str, first: &str, second: &str) -> String {
    format!(
        r#"
        [gateway]
        listen = "127.0.0.1:0"
        {settings}
        [failover]
        providers = [
            {{ name = "first", base_url = "{first}", credential = {{ bearer_env = "PATH" }} }},
            {{ name = "second", base_url = "{second}" }},
        ]
        models = [
            {{ name = "one", provider = "first", upstream_name = "one-upstream" }},
            {{ name = "two", provider = "second" }},
        ]
        "#
    )
}

struct Running {
    address: String,
    operator: String,
    clients: Arc<Clients>,
    http: reqwest::Client,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

async fn start(settings: &str, first: &str, second: &str) -> Running {
    let file: File = toml::from_str(&file(settings, first, second)).expect("a file");
    let clients = Clients::new(&file.failover, file.gateway).expect("valid");
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let gateway = Gateway::bind(clients, metrics).await.expect("a port");
    let addresses: Vec<_> = gateway.servers.iter().map(|(listener, _)| listener.local_addr().expect("one")).collect();
    let clients = Arc::clone(&gateway.clients);
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(gateway.serve(async {
        let _ = stopped.await;
    }));
    let operator = addresses.last().expect("one").to_string();
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    Running { address: addresses[0].to_string(), operator, clients, http, stop, task }
}

impl Running {
    fn post(&self, path: &str, body: &Value) -> reqwest::RequestBuilder {
        self.http.post(format!("http://{}{path}", self.address)).json(body)
    }

    async fn chat(&self, model: &str) -> reqwest::Response {
        self.post("/v1/chat/completions", &json!({ "model": model })).send().await.expect("an answer")
    }

    fn state(&self, model: &str) -> State {
        self.clients.models().snapshot().model(model).expect("known").breaker.state
    }

    /// Everything that comes back for these bytes, up to the end of the connection.
    async fn raw(&self, bytes: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).await.expect("a connection");
        stream.write_all(bytes.as_bytes()).await.expect("it is read");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).expect("UTF-8")
    }
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).map_or("", |value| value.to_str().expect("text"))
}

/// The model, the provider and the number of attempts that an answer names.
fn served(response: &reqwest::Response) -> [&str; 3] {
    ["x-failover-model", "x-failover-provider", "x-failover-attempts"].map(|name| header(response.headers(), name))
}

/// Status and code of an error object, which is whole.
async fn error(response: reqwest::Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(header(response.headers(), "content-type"), "application/json");
    let text = response.text().await.expect("a body");
    assert!(!text.contains("127.0.0.1") && !text.contains("/base"), "{text}");
    let body: Value = serde_json::from_str(&text).expect("JSON");
    let error = body["error"].as_object().expect("an error object");
    assert_eq!(error.keys().collect::<Vec<_>>(), ["code", "message", "param", "type"]);
    assert!(error["message"].is_string() && error["type"].is_string());
    (status, error["code"].as_str().expect("a code").to_owned())
}

#[tokio::test]
async fn the_next_model_answers_when_the_first_is_dead() {
    let (first, second) = (Upstream::start(Mode::Well).await, Upstream::start(Mode::Well).await);
    let gateway = start("", &first.base, &second.base).await;

    let request = gateway.post("/v1/images/generations?a=b%2F&c", &json!({ "model": "one", "n": 1 }));
    let response = request.bearer_auth("of-the-caller").header("x-mine", "1").send().await.expect("an answer");
    assert_eq!(served(&response), ["one", "first", "1"]);
    assert_eq!(response.json::<Value>().await.expect("JSON"), json!({ "model": "one-upstream" }));
    {
        let seen = &first.seen()[0];
        assert_eq!((&*seen.method, &*seen.uri), ("POST", "/base/images/generations?a=b%2F&c"));
        assert_eq!(seen.body, r#"{"model":"one-upstream","n":1}"#);
        let credential = format!("Bearer {}", std::env::var("PATH").expect("a path"));
        assert_eq!(header(&seen.headers, "authorization"), credential);
        assert_eq!(header(&seen.headers, "x-mine"), "1");
        assert_eq!(header(&seen.headers, "host"), first.base[7..].trim_end_matches("/base"));
    }

    first.set(Mode::Says(|| says(503, "{}")));
    let response = gateway.chat("one").await;
    assert_eq!((served(&response), response.status()), (["two", "second", "2"], StatusCode::OK));
    assert_eq!(second.seen()[0].headers.get("authorization"), None);
    // Asked for by name, the second comes first.
    assert_eq!(served(&gateway.chat("two").await), ["two", "second", "1"]);

    let gateway = start("", NOWHERE, &second.base).await;
    assert_eq!(served(&gateway.chat("one").await), ["two", "second", "2"]);
}

#[tokio::test]
async fn a_stream_that_dies_before_its_first_token_begins_again_elsewhere() {
    let (streams, tokens) = stream();
    let (first, second) = (Upstream::start(Mode::Dies).await, Upstream::start(streams).await);
    let gateway = start("", &first.base, &second.base).await;
    let chat = tokio::spawn(gateway.post("/v1/chat/completions", &json!({ "model": "one", "stream": true })).send());
    tokens.send("data: 1\n\n").await.expect("it is read");
    let mut response = chat.await.expect("no panic").expect("an answer");
    assert_eq!(served(&response), ["two", "second", "2"]);
    // One by one: the next is sent only after this has come.
    assert_eq!(response.chunk().await.expect("a chunk").expect("one"), "data: 1\n\n");
    tokens.send("data: [DONE]\n\n").await.expect("it is read");
    assert_eq!(response.chunk().await.expect("a chunk").expect("one"), "data: [DONE]\n\n");
    drop(tokens);
    assert_eq!(response.chunk().await.expect("an end"), None);
}

#[tokio::test]
async fn what_asks_for_no_model_that_there_is_gets_an_error_and_reaches_nobody() {
    let (first, second) = (Upstream::start(Mode::Well).await, Upstream::start(Mode::Well).await);
    let gateway = start("", &first.base, &second.base).await;
    assert_eq!(error(gateway.chat("three").await).await, (404, "model_not_found".to_owned()));
    assert_eq!(error(gateway.chat("").await).await, (404, "model_not_found".to_owned()));
    let odd = gateway.post("/v1/chat", &json!({ "model": 5 })).send().await.expect("an answer");
    assert_eq!(error(odd).await, (400, "invalid_model".to_owned()));
    let list = |body: Value, list: &'static str| {
        let request = gateway.post("/v1/chat", &body).header("x-failover-models", list).send();
        async { error(request.await.expect("an answer")).await }
    };
    for names in ["two, three", "", ",", "two, two"] {
        assert_eq!(list(json!({ "model": "one" }), names).await, (400, "invalid_models".to_owned()), "{names:?}");
    }
    assert_eq!(list(json!({ "input": "text" }), "two").await, (400, "invalid_models".to_owned()));
    let dots =
        gateway.raw("POST /v1/%2e%2e/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
    assert!(dots.starts_with("HTTP/1.1 400 ") && dots.contains("invalid_path"), "{dots}");
    assert!(first.seen().is_empty() && second.seen().is_empty());
}

#[tokio::test]
async fn a_header_names_the_models_in_place_of_the_list() {
    let (first, second) = (Upstream::start(Mode::Well).await, Upstream::start(Mode::Says(|| says(500, "{}"))).await);
    let gateway = start("", &first.base, &second.base).await;
    let chat = |list: &'static str| {
        let request = gateway.post("/v1/chat", &json!({ "model": "any" })).header("x-failover-models", list).send();
        async { request.await.expect("an answer") }
    };
    assert_eq!(served(&chat("two , one").await), ["one", "first", "2"]);
    assert_eq!(first.seen()[0].headers.get("x-failover-models"), None);
    let only = chat("two").await;
    assert_eq!((served(&only), only.status().as_u16()), (["two", "second", "1"], 500));
    assert_eq!(second.seen()[0].model(), "two");
}

#[tokio::test]
async fn a_request_without_a_model_goes_once_to_the_first_provider_whatever_its_breaker_says() {
    let (first, second) = (Upstream::start(Mode::Well).await, Upstream::start(Mode::Well).await);
    let gateway = start("", &first.base, &second.base).await;
    gateway.clients.models().command("one", Command::ForceOpen).expect("known");
    gateway.clients.models().command_provider("first", Command::ForceOpen).expect("known");

    let list =
        gateway.http.get(format!("http://{}/v1/models?limit=1", gateway.address)).send().await.expect("an answer");
    assert_eq!((served(&list), list.status()), (["", "first", "1"], StatusCode::OK));
    {
        let seen = &first.seen()[0];
        assert_eq!((&*seen.method, &*seen.uri, seen.body.len()), ("GET", "/base/models?limit=1", 0));
        assert!(header(&seen.headers, "authorization").starts_with("Bearer /"));
    }
    let form = "--x\r\ncontent-disposition: form-data; name=\"model\"\r\n\r\none\r\n--x--\r\n";
    let upload = gateway.post("/v1/audio/transcriptions", &json!(null)).body(form);
    let upload = upload.header("content-type", "multipart/form-data; boundary=x").send().await.expect("an answer");
    assert_eq!(served(&upload), ["", "first", "1"]);
    assert_eq!(first.seen()[1].body, form);

    // A limit, and failures in a row, hold nothing back.
    let limited = || {
        let mut response = says(429, "{}");
        response.headers_mut().insert("retry-after", http::HeaderValue::from_static("60"));
        response
    };
    for (mode, status) in [(Mode::Says(limited), 429), (Mode::Says(|| says(500, "{}")), 500)] {
        first.set(mode);
        for _ in 0..25 {
            let answer = gateway.post("/v1/moderations", &json!({ "input": "text" })).send().await.expect("an answer");
            assert_eq!((answer.status().as_u16(), served(&answer)), (status, ["", "first", "1"]));
        }
    }
    assert_eq!((first.seen().len(), second.seen().len()), (52, 0));
    assert_eq!(gateway.state("two"), State::Closed);

    let gateway = start("", NOWHERE, &second.base).await;
    let failed = gateway.post("/v1/moderations", &json!({})).send().await.expect("an answer");
    assert_eq!(served(&failed), ["", "", "1"]);
    assert_eq!(error(failed).await, (502, "all_failed".to_owned()));
    assert_eq!(second.seen().len(), 0);
}

#[tokio::test]
async fn a_path_that_nobody_has_is_nobodys_fault() {
    let (first, second) = (Upstream::start(Mode::Says(|| says(404, "{}"))).await, Upstream::start(Mode::Well).await);
    let gateway = start("", &first.base, &second.base).await;
    for _ in 0..25 {
        assert_eq!(gateway.chat("one").await.status(), StatusCode::OK);
    }
    assert_eq!((gateway.state("one"), first.seen().len()), (State::Closed, 25));
}

#[tokio::test]
async fn when_all_are_dead_there_is_an_error_object_that_says_when_to_come_again() {
    let gateway = start("", NOWHERE, NOWHERE).await;
    let response = gateway.chat("one").await;
    assert_eq!((header(response.headers(), "retry-after"), served(&response)[2]), ("1", "2"));
    assert_eq!(error(response).await, (502, "all_failed".to_owned()));

    let (first, second) = (Upstream::start(Mode::Dies).await, Upstream::start(Mode::Dies).await);
    let gateway = start("", &first.base, &second.base).await;
    assert_eq!(error(gateway.chat("one").await).await, (502, "all_failed".to_owned()));

    // What a client can read is passed on as it is.
    second.set(Mode::Says(|| says(503, r#"{"error": {"message": "overloaded"}}"#)));
    let response = gateway.chat("one").await;
    assert_eq!((response.status().as_u16(), header(response.headers(), "retry-after")), (503, "1"));
    assert_eq!(response.json::<Value>().await.expect("JSON")["error"]["message"], "overloaded");
    second.set(Mode::Says(|| http::Response::builder().status(503).body("<html>".into()).expect("a response")));
    assert_eq!(error(gateway.chat("one").await).await, (503, "all_failed".to_owned()));

    let limited = || {
        let mut response = says(429, "{}");
        response.headers_mut().insert("retry-after", http::HeaderValue::from_static("7"));
        response
    };
    first.set(Mode::Says(limited));
    second.set(Mode::Says(limited));
    let gateway = start("", &first.base, &second.base).await;
    assert_eq!(gateway.chat("one").await.status().as_u16(), 429);
    let response = gateway.chat("one").await;
    // 7 s and their jitter.
    assert!(["7", "8"].contains(&header(response.headers(), "retry-after")), "{:?}", response.headers());
    assert_eq!(served(&response)[2], "0");
    assert_eq!(error(response).await, (503, "unavailable".to_owned()));
}

#[tokio::test]
async fn out_of_time_is_a_504() {
    let (hangs, _tokens) = stream();
    let (first, second) = (Upstream::start(hangs).await, Upstream::start(Mode::Well).await);
    let text = file("", &first.base, &second.base).replace("[failover]", "[failover]\ndeadline = '300ms'");
    let file: File = toml::from_str(&text).expect("a file");
    let gateway = start("", &first.base, &second.base).await;
    gateway.clients.apply(&file.failover).expect("valid");
    let request = gateway.post("/v1/chat", &json!({ "model": "one" })).header("x-failover-models", "one");
    let response = request.send().await.expect("an answer");
    assert_eq!(error(response).await, (504, "timed_out".to_owned()));
}

#[tokio::test]
async fn headers_of_one_connection_stay_there() {
    let hops = || {
        let response = http::Response::builder().header("connection", "x-hop").header("x-hop", "1");
        let response = response.header("keep-alive", "timeout=5").header("alt-svc", "h3=\":443\"").header("x-own", "2");
        response.body("{}".into()).expect("a response")
    };
    let (first, second) = (Upstream::start(Mode::Says(hops)).await, Upstream::start(Mode::Well).await);
    let gateway = start("", &first.base, &second.base).await;
    let body = r#"{"model": "one"}"#;
    let answer = gateway
        .raw(&format!(
            "POST /v1/chat HTTP/1.1\r\nhost: gateway.example\r\nconnection: close, x-mine\r\nx-mine: 1\r\nx-other: 2\r\n\
             te: trailers\r\nproxy-authorization: Basic eA==\r\nupgrade: h2c\r\naccept-encoding: gzip\r\n\
             expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        ))
        .await;
    assert!(answer.contains("HTTP/1.1 200 OK\r\n") && answer.contains("x-own: 2"), "{answer}");
    for gone in ["x-hop", "keep-alive", "alt-svc"] {
        assert!(!answer.contains(gone), "{answer}");
    }
    let seen = first.seen();
    let mut names: Vec<_> = seen[0].headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["authorization", "content-length", "host", "x-other"]);
}

#[tokio::test]
async fn a_body_over_the_limit_is_a_413() {
    let (first, second) = (Upstream::start(Mode::Well).await, Upstream::start(Mode::Well).await);
    let gateway = start("max_body = 1000", &first.base, &second.base).await;
    let declared = gateway.raw("POST /v1/chat HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\n\r\n").await;
    let chunked = "POST /v1/chat HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n";
    let chunked = gateway.raw(&format!("{chunked}{}\r\n0\r\n\r\n", " ".repeat(1001))).await;
    for answer in [declared, chunked] {
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    }
    assert!(first.seen().is_empty() && second.seen().is_empty());

    let mut body = r#"{"model": "one"}"#.to_owned();
    body.push_str(&" ".repeat(1000 - body.len()));
    let whole = gateway.http.post(format!("http://{}/v1/chat", gateway.address)).body(body).send();
    assert_eq!(whole.await.expect("an answer").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_slow_upload_is_a_408_and_a_slow_head_gets_nothing() {
    let (first, second) = (Upstream::start(Mode::Well).await, Upstream::start(Mode::Well).await);
    let settings = "upload_timeout = '200ms'\nheader_timeout = '200ms'";
    let gateway = start(settings, &first.base, &second.base).await;
    let answer = gateway.raw("POST /v1/chat HTTP/1.1\r\nhost: a\r\ncontent-length: 20\r\n\r\n{\"mod").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("upload_too_slow"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    let nothing = gateway.raw("POST /v1/chat HTTP/1.1\r\nhost:").await;
    assert!(nothing.is_empty() || nothing.starts_with("HTTP/1.1 408 "), "{nothing}");
    assert!(first.seen().is_empty());
}

#[tokio::test]
async fn floods_of_headers_are_refused() {
    let (first, second) = (Upstream::start(Mode::Well).await, Upstream::start(Mode::Well).await);
    let gateway = start("max_headers = 20\nmax_head = 8192", &first.base, &second.base).await;
    let many: String = (0..21).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "1".repeat(9000));
    for flood in [many, long] {
        let answer = gateway.raw(&format!("GET /v1/models HTTP/1.1\r\n{flood}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    }
    assert!(first.seen().is_empty());
}

#[tokio::test]
async fn a_reader_that_stopped_reading_is_let_go() {
    let (streams, tokens) = stream();
    let (first, second) = (Upstream::start(streams).await, Upstream::start(Mode::Well).await);
    let gateway = start("write_timeout = '200ms'", &first.base, &second.base).await;
    let mut reader = TcpStream::connect(&gateway.address).await.expect("a connection");
    let body = r#"{"model": "one"}"#;
    let request = format!("POST /v1/chat HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    reader.write_all(request.as_bytes()).await.expect("it is read");
    let much: &str = Box::leak(format!("data: {}\n\n", "x".repeat(100_000)).into_boxed_str());
    // As much as the sockets take, and then nothing: it ends only when the upstream's own client is gone.
    let until_gone = async { while tokens.send(much).await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(30), until_gone).await.expect("it is let go");
    assert!(first.seen().len() == 1 && second.seen().is_empty());
}

#[tokio::test]
async fn connections_above_the_bound_wait_for_their_turn() {
    let (first, second) = (Upstream::start(Mode::Well).await, Upstream::start(Mode::Well).await);
    let gateway = start("max_connections = 2", &first.base, &second.base).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&gateway.address).await.expect("a connection");
        stream.write_all(b"GET /status HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("it is read");
        assert_ne!(stream.read(&mut [0; 16]).await.expect("an answer"), 0);
        held.push(stream);
    }
    let raw = gateway.raw("GET /status HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let mut raw = std::pin::pin!(raw);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut raw).await;
    assert!(early.is_err(), "a third was served: {early:?}");
    held.pop();
    assert!(raw.await.starts_with("HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn the_operator_sees_status_and_metrics() {
    let (first, second) = (Upstream::start(Mode::Well).await, Upstream::start(Mode::Well).await);
    for (settings, apart) in [("", false), ("operator_listen = '127.0.0.1:0'", true)] {
        let gateway = start(settings, &first.base, &second.base).await;
        assert_eq!(gateway.address != gateway.operator, apart);
        gateway.chat("one").await;
        let get = async |path: &str| {
            gateway.http.get(format!("http://{}{path}", gateway.operator)).send().await.expect("an answer")
        };
        let status: Value = get("/status").await.json().await.expect("JSON");
        assert_eq!((&status["models"][0]["name"], &status["models"][0]["calls"]), (&json!("one"), &json!(1)));
        let metrics = get("/metrics").await;
        assert_eq!(
            (metrics.status(), header(metrics.headers(), "content-type")),
            (StatusCode::OK, "text/plain; version=0.0.4")
        );
        assert_eq!(get("/v1/models").await.status().as_u16(), if apart { 404 } else { 200 });
    }
}

/// A file of this test's own.
fn written(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("it is written");
    path
}

#[tokio::test]
async fn a_file_is_read_again_and_one_with_a_mistake_changes_nothing() {
    let (first, second) = (Upstream::start(Mode::Well).await, Upstream::start(Mode::Well).await);
    let gateway = start("", &first.base, &second.base).await;
    assert_eq!(served(&gateway.chat("one").await), ["one", "first", "1"]);
    let swapped = file("", &second.base, &first.base).replace("one-upstream", "another");
    for mistake in ["max_attempts = 0", "max_attemps = 2", "models = 5", "["] {
        let path = written("mistake.toml", &swapped.replace("[failover]", &format!("[failover]\n{mistake}")));
        reload(&path, &gateway.clients);
        assert_eq!(served(&gateway.chat("one").await), ["one", "first", "1"], "{mistake}");
    }
    assert!(second.seen().is_empty());
    let text = swapped.replace("[failover]", "[failover]\nmax_attempts = 1");
    reload(&written("swapped.toml", &text), &gateway.clients);
    gateway.chat("one").await;
    assert_eq!(second.seen()[0].model(), "another");
    // The settings of the layer too, and where requests without a model go.
    second.set(Mode::Says(|| says(500, "{}")));
    assert_eq!(gateway.chat("one").await.status().as_u16(), 500);
    let without = gateway.post("/v1/moderations", &json!({})).send().await.expect("an answer");
    assert_eq!((without.status().as_u16(), second.seen().len()), (500, 3));
}

#[tokio::test]
async fn a_stream_under_way_may_finish() {
    let (streams, tokens) = stream();
    let (first, second) = (Upstream::start(streams).await, Upstream::start(Mode::Well).await);
    let gateway = start("", &first.base, &second.base).await;
    let chat = tokio::spawn(gateway.post("/v1/chat", &json!({ "model": "one" })).send());
    tokens.send("data: 1\n\n").await.expect("it is read");
    let response = chat.await.expect("no panic").expect("an answer");
    gateway.stop.send(()).expect("it runs");
    // Nobody new comes in.
    while TcpStream::connect(&gateway.address).await.is_ok() {}
    assert!(!gateway.task.is_finished());
    for token in ["data: 2\n\n", "data: [DONE]\n\n"] {
        tokens.send(token).await.expect("it is read");
    }
    drop(tokens);
    assert_eq!(response.text().await.expect("a whole stream"), "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n");
    gateway.task.await.expect("it ends");
}

#[tokio::test]
async fn one_that_does_not_finish_is_cut_off_in_the_end() {
    let (streams, tokens) = stream();
    let (first, second) = (Upstream::start(streams).await, Upstream::start(Mode::Well).await);
    let gateway = start("shutdown_timeout = '200ms'", &first.base, &second.base).await;
    let chat = tokio::spawn(gateway.post("/v1/chat", &json!({ "model": "one" })).send());
    tokens.send("data: 1\n\n").await.expect("it is read");
    let response = chat.await.expect("no panic").expect("an answer");
    gateway.stop.send(()).expect("it runs");
    tokio::time::timeout(Duration::from_secs(30), gateway.task).await.expect("in time").expect("it ends");
    assert!(response.text().await.is_err());
}

#[test]
fn the_file_in_the_repository_has_every_default() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/gateway/gateway.toml");
    let file = File::read(&path).expect("a file");
    assert_eq!(file.gateway, Settings::default());
    assert!(file.failover.models_with(|_| Some("secret".to_owned())).is_ok());
}

#[test]
fn a_mistake_in_the_file_says_where_and_shows_no_secret() {
    let rows = [
        ("[gateway]\nlisten_on = 1", "line 3: unknown field `listen_on`"),
        ("[gateway]\nupload_timeout = '0s'", "line 3: must be longer than zero"),
        ("[gateway]\nmax_head = 100", "line 3: must be at least 8192"),
        ("[gateways]", "line 2: unknown field `gateways`"),
        ("[failover]\nproviders = [{ name = 'a', credential = 'sk-secret' }]", "line 3: expected a table with"),
        ("[failover]\nproviders = [{ name = 'a' }]", "provider `a` has no base_url"),
    ];
    for (number, (text, says)) in rows.into_iter().enumerate() {
        let path = written(&format!("wrong-{number}.toml"), &format!("\n{text}\n"));
        let error = File::read(&path).expect_err("wrong").to_string();
        assert!(error.contains(says) && !error.contains("sk-secret"), "{error}");
    }
}
