//! Watched bodies over real clients: law 20, in every way in which a body can end.

use crate::{
    body::{
        Ends::{self, Broken, Stalled, Well},
        chain, ends, read, stalled,
    },
    client::{ALL, BODY, Client, Reply, plain},
    upstream::{SOON, Script, Step, Upstream},
};
use Step::{Hang, Reset, Say, Told, Wait};
use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, Version};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use reqwest::{Body, Request, Response, ResponseBuilderExt, Url};
use reqwest_middleware::ClientBuilder;
use std::{io, time::Duration};
use tokio::time::timeout;
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{
    AtEnd, BodyError, FailoverLayer, FailoverMiddleware, HttpFinish, Model, ModelSnapshot, Models, Provider,
    ReadAheadLayer, Served, TowerMiddleware, defaults::HANG_FLOOR,
};

/// Between two frames of a model that is well.
const GAP: Duration = Duration::from_millis(1200);
/// Three of them are longer than the gap.
const PAUSE: Duration = Duration::from_millis(500);

const LENGTH: Step = Say("HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n");
const CHUNKED: Step = Say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
const CHUNK: Step = Say("a\r\nten bytes.\r\n");
const BAD: Step = Say("HTTP/1.1 500 Oh\r\ncontent-length: 20\r\n\r\nten bytes.");
const YOURS: Step = Say("HTTP/1.1 400 Yours\r\ncontent-length: 20\r\n\r\nten bytes.");
const OLD: Step = Say("HTTP/1.0 200 OK\r\nx-of: a\r\nx-of: b\r\ncontent-length: 10\r\n\r\nten bytes.");
const LAST: Step = Say("0\r\n\r\n");

type Row = (&'static str, Script, &'static str, Ends);

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // the model                          says                                                     so much is read          and ends
    ("is fine, of known length",          &[LENGTH, Say("ten bytes.ten bytes.")],                      "ten bytes.ten bytes.", Well),
    ("is fine, of unknown length",        &[CHUNKED, CHUNK, CHUNK, LAST],                              "ten bytes.ten bytes.", Well),
    ("has nothing to say",                &[Say("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")],      "",                     Well),
    ("ends with the connection",          &[Say("HTTP/1.1 200 OK\r\n\r\nten bytes.")],                 "ten bytes.",           Well),
    ("is slow but fine",                  &[CHUNKED, Wait(PAUSE), CHUNK, Wait(PAUSE), CHUNK, Wait(PAUSE), LAST], "ten bytes.ten bytes.", Well),
    ("says more than the length",         &[LENGTH, Say("ten bytes.ten bytes.and more")],              "ten bytes.ten bytes.", Well),
    ("says less than the length",         &[LENGTH, Say("ten bytes.")],                                "ten bytes.",           Broken),
    ("is cut before its first byte",      &[LENGTH],                                                   "",                     Broken),
    ("is cut before its first chunk",     &[CHUNKED],                                                  "",                     Broken),
    ("is cut between chunks",             &[CHUNKED, CHUNK],                                           "ten bytes.",           Broken),
    ("is cut within a chunk",             &[CHUNKED, CHUNK, Say("a\r\nten")],                          "ten bytes.ten",        Broken),
    ("says no chunk",                     &[CHUNKED, CHUNK, Say("ten bytes.\r\n"), Hang],              "ten bytes.",           Broken),
    ("stalls before its first byte",      &[LENGTH, Hang],                                             "",                     Stalled),
    ("stalls between chunks",             &[CHUNKED, CHUNK, Hang],                                     "ten bytes.",           Stalled),
    ("stalls short of its length",        &[LENGTH, Say("ten bytes."), Hang],                          "ten bytes.",           Stalled),
];

#[tokio::test]
async fn law_20_every_client_and_every_end_of_a_body() {
    let rows = ROWS.iter().flat_map(|row| ALL.map(|client| check(client, row)));
    join_all(rows).await;
}

