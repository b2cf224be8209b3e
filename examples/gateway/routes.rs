//! What is where: the operator's pages, and everything else for the models.

use super::{clients::Clients, proxy};
use axum::{Router, http::header, routing::get};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tower_failover::Status;

/// Every path is passed on.
pub fn passed(clients: &Arc<Clients>) -> Router {
    Router::new().fallback(proxy::pass).with_state(Arc::clone(clients))
}

/// `/status` and `/metrics`.
pub fn operator(clients: &Clients, metrics: PrometheusHandle) -> Router {
    let (models, status) = (clients.models().clone(), Status::new(clients.models().clone()));
    let metrics = move || async move {
        models.record_metrics();
        ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render())
    };
    Router::new().route_service("/status", status).route("/metrics", get(metrics))
}
