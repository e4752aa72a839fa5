//! The operator's port: liveness, readiness, metrics, build info and the log filter. Not for clients, no authentication.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use hyper_util::service::TowerToHyperService;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    health::Readiness,
    listen::{Limits, Listener},
    telemetry::{LogFilter, Metrics},
};

/// What was built.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BuildInfo {
    /// Program.
    pub name: &'static str,
    /// Version.
    pub version: &'static str,
    /// Commit, or `unknown`.
    pub commit: &'static str,
    /// Engine sets that are compiled in.
    pub engines: &'static [&'static str],
}

/// What the port shows.
#[derive(Clone)]
pub struct Ops {
    /// Readiness of the process.
    pub readiness: Readiness,
    /// Its metrics.
    pub metrics: Metrics,
    /// Its log filter.
    pub log_filter: LogFilter,
    /// Its build.
    pub build: BuildInfo,
}

/// Longest log filter that is taken, in bytes.
const MAX_BODY: usize = 4096;

/// Limits of the port. Few use it, and a metrics scraper keeps its connection.
const LIMITS: Limits = Limits {
    connections: 256,
    silence: Duration::from_secs(10),
    stall: Duration::from_secs(10),
};

/// Serves the port until the process ends: it still answers while other work is being finished.
pub async fn serve(ops: Ops, listener: TcpListener) -> std::io::Result<()> {
    let router = Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route(
            "/buildinfo",
            get(|State(ops): State<Ops>| async move { Json(ops.build) }),
        )
        .route("/loglevel", get(log_filter).put(set_log_filter))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(ops);
    Listener::new(listener, LIMITS, CancellationToken::new())
        .http1(&TaskTracker::new(), TowerToHyperService::new(router))
        .await;
    Ok(())
}

async fn ready(State(ops): State<Ops>) -> impl IntoResponse {
    if ops.readiness.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

async fn metrics(State(ops): State<Ops>) -> impl IntoResponse {
    (
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        ops.metrics.render(),
    )
}

async fn log_filter(State(ops): State<Ops>) -> String {
    ops.log_filter.current()
}

async fn set_log_filter(State(ops): State<Ops>, body: String) -> (StatusCode, String) {
    match ops.log_filter.set(body.trim()) {
        Ok(()) => (StatusCode::OK, ops.log_filter.current()),
        Err(e) => (StatusCode::BAD_REQUEST, e.to_string()),
    }
}