async fn check(client: Client, (what, script, text, expected): &Row) {
    let at = format!("{client:?}, one that {what}");
    let upstream = Upstream::start(script).await;
    let models = only(&upstream.url());
    let reply = ask(client, &models).await;
    assert_eq!(reply.headers()["x-failover-model"], "a", "{at}");
    let served = reply.extensions().get::<Served>().expect("Served");
    assert_eq!(served.model().map(Model::name), Some("a"), "{at}");
    if !text.is_empty() {
        assert_eq!((recorded(&models), in_flight(&models)), ([0, 0, 0], 1), "{at}: at its head");
    }

    let (read, error) = read(reply, || {}).await;
    assert_eq!(read, *text, "{at}");
    let found = ends(error.as_ref(), GAP);
    assert_eq!(found, *expected, "{at}: {error:?}");
    let counts = if found == Well { [1, 0, 0] } else { [0, 1, 1] };
    assert_eq!((recorded(&models), in_flight(&models)), (counts, 0), "{at}");
    upstream.idle(&at).await;
}

#[tokio::test]
async fn law_20_every_client_and_a_body_that_is_reset() {
    for client in ALL {
        let upstream = Upstream::start(&[CHUNKED, CHUNK, Told, Reset]).await;
        let models = only(&upstream.url());
        let mut reply = ask(client, &models).await;
        timeout(SOON, reply.frame()).await.expect("in time").expect("a frame").expect("data");
        upstream.tell();
        let (text, error) = read(reply, || {}).await;
        assert!(text.is_empty() && error.is_some_and(|error| stalled(error.as_ref()).is_none()), "{client:?}: {text}");
        assert_eq!((recorded(&models), in_flight(&models)), ([0, 1, 1], 0), "{client:?}");
    }
}

#[tokio::test]
async fn law_20_every_client_and_a_body_dropped_early() {
    for client in ALL {
        let upstream = Upstream::start(&[CHUNKED, CHUNK, Hang]).await;
        let models = only(&upstream.url());
        drop(ask(client, &models).await);
        assert_eq!((recorded(&models), in_flight(&models)), ([0, 0, 0], 0), "{client:?}, unread");
        upstream.idle("unread").await;

        let mut reply = ask(client, &models).await;
        timeout(SOON, reply.frame()).await.expect("in time").expect("a frame").expect("data");
        assert_eq!(in_flight(&models), 1, "{client:?}");
        drop(reply);
        assert_eq!((recorded(&models), in_flight(&models)), ([0, 0, 0], 0), "{client:?}, begun");
        upstream.idle("begun").await;
        assert_eq!(upstream.requests(), 2, "{client:?}");
    }
}

/// After a head that is no success nothing more is said of the body.
#[tokio::test]
async fn law_20_the_body_of_anything_but_a_success_is_settled_at_its_head() {
    for (script, recorded_at_head) in [(&[BAD], [0, 1, 1]), (&[YOURS], [0, 0, 0])] {
        for client in ALL {
            let upstream = Upstream::start(script).await;
            let models = only(&upstream.url());
            let reply = ask(client, &models).await;
            assert_eq!((recorded(&models), in_flight(&models)), (recorded_at_head, 0), "{client:?}");
            let (text, error) = read(reply, || {}).await;
            assert!(text == "ten bytes." && error.is_some(), "{client:?}: {text}");
            assert_eq!((recorded(&models), in_flight(&models)), (recorded_at_head, 0), "{client:?}");
        }
    }
}

/// As a user would: with the type that the docs name, and with reqwest's own question. The gap is shorter than what
/// makes a hang of a body that is dropped.
#[tokio::test]
async fn a_stall_is_found_in_the_chain_of_reqwests_error() {
    let upstream = Upstream::start(&[CHUNKED, CHUNK, Hang]).await;
    let gap = HANG_FLOOR / 4;
    for (models, mut response) in reqwests(&upstream, gap).await {
        assert_eq!(response.chunk().await.expect("a chunk").expect("data"), "ten bytes.");
        let error = timeout(SOON, response.chunk()).await.expect("in time").expect_err("stalled");
        let stalled = chain(&error).find_map(|error| error.downcast_ref::<BodyError<reqwest::Error>>());
        assert!(matches!(stalled, Some(BodyError::Stalled(after)) if *after == gap), "{error:?}");
        assert!(error.is_timeout() && error.is_decode(), "{error:?}");
        assert!(response.chunk().await.expect("the end").is_none());
        assert_eq!((recorded(&models), in_flight(&models)), ([0, 1, 1], 0));
    }
}

