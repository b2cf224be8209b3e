//! The three clients, each with an upload that streams, none of which follows a redirect or retries anything itself.

use bytes::Bytes;
use futures::channel::mpsc;
use http::HeaderName;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, combinators::BoxBody};
use hyper_util::{client::legacy::Client as HyperClient, rt::TokioExecutor};
use reqwest_middleware::ClientBuilder;
use std::{io, time::Duration};
use tokio::time::timeout;
use tower::{Layer, ServiceExt};
use tower_failover::{
    Credential, Error, FailoverLayer, FailoverMiddleware, HttpResend, Model, Models, Provider, Recorded, ReplayError,
    Served,
};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    HyperUtil,
    Reqwest,
    ReqwestMiddleware,
}

pub(crate) const ALL: [Client; 3] = [Client::HyperUtil, Client::Reqwest, Client::ReqwestMiddleware];

pub(crate) type Frames = mpsc::UnboundedSender<io::Result<Frame<Bytes>>>;
type Upload = BoxBody<Bytes, io::Error>;

/// What a caller gets: the status, or what the error chain says of the upload; and who served.
pub(crate) struct Got {
    pub(crate) status: Result<u16, Option<ReplayError>>,
    pub(crate) served: Served,
}

/// An upload, and the caller's end of it.
pub(crate) fn upload() -> (Frames, Upload) {
    let (frames, body) = mpsc::unbounded();
    (frames, BodyExt::boxed(StreamBody::new(body)))
}

impl Client {
    /// Sends the upload through a failover stack over this client.
    pub(crate) async fn send(self, models: &Models, resend: Recorded, body: Upload) -> Got {
        let send = async {
            match self {
                Self::HyperUtil => hyper_util(models, resend, body).await,
                Self::Reqwest => reqwest(models, resend, body).await,
                Self::ReqwestMiddleware => middleware(models, resend, body).await,
            }
        };
        timeout(Duration::from_secs(20), send).await.expect("in time")
    }
}

/// The model `a` at provider `one`, then `b` at `two`.
pub(crate) fn models(one: &str, two: &str) -> Models {
    let built = Models::builder()
        .provider(Provider::new("one").base_url(one).credential(Credential::bearer("key-one")))
        .provider(Provider::new("two").base_url(two).credential(Credential::bearer("key-two")))
        .model(Model::new("a", "one"))
        .model(Model::new("b", "two"))
        .build();
    built.expect("models")
}

pub(crate) fn plain() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.retry(reqwest::retry::never()).pool_max_idle_per_host(0).build().expect("a client")
}

const TRAILER: HeaderName = http::header::TRAILER;

async fn hyper_util(models: &Models, resend: Recorded, body: Upload) -> Got {
    let layer = FailoverLayer::http(models.clone()).resend(HttpResend(resend)).build().expect("a layer");
    let mut http = HyperClient::builder(TokioExecutor::new());
    let http = http.retry_canceled_requests(false).pool_max_idle_per_host(0).build_http();
    let request = http::Request::post("/images").header(TRAILER, "x-checksum").body(body).expect("a request");
    match layer.layer(http).oneshot(request).await {
        Ok(response) => answered(response.status().as_u16(), response.extensions()),
        Err(error) => failed(&error),
    }
}

async fn reqwest(models: &Models, resend: Recorded, body: Upload) -> Got {
    let layer = FailoverLayer::reqwest(models.clone()).resend(resend).build().expect("a layer");
    let request = plain().post("http://models/images").header(TRAILER, "x-checksum");
    let request = request.body(reqwest::Body::wrap(body)).build().expect("a request");
    match layer.layer(plain()).oneshot(request).await {
        Ok(response) => answered(response.status().as_u16(), response.extensions()),
        Err(error) => failed(&error),
    }
}

async fn middleware(models: &Models, resend: Recorded, body: Upload) -> Got {
    let layer = FailoverLayer::reqwest(models.clone()).resend(resend).build().expect("a layer");
    let client = ClientBuilder::new(plain()).with(FailoverMiddleware::new(layer)).build();
    let request = client.post("http://models/images").header(TRAILER, "x-checksum");
    match request.body(reqwest::Body::wrap(body)).send().await {
        Ok(response) => answered(response.status().as_u16(), response.extensions()),
        Err(reqwest_middleware::Error::Middleware(error)) => {
            failed(&error.downcast::<Error<reqwest_middleware::Error>>().expect("the error of the stack"))
        }
        Err(error) => panic!("{error}"),
    }
}

fn answered(status: u16, extensions: &http::Extensions) -> Got {
    Got { status: Ok(status), served: extensions.get::<Served>().expect("Served").clone() }
}

fn failed<E: std::error::Error + 'static>(error: &Error<E>) -> Got {
    let uploads = error.get_ref().and_then(|error| chain(error).find_map(|error| error.downcast_ref::<ReplayError>()));
    let uploads = uploads.cloned();
    Got { status: Err(uploads), served: error.served().expect("Served").clone() }
}

pub(crate) fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}
