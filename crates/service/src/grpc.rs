//! The gRPC port: all services of the public contract for back ends, with health and reflection.
//!
//! A call carries the bare token in the metadata `token` and its name in `operationid`. The token is checked once, here, and
//! becomes the [`Context`] of the request; then the request goes to its service through the registry. Without a token only
//! the two token routes, health and reflection are reached. Internal packages (`magpie.*`) are not served.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http_body_util::Full;
use magpie_discovery::{Channel, name};
use magpie_proto::openim::auth::{ParseTokenReq, auth_client::AuthClient};
use magpie_types::{Code, Error, UserId, ids};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, service::Routes, transport::Server};
use tower::{Service, ServiceExt as _};
use tracing::{Instrument as _, info_span};

use crate::{
    Caller, Context, Deps, IntoStatus as _,
    bodies::{self, Bodies, Unread},
    health::Readiness,
    listen::{Calls, GRACE, Limits, Listener},
    send, trace,
};

/// The gRPC port.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Open connections; the next one waits to be accepted.
    pub max_connections: usize,
    /// How long a client may take to begin HTTP/2 on a new connection, ms.
    pub handshake_timeout_ms: u64,
    /// Calls under way per connection.
    pub max_concurrent_calls: u32,
    /// Deadline of a call, ms.
    pub call_timeout_ms: u64,
    /// Interval of keep-alive pings, ms.
    pub keepalive_ms: u64,
    /// Longest request, bytes.
    pub max_message_bytes: usize,
    /// Memory for all requests under way beyond the first 4 KiB of each, bytes; the next large one is refused.
    pub max_requests_bytes: usize,
    /// A client that takes nothing of its answers for this long is closed, ms.
    pub write_timeout_ms: u64,
    /// Longest metadata of a call, bytes.
    pub max_metadata_bytes: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 1_000,
            handshake_timeout_ms: 10_000,
            max_concurrent_calls: 1000,
            call_timeout_ms: 30_000,
            keepalive_ms: 20_000,
            max_message_bytes: 8 << 20,
            max_requests_bytes: 64 << 20,
            write_timeout_ms: 30_000,
            max_metadata_bytes: 16 << 10,
        }
    }
}

/// Services of the contract and who serves them.
pub const SERVICES: &[(&str, &str)] = &[
    ("openim.auth.Auth", name::AUTH),
    ("openim.user.user", name::USER),
    ("openim.relation.friend", name::FRIEND),
    ("openim.group.group", name::GROUP),
    ("openim.conversation.conversation", name::CONVERSATION),
    ("openim.msg.msg", name::MSG),
    ("openim.third.third", name::THIRD),
    ("openim.rtc.RtcService", name::RTC),
    ("openim.push.PushMsgService", name::PUSH),
    ("openim.msggateway.msgGateway", name::GATEWAY),
];

/// The call that goes to the instance of its conversation.
const SEND: &str = "/openim.msg.msg/SendMsg";

const ANONYMOUS: &[&str] = &[
    "/openim.auth.Auth/getAdminToken",
    "/openim.auth.Auth/parseToken",
];

/// Serves the port until shutdown; calls under way are finished.
pub async fn serve(
    deps: Deps,
    config: Config,
    readiness: Readiness,
    listener: TcpListener,
) -> Result<(), tonic::transport::Error> {
    let (reporter, health) = tonic_health::server::health_reporter();
    let stopping = deps.shutdown.clone();
    deps.tasks.spawn(async move {
        let names = [String::new()];
        stopping
            .run_until_cancelled(readiness.report(reporter, &names))
            .await;
    });
    let mut routes = Routes::new(health);
    // The descriptor set is our own, made by the build; only what is served here is named.
    let mut reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(magpie_proto::DESCRIPTOR_SET);
    for (service, _) in SERVICES {
        reflection = reflection.with_service_name(*service);
    }
    if let Ok(reflection) = reflection.build_v1() {
        routes = routes.add_service(reflection);
    }
    let bodies = Arc::new(Bodies::new(config.max_requests_bytes));
    let mut router = routes.into_axum_router();
    for (service, name) in SERVICES {
        router = router.route_service(
            &format!("/{service}/{{method}}"),
            Edge::new(&deps, name, &bodies, &config),
        );
    }
    let shutdown = deps.shutdown.clone();
    let limits = Limits {
        connections: config.max_connections,
        silence: Duration::from_millis(config.handshake_timeout_ms),
        stall: Duration::from_millis(config.write_timeout_ms),
    };
    let connections = Listener::new(listener, limits, shutdown.clone()).http2();
    Server::builder()
        .timeout(Duration::from_millis(config.call_timeout_ms))
        .max_concurrent_streams(config.max_concurrent_calls)
        .http2_max_header_list_size(config.max_metadata_bytes)
        .http2_keepalive_interval(Some(Duration::from_millis(config.keepalive_ms)))
        .add_routes(Routes::from(router))
        .serve_with_incoming_shutdown(Box::pin(connections), shutdown.cancelled_owned())
        .await
}

