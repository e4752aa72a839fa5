//! How services find and call each other.
//!
//! A caller asks the [`Registry`] for a [`Channel`] by service name and puts the generated client on it. In one process the
//! channel hands the request to the service's own routes, in memory; across processes it is a balanced HTTP/2 channel (an
//! engine of its own). Channels resolve their service at the first call, so services may need each other in a circle. A caller
//! says with [`RouteKey`] and [`Idempotent`] what a channel over several instances may do with a call.

pub mod conformance;
mod hints;
mod in_process;

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{Status, body::Body};
use tower::Service;
use tracing::{Level, Span, info_span};

pub use hints::{Idempotent, RouteKey};
pub use in_process::InProcess;

/// Version of the protocol between the processes of a cluster: registered with every instance and sent with every call.
pub const WIRE_VERSION: u32 = 1;

/// Metadata of a call between processes: which instance is meant, so that whoever took its address over can refuse. A refusal
/// for that reason carries the key too; such a call was not processed.
pub const INSTANCE: &str = "magpie-instance";

/// What an instance reports its own state as in `grpc.health.v1`. The name is unique, so "serving" proves that this very
/// instance answers, and not another process at its address.
pub fn health_name(service: &str, instance: &str) -> String {
    format!("magpie/{service}/{instance}")
}

/// Names of the services, as the registry and the command line know them.
pub mod name {
    /// Tokens.
    pub const AUTH: &str = "auth";
    /// WebSocket connections.
    pub const GATEWAY: &str = "gateway";
    /// Users.
    pub const USER: &str = "user";
    /// Friends and black list.
    pub const FRIEND: &str = "friend";
    /// Groups.
    pub const GROUP: &str = "group";
    /// Per-user conversation records.
    pub const CONVERSATION: &str = "conversation";
    /// Messages.
    pub const MSG: &str = "msg";
    /// Push.
    pub const PUSH: &str = "push";
    /// Objects, push tokens, logs.
    pub const THIRD: &str = "third";
    /// Calls.
    pub const RTC: &str = "rtc-signaling";
    /// REST and the gRPC port of back ends; called by nobody.
    pub const API: &str = "api";
    /// Numbering and storing; called by nobody.
    pub const TRANSFER: &str = "transfer";
}

/// Where services are found.
pub trait Registry: Send + Sync + 'static {
    /// A channel to any instance of a service.
    fn channel(&self, service: &'static str) -> Channel;

    /// A channel to every instance of a service, with its instance id.
    fn instances(&self, service: &'static str) -> Vec<(String, Channel)>;

    /// Waits until a service has an instance, without a limit. By default it has one already.
    fn wait_for(&self, service: &'static str) -> BoxFuture<'_, ()> {
        let _ = service;
        Box::pin(std::future::ready(()))
    }

    /// Waits until it is known what is registered, without a limit. By default it is.
    fn was_read(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Has `farewell` run to its end whenever an instance of a service, whose id it gets, is about to be forgotten here although it
    /// has not left: it is not registered, and it does not answer. It may be there again later. The first farewell of a service
    /// counts. By default none is ever forgotten.
    fn before_forgetting(&self, service: &'static str, farewell: Farewell) {
        let _ = (service, farewell);
    }
}

/// See [`Registry::before_forgetting`].
pub type Farewell = Arc<dyn Fn(String) -> BoxFuture<'static, ()> + Send + Sync>;

/// A shared registry.
pub type SharedRegistry = Arc<dyn Registry>;

type Call = dyn Fn(http::Request<Body>) -> BoxFuture<'static, Result<http::Response<Body>, Status>>
    + Send
    + Sync;

/// A way to one service; cheap to clone, usable as the transport of every generated client.
#[derive(Clone)]
pub struct Channel(Arc<Call>);

impl Channel {
    /// A channel that answers with `call`.
    pub fn new(
        call: impl Fn(http::Request<Body>) -> BoxFuture<'static, Result<http::Response<Body>, Status>>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        Self(Arc::new(call))
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Channel")
    }
}

impl Service<http::Request<Body>> for Channel {
    type Response = http::Response<Body>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<http::Response<Body>, Status>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        (self.0)(request)
    }
}

/// The span of a call to another service. It exists only inside a trace: work of the background starts none by calling.
pub fn call_span(service: &'static str, request: &http::Request<Body>) -> Span {
    if tracing::span_enabled!(Level::INFO) && !Span::current().is_none() {
        info_span!("rpc", otel.name = request.uri().path(), service)
    } else {
        Span::none()
    }
}
