//! How a process serves its services to the others of the cluster, and stops.
//!
//! The services are behind the [`Guard`](crate::internal::Guard); health is not. It also answers under the instance's own name
//! ([`magpie_discovery::health_name`]), by which the others judge an instance whose registration vanished.
//! The order of an end is `run::drain`'s: readiness fails, the process deregisters, the others have a moment to notice,
//! then `shutdown` ends this server, which finishes the calls under way.

use std::{sync::Arc, time::Duration};

use magpie_discovery::health_name;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{self, Server},
};
use tower::ServiceBuilder;

use crate::{
    health::Readiness,
    internal::{Internal, Limits},
    listen::{self, Listener},
};

/// The port for other services.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Open connections; each instance that calls has one to each that it calls.
    pub max_connections: usize,
    /// How long a new connection may be silent, ms.
    pub handshake_timeout_ms: u64,
    /// Calls under way; the next one is refused.
    pub max_concurrent_calls: u32,
    /// Longest time of a call, ms: above the deadlines of callers, who cancel their calls themselves.
    pub call_timeout_ms: u64,
    /// Interval of keep-alive pings, ms.
    pub keepalive_ms: u64,
    /// A connection whose ping is not answered in this time is closed, ms.
    pub keepalive_timeout_ms: u64,
    /// Longest request, bytes.
    pub max_message_bytes: usize,
    /// Longest metadata of a call, bytes.
    pub max_metadata_bytes: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            handshake_timeout_ms: 10_000,
            max_concurrent_calls: 10_000,
            call_timeout_ms: 60_000,
            keepalive_ms: 5_000,
            keepalive_timeout_ms: 5_000,
            max_message_bytes: 16 << 20,
            max_metadata_bytes: 32 << 10,
        }
    }
}

/// Streams of a connection beyond the calls: the questions for health must get through when no call does.
const SPARE_STREAMS: u32 = 100;

/// What many calls on one connection may have on the way, bytes.
const CONNECTION_WINDOW: u32 = 4 << 20;

/// One service of this process.
pub struct Member {
    /// Its name.
    pub service: &'static str,
    /// This instance, as it is registered.
    pub instance: String,
    /// What it serves.
    pub routes: Routes,
}

/// Serves until `shutdown`, and then until the calls under way are finished.
pub async fn serve(
    member: Member,
    config: &Config,
    internal: &Arc<Internal>,
    readiness: &Readiness,
    listener: TcpListener,
    shutdown: CancellationToken,
) -> Result<(), transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let names = [String::new(), health_name(member.service, &member.instance)];
    let limits = Limits {
        calls: config.max_concurrent_calls as usize,
        request: config.max_message_bytes,
    };
    let guard = internal.guard(&member.instance, limits);
    let services = member.routes.prepare().into_axum_router();
    let router = Routes::new(health)
        .into_axum_router()
        .fallback_service(ServiceBuilder::new().layer(guard).service(services));
    let limits = listen::Limits {
        connections: config.max_connections,
        silence: Duration::from_millis(config.handshake_timeout_ms),
        stall: Duration::from_millis(config.call_timeout_ms),
    };
    // They end with the server, which knows the calls under way.
    let connections = Listener::new(listener, limits, CancellationToken::new()).http2();
    let server = Server::builder()
        .timeout(Duration::from_millis(config.call_timeout_ms))
        .max_concurrent_streams(config.max_concurrent_calls.saturating_add(SPARE_STREAMS))
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_max_header_list_size(config.max_metadata_bytes)
        .http2_keepalive_interval(Some(Duration::from_millis(config.keepalive_ms)))
        .http2_keepalive_timeout(Some(Duration::from_millis(config.keepalive_timeout_ms)))
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(connections, shutdown.cancelled_owned());
    let report = async {
        readiness.report(reporter, &names).await;
        std::future::pending().await
    };
    tokio::select! {
        end = server => end,
        never = report => never,
    }
}
