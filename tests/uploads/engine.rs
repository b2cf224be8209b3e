//! Uploads in the engine, over clients that read as much as they are told.

use crate::source::{Item, Source, Tap, data, text};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use std::{
    error::Error as _,
    fmt, io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{
    Charge, Error, Executed, FailoverLayer, Fate, HttpResend, Model, Models, Plan, Provider, Recorded, RecordedRequest,
    ReplayBody, ReplayError, Resend, Served, Tried,
};

type Upload = Request<ReplayBody<Source>>;
type Sent = Arc<Mutex<Vec<(String, Bytes)>>>;

const CAP: usize = 100;

/// What a model does: reads so many frames (or all), and answers with this status, or hangs.
#[derive(Clone, Copy)]
struct Does {
    frames: usize,
    status: Option<u16>,
}

const ALL: usize = usize::MAX;

/// The client's own error, with that of the upload inside.
#[derive(Debug)]
struct Broken(ReplayError);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("client error")
    }
}

impl std::error::Error for Broken {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

pub(crate) fn models() -> Models {
    let built = Models::builder()
        .provider(Provider::new("one").base_url("http://one.test"))
        .provider(Provider::new("two").base_url("http://two.test"))
        .model(Model::new("a", "one"))
        .model(Model::new("b", "two"))
        .build();
    built.expect("models")
}

/// Failures in a row, of models and of providers.
pub(crate) fn failures(models: &Models) -> Vec<u32> {
    let snapshot = models.snapshot();
    let models = snapshot.models.iter().map(|model| model.breaker.consecutive_failures);
    models.chain(snapshot.providers.iter().map(|provider| provider.breaker.consecutive_failures)).collect()
}

pub(crate) fn tried<'a>(served: &'a Served, model: &str) -> &'a Tried {
    let mut candidates = served.candidates().filter(|candidate| candidate.model.name() == model);
    match candidates.next().map(|candidate| candidate.fate) {
        Some(Fate::Tried(tried)) => tried,
        other => panic!("`{model}`: {other:?} in {served}"),
    }
}

fn upload(items: Vec<Item>, says: bool) -> Request<Source> {
    let (tap, source) = Tap::new(items, says);
    tap.let_all_out();
    Request::post("/images").body(source).expect("a request")
}

/// What each model was sent, and what came of it.
async fn ask(
    models: &Models,
    does: [Does; 2],
    request: Request<Source>,
) -> (Sent, Result<Response<()>, Error<Broken>>) {
    let sent = Sent::default();
    let client = service_fn(|request: Upload| {
        let host = request.uri().host().unwrap_or("").to_owned();
        let does = if host == "one.test" { does[0] } else { does[1] };
        let sent = sent.clone();
        async move {
            let mut body = request.into_body();
            let index = sent.lock().unwrap().len();
            sent.lock().unwrap().push((host, Bytes::new()));
            for _ in 0..does.frames {
                let Some(frame) = body.frame().await else { break };
                let data = frame.map_err(Broken)?.into_data().expect("data");
                let whole = [&sent.lock().unwrap()[index].1[..], &data].concat();
                sent.lock().unwrap()[index].1 = whole.into();
            }
            let Some(status) = does.status else { return std::future::pending().await };
            Ok(Response::builder().status(status).body(()).expect("a response"))
        }
    });
    let layer = FailoverLayer::http(models.clone()).resend(HttpResend(Recorded::up_to(CAP)));
    let outcome = layer.build().expect("a layer").layer(client).oneshot(request).await;
    (sent, outcome)
}

fn served(outcome: &Result<Response<()>, Error<Broken>>) -> &Served {
    match outcome {
        Ok(response) => response.extensions().get().expect("Served"),
        Err(error) => error.served().expect("Served"),
    }
}

const FAILS: Does = Does { frames: ALL, status: Some(503) };
const FINE: Does = Does { frames: ALL, status: Some(200) };

#[tokio::test(start_paused = true)]
async fn within_the_cap_the_next_model_gets_the_whole() {
    for (says, frames, status) in
        [(false, ALL, Some(503)), (true, 1, Some(503)), (false, 0, Some(503)), (true, 1, None)]
    {
        let models = models();
        let request = upload(vec![data(CAP - 9), text("a picture")], says);
        let (sent, outcome) = ask(&models, [Does { frames, status }, FINE], request).await;
        let served = served(&outcome);
        assert_eq!((served.attempts(), served.could_fail_over()), (2, true));
        let sent = sent.lock().unwrap();
        assert_eq!(sent[1].0, "two.test");
        assert_eq!(sent[1].1.len(), CAP);
        assert!(sent[1].1.ends_with(b"a picture"));
    }
}

