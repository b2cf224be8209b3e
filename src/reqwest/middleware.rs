//! tower layers as middlewares of reqwest-middleware.

use crate::{
    Aim, Classify, Error, FailoverLayer, Finish, HttpAim, HttpClassify, HttpFinish, Plan, Resend, circuit_breaker,
    failover::Boxed, reqwest::ReqwestResend,
};
use ::reqwest::{Request, Response};
use ::reqwest_middleware::{Error as ClientError, Middleware, Next};
use http::Extensions;
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};
use tower::{Layer, Service, ServiceExt};

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Handled<'a> = Pin<Box<dyn Future<Output = Result<Response, ClientError>> + Send + 'a>>;

/// The failover stack as a middleware: one attempt runs everything below it.
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use tower_failover::{Error, FailoverLayer, FailoverMiddleware, Model, Models, Plan, Provider};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let models = Models::builder()
///     .provider(Provider::new("nexa").base_url("http://127.0.0.1:9/v1"))
///     .model(Model::new("flux-schnell", "nexa"))
///     .model(Model::new("sdxl", "nexa"))
///     .build()?;
/// let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build()?;
/// let client = ClientBuilder::new(http)
///     // Here: what sees the whole request once, such as a cache, or a trace of the whole.
///     .with(FailoverMiddleware::new(FailoverLayer::reqwest_json(models).build()?))
///     // Here: what sees each attempt, such as a trace or a signature of each.
///     .build();
///
/// // The host is that of the model's provider, whatever is written here.
/// let request = client.post("http://models/images").body(r#"{"model": ""}"#);
/// let error = request.with_extension(Plan::new().first("sdxl")).send().await.expect_err("nobody listens");
/// let reqwest_middleware::Error::Middleware(error) = error else { panic!("{error}") };
/// let error = error.downcast_ref::<Error<reqwest_middleware::Error>>().expect("the error of the stack");
/// assert_eq!(error.served().expect("Served").candidates().next().unwrap().model.name(), "sdxl");
/// # Ok(())
/// # }
/// ```
///
/// # Where to put it
///
/// Middlewares run in the order in which they were attached: those before this one see one request and one answer,
/// those after it see every attempt, already aimed.
///
/// - **reqwest-retry** does not belong below it: it multiplies every attempt, eats up the attempt's time with its waits,
///   and hides failures from the breakers. An error that it does not retry comes without its type, so that a request
///   which cannot be built counts against the model. Above it, it sends the whole journey again, which is seldom wanted
///   either: its retries times the attempts of a journey, each with a deadline of its own. By default it does so after
///   an answer (5xx, 408, 429) and takes every error of the stack for fatal. [`Served`](crate::Served) is that of the
///   last journey.
/// - **reqwest-tracing** below traces each attempt with the host that was really asked; above, the whole. Both at once
///   work.
/// - **Caches** above: an answer from below would count as the model's.
/// - **What signs or changes the body** below: aiming writes into URL, headers and body, and takes credentials away.
/// - **Limits and timeouts** above hold for the whole, below for one attempt; an answer that a middleware below makes up
///   counts as the model's.
///
/// # Extensions
///
/// A [`Plan`] in the request's extensions is followed. Each attempt begins with the extensions as they were above. What
/// the middlewares below have made of them in the attempt that answers reaches the caller's; those of the others leave
/// no trace.
///
/// # Errors
///
/// [`Error<reqwest_middleware::Error>`](Error) inside [`reqwest_middleware::Error::Middleware`](ClientError::Middleware),
/// from which it can be downcast. A reqwest-retry above wraps that once more, in its `RetryError`.
pub struct FailoverMiddleware<A = HttpAim, K = HttpClassify, R = ReqwestResend, F = HttpFinish> {
    layer: FailoverLayer<A, K, R, F>,
}

impl<A, K, R, F> FailoverMiddleware<A, K, R, F> {
    /// Runs what is below it through this layer, in which all state lives.
    pub fn new(layer: FailoverLayer<A, K, R, F>) -> Self {
        Self { layer }
    }

    /// The layer.
    pub fn get_ref(&self) -> &FailoverLayer<A, K, R, F> {
        &self.layer
    }
}

impl<A, K, R, F> Clone for FailoverMiddleware<A, K, R, F> {
    fn clone(&self) -> Self {
        Self { layer: self.layer.clone() }
    }
}

impl<A, K, R, F> fmt::Debug for FailoverMiddleware<A, K, R, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FailoverMiddleware").field(&self.layer).finish()
    }
}

