//! Real clients over loopback.

use crate::{
    client::{ALL, Client, Frames, Got, chain, models, plain, upload},
    engine::{failures, tried},
    server::{Does, Server},
    source::trailers,
};
use bytes::Bytes;
use http_body::Frame;
use hyper_util::{client::legacy::Client as HyperClient, rt::TokioExecutor};
use std::io;
use tower::{Layer, ServiceExt};
use tower_failover::{
    Charge, Executed, FailoverLayer, HttpResend, Model, Recorded, ReplayBody, ReplayError, SendOnce, Served,
};

const FINE: Does = Does::Answer("200 OK");
const CHUNK: usize = 10_000;

fn chunk(number: u8) -> Bytes {
    vec![number; CHUNK].into()
}

fn send(frames: &Frames, frame: io::Result<Frame<Bytes>>) {
    // Nobody reads any more when the request has ended.
    let _ = frames.unbounded_send(frame);
}

fn send_chunk(frames: &Frames, number: u8) {
    send(frames, Ok(Frame::data(chunk(number))));
}

/// Sends what follows the first two chunks only when the first model has those.
async fn ask(client: Client, a: &Server, b: &Server, resend: Recorded) -> Got {
    let (frames, body) = upload();
    let caller = async {
        send_chunk(&frames, 0);
        a.has(CHUNK).await;
        send_chunk(&frames, 1);
        a.has(2 * CHUNK).await;
        (2..5).for_each(|number| send_chunk(&frames, number));
        send(&frames, Ok(Frame::trailers(trailers("42"))));
        drop(frames);
    };
    let models = models(&a.url(), &b.url());
    tokio::join!(client.send(&models, resend, body), caller).0
}

fn whole() -> Vec<u8> {
    (0..5).flat_map(chunk).collect()
}

#[tokio::test]
async fn an_upload_that_streams_goes_on_at_the_next_model() {
    for client in ALL {
        for does in [Does::Reset(2 * CHUNK), Does::AnswerEarly(2 * CHUNK, "503 Oh"), Does::Answer("503 Oh")] {
            let (a, b) = (Server::start(does).await, Server::start(FINE).await);
            let got = ask(client, &a, &b, Recorded::new()).await;
            assert_eq!(got.status.ok(), Some(200), "{client:?} {does:?}");
            let served = got.served;
            assert_eq!((served.attempts(), served.could_fail_over()), (2, true), "{served}");
            assert_eq!(served.model().map(Model::name), Some("b"));
            let received = b.received();
            assert_eq!(received.len(), 1);
            assert!(received[0].whole && received[0].body == whole(), "{client:?} {does:?}");
            assert!(received[0].trailers.contains("x-checksum: 42"), "{client:?}: {:?}", received[0].trailers);
            assert!(received[0].head.contains("authorization: bearer key-two"), "{}", received[0].head);
            assert_eq!(tried(&served, "a").charge, Charge::Model);
        }
    }
}

#[tokio::test]
async fn past_the_cap_it_is_sent_once() {
    for client in ALL {
        for does in [Does::Reset(5 * CHUNK), Does::Answer("503 Oh"), FINE] {
            let (a, b) = (Server::start(does).await, Server::start(FINE).await);
            let got = ask(client, &a, &b, Recorded::up_to(3 * CHUNK)).await;
            let status = got.status.map_err(|uploads| uploads.is_some());
            let expected = match does {
                Does::Reset(_) => Err(false),
                FINE => Ok(200),
                _ => Ok(503),
            };
            assert_eq!(status, expected, "{client:?} {does:?}");
            assert_eq!((got.served.attempts(), got.served.could_fail_over()), (1, false), "{client:?} {does:?}");
            assert!(a.received()[0].body == whole());
            assert!(b.received().is_empty());
        }
    }
}

#[tokio::test]
async fn one_that_could_not_be_sent_at_all_goes_on_however_long_it_is() {
    for client in ALL {
        // Bound, so that nobody else gets the port, but not listening.
        let refuses = tokio::net::TcpSocket::new_v4().expect("a socket");
        refuses.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let b = Server::start(FINE).await;
        let models = models(&format!("http://{}", refuses.local_addr().expect("bound")), &b.url());
        let (frames, body) = upload();
        (0..5).for_each(|number| send_chunk(&frames, number));
        drop(frames);
        let got = client.send(&models, Recorded::up_to(0), body).await;
        assert_eq!((got.status.ok(), got.served.attempts()), (Some(200), 2), "{client:?}");
        assert!(b.received()[0].body == whole());
    }
}

