//! This crate's client: one layer around the hyper client, with the default breakers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Error as ClientError;
use tower::{Layer, ServiceExt, service_fn};
use tower_failover::{
    Error, FailoverLayer, Fate, HttpAim, HttpFailoverLayer, JsonFields, Model, Models, Provider, Served, Tried, Why,
};

use crate::clients::{ATTEMPT, Outcome, TOTAL, Try, Wire};
use crate::schedule::{MODELS, PROVIDERS};

pub use tower_failover::State;

/// This crate's client.
pub struct Failover {
    wire: Wire,
    layer: HttpFailoverLayer<HttpAim<JsonFields>>,
}

/// When each call of one request was begun, as the innermost service saw it.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<Vec<Duration>>>);

impl Failover {
    pub fn new(wire: Wire) -> Self {
        let mut models = Models::builder();
        for (name, base) in PROVIDERS.iter().zip(&wire.bases) {
            models = models.provider(Provider::new(*name).base_url(base));
        }
        for model in &MODELS {
            models = models.model(Model::new(model.name, PROVIDERS[model.provider]).cost(model.cost));
        }
        let models = models.build().expect("names are unique and the bases are URLs");
        let layer = FailoverLayer::json(models).attempt_timeout(ATTEMPT).deadline(TOTAL).build();
        Self { wire, layer: layer.expect("both are longer than zero") }
    }

    pub fn models(&self) -> &Models {
        self.layer.models()
    }

    /// Every breaker by the name of its model or provider, always in the same order.
    pub fn states(&self) -> Vec<(String, State)> {
        let snapshot = self.layer.models().snapshot();
        let models = snapshot.models.into_iter().map(|model| (model.name, model.breaker.state));
        let providers = snapshot.providers.into_iter().map(|provider| (provider.name, provider.breaker.state));
        models.chain(providers).collect()
    }

    /// Sends one request; `begun` hears of every call.
    async fn send(&self, begun: &Begun) -> Result<Response<Incoming>, Error<ClientError>> {
        let client = service_fn(|request: Request<Full<Bytes>>| {
            begun.0.lock().expect("nobody panics with it").push(self.wire.now());
            self.wire.http.request(request)
        });
        self.layer.layer(client).oneshot(self.wire.request(0)).await
    }
}

/// One request through the failover client.
pub async fn failover_once(client: &Failover) -> Outcome {
    let begun = Begun::default();
    let result = client.send(&begun).await;
    let begun = begun.0.lock().expect("nobody panics with it").clone();
    match result {
        Ok(response) => {
            let served = response.extensions().get::<Served>().expect("every response has it").clone();
            let read = response.into_body().collect().await.is_ok();
            outcome(&served, &begun, read && !served.all_failed())
        }
        Err(error) => outcome(error.served().expect("the request is well-formed"), &begun, false),
    }
}

fn outcome(served: &Served, begun: &[Duration], answered: bool) -> Outcome {
    let tried = served.candidates().filter_map(|candidate| match candidate.fate {
        Fate::Tried(tried) => Some((index(candidate.model), tried)),
        Fate::Skipped(_) => None,
    });
    Outcome {
        answered_by: served.model().filter(|_| answered).map(index),
        attempts: tried.zip(begun).map(|((model, tried), at)| attempt(model, tried, *at)).collect(),
        cost: served.cost(),
    }
}

fn attempt(model: usize, tried: &Tried, at: Duration) -> Try {
    let error = match &tried.why {
        Why::Status(200) => None,
        Why::Status(status) => Some(format!("status {status}")),
        Why::TimedOut => Some("timed out".to_owned()),
        Why::Connect(words) | Why::Broken(words) => words.rsplit(": ").next().map(str::to_owned),
        other => Some(other.to_string()),
    };
    Try { model, at, error, connect_error: matches!(tried.why, Why::Connect(_)) }
}

fn index(model: &Model) -> usize {
    let position = MODELS.iter().position(|known| known.name == model.name());
    position.expect("the registry was made of these models")
}
