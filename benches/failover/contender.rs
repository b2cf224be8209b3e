//! Who is measured: everything that can be asked for a picture, with a clock around it.

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use std::{fmt::Debug, sync::Arc, time::Duration};
use tokio::time::Instant;
use tower::{Service, ServiceExt};

pub(crate) type Request = http::Request<Full<Bytes>>;
pub(crate) type Http<C = HttpConnector> = Client<C, Full<Bytes>>;

/// The path of every request, below the base URL.
pub(crate) const PATH: &str = "/images/generations";

/// A client with the settings that it comes with, and connections that do not wait.
pub(crate) fn client() -> Http {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).build(connector)
}

/// The request for a picture, to the upstream at this URI.
pub(crate) fn request(uri: Uri) -> Request {
    let body = Bytes::from_static(br#"{"prompt": "a dashboard, dark, isometric", "width": 1024, "height": 1024}"#);
    let request = http::Request::post(uri).header("content-type", "application/json");
    request.body(Full::new(body)).expect("a request")
}

/// The URI of a request to the upstream with this base URL.
pub(crate) fn below(base: &Uri) -> Uri {
    format!("{}{PATH}", base.to_string().trim_end_matches('/')).parse().expect("a URI")
}

/// What one request came to.
pub(crate) struct Answer {
    /// From the first poll to the last byte of the body.
    pub(crate) took: Duration,
    pub(crate) result: Result<(StatusCode, Bytes), String>,
}

impl Answer {
    /// How long it took, in microseconds, if it is the right one. What is measured is worth nothing otherwise.
    #[track_caller]
    pub(crate) fn by(self, who: &str, name: &str) -> f64 {
        match self.result {
            Ok((StatusCode::OK, body)) if body == who.as_bytes() => self.took.as_secs_f64() * 1e6,
            other => panic!("`{name}` was to be answered by {who}, after {:?} it is {other:?}", self.took),
        }
    }

    /// How long it took, in microseconds, whoever gave it, if it says that all went well.
    pub(crate) fn success(self) -> Result<f64, String> {
        match self.result? {
            (status, _) if status.is_success() => Ok(self.took.as_secs_f64() * 1e6),
            (status, _) => Err(format!("the answer is {status}")),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Contender {
    pub(crate) name: &'static str,
    ask: Arc<dyn Fn() -> BoxFuture<'static, Answer> + Send + Sync>,
}

impl Contender {
    /// Of what `ask` begins, which does nothing before it is polled.
    pub(crate) fn new<A, E>(name: &'static str, ask: impl Fn() -> A + Send + Sync + 'static) -> Self
    where
        A: Future<Output = Result<Response<Incoming>, E>> + Send + 'static,
        E: Debug + Send + 'static,
    {
        Self { name, ask: Arc::new(move || Box::pin(timed(ask()))) }
    }

    /// The client and nothing else.
    pub(crate) fn bare<C>(name: &'static str, client: &Http<C>, request: Request) -> Self
    where
        C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
    {
        let client = client.clone();
        Self::new(name, move || {
            let (client, request) = (client.clone(), request.clone());
            async move { client.request(request).await }
        })
    }

    /// A service of which each request has a clone, as is usual.
    pub(crate) fn service<S>(name: &'static str, service: S, request: Request) -> Self
    where
        S: Service<Request, Response = Response<Incoming>, Future: Send, Error: Debug + Send>,
        S: Clone + Send + Sync + 'static,
    {
        let service = Arc::new(service);
        Self::new(name, move || {
            let (service, request) = (service.clone(), request.clone());
            async move { S::clone(&service).oneshot(request).await }
        })
    }

    /// Asks once.
    pub(crate) fn ask(&self) -> BoxFuture<'static, Answer> {
        (self.ask)()
    }
}

async fn timed<E: Debug>(ask: impl Future<Output = Result<Response<Incoming>, E>>) -> Answer {
    let start = Instant::now();
    let result = async {
        let response = ask.await.map_err(|error| format!("{error:?}"))?;
        let status = response.status();
        let body = response.into_body().collect().await.map_err(|error| format!("{error:?}"))?;
        Ok((status, body.to_bytes()))
    };
    let result = result.await;
    Answer { took: start.elapsed(), result }
}