#[tokio::test]
async fn law_16_an_upload_that_fails_blames_nobody() {
    // Kinds that would mean something else if they were the client's own.
    let kinds = [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut];
    for (client, kind) in ALL.into_iter().flat_map(|client| kinds.map(|kind| (client, kind))) {
        let (a, b) = (Server::start(FINE).await, Server::start(FINE).await);
        let models = models(&a.url(), &b.url());
        let (frames, body) = upload();
        let caller = async {
            send_chunk(&frames, 0);
            a.has(CHUNK).await;
            send(&frames, Err(io::Error::new(kind, "disk on fire")));
        };
        let (got, ()) = tokio::join!(client.send(&models, Recorded::new(), body), caller);
        let Err(Some(error @ ReplayError::Upload(_))) = got.status else { panic!("{client:?}: {:?}", got.status) };
        assert!(chain(&error).any(|error| error.to_string() == "disk on fire"), "{error:?}");
        assert_eq!((got.served.attempts(), got.served.could_fail_over()), (1, false));
        let tried = tried(&got.served, "a");
        assert_eq!((tried.charge, tried.executed), (Charge::Nobody, Executed::Maybe), "{client:?}");
        let why = tried.why.to_string();
        assert!(why.starts_with("the upload failed: ") && why.ends_with("disk on fire"), "{client:?}: {why}");
        assert_eq!(failures(&models), [0; 4]);
        assert!(b.received().is_empty());
    }
}

/// Nothing is kept here, so that the client's error is all there is to see it by.
#[tokio::test]
async fn law_16_the_clients_own_error_tells_of_it_too() {
    let failing = || {
        let (frames, body) = upload();
        send_chunk(&frames, 0);
        send(&frames, Err(io::ErrorKind::TimedOut.into()));
        ReplayBody::new(body, CHUNK)
    };
    let a = Server::start(FINE).await;
    let models = models(&a.url(), &a.url());

    let http = HyperClient::builder(TokioExecutor::new()).build_http();
    let layer = FailoverLayer::http(models.clone()).resend(HttpResend(SendOnce)).build().expect("a layer");
    let request = http::Request::post("/images").body(failing()).expect("a request");
    let error = layer.layer(http).oneshot(request).await.expect_err("failed");
    assert_eq!(tried(error.served().expect("Served"), "a").charge, Charge::Nobody);

    let layer = FailoverLayer::reqwest(models.clone()).build().expect("a layer");
    let request = plain().post("http://models/images").body(reqwest::Body::wrap(failing())).build().expect("a request");
    let error = layer.layer(plain()).oneshot(request).await.expect_err("failed");
    assert_eq!(tried(error.served().expect("Served"), "a").charge, Charge::Nobody);
    assert_eq!(failures(&models), [0; 4]);
}

#[tokio::test]
async fn a_whole_body_of_reqwest_stays_whole() {
    let (a, b) = (Server::start(Does::Answer("503 Oh")).await, Server::start(FINE).await);
    let layer = FailoverLayer::reqwest_json(models(&a.url(), &b.url())).resend(Recorded::up_to(0));
    let client = layer.build().expect("a layer").layer(plain());
    let request = plain().post("http://models/images").body(r#"{"model":""}"#).build().expect("a request");
    let response = client.oneshot(request).await.expect("an answer");
    assert!(response.extensions().get::<Served>().expect("Served").could_fail_over());
    for (server, body) in [(&a, r#"{"model":"a"}"#), (&b, r#"{"model":"b"}"#)] {
        assert_eq!(server.received()[0].body, body.as_bytes());
        assert!(server.received()[0].head.contains("content-length: 13"));
    }
    let request = plain().get("http://models/images").build().expect("a request");
    let layer = FailoverLayer::reqwest(models(&a.url(), &b.url())).resend(Recorded::default());
    let response = layer.build().expect("a layer").layer(plain()).oneshot(request).await.expect("an answer");
    assert_eq!(response.status(), 200, "one without a body can be sent again as well");
}

#[tokio::test]
async fn an_upload_that_says_how_long_it_is_says_so_each_time() {
    let (a, b) = (Server::start(Does::Answer("503 Oh")).await, Server::start(FINE).await);
    let layer = FailoverLayer::reqwest(models(&a.url(), &b.url())).resend(Recorded::new()).build().expect("a layer");
    let body = reqwest::Body::wrap(http_body_util::Full::<Bytes>::from(whole()));
    let request = plain().post("http://models/images").body(body).build().expect("a request");
    assert_eq!(layer.layer(plain()).oneshot(request).await.expect("an answer").status(), 200);
    for server in [a, b] {
        assert!(server.received()[0].head.contains("content-length: 50000"), "{}", server.received()[0].head);
        assert!(server.received()[0].body == whole());
    }
}
