//! A gateway: an OpenAI-compatible client in any language points its base URL at it, and gets failover.
//!
//! `cargo run --release --example gateway -- examples/gateway/gateway.toml`

#![allow(unreachable_pub, reason = "modules of a program")]

mod asked;
mod clients;
mod file;
mod headers;
mod patient;
mod proxy;
mod refusal;
mod routes;
mod server;

use axum::Router;
pub(crate) use clients::Clients;
pub(crate) use file::{File, Settings};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    error::Error,
    io::{self, IsTerminal},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, select, sync::watch, task::JoinSet, time::interval};

/// Of every histogram of seconds.
const BUCKETS: [f64; 13] = [0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0];

#[tokio::main]
async fn main() -> ExitCode {
    let ansi = io::stderr().is_terminal();
    tracing_subscriber::fmt().with_ansi(ansi).with_writer(io::stderr).init();
    let Some(path) = std::env::args_os().nth(1) else {
        tracing::error!("usage: gateway <file.toml>");
        return ExitCode::FAILURE;
    };
    match run(Path::new(&path)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(path: &Path) -> Result<(), Box<dyn Error>> {
    let File { gateway: settings, failover } = File::read(path)?;
    let gateway = Gateway::bind(Clients::new(&failover, settings)?, metrics()?).await?;
    let stop = until_told(path.to_owned(), Arc::clone(&gateway.clients))?;
    gateway.serve(stop).await;
    Ok(())
}

/// The gateway on its addresses.
pub(crate) struct Gateway {
    pub(crate) clients: Arc<Clients>,
    pub(crate) servers: Vec<(TcpListener, Router)>,
}

impl Gateway {
    pub(crate) async fn bind(clients: Clients, metrics: PrometheusHandle) -> Result<Self, Box<dyn Error>> {
        let Settings { listen, operator_listen, .. } = *clients.settings();
        let clients = Arc::new(clients);
        let (passed, operator) = (routes::passed(&clients), routes::operator(&clients, metrics));
        let servers = match operator_listen {
            Some(address) => vec![(bind(listen).await?, passed), (bind(address).await?, operator)],
            None => vec![(bind(listen).await?, operator.merge(passed))],
        };
        for (listener, _) in &servers {
            tracing::info!(address = %listener.local_addr()?, "listening");
        }
        Ok(Self { clients, servers })
    }

    /// Serves until it is told to stop, and then until what is under way is done.
    pub(crate) async fn serve(self, stop: impl Future<Output = ()>) {
        let (running, _) = watch::channel(());
        let mut servers = JoinSet::new();
        for (listener, routes) in self.servers {
            let mut stopped = running.subscribe();
            let stopped = async move { while stopped.changed().await.is_ok() {} };
            servers.spawn(server::serve(listener, routes, self.clients.settings().clone(), stopped));
        }
        stop.await;
        drop(running);
        servers.join_all().await;
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|error| format!("cannot listen on {address}: {error}"))
}

/// What `/metrics` shows.
fn metrics() -> Result<PrometheusHandle, BuildError> {
    let seconds = Matcher::Suffix("_seconds".to_owned());
    let handle = PrometheusBuilder::new().set_buckets_for_metric(seconds, &BUCKETS)?.install_recorder()?;
    let metrics = handle.clone();
    tokio::spawn(async move {
        let mut upkeep = interval(Duration::from_secs(5));
        loop {
            upkeep.tick().await;
            metrics.run_upkeep();
        }
    });
    Ok(handle)
}

/// Until ctrl-c or SIGTERM. SIGHUP reads the file again.
#[cfg(unix)]
fn until_told(path: PathBuf, clients: Arc<Clients>) -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut hangup, mut terminate) = (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?);
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        loop {
            select! {
                _ = hangup.recv() => reload(&path, &clients),
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
            }
        }
    })
}

#[cfg(not(unix))]
fn until_told(_: PathBuf, _: Arc<Clients>) -> io::Result<impl Future<Output = ()>> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

/// Applies the file as it is now. One with anything wrong in it changes nothing.
#[cfg_attr(not(unix), expect(dead_code, reason = "a signal of Unix"))]
pub(crate) fn reload(path: &Path, clients: &Clients) {
    let applied = File::read(path).and_then(|file| {
        if file.gateway != *clients.settings() {
            tracing::warn!("[gateway] has changed: that needs a restart");
        }
        Ok(clients.apply(&file.failover)?)
    });
    match applied {
        Ok(()) => tracing::info!("the file is applied"),
        Err(error) => tracing::error!(%error, "the file is not applied: everything stays as it was"),
    }
}
