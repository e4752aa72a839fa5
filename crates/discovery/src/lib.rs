//! How services find and call each other.
//!
//! A caller asks the [`Registry`] for a [`Channel`] by service name and puts the generated client on it. In one process the
//! channel hands the request to the service's own routes, in memory; across processes it is a balanced HTTP/2 channel (an
//! engine of its own). Channels resolve their service at the first call, so services may need each other in a circle.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock, PoisonError, RwLock},
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use tonic::{Status, body::Body, service::Routes};
use tower::{Service, ServiceExt};
use tracing::{Instrument as _, Level, Span, info_span};

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
}

/// Where services are found.
pub trait Registry: Send + Sync + 'static {
    /// A channel to any instance of a service.
    fn channel(&self, service: &'static str) -> Channel;

    /// A channel to every instance of a service, with its instance id.
    fn instances(&self, service: &'static str) -> Vec<(String, Channel)>;
}

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
fn call_span(service: &'static str, request: &http::Request<Body>) -> Span {
    if tracing::span_enabled!(Level::INFO) && !Span::current().is_none() {
        info_span!("rpc", otel.name = request.uri().path(), service)
    } else {
        Span::none()
    }
}

/// The registry of one process: every service is called in memory.
#[derive(Default)]
pub struct InProcess {
    routes: Arc<RwLock<HashMap<&'static str, Routes>>>,
}

impl InProcess {
    /// An empty registry.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Makes a service callable.
    pub fn serve(&self, service: &'static str, routes: Routes) {
        self.routes
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(service, routes.prepare());
    }
}

impl Registry for InProcess {
    fn channel(&self, service: &'static str) -> Channel {
        let all = Arc::clone(&self.routes);
        let found: OnceLock<Routes> = OnceLock::new();
        Channel::new(move |request| {
            let routes = match found.get() {
                Some(routes) => routes.clone(),
                None => match all
                    .read()
                    .unwrap_or_else(PoisonError::into_inner)
                    .get(service)
                {
                    Some(routes) => found.get_or_init(|| routes.clone()).clone(),
                    None => {
                        let status = Status::unavailable(format!(
                            "the service {service} is not running in this process"
                        ));
                        return Box::pin(async { Err(status) });
                    }
                },
            };
            let span = call_span(service, &request);
            let call = async move { routes.oneshot(request).await.map_err(|e| match e {}) };
            if span.is_disabled() {
                Box::pin(call)
            } else {
                Box::pin(call.instrument(span))
            }
        })
    }

    fn instances(&self, service: &'static str) -> Vec<(String, Channel)> {
        vec![(service.to_owned(), self.channel(service))]
    }
}
