//! hyper-util's client against servers that commit one fault each. On the real clock, every attempt bounded.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::TokioExecutor,
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};
use tower::{Layer, ServiceExt, service_fn, timeout::Timeout};
use tower_failover::{
    BoxedError, Charge, Executed, FailoverLayer, Fate, HttpClassify, Model, Models, Provider, Served, State, Tried, Why,
};

const ATTEMPT: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Nobody listens.
    Refuse,
    /// The connection is reset before anything is read.
    ResetAtOnce,
    /// The connection is reset once the request is there.
    Reset,
    /// It is closed once the request is there.
    Close,
    /// It is closed in the midst of the head.
    HalfAHead,
    Hang,
    Garbage,
    Answer(&'static str),
}

/// A server on a port of its own, and the bodies of the requests that reached it.
#[derive(Clone)]
struct Server {
    at: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(fault: Fault) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let server = Self { at: listener.local_addr().expect("an address"), requests: Arc::default() };
        if !matches!(fault, Fault::Refuse) {
            let server = server.clone();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let server = server.clone();
                    tokio::spawn(async move { server.serve(stream, fault).await });
                }
            });
        }
        server
    }

    async fn serve(&self, mut stream: TcpStream, fault: Fault) -> io::Result<()> {
        if matches!(fault, Fault::ResetAtOnce) {
            return stream.set_zero_linger();
        }
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            if stream.read_buf(&mut request).await? == 0 {
                return Ok(());
            }
        }
        let request = String::from_utf8(request).expect("text");
        let body = request.split("\r\n\r\n").nth(1).expect("a body").to_owned();
        self.requests.lock().unwrap().push(body);
        match fault {
            Fault::Refuse | Fault::ResetAtOnce | Fault::Close => Ok(()),
            Fault::Reset => stream.set_zero_linger(),
            Fault::HalfAHead => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await,
            Fault::Hang => {
                sleep(Duration::from_secs(60)).await;
                Ok(())
            }
            Fault::Garbage => stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n\r\n").await,
            Fault::Answer(head) => {
                let head = format!("HTTP/1.1 {head}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello");
                stream.write_all(head.as_bytes()).await
            }
        }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn url(&self) -> String {
        format!("http://{}/v1", self.at)
    }
}

/// A client that retries nothing itself and uses each connection once.
fn client<C>(connector: C) -> Client<C, Full<Bytes>>
where
    C: hyper_util::client::legacy::connect::Connect + Clone,
{
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).pool_max_idle_per_host(0).build(connector)
}

fn models(one: &str, two: &str) -> Models {
    let built = Models::builder()
        .provider(Provider::new("one").base_url(one))
        .provider(Provider::new("two").base_url(two))
        .model(Model::new("a", "one"))
        .model(Model::new("b", "two"))
        .build();
    built.expect("models")
}

