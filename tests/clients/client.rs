//! The three clients, each of which follows no redirect and retries nothing itself.

use bytes::Bytes;
use futures::{FutureExt, TryFutureExt, future::BoxFuture};
use http_body::Body;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use std::time::Duration;
use tower::{Layer, Service, ServiceExt};
use tower_failover::{
    AtEnd, Error, FailoverLayer, FailoverMiddleware, Finish, HttpFinish, Models, ReadAheadLayer, Served,
    TowerMiddleware,
};

pub(crate) const ATTEMPT: Duration = Duration::from_millis(300);
/// Between two frames of a body.
pub(crate) const GAP: Duration = Duration::from_millis(200);
pub(crate) const BODY: &str = r#"{"model":"any"}"#;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Client {
    HyperUtil,
    Reqwest,
    ReqwestMiddleware,
}

pub(crate) const ALL: [Client; 3] = [Client::HyperUtil, Client::Reqwest, Client::ReqwestMiddleware];

/// What the answer is wanted for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Usage {
    /// To be read as a whole.
    Unary,
    /// To be read as it comes.
    Streaming,
}

pub(crate) type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// An answer, whoever the client is.
pub(crate) type Reply = http::Response<BoxBody<Bytes, AnyError>>;

/// Sends one request. It keeps the client, whatever becomes of the requests.
pub(crate) type Sender = Box<dyn Fn() -> BoxFuture<'static, Result<Reply, Served>> + Send + Sync>;

impl Client {
    /// A failover stack over this client.
    pub(crate) fn over<F, B>(self, models: &Models, finish: F, attempt: Duration) -> Sender
    where
        F: Finish<reqwest::Response, Response = reqwest::Response>,
        F: Finish<http::Response<Incoming>, Response = http::Response<B>>,
        F: Clone + Send + Sync + 'static,
        B: Body<Data = Bytes, Error: Into<AnyError>> + Send + Sync + 'static,
    {
        self.at_the_head(models, finish, attempt, HTTP_1)
    }

    /// A failover stack over this client that watches bodies, and commits where it is due.
    pub(crate) fn stack(self, models: &Models, usage: Usage, http2: bool) -> Sender {
        let finish = HttpFinish::new().watched().idle_gap(GAP).expect("a gap");
        match usage {
            Usage::Unary => self.at_the_head(models, finish, ATTEMPT, http2),
            Usage::Streaming => self.at_the_first_event(models, finish, http2),
        }
    }

    fn at_the_head<F, B>(self, models: &Models, finish: F, attempt: Duration, http2: bool) -> Sender
    where
        F: Finish<reqwest::Response, Response = reqwest::Response>,
        F: Finish<http::Response<Incoming>, Response = http::Response<B>>,
        F: Clone + Send + Sync + 'static,
        B: Body<Data = Bytes, Error: Into<AnyError>> + Send + Sync + 'static,
    {
        let json = FailoverLayer::json(models.clone()).finish(finish.clone()).attempt_timeout(attempt);
        let reqwests_json = FailoverLayer::reqwest_json(models.clone()).finish(finish).attempt_timeout(attempt);
        match self {
            Self::HyperUtil => hypers(json.build().expect("a layer").layer(hyper(http2))),
            Self::Reqwest => reqwests(reqwests_json.build().expect("a layer").layer(reqwest(http2))),
            Self::ReqwestMiddleware => {
                let failover = FailoverMiddleware::new(reqwests_json.build().expect("a layer"));
                stacks(ClientBuilder::new(reqwest(http2)).with(failover).build())
            }
        }
    }

    fn at_the_first_event(self, models: &Models, finish: HttpFinish<AtEnd>, http2: bool) -> Sender {
        let ahead = ReadAheadLayer::new().first_event().error_bodies().idle_gap(GAP).expect("a gap");
        let json = FailoverLayer::json(models.clone()).finish(finish).attempt_timeout(ATTEMPT);
        let reqwests_json = FailoverLayer::reqwest_json(models.clone()).finish(finish).attempt_timeout(ATTEMPT);
        match self {
            Self::HyperUtil => hypers(json.build().expect("a layer").layer(ahead.layer(hyper(http2)))),
            Self::Reqwest => reqwests(reqwests_json.build().expect("a layer").layer(ahead.layer(reqwest(http2)))),
            Self::ReqwestMiddleware => {
                let failover = FailoverMiddleware::new(reqwests_json.build().expect("a layer"));
                let stack = ClientBuilder::new(reqwest(http2)).with(failover);
                stacks(stack.with(TowerMiddleware::new(ahead)).build())
            }
        }
    }
}

/// Sends by a stack over hyper-util's client.
fn hypers<S, B, E>(client: S) -> Sender
where
    S: Service<http::Request<Full<Bytes>>, Response = http::Response<B>, Error = Error<E>, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: Body<Data = Bytes, Error: Into<AnyError>> + Send + Sync + 'static,
    E: 'static,
{
    Box::new(move || {
        let request = http::Request::post("/images").body(Full::from(BODY)).expect("a request");
        let reply = client.clone().oneshot(request);
        let reply = reply.map_ok(|reply| reply.map(|body| body.map_err(Into::into).boxed()));
        reply.map_err(|error| served(&error)).boxed()
    })
}

/// Sends by a stack over reqwest's.
fn reqwests<S>(client: S) -> Sender
where
    S: Service<reqwest::Request, Response = reqwest::Response, Error = Error<reqwest::Error>, Future: Send>,
    S: Clone + Send + Sync + 'static,
{
    let http = plain();
    Box::new(move || {
        let request = http.post("http://models/images").body(BODY).build().expect("a request");
        client.clone().oneshot(request).map_ok(any).map_err(|error| served(&error)).boxed()
    })
}

/// Sends by a stack of reqwest-middleware.
fn stacks(client: ClientWithMiddleware) -> Sender {
    Box::new(move || {
        let send = client.post("http://models/images").body(BODY).send();
        send.map_ok(any).map_err(|error| served(&stacks_error(error))).boxed()
    })
}

fn any(response: reqwest::Response) -> Reply {
    http::Response::from(response).map(|body| body.map_err(Into::into).boxed())
}

fn served<E>(error: &Error<E>) -> Served {
    error.served().expect("Served").clone()
}

const HTTP_1: bool = false;

fn hyper(http2: bool) -> HyperClient<HttpConnector, Full<Bytes>> {
    let mut client = HyperClient::builder(TokioExecutor::new());
    client.retry_canceled_requests(false).pool_max_idle_per_host(0).http2_only(http2).build_http()
}

/// A plain client of reqwest.
pub(crate) fn plain() -> reqwest::Client {
    reqwest(HTTP_1)
}

fn reqwest(http2: bool) -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let client = client.retry(reqwest::retry::never()).pool_max_idle_per_host(0);
    let client = if http2 { client.http2_prior_knowledge() } else { client };
    client.build().expect("a client")
}

/// The error of the failover stack in that of reqwest-middleware.
pub(crate) fn stacks_error(error: reqwest_middleware::Error) -> Error<reqwest_middleware::Error> {
    match error {
        reqwest_middleware::Error::Middleware(error) => error.downcast().expect("the error of the stack"),
        reqwest_middleware::Error::Reqwest(error) => panic!("{error}"),
    }
}