#[tokio::test]
async fn nothing_of_reqwests_response_is_lost() {
    let upstream = Upstream::start(&[OLD]).await;
    for (_, response) in reqwests(&upstream, GAP).await {
        assert_eq!(response.url().as_str(), format!("{}/images?n=1", upstream.url()));
        assert_eq!((response.version(), response.remote_addr()), (Version::HTTP_10, Some(upstream.address())));
        assert_eq!(response.headers().get_all("x-of").iter().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(response.content_length(), Some(10));
        assert!(response.extensions().get::<Served>().is_some());
        assert_eq!(response.text().await.expect("whole"), "ten bytes.");
    }
}

#[tokio::test(start_paused = true)]
async fn extensions_and_trailers_pass() {
    #[derive(Debug, Clone, PartialEq)]
    struct Note(u8);
    let url = Url::parse("http://one.test/redirected").expect("a URL");
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "42".parse().expect("a value"));
    let (sent_url, sent) = (url.clone(), trailers.clone());
    let client = service_fn(move |_: Request| {
        let frames = [Frame::data(Bytes::from("ten bytes.")), Frame::trailers(sent.clone())];
        let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, io::Error>)));
        let response = http::Response::builder().url(sent_url.clone()).extension(Note(7)).body(Body::wrap(body));
        async { Ok::<_, reqwest::Error>(Response::from(response.expect("a response"))) }
    });
    let models = only("http://one.test");
    let layer = FailoverLayer::reqwest(models.clone()).finish(finish()).build().expect("a layer");
    let request = plain().post("http://models/images").build().expect("a request");
    let response = layer.layer(client).oneshot(request).await.expect("a head");
    assert_eq!((response.url(), response.content_length()), (&url, None));
    assert_eq!(response.extensions().get(), Some(&Note(7)));
    let whole = Body::from(response).collect().await.expect("whole");
    assert_eq!(whole.trailers(), Some(&trailers));
    assert_eq!(whole.to_bytes(), "ten bytes.");
    assert_eq!(recorded(&models), [1, 0, 0]);
}

fn only(url: &str) -> Models {
    let provider = Provider::new("one").base_url(url);
    Models::builder().provider(provider).model(Model::new("a", "one")).build().expect("models")
}

fn finish() -> HttpFinish<AtEnd> {
    HttpFinish::new().headers().watched().idle_gap(GAP).expect("a gap")
}

async fn ask(client: Client, models: &Models) -> Reply {
    client.over(models, finish(), SOON)().await.expect("a head")
}

/// What a caller of reqwest gets, and one of a stack of reqwest-middleware, each without and with reading ahead.
async fn reqwests(upstream: &Upstream, gap: Duration) -> [(Models, Response); 4] {
    let url = "http://models/images?n=1";
    let layer = |models: &Models| {
        let finish = HttpFinish::new().watched().idle_gap(gap).expect("a gap");
        FailoverLayer::reqwest_json(models.clone()).finish(finish).build().expect("a layer")
    };
    let ahead = ReadAheadLayer::new().first_byte();
    let request = || plain().post(url).body(BODY).build().expect("a request");
    let [one, two, three, four] = [(); 4].map(|()| only(&upstream.url()));
    let stack = ClientBuilder::new(plain()).with(FailoverMiddleware::new(layer(&three))).build();
    let stack_ahead = ClientBuilder::new(plain()).with(FailoverMiddleware::new(layer(&four)));
    let stack_ahead = stack_ahead.with(TowerMiddleware::new(ahead.clone())).build();
    let responses = [
        layer(&one).layer(plain()).oneshot(request()).await.expect("a head"),
        layer(&two).layer(ahead.layer(plain())).oneshot(request()).await.expect("a head"),
        stack.execute(request()).await.expect("a head"),
        stack_ahead.execute(request()).await.expect("a head"),
    ];
    let mut models = [one, two, three, four].into_iter();
    responses.map(|response| (models.next().expect("one for each"), response))
}

fn model(models: &Models) -> ModelSnapshot {
    models.snapshot().models[0].clone()
}

fn in_flight(models: &Models) -> u64 {
    model(models).in_flight
}

/// Successes and failures of the model, and failures in a row of its provider.
fn recorded(models: &Models) -> [u64; 3] {
    let window = model(models).breaker.window.expect("a rule on a rate");
    let provider = models.snapshot().providers[0].breaker.consecutive_failures;
    [window.successes, window.failures, provider.into()]
}
