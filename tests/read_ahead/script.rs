//! Upstreams whose bodies come by a script.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, util::BoxCloneSyncService};
use tower_failover::{
    FailoverBuilder, FailoverLayer, HttpAim, HttpClassify, HttpFinish, HttpResend, Model, Models, Provider, Resumed,
    Served, Watched,
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) type AnyBody = UnsyncBoxBody<Bytes, io::Error>;
pub(crate) type Client = BoxCloneSyncService<Request<Full<Bytes>>, Response<AnyBody>, io::Error>;
pub(crate) type Began = Watched<Resumed<AnyBody>>;

/// What a body does next. After the last it comes to its end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Does {
    Data(&'static str),
    /// A frame of as many bytes.
    Bytes(usize),
    Trailers,
    /// Nothing, for as many seconds.
    Wait(u64),
    Cut,
}

/// What an upstream answers: status, content type, body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answers(pub(crate) u16, pub(crate) &'static str, pub(crate) &'static [Does]);

pub(crate) const EVENTS: &str = "text/event-stream; charset=utf-8";

pub(crate) fn body(script: &'static [Does]) -> AnyBody {
    if script.is_empty() {
        return Full::default().map_err(|never| match never {}).boxed_unsync();
    }
    let frames = stream::iter(script).filter_map(|does| async move {
        match *does {
            Does::Data(text) => Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))),
            Does::Bytes(bytes) => Some(Ok(Frame::data(vec![b'x'; bytes].into()))),
            Does::Trailers => Some(Ok(Frame::trailers(trailers()))),
            Does::Cut => Some(Err(io::ErrorKind::ConnectionReset.into())),
            Does::Wait(seconds) => {
                sleep(SECOND * seconds as u32).await;
                None
            }
        }
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}

pub(crate) fn trailers() -> HeaderMap {
    HeaderMap::from_iter([(http::header::ETAG, "\"42\"".parse().expect("a value"))])
}

/// One model at each of two providers, and the client for both.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) models: Models,
    answers: Arc<Mutex<[Answers; 2]>>,
    /// Whom the requests reached.
    asked: Arc<Mutex<Vec<&'static str>>>,
}

impl World {
    pub(crate) fn new(a: Answers, b: Answers) -> Self {
        Self::of(a, b, |model| model)
    }

    pub(crate) fn of(a: Answers, b: Answers, configure: fn(Model) -> Model) -> Self {
        let models = Models::builder()
            .provider(Provider::new("one").base_url("http://one").credential(tower_failover::Credential::bearer("key")))
            .provider(Provider::new("two").base_url("http://two"))
            .model(configure(Model::new("a", "one")))
            .model(Model::new("b", "two"))
            .seed(1)
            .build();
        Self { models: models.expect("valid"), answers: Arc::new(Mutex::new([a, b])), asked: Arc::default() }
    }

    pub(crate) fn set(&self, a: Answers) {
        self.answers.lock().unwrap()[0] = a;
    }

    pub(crate) fn asked(&self) -> String {
        self.asked.lock().unwrap().concat()
    }

    /// The upstreams, below the layer that reads ahead.
    pub(crate) fn client(&self) -> Client {
        let world = self.clone();
        BoxCloneSyncService::new(tower::service_fn(move |request: Request<Full<Bytes>>| {
            let second = request.uri().host() == Some("two");
            world.asked.lock().unwrap().push(if second { "b" } else { "a" });
            let Answers(status, content_type, script) = world.answers.lock().unwrap()[usize::from(second)];
            let mut response = Response::new(body(script));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            if !content_type.is_empty() {
                response.headers_mut().insert("content-type", content_type.parse().expect("a value"));
            }
            async move { Ok(response) }
        }))
    }

    /// Asks through a stack of this failover layer over this one.
    pub(crate) async fn ask_by<L>(&self, failover: Stack, read_ahead: L) -> Result<Got, io::Error>
    where
        L: Layer<Client>,
        L::Service: Service<Request<Full<Bytes>>, Response = Response<Resumed<AnyBody>>, Error = io::Error> + Clone,
    {
        let began = Instant::now();
        let service = failover.build().expect("valid").layer(read_ahead.layer(self.client()));
        let request = Request::post("/").body(Full::from(r#"{"model": ""}"#)).expect("a request");
        let response = match service.oneshot(request).await {
            Ok(response) => response,
            Err(error) => return Err(io::Error::other(error.to_string())),
        };
        let (parts, body) = response.into_parts();
        let served = parts.extensions.get::<Served>().expect("Served").clone();
        Ok(Got { by: served.model().expect("a model").name().to_owned(), after: began.elapsed(), parts, body, served })
    }

    pub(crate) async fn ask<L>(&self, read_ahead: L) -> Got
    where
        L: Layer<Client>,
        L::Service: Service<Request<Full<Bytes>>, Response = Response<Resumed<AnyBody>>, Error = io::Error> + Clone,
    {
        self.ask_by(self.stack(), read_ahead).await.expect("an answer")
    }

    pub(crate) fn stack(&self) -> Stack {
        FailoverLayer::json(self.models.clone()).finish(HttpFinish::new().watched())
    }

    /// Failures in a row of `a`, `one`, `b` and `two`.
    pub(crate) fn failures(&self) -> [u32; 4] {
        let snapshot = self.models.snapshot();
        let model = |name| snapshot.model(name).expect("known").breaker.consecutive_failures;
        let provider = |name| snapshot.provider(name).expect("known").breaker.consecutive_failures;
        [model("a"), provider("one"), model("b"), provider("two")]
    }
}

pub(crate) type Stack =
    FailoverBuilder<HttpAim<tower_failover::JsonFields>, HttpClassify, HttpResend, HttpFinish<tower_failover::AtEnd>>;

/// What the caller gets.
pub(crate) struct Got {
    pub(crate) by: String,
    pub(crate) after: Duration,
    pub(crate) parts: http::response::Parts,
    pub(crate) body: Began,
    pub(crate) served: Served,
}

/// Everything that a body holds: its bytes, and whether it broke off.
pub(crate) async fn read(mut body: impl http_body::Body<Data = Bytes> + Unpin) -> (String, bool) {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data)),
            Err(_) => return (String::from_utf8(bytes).expect("text"), true),
        }
    }
    (String::from_utf8(bytes).expect("text"), false)
}
