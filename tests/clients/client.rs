//! The three clients, each of which follows no redirect and retries nothing itself.

use bytes::Bytes;
use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use http_body::Body;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::{client::legacy::Client as HyperClient, rt::TokioExecutor};
use reqwest_middleware::ClientBuilder;
use std::time::Duration;
use tower::{Layer, ServiceExt};
use tower_failover::{Error, FailoverLayer, FailoverMiddleware, Finish, HttpFinish, Models, Served};

pub(crate) const ATTEMPT: Duration = Duration::from_millis(300);
pub(crate) const BODY: &str = r#"{"model":"any"}"#;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    HyperUtil,
    Reqwest,
    ReqwestMiddleware,
}

pub(crate) const ALL: [Client; 3] = [Client::HyperUtil, Client::Reqwest, Client::ReqwestMiddleware];

/// What a caller gets: status and body, or `None` for an error; and who served.
pub(crate) type Got = (Option<(u16, String)>, Served);

pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// An answer, whoever the client is.
pub(crate) type Reply = http::Response<BoxBody<Bytes, AnyError>>;

/// Sends one request. It keeps the client, whatever becomes of the requests.
pub(crate) type Sender = Box<dyn Fn() -> BoxFuture<'static, Result<Reply, Served>> + Send + Sync>;

impl Client {
    /// Sends one request through a failover stack over this client.
    pub(crate) async fn ask(self, models: &Models) -> Got {
        match self.over(models, HttpFinish::new(), ATTEMPT)().await {
            Ok(reply) => {
                let served = reply.extensions().get::<Served>().expect("Served").clone();
                let status = reply.status().as_u16();
                let body = reply.into_body().collect().await.expect("a body").to_bytes();
                (Some((status, String::from_utf8(body.into()).expect("text"))), served)
            }
            Err(served) => (None, served),
        }
    }

    /// A failover stack over this client.
    pub(crate) fn over<F, B>(self, models: &Models, finish: F, attempt: Duration) -> Sender
    where
        F: Finish<reqwest::Response, Response = reqwest::Response>,
        F: Finish<http::Response<Incoming>, Response = http::Response<B>>,
        F: Clone + Send + Sync + 'static,
        B: Body<Data = Bytes, Error: Into<AnyError>> + Send + Sync + 'static,
    {
        match self {
            Self::HyperUtil => {
                let layer = FailoverLayer::json(models.clone()).finish(finish).attempt_timeout(attempt);
                let mut http = HyperClient::builder(TokioExecutor::new());
                let http = http.retry_canceled_requests(false).pool_max_idle_per_host(0).build_http::<Full<Bytes>>();
                let client = layer.build().expect("a layer").layer(http);
                Box::new(move || {
                    let request = http::Request::post("/images").body(Full::from(BODY)).expect("a request");
                    let reply = client.clone().oneshot(request);
                    let reply = reply.map_ok(|reply| reply.map(|body| body.map_err(Into::into).boxed()));
                    reply.map_err(|error| served(&error)).boxed()
                })
            }
            Self::Reqwest => {
                let layer = FailoverLayer::reqwest_json(models.clone()).finish(finish).attempt_timeout(attempt);
                let http = plain();
                let client = layer.build().expect("a layer").layer(http.clone());
                Box::new(move || {
                    let request = http.post("http://models/images").body(BODY).build().expect("a request");
                    client.clone().oneshot(request).map_ok(any).map_err(|error| served(&error)).boxed()
                })
            }
            Self::ReqwestMiddleware => {
                let layer = FailoverLayer::reqwest_json(models.clone()).finish(finish).attempt_timeout(attempt);
                let layer = FailoverMiddleware::new(layer.build().expect("a layer"));
                let client = ClientBuilder::new(plain()).with(layer).build();
                Box::new(move || {
                    let send = client.post("http://models/images").body(BODY).send();
                    send.map_ok(any).map_err(|error| served(&stacks_error(error))).boxed()
                })
            }
        }
    }
}

fn any(response: reqwest::Response) -> Reply {
    http::Response::from(response).map(|body| body.map_err(Into::into).boxed())
}

fn served<E>(error: &Error<E>) -> Served {
    error.served().expect("Served").clone()
}

/// A plain client of reqwest.
pub(crate) fn plain() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.retry(reqwest::retry::never()).pool_max_idle_per_host(0).build().expect("a client")
}

/// The error of the failover stack in that of reqwest-middleware.
pub(crate) fn stacks_error(error: reqwest_middleware::Error) -> Error<reqwest_middleware::Error> {
    match error {
        reqwest_middleware::Error::Middleware(error) => error.downcast().expect("the error of the stack"),
        reqwest_middleware::Error::Reqwest(error) => panic!("{error}"),
    }
}