#[tokio::test(start_paused = true)]
async fn past_the_cap_the_failure_of_the_first_is_the_answer() {
    for says in [false, true] {
        let request = upload(vec![data(CAP - 9), text("a picture!")], says);
        let (sent, outcome) = ask(&models(), [FAILS, FINE], request).await;
        assert_eq!(outcome.as_ref().expect("an answer").status(), StatusCode::SERVICE_UNAVAILABLE);
        let served = served(&outcome);
        assert_eq!((served.attempts(), served.could_fail_over(), served.all_failed()), (1, false, true));
        let sent = sent.lock().unwrap();
        assert_eq!((sent.len(), sent[0].1.len()), (1, CAP + 1), "to nobody else, and to the last byte");
    }
}

#[tokio::test(start_paused = true)]
async fn past_the_cap_a_time_out_is_the_answer() {
    let request = upload(vec![data(CAP + 1)], false);
    let (_, outcome) = ask(&models(), [Does { frames: ALL, status: None }, FINE], request).await;
    assert!(matches!(&outcome, Err(Error::TimedOut { .. })));
    assert_eq!((served(&outcome).attempts(), served(&outcome).could_fail_over()), (1, false));
}

#[tokio::test(start_paused = true)]
async fn a_success_says_as_well_that_it_could_not_have_failed_over() {
    for (length, could) in [(CAP, true), (CAP + 1, false)] {
        let (_, outcome) = ask(&models(), [FINE, FINE], upload(vec![data(length)], false)).await;
        assert_eq!(served(&outcome).could_fail_over(), could, "{length}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_of_which_nothing_was_read_goes_on_however_long_it_is() {
    for says in [false, true] {
        let upload = upload(vec![data(CAP + 1)], says);
        let (sent, outcome) = ask(&models(), [Does { frames: 0, status: Some(503) }, FINE], upload).await;
        assert_eq!(outcome.as_ref().expect("an answer").status(), StatusCode::OK);
        assert_eq!((served(&outcome).attempts(), served(&outcome).could_fail_over()), (2, false));
        assert_eq!(sent.lock().unwrap()[1].1.len(), CAP + 1);
    }
}

#[tokio::test]
async fn there_is_no_copy_of_one_that_is_not_whole() {
    async fn has_copy<Req>(request: Req, read: impl AsyncFn(<Recorded as Resend<Req>>::Request)) -> bool
    where
        Recorded: Resend<Req>,
    {
        let resend = Recorded::up_to(CAP);
        let kept = Resend::<Req>::prepare(&resend, request);
        read(Resend::<Req>::keep(&resend, &kept).expect("nothing has been read")).await;
        let whole = Resend::<Req>::whole(&resend, &kept);
        assert_eq!(Resend::<Req>::keep(&resend, &kept).is_some(), whole);
        whole
    }
    for (length, whole) in [(CAP, true), (CAP + 1, false)] {
        let request = || upload(vec![data(length)], true);
        let read = async |kept: Upload| assert!(kept.into_body().frame().await.is_some());
        assert_eq!(has_copy(request(), read).await, whole);
        let mut reqwests = reqwest::Request::new(http::Method::POST, "http://models/".parse().expect("a URL"));
        *reqwests.body_mut() = Some(reqwest::Body::wrap(request().into_body()));
        let read = async |kept: RecordedRequest| {
            let body = kept.into_request().body_mut().take();
            assert!(body.expect("a body").frame().await.is_some());
        };
        assert_eq!(has_copy(reqwests, read).await, whole);
    }
}

#[tokio::test(start_paused = true)]
async fn law_16_an_upload_that_fails_is_returned_and_blames_nobody() {
    let models = models();
    let (sent, outcome) = ask(&models, [FINE, FINE], upload(vec![text("a pic"), Item::Fails], false)).await;
    let Err(Error::Upstream { error, served, .. }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(error.0.source().map(ToString::to_string).as_deref(), Some("disk on fire"));
    assert_eq!((served.attempts(), served.could_fail_over()), (1, false));
    let tried = tried(&served, "a");
    assert_eq!((tried.charge, tried.executed), (Charge::Nobody, Executed::Maybe));
    assert_eq!(tried.why.to_string(), "the upload failed: disk on fire");
    assert_eq!(failures(&models), [0; 4]);
    assert_eq!(sent.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn law_16_one_that_fails_only_for_the_second_model_does_not_blame_that() {
    let models = models();
    let upload = upload(vec![text("a pic"), Item::Fails], false);
    let (_, outcome) = ask(&models, [Does { frames: 1, status: Some(503) }, FINE], upload).await;
    assert_eq!(tried(served(&outcome), "b").charge, Charge::Nobody);
    assert_eq!(failures(&models), [1, 0, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn law_16_an_upload_that_fails_blames_nobody_even_if_the_client_hides_it() {
    for (item, status, charge) in [
        (Item::Fails, None, Charge::Nobody),
        (text("ture"), None, Charge::Model),
        (Item::Fails, Some(503), Charge::Model),
    ] {
        let models = models();
        let client = service_fn(|request: Upload| async move {
            let _ = request.into_body().collect().await;
            match status {
                Some(status) => Ok(Response::builder().status(status).body(()).expect("a response")),
                None => Err(io::Error::from(io::ErrorKind::ConnectionReset)),
            }
        });
        let layer = FailoverLayer::http(models.clone()).resend(HttpResend(Recorded::new())).build().expect("a layer");
        let outcome = layer.layer(client).oneshot(upload(vec![text("a pic"), item], false)).await;
        let served = match &outcome {
            Ok(response) => response.extensions().get().expect("Served"),
            Err(error) => error.served().expect("Served"),
        };
        assert_eq!(tried(served, "a").charge, charge);
        assert_eq!(failures(&models)[0], u32::from(charge == Charge::Model));
    }
}

#[tokio::test(start_paused = true)]
async fn law_16_nor_if_a_client_for_reqwests_requests_hides_it() {
    let models = models();
    let client = service_fn(|mut request: reqwest::Request| async move {
        let read = request.body_mut().take().expect("a body").collect().await;
        assert!(read.is_err());
        Err::<reqwest::Response, _>(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    let layer = FailoverLayer::reqwest(models.clone()).resend(Recorded::new()).build().expect("a layer");
    let mut request = reqwest::Request::new(http::Method::POST, "http://models/".parse().expect("a URL"));
    *request.body_mut() = Some(reqwest::Body::wrap(upload(vec![Item::Fails], false).into_body()));
    let error = layer.layer(client).oneshot(request).await.expect_err("failed");
    assert_eq!(tried(error.served().expect("Served"), "a").charge, Charge::Nobody);
    assert_eq!(failures(&models), [0; 4]);
}

#[tokio::test(start_paused = true)]
async fn law_16_a_reader_that_fell_behind_the_cap_blames_nobody() {
    let models = models();
    let (tap, source) = Tap::new(vec![data(CAP + 1)], false);
    tap.let_all_out();
    // The first model answers at once, while its connection could read on; the second one comes too late.
    let first = Mutex::new(None);
    let client = service_fn(|request: Upload| {
        let mut body = request.into_body();
        let before = first.lock().unwrap().take();
        let first = &first;
        async move {
            let Some(mut ahead) = before else {
                *first.lock().unwrap() = Some(body);
                return Ok(Response::builder().status(503).body(()).expect("a response"));
            };
            assert!(ahead.frame().await.is_some_and(|frame| frame.is_ok()));
            let error = body.frame().await.expect("a frame").expect_err("behind");
            Err::<Response<()>, _>(Broken(error))
        }
    });
    let layer = FailoverLayer::http(models.clone()).resend(HttpResend(Recorded::up_to(CAP))).build().expect("a layer");
    let error =
        layer.layer(client).oneshot(Request::post("/").body(source).expect("a request")).await.expect_err("late");
    let tried = tried(error.served().expect("Served"), "b");
    assert_eq!((tried.charge, failures(&models)), (Charge::Nobody, vec![1, 0, 1, 0]));
    assert!(tried.why.to_string().contains("longer than 100 bytes"), "{}", tried.why);
}

#[tokio::test(start_paused = true)]
async fn plan_and_extensions_go_with_every_attempt() {
    #[derive(Clone, PartialEq, Debug)]
    struct Mine(u8);
    let resend = HttpResend(Recorded::new());
    let mut request = upload(vec![text("a picture")], false);
    request.extensions_mut().insert(Mine(7));
    request.extensions_mut().insert(Plan::new().first("b").deadline(Duration::from_secs(1)));
    let kept = resend.prepare(request);
    let again = resend.keep(&kept).expect("whole");
    assert_eq!(again.extensions().get(), Some(&Mine(7)));
    assert!(resend.plan(&again).is_some() && resend.whole(&again));
    assert_eq!((again.method(), again.uri()), (kept.method(), kept.uri()));

    let mut request = upload(vec![text("a picture")], false);
    request.extensions_mut().insert(Plan::new().first("b"));
    let (sent, _) = ask(&models(), [FINE, FAILS], request).await;
    let hosts: Vec<String> = sent.lock().unwrap().iter().map(|(host, _)| host.clone()).collect();
    assert_eq!(hosts, ["two.test", "one.test"]);
}
