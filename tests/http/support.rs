//! A client that answers as it is told and writes down what it was sent, and two models to ask.

use bytes::Bytes;
use std::{
    future::pending,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::time::sleep;
use tower::{Service, ServiceExt, service_fn};
use tower_failover::{Candidate, Credential, Error, Fate, Model, Models, ModelsBuilder, Provider, Served, Tried};

pub(crate) type Request = http::Request<Bytes>;
pub(crate) type Response = http::Response<()>;
pub(crate) type Outcome = Result<Response, Error<io::Error>>;

/// What an upstream does with a request.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    after: Duration,
    does: Does,
}

#[derive(Debug, Clone)]
enum Does {
    Respond(Response),
    Break(io::ErrorKind),
    Hang,
}

pub(crate) fn status(status: u16) -> Reply {
    let response = http::Response::builder().status(status).body(()).expect("a status");
    Reply { after: Duration::ZERO, does: Does::Respond(response) }
}

pub(crate) fn broken(kind: io::ErrorKind) -> Reply {
    Reply { after: Duration::ZERO, does: Does::Break(kind) }
}

pub(crate) fn hang() -> Reply {
    Reply { after: Duration::ZERO, does: Does::Hang }
}

impl Reply {
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        let Does::Respond(response) = &mut self.does else { panic!("no response, no header") };
        response.headers_mut().append(name, value.parse().expect("a header value"));
        self
    }

    pub(crate) fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }

    async fn play(self) -> io::Result<Response> {
        // Even a sleep of no time goes on to the next millisecond.
        if !self.after.is_zero() {
            sleep(self.after).await;
        }
        match self.does {
            Does::Respond(response) => Ok(response),
            Does::Break(kind) => Err(kind.into()),
            Does::Hang => pending().await,
        }
    }
}

/// What was sent to the upstreams, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sent(Arc<Mutex<Vec<Request>>>);

impl Sent {
    /// What was sent since the last look.
    pub(crate) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *self.0.lock().expect("not poisoned"))
    }

    /// The hosts to which it was sent since the last look.
    pub(crate) fn hosts(&self) -> Vec<String> {
        self.take().iter().map(|request| host(request).to_owned()).collect()
    }

    /// The one request since the last look.
    pub(crate) fn one(&self) -> Request {
        let mut sent = self.take();
        assert_eq!(sent.len(), 1, "{sent:?}");
        sent.remove(0)
    }

    fn push(&self, request: Request) {
        self.0.lock().expect("not poisoned").push(request);
    }
}

pub(crate) fn host(request: &Request) -> &str {
    request.uri().host().unwrap_or("")
}

/// A client whose upstreams do what `reply` says.
pub(crate) fn client<F>(
    sent: &Sent,
    reply: F,
) -> impl Service<Request, Response = Response, Error = io::Error> + Clone + use<F>
where
    F: Fn(&Request) -> Reply + Clone,
{
    let sent = sent.clone();
    service_fn(move |request: Request| {
        let reply = reply(&request);
        sent.push(request);
        reply.play()
    })
}

/// The model `a` at provider `one`, then `b` at `two`, each with a base URL and a credential.
pub(crate) fn two_models() -> ModelsBuilder {
    let provider = |name: &str| {
        let provider = Provider::new(name).base_url(format!("https://{name}.test"));
        provider.credential(Credential::bearer(format!("key-{name}")))
    };
    Models::builder()
        .provider(provider("one"))
        .provider(provider("two"))
        .model(model("a", "one"))
        .model(model("b", "two"))
}

pub(crate) fn model(name: &str, provider: &str) -> Model {
    Model::new(name, provider).cost(1.0)
}

/// A request that any aim can aim.
pub(crate) fn request() -> Request {
    post(r#"{"model":"any"}"#)
}

pub(crate) fn post(body: impl Into<Bytes>) -> Request {
    http::Request::post("/v1/images").body(body.into()).expect("a request")
}

/// Sends one request through a clone of the service.
pub(crate) async fn ask<S>(service: &S, request: Request) -> Outcome
where
    S: Service<Request, Response = Response, Error = Error<io::Error>> + Clone,
{
    service.clone().oneshot(request).await
}

/// Who served, from wherever it is.
pub(crate) fn served(outcome: &Outcome) -> &Served {
    match outcome {
        Ok(response) => response.extensions().get().expect("Served in the extensions"),
        Err(error) => error.served().expect("Served in the error"),
    }
}

pub(crate) fn answered_by(outcome: &Outcome) -> Option<&str> {
    served(outcome).model().map(Model::name)
}

pub(crate) fn fate<'a>(served: &'a Served, model: &str) -> Fate<'a> {
    let find = |candidate: &Candidate<'_>| candidate.model.name() == model;
    served.candidates().find(find).unwrap_or_else(|| panic!("no `{model}` in {served}")).fate
}

pub(crate) fn tried<'a>(served: &'a Served, model: &str) -> &'a Tried {
    match fate(served, model) {
        Fate::Tried(tried) => tried,
        skipped => panic!("`{model}`: {skipped}"),
    }
}

/// Failures in a row of the model `a` and of its provider `one`.
pub(crate) fn failures(models: &Models) -> (u32, u32) {
    let snapshot = models.snapshot();
    let model = &snapshot.model("a").expect("a").breaker;
    let provider = &snapshot.provider("one").expect("one").breaker;
    (model.consecutive_failures, provider.consecutive_failures)
}

/// The cooldowns of the model `a` and of its provider `one`.
pub(crate) fn cooldowns(models: &Models) -> (Option<Duration>, Option<Duration>) {
    let snapshot = models.snapshot();
    (snapshot.model("a").expect("a").breaker.cooldown, snapshot.provider("one").expect("one").breaker.cooldown)
}

pub(crate) fn nobody_is_in_flight(models: &Models) {
    for model in &models.snapshot().models {
        assert_eq!(model.in_flight, 0, "{}", model.name);
    }
}

/// Between what was asked for and a tenth more.
#[track_caller]
pub(crate) fn assert_jittered(cooldown: Option<Duration>, asked: Duration) {
    let cooldown = cooldown.expect("a cooldown");
    assert!(cooldown >= asked && cooldown <= asked.mul_f64(1.1), "{cooldown:?} for {asked:?}");
}