fn request() -> http::Request<Full<Bytes>> {
    http::Request::post("/images").body(Full::from(r#"{"model":"any"}"#)).expect("a request")
}

/// Sends one request, and gives status, body and `Served` of the answer.
async fn ask<C>(models: &Models, client: Client<C, Full<Bytes>>, attempt: Duration) -> (u16, Bytes, Served)
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let layer = FailoverLayer::json(models.clone()).attempt_timeout(attempt).build().expect("a layer");
    let response = layer.layer(client).oneshot(request()).await.expect("an answer");
    let served = response.extensions().get::<Served>().expect("Served").clone();
    let (head, body) = response.into_parts();
    (head.status.as_u16(), body.collect().await.expect("a body").to_bytes(), served)
}

fn first(served: &Served) -> &Tried {
    match served.candidates().next().expect("a candidate").fate {
        Fate::Tried(tried) => tried,
        skipped => panic!("{skipped}"),
    }
}

/// What one fault of the first server must come to.
struct Expected {
    charge: Charge,
    executed: Executed,
    why: fn(&Why) -> bool,
    /// Requests that reached the first server.
    requests: usize,
    /// Failures in a row of the first model and of its provider.
    failures: (u32, u32),
}

async fn fails_over(fault: Fault, expected: Expected) {
    let began = Instant::now();
    let (one, two) = (Server::start(fault).await, Server::start(Fault::Answer("200 OK")).await);
    let models = models(&one.url(), &two.url());
    let (status, body, served) = ask(&models, client(HttpConnector::new()), ATTEMPT).await;

    assert_eq!((status, &body[..]), (200, &b"hello"[..]), "{fault:?}");
    assert_eq!(served.model().map(Model::name), Some("b"), "{fault:?}");
    assert_eq!(served.attempts(), 2, "{fault:?}");
    assert_eq!(one.requests(), vec![r#"{"model":"a"}"#; expected.requests], "{fault:?}");
    assert_eq!(two.requests(), [r#"{"model":"b"}"#], "{fault:?}");

    let tried = first(&served);
    assert_eq!((tried.charge, tried.executed), (expected.charge, expected.executed), "{fault:?}: {served}");
    assert!((expected.why)(&tried.why), "{fault:?}: {:?}", tried.why);
    let snapshot = models.snapshot();
    let failures = |model: &str, provider: &str| {
        let model = snapshot.model(model).expect("a model").breaker.consecutive_failures;
        (model, snapshot.provider(provider).expect("a provider").breaker.consecutive_failures)
    };
    assert_eq!(failures("a", "one"), expected.failures, "{fault:?}: {served}");
    assert_eq!(failures("b", "two"), (0, 0), "{fault:?}");
    assert!(snapshot.models.iter().all(|model| model.in_flight == 0), "{fault:?}");
    assert!(began.elapsed() < Duration::from_secs(3), "{fault:?}");
}

fn models_fault(why: fn(&Why) -> bool) -> Expected {
    Expected { charge: Charge::Model, executed: Executed::Maybe, why, requests: 1, failures: (1, 1) }
}

#[tokio::test]
async fn law_21_nobody_listens_and_the_provider_is_blamed() {
    let why = |why: &Why| matches!(why, Why::Connect(words) if words.contains("refused"));
    let expected = Expected { charge: Charge::Provider, executed: Executed::No, why, requests: 0, failures: (0, 1) };
    fails_over(Fault::Refuse, expected).await;
}

#[tokio::test]
async fn law_21_a_connection_that_breaks_blames_the_model() {
    let broken = |why: &Why| matches!(why, Why::Broken(_));
    for fault in [Fault::Reset, Fault::Close, Fault::HalfAHead, Fault::Garbage] {
        fails_over(fault, models_fault(broken)).await;
    }
    fails_over(Fault::ResetAtOnce, Expected { requests: 0, ..models_fault(broken) }).await;
}

#[tokio::test]
async fn law_21_a_model_that_hangs_is_blamed_when_its_time_is_up() {
    fails_over(Fault::Hang, models_fault(|why| *why == Why::TimedOut)).await;
}

#[tokio::test]
async fn a_status_blames_whom_the_table_says() {
    fails_over(Fault::Answer("500 Oh"), models_fault(|why| *why == Why::Status(500))).await;
    fails_over(Fault::Answer("503 Oh"), models_fault(|why| *why == Why::Status(503))).await;
    // It cools down, and an opened breaker counts from 0.
    let limited = Expected { failures: (0, 1), ..models_fault(|why| *why == Why::Status(503)) };
    fails_over(Fault::Answer("503 Busy\r\nretry-after: 7"), limited).await;
    let limited = Expected {
        charge: Charge::Nobody,
        executed: Executed::No,
        failures: (0, 0),
        ..models_fault(|why| *why == Why::Status(429))
    };
    fails_over(Fault::Answer("429 Slowly\r\nretry-after-ms: 7000"), limited).await;
}

#[tokio::test]
async fn a_model_that_answers_is_the_only_one_asked() {
    for (head, code) in [("200 OK", 200), ("302 Elsewhere", 302), ("422 No", 422)] {
        let (one, two) = (Server::start(Fault::Answer(head)).await, Server::start(Fault::Answer("200 OK")).await);
        let models = models(&one.url(), &two.url());
        let (status, _, served) = ask(&models, client(HttpConnector::new()), ATTEMPT).await;
        assert_eq!(status, code);
        assert_eq!((served.attempts(), one.requests().len(), two.requests().len()), (1, 1, 0), "{head}");
    }
}

#[tokio::test]
async fn law_17_a_server_that_asks_to_be_left_alone_is() {
    let busy = "503 Busy\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:47 GMT";
    let (one, two) = (Server::start(Fault::Answer(busy)).await, Server::start(Fault::Answer("200 OK")).await);
    let models = models(&one.url(), &two.url());
    for _ in 0..3 {
        ask(&models, client(HttpConnector::new()), ATTEMPT).await;
    }
    assert_eq!((one.requests().len(), two.requests().len()), (1, 3));
    let breaker = &models.snapshot().models[0].breaker;
    let cooldown = breaker.cooldown.expect("a cooldown");
    assert_eq!(breaker.state, State::Open);
    assert!(cooldown > Duration::from_secs(9) && cooldown <= Duration::from_secs(11), "{cooldown:?}");
}

#[tokio::test]
async fn law_14_both_fail_and_each_was_asked_once() {
    let (one, two) = (Server::start(Fault::Reset).await, Server::start(Fault::Answer("502 Oh")).await);
    let models = models(&one.url(), &two.url());
    let (status, body, served) = ask(&models, client(HttpConnector::new()), ATTEMPT).await;
    assert_eq!((status, &body[..]), (502, &b"hello"[..]), "the last response, with its body");
    assert!(served.all_failed());
    assert_eq!((served.attempts(), one.requests().len(), two.requests().len()), (2, 1, 1));
}

/// tower's own layers box the error of what they wrap.
#[tokio::test]
async fn law_21_a_boxed_error_is_looked_into() {
    let rows = [(Fault::Refuse, Charge::Provider), (Fault::Reset, Charge::Model), (Fault::Hang, Charge::Model)];
    for (fault, charge) in rows {
        let (one, two) = (Server::start(fault).await, Server::start(Fault::Answer("200 OK")).await);
        let models = models(&one.url(), &two.url());
        let classify = HttpClassify::new().errors::<BoxedError>();
        let layer = FailoverLayer::json(models).classify(classify).build().expect("a layer");
        let service = layer.layer(Timeout::new(client(HttpConnector::new()), ATTEMPT));
        let response = service.oneshot(request()).await.expect("an answer");
        let served = response.extensions().get::<Served>().expect("Served");
        assert_eq!((response.status().as_u16(), served.attempts()), (200, 2), "{fault:?}");
        assert_eq!(first(served).charge, charge, "{fault:?}: {served}");
    }
}

/// DNS is part of connecting, whoever looks the name up.
#[tokio::test]
async fn law_21_a_name_that_does_not_resolve_blames_the_provider() {
    let two = Server::start(Fault::Answer("200 OK")).await;
    let unknown = "http://does-not-exist.invalid/";
    let blamed = |models: &Models, served: &Served| {
        let tried = first(served);
        assert_eq!((tried.charge, tried.executed), (Charge::Provider, Executed::No), "{served}");
        assert!(matches!(tried.why, Why::Connect(_)), "{served}");
        let snapshot = models.snapshot();
        assert_eq!(snapshot.models[0].breaker.consecutive_failures, 0, "{served}");
        assert_eq!(snapshot.providers[0].breaker.consecutive_failures, 1, "{served}");
    };

    let nowhere = service_fn(async |_: Name| Err::<std::iter::Empty<SocketAddr>, _>(io::Error::other("no such host")));
    let only_two = models(unknown, &two.url());
    let (status, _, served) = ask(&only_two, client(HttpConnector::new_with_resolver(nowhere)), ATTEMPT).await;
    assert_eq!(status, 200, "an address needs no resolver");
    blamed(&only_two, &served);

    // The machine's own resolver, which may take its time to say so.
    let only_two = models(unknown, &two.url());
    let (status, _, served) = ask(&only_two, client(HttpConnector::new()), Duration::from_secs(8)).await;
    assert_eq!(status, 200);
    blamed(&only_two, &served);
}