/// Checks who calls, then hands the request to a service.
#[derive(Clone)]
struct Edge {
    service: Channel,
    auth: Channel,
    admins: Arc<[String]>,
    stopping: CancellationToken,
    bodies: Arc<Bodies>,
    max_message_bytes: usize,
}

impl Edge {
    fn new(deps: &Deps, service: &'static str, bodies: &Arc<Bodies>, config: &Config) -> Self {
        Self {
            service: deps.channel(service),
            auth: deps.channel(name::AUTH),
            admins: Arc::clone(&deps.admins),
            stopping: deps.shutdown.clone(),
            bodies: Arc::clone(bodies),
            max_message_bytes: config.max_message_bytes,
        }
    }

    async fn answer(self, request: http::Request<Body>) -> Result<http::Response<Body>, Status> {
        let mut context = None;
        let mut limit = self.max_message_bytes;
        if ANONYMOUS.contains(&request.uri().path()) {
            limit = limit.min(bodies::SMALL);
        } else {
            context = Some(self.identify(request.headers()).await?);
        }
        // Every call has one message, and none may hold the process back when it stops half sent.
        let (head, body) = request.into_parts();
        let (body, _memory) = tokio::select! {
            read = self.bodies.read(body, limit) => read.map_err(unreadable)?,
            () = grace(&self.stopping) => return Err(Status::unavailable("the server stops")),
        };
        let route = (head.uri.path() == SEND)
            .then(|| send::route(&body))
            .flatten();
        let mut request = http::Request::from_parts(head, Body::new(Full::new(body)));
        if let Some(route) = route {
            request.extensions_mut().insert(route);
        }
        let span = trace::edge(context.as_ref(), request.headers(), || {
            let operation_id = context.as_ref().map_or("", |c| c.operation_id.as_str());
            info_span!("grpc.request", operation.id = operation_id)
        });
        if let Some(context) = context {
            request.extensions_mut().insert(context);
        }
        self.service.oneshot(request).instrument(span).await
    }

    async fn identify(&self, headers: &http::HeaderMap) -> Result<Context, Status> {
        let text = |name| {
            headers
                .get(name)
                .and_then(|v: &http::HeaderValue| v.to_str().ok())
                .unwrap_or_default()
        };
        let token = text("token");
        if token.is_empty() {
            return Err(Error::new(
                Code::TOKEN_NOT_EXIST,
                "this call needs a token in its metadata",
            )
            .into_status());
        }
        let operation_id = match text("operationid") {
            "" => uuid::Uuid::new_v4().to_string(),
            given => given.to_owned(),
        };
        ids::check_operation_id(&operation_id).map_err(|e| e.into_status())?;
        let request = Context::internal(operation_id.as_str()).request(ParseTokenReq {
            token: token.to_owned(),
        });
        let found = AuthClient::new(self.auth.clone())
            .parse_token(request)
            .await?
            .into_inner();
        let user = UserId::new(found.user_id).map_err(|e| {
            Error::new(Code::TOKEN_INVALID, "the token names no user")
                .with_source(e)
                .into_status()
        })?;
        let admin = self.admins.iter().any(|a| a == user.as_str());
        let caller = if admin {
            Caller::Admin(user)
        } else {
            Caller::User(user)
        };
        Ok(Context {
            caller,
            operation_id,
            connection_id: String::new(),
            platform_id: found.platform_id,
        })
    }
}

impl Service<http::Request<axum::body::Body>> for Edge {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<axum::body::Body>) -> Self::Future {
        let edge = self.clone();
        let request = request.map(Body::new);
        let running = request.extensions().get::<Calls>().map(Calls::begin);
        Box::pin(async move {
            let answer = edge.answer(request).await;
            drop(running);
            Ok(answer.unwrap_or_else(Status::into_http))
        })
    }
}

fn unreadable(why: Unread) -> Status {
    match why {
        Unread::Busy => Status::resource_exhausted("too many large requests are under way"),
        Unread::TooLarge => Status::out_of_range("the request is too large"),
        Unread::Ended => Status::invalid_argument("the request ended early"),
    }
}

/// Returns when the process stops and what was begun had its time to arrive.
async fn grace(stopping: &CancellationToken) {
    stopping.cancelled().await;
    tokio::time::sleep(GRACE).await;
}
