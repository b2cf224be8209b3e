//! Listening: connections that are bounded in number, time and size, and an end that lets them finish.

use super::{file::Settings, patient::Patient};
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use std::{pin::pin, time::Duration};
use tokio::{net::TcpListener, select, task::JoinSet, time::sleep};

/// Serves until it is told to stop, and then until everything under way is done, or has had its time.
pub async fn serve(listener: TcpListener, routes: Router, settings: Settings, stop: impl Future<Output = ()>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(settings.header_timeout);
    http.max_headers(settings.max_headers).max_buf_size(settings.max_head);
    let routes = TowerToHyperService::new(routes);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        select! {
            biased;
            () = &mut stop => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < settings.max_connections => match accepted {
                Ok((stream, _)) => {
                    let _ = stream.set_nodelay(true);
                    let stream = Patient::new(stream, settings.write_timeout);
                    connections.spawn(graceful.watch(http.serve_connection(TokioIo::new(stream), routes.clone())));
                }
                // Out of file descriptors, most likely: give others time to close some.
                Err(error) => {
                    tracing::warn!(%error, "no connection accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    drop(listener);
    tracing::info!(connections = connections.len(), "ending");
    select! {
        () = graceful.shutdown() => {}
        () = sleep(settings.shutdown_timeout) => tracing::warn!(connections = connections.len(), "cut off"),
    }
}
