//! The three clients, each of which follows no redirect and retries nothing itself.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client as HyperClient, rt::TokioExecutor};
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use std::time::Duration;
use tower::{Layer, ServiceExt};
use tower_failover::{Error, FailoverLayer, FailoverMiddleware, Models, Served};

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

impl Client {
    /// Sends one request through a failover stack over this client.
    pub(crate) async fn ask(self, models: &Models) -> Got {
        match self {
            Self::HyperUtil => hyper_util(models).await,
            Self::Reqwest => {
                let layer = FailoverLayer::reqwest_json(models.clone()).attempt_timeout(ATTEMPT).build();
                let http = plain();
                let request = http.post("http://models/images").body(BODY).build().expect("a request");
                match layer.expect("a layer").layer(http).oneshot(request).await {
                    Ok(response) => read(response).await,
                    Err(error) => failed(&error),
                }
            }
            Self::ReqwestMiddleware => match stack(models).post("http://models/images").body(BODY).send().await {
                Ok(response) => read(response).await,
                Err(error) => failed(&stacks_error(error)),
            },
        }
    }
}

/// A plain client of reqwest.
pub(crate) fn plain() -> reqwest::Client {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.retry(reqwest::retry::never()).pool_max_idle_per_host(0).build().expect("a client")
}

fn stack(models: &Models) -> ClientWithMiddleware {
    let layer = FailoverLayer::reqwest_json(models.clone()).attempt_timeout(ATTEMPT).build().expect("a layer");
    ClientBuilder::new(plain()).with(FailoverMiddleware::new(layer)).build()
}

/// The error of the failover stack in that of reqwest-middleware.
pub(crate) fn stacks_error(error: reqwest_middleware::Error) -> Error<reqwest_middleware::Error> {
    match error {
        reqwest_middleware::Error::Middleware(error) => error.downcast().expect("the error of the stack"),
        reqwest_middleware::Error::Reqwest(error) => panic!("{error}"),
    }
}

async fn hyper_util(models: &Models) -> Got {
    let layer = FailoverLayer::json(models.clone()).attempt_timeout(ATTEMPT).build().expect("a layer");
    let mut http = HyperClient::builder(TokioExecutor::new());
    let http = http.retry_canceled_requests(false).pool_max_idle_per_host(0).build_http();
    let request = http::Request::post("/images").body(Full::<Bytes>::from(BODY)).expect("a request");
    match layer.layer(http).oneshot(request).await {
        Ok(response) => {
            let served = response.extensions().get::<Served>().expect("Served").clone();
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            (Some((status, String::from_utf8(body.into()).expect("text"))), served)
        }
        Err(error) => failed(&error),
    }
}

async fn read(response: reqwest::Response) -> Got {
    let served = response.extensions().get::<Served>().expect("Served").clone();
    (Some((response.status().as_u16(), response.text().await.expect("a body"))), served)
}

fn failed<E>(error: &Error<E>) -> Got {
    (None, error.served().expect("Served").clone())
}