// As `async_trait` would write it.
impl<A, K, R, F> Middleware for FailoverMiddleware<A, K, R, F>
where
    R: Resend<Request, Request: Send> + Send + Sync + 'static,
    A: Aim<R::Request, Request = Request> + Send + Sync + 'static,
    K: Classify<Response, ClientError> + Send + Sync + 'static,
    F: Finish<Response, Response = Response> + Send + Sync + 'static,
{
    fn handle<'s, 'e, 'n, 'f>(&'s self, request: Request, extensions: &'e mut Extensions, next: Next<'n>) -> Handled<'f>
    where
        's: 'f,
        'e: 'f,
        'n: 'f,
        Self: 'f,
    {
        Box::pin(async move {
            let mut service = self.layer.layer(NextService::new(next, extensions));
            if let Some(plan) = extensions.get::<Plan>() {
                service = service.plan(plan.clone());
            }
            let response = service.oneshot(request).await.map_err(ClientError::middleware)?;
            Ok(give_back(response, extensions))
        })
    }
}

/// Any tower layer as a middleware, provided that it asks for no `'static` service.
///
/// `layer()` runs for each request, so state has to live in the layer: this crate's layers do so, and of tower's limits
/// `GlobalConcurrencyLimitLayer`, but not `ConcurrencyLimitLayer`, which begins to count anew with each request.
/// Extensions are treated as [`FailoverMiddleware`] does.
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use std::time::Duration;
/// use tower::{ServiceBuilder, limit::GlobalConcurrencyLimitLayer, timeout::TimeoutLayer};
/// use tower_failover::TowerMiddleware;
///
/// let layers = ServiceBuilder::new()
///     .layer(GlobalConcurrencyLimitLayer::new(64))
///     .layer(TimeoutLayer::new(Duration::from_secs(30)))
///     .into_inner();
/// let client = ClientBuilder::new(reqwest::Client::new()).with(TowerMiddleware::new(layers)).build();
/// ```
///
/// # Errors
///
/// An error of what is below comes back as it was, if the layer hands it on or boxes it. This crate's own errors can be
/// downcast from [`reqwest_middleware::Error::Middleware`](ClientError::Middleware); those of other layers are there as
/// `Box<dyn Error + Send + Sync>`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TowerMiddleware<L> {
    layer: L,
}

impl<L> TowerMiddleware<L> {
    /// Runs what is below it through this layer.
    pub fn new(layer: L) -> Self {
        Self { layer }
    }

    /// The layer.
    pub fn get_ref(&self) -> &L {
        &self.layer
    }
}

impl<L> Middleware for TowerMiddleware<L>
where
    L: for<'n> Layer<
            NextService<'n>,
            Service: Service<Request, Response = Response, Error: Into<BoxError>, Future: Send> + Send,
        > + Send
        + Sync
        + 'static,
{
    fn handle<'s, 'e, 'n, 'f>(&'s self, request: Request, extensions: &'e mut Extensions, next: Next<'n>) -> Handled<'f>
    where
        's: 'f,
        'e: 'f,
        'n: 'f,
        Self: 'f,
    {
        let service = self.layer.layer(NextService::new(next, extensions));
        Box::pin(async move {
            let response = service.oneshot(request).await.map_err(|error| clients_error(error.into()))?;
            Ok(give_back(response, extensions))
        })
    }
}

/// The error as reqwest-middleware's, typed as far as its type is known.
fn clients_error(error: BoxError) -> ClientError {
    fn typed<E: std::error::Error + Send + Sync + 'static>(error: BoxError) -> Result<ClientError, BoxError> {
        error.downcast::<E>().map(|error| ClientError::middleware(*error))
    }
    let known = error.downcast::<ClientError>().map(|error| *error);
    let known = known.or_else(typed::<Error<ClientError>>);
    let known = known.or_else(typed::<Error<Boxed>>);
    let known = known.or_else(typed::<circuit_breaker::Error<ClientError>>);
    known.unwrap_or_else(|error| ClientError::Middleware(::anyhow::Error::from_boxed(error)))
}

/// Everything below a middleware, as a service which begins each call with the same extensions.
#[derive(Clone)]
pub struct NextService<'n> {
    next: Next<'n>,
    extensions: Extensions,
}

/// What the middlewares below have made of the extensions, on its way up with the response.
#[derive(Clone)]
struct Below(Extensions);

impl<'n> NextService<'n> {
    fn new(next: Next<'n>, extensions: &Extensions) -> Self {
        Self { next, extensions: extensions.clone() }
    }
}

/// Hands the extensions of the attempt that answered to the caller.
fn give_back(mut response: Response, extensions: &mut Extensions) -> Response {
    if let Some(Below(below)) = response.extensions_mut().remove() {
        *extensions = below;
    }
    response
}

impl fmt::Debug for NextService<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NextService")
    }
}

impl<'n> Service<Request> for NextService<'n> {
    type Response = Response;
    type Error = ClientError;
    type Future = NextFuture<'n>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ClientError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> NextFuture<'n> {
        let Self { next, mut extensions } = self.clone();
        NextFuture(Box::pin(async move {
            let mut response = next.run(request, &mut extensions).await?;
            response.extensions_mut().insert(Below(extensions));
            Ok(response)
        }))
    }
}

/// The future of a [`NextService`].
#[must_use = "futures do nothing unless polled"]
pub struct NextFuture<'n>(Handled<'n>);

impl Future for NextFuture<'_> {
    type Output = Result<Response, ClientError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for NextFuture<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NextFuture")
    }
}
