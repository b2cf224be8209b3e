//! The way out: the client with the failover stack around it, and the one for requests that name no model.

use super::file::Settings;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, Error as ClientError, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use std::sync::{PoisonError, RwLock};
use tower::{ServiceBuilder, ServiceExt, util::BoxCloneSyncService};
use tower_failover::{
    AllFailed, Change, Charge, Command, Config, ConfigError, Error, FailoverLayer, HttpClassify, HttpFinish, Models,
    ReadAheadLayer, Row,
};

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;
/// A client of either kind.
pub type Stack = BoxCloneSyncService<Request<Full<Bytes>>, Response<Body>, Error<ClientError>>;

/// What stands in logs and metrics in place of the model that a request does not name.
const NO_MODEL: &str = "(none)";

/// Both clients, which another configuration may replace while requests run.
pub struct Clients {
    models: Models,
    /// The first model's provider alone, with every breaker disabled.
    unguarded: Models,
    https: Https,
    settings: Settings,
    stacks: RwLock<Stacks>,
}

#[derive(Clone)]
struct Stacks {
    guarded: Stack,
    unguarded: Stack,
}

impl Clients {
    pub fn new(config: &Config, settings: Settings) -> Result<Self, ConfigError> {
        let models = config.models()?.build()?;
        let unguarded = first_provider(config).models()?.build()?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(settings.connect_timeout));
        let tls = HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(tcp);
        let https = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(tls);
        let stacks = RwLock::new(stacks(config, &settings, &models, &unguarded, &https)?);
        disable(&unguarded);
        Ok(Self { models, unguarded, https, settings, stacks })
    }

    /// Applies another configuration. Of one with anything wrong in it, nothing.
    pub fn apply(&self, config: &Config) -> Result<(), ConfigError> {
        let (models, first) = (config.models()?, first_provider(config).models()?);
        let stacks = stacks(config, &self.settings, &self.models, &self.unguarded, &self.https)?;
        self.models.apply(models)?;
        self.unguarded.apply(first)?;
        disable(&self.unguarded);
        *self.stacks.write().unwrap_or_else(PoisonError::into_inner) = stacks;
        Ok(())
    }

    /// For requests that name a model.
    pub fn guarded(&self) -> Stack {
        self.stacks.read().unwrap_or_else(PoisonError::into_inner).guarded.clone()
    }

    /// For those that do not: to the first model's provider, once, whatever its breaker says.
    pub fn unguarded(&self) -> Stack {
        self.stacks.read().unwrap_or_else(PoisonError::into_inner).unguarded.clone()
    }

    pub fn models(&self) -> &Models {
        &self.models
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

fn stacks(
    config: &Config,
    settings: &Settings,
    models: &Models,
    unguarded: &Models,
    https: &Https,
) -> Result<Stacks, ConfigError> {
    let finish = HttpFinish::new().headers().watched().idle_gap(settings.idle_gap)?;
    // Clients send paths of their own choice: a wrong one is nobody's fault.
    let classify =
        HttpClassify::new().change(Row::Status(StatusCode::NOT_FOUND), Change::default().charge(Charge::Nobody));
    let failover = FailoverLayer::json(models.clone()).classify(classify).finish(finish).configure(config)?.build()?;
    let ahead = ReadAheadLayer::new().first_event().error_bodies().idle_gap(settings.idle_gap)?;
    let guarded = ServiceBuilder::new().layer(failover).layer(ahead).service(https.clone());

    let once = FailoverLayer::http(unguarded.clone()).finish(finish).configure(config)?;
    let once = once.all_failed(AllFailed::LastResponse).build()?;
    let unguarded = ServiceBuilder::new().layer(once).service(https.clone());
    Ok(Stacks {
        guarded: BoxCloneSyncService::new(guarded.map_response(|response| response.map(Body::new))),
        unguarded: BoxCloneSyncService::new(unguarded.map_response(|response| response.map(Body::new))),
    })
}

/// The same configuration with nothing but the provider of the first model, and one model in place of all.
fn first_provider(config: &Config) -> Config {
    let mut config = config.clone();
    config.models.truncate(1);
    for model in &mut config.models {
        NO_MODEL.clone_into(&mut model.name);
        model.max_in_flight = None;
        config.providers.retain(|provider| provider.name == model.provider);
    }
    for provider in &mut config.providers {
        provider.max_in_flight = None;
    }
    config
}

/// Lets everything through.
fn disable(unguarded: &Models) {
    let snapshot = unguarded.snapshot();
    for model in &snapshot.models {
        let _ = unguarded.command(&model.name, Command::Disable);
    }
    for provider in &snapshot.providers {
        let _ = unguarded.command_provider(&provider.name, Command::Disable);
    }
}
