//! One request from head to answer: CORS, operation id, token, route, in this order (rest-api.md 1.1).

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header, request::Parts};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::Incoming;
use magpie_discovery::name;
use magpie_proto::openim::auth::{ParseTokenReq, auth_client::AuthClient};
use magpie_service::{
    Caller, Context, Deps,
    bodies::{self, Bodies, Unread},
    listen::GRACE,
    trace,
};
use magpie_types::{Code, Error, UserId, ids};
use tokio::sync::Semaphore;
use tracing::{Instrument as _, info_span};

use crate::{
    answer::{self, Answer, Failure},
    call::Call,
    config::Config,
    openapi,
    routes::{self, Access, Method as RouteMethod, Route},
};

/// Routes that answer with messages, which may be large.
const PULLS: [&str; 3] = [
    "/msg/pull_msg_by_seq",
    "/jssdk/get_active_conversations",
    "/jssdk/get_conversations",
];

/// The API, shared by all connections.
pub(crate) struct Api {
    deps: Deps,
    config: Config,
    routes: HashMap<&'static str, &'static Route>,
    /// Paths that need no token.
    open: Vec<&'static str>,
    requests: Semaphore,
    bodies: Bodies,
    answers: Bodies,
    /// Turns of pulls.
    pulls: Semaphore,
}

impl Api {
    pub(crate) fn new(deps: Deps, config: Config) -> Self {
        let posts = || routes::all().filter(|route| route.method == RouteMethod::Post);
        let open = posts().filter(|route| route.access == Access::Open);
        let requests = Semaphore::new(config.max_requests);
        let bodies = Bodies::new(config.max_bodies_bytes);
        let answers = Bodies::new(config.max_answers_bytes);
        let pulls = Semaphore::new(config.max_pulls);
        Self {
            deps,
            pulls,
            routes: posts().map(|route| (route.path, route)).collect(),
            open: open.map(|route| route.path).collect(),
            requests,
            bodies,
            answers,
            config,
        }
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let started = Instant::now();
        let limit = Duration::from_millis(self.config.request_timeout_ms);
        let (parts, body) = request.into_parts();
        let gzip = answer::takes_gzip(&parts.headers);
        let route = self
            .routes
            .get(parts.uri.path())
            .map_or("", |route| route.path);
        let response = match tokio::time::timeout(limit, self.dispatch(parts, body)).await {
            Ok(response) => response,
            Err(_) => answer::respond(Err(Error::internal("the request took too long").into())),
        };
        metrics::histogram!("magpie_api_request_seconds", "route" => route)
            .record(started.elapsed().as_secs_f64());
        metrics::counter!("magpie_api_requests_total", "route" => route, "status" => response.status().as_str().to_owned())
            .increment(1);
        let response = if gzip {
            answer::compress(response).await
        } else {
            response
        };
        let (parts, body) = response.into_parts();
        let Ok(body) = body.collect().await.map(Collected::to_bytes);
        match self.answers.hold(body) {
            Some(body) => Response::from_parts(parts, Full::new(body)),
            None => {
                metrics::counter!("magpie_api_answers_refused_total").increment(1);
                answer::respond(Err(Error::from(Code::RATE_LIMITED).into()))
            }
        }
    }

    async fn dispatch(&self, parts: Parts, body: Incoming) -> Response<Full<Bytes>> {
        match parts.method {
            Method::OPTIONS => answer::options(),
            Method::POST => match self.authenticate(&parts).await {
                Err(failure) => answer::respond(Err(failure)),
                Ok(context) => match self.routes.get(parts.uri.path()) {
                    Some(route) => {
                        let span = trace::edge(context.as_ref(), &parts.headers, || {
                            let operation_id = text(&parts.headers, "operationid");
                            info_span!(
                                "api.request",
                                otel.name = route.path,
                                operation.id = operation_id
                            )
                        });
                        let work = self.post(route, context, parts, body);
                        answer::respond(work.instrument(span).await)
                    }
                    None => answer::not_found(),
                },
            },
            Method::GET if parts.uri.path() == openapi::PATH => {
                answer::json(openapi::DOCUMENT.clone())
            }
            Method::GET => match routes::get(parts.uri.path()) {
                Some(route) => answer::respond(Err(not_built(route.path))),
                None => answer::not_found(),
            },
            _ => answer::not_found(),
        }
    }

    async fn post(
        &self,
        route: &'static Route,
        context: Option<Context>,
        parts: Parts,
        body: Incoming,
    ) -> Answer {
        let Some(handler) = route.handler else {
            return Err(not_built(route.path));
        };
        let limit = match &context {
            Some(_) => self.config.max_body_bytes,
            // A caller without a token has nothing longer to say.
            None => self.config.max_body_bytes.min(bodies::SMALL),
        };
        let (body, _memory) = tokio::select! {
            read = self.bodies.read(body, limit) => read.map_err(unreadable)?,
            () = self.grace() => {
                return Err(Failure::Unbound(Error::args("the server stopped before the body was there")));
            }
        };
        // A client that is slow to send counts from here on, and has no turn yet.
        let Ok(_counted) = self.requests.try_acquire() else {
            return Err(Error::from(Code::RATE_LIMITED).into());
        };
        let _turn = if PULLS.contains(&route.path) {
            self.pulls.acquire().await.ok()
        } else {
            None
        };
        let call = Call {
            deps: self.deps.clone(),
            config: self.config.clone(),
            context,
            body,
            query: parts.uri.query().unwrap_or_default().to_owned(),
            content_type: text(&parts.headers, header::CONTENT_TYPE.as_str()).to_owned(),
            not_null: route.not_null,
        };
        handler(call).await.map_err(|failure| match failure {
            Failure::NotBuilt(_) => not_built(route.path),
            other => other,
        })
    }

    /// Returns when the process stops and what was begun had its time to arrive.
    async fn grace(&self) {
        self.deps.shutdown.cancelled().await;
        tokio::time::sleep(GRACE).await;
    }

    /// Who sends a POST; nobody where no token is needed.
    async fn authenticate(&self, parts: &Parts) -> Result<Option<Context>, Failure> {
        let operation_id = text(&parts.headers, "operationid");
        if operation_id.is_empty() {
            return Err(Error::args("header must have operationID").into());
        }
        ids::check_operation_id(operation_id)?;
        // Everything that begins like an open path is open (rest-api.md 1.2).
        let mut open = self.open.iter();
        if open.any(|path| parts.uri.path().starts_with(path)) {
            return Ok(None);
        }
        let token = text(&parts.headers, "token");
        if token.is_empty() {
            return Err(Error::args("header must have token").into());
        }
        let mut auth = AuthClient::new(self.deps.channel(name::AUTH));
        let claims = auth
            .parse_token(ParseTokenReq {
                token: token.to_owned(),
            })
            .await?
            .into_inner();
        let is_admin = self.deps.admins.contains(&claims.user_id);
        let user = UserId::new(claims.user_id).map_err(Error::from)?;
        Ok(Some(Context {
            caller: if is_admin {
                Caller::Admin(user)
            } else {
                Caller::User(user)
            },
            operation_id: operation_id.to_owned(),
            connection_id: String::new(),
            platform_id: claims.platform_id,
        }))
    }
}

fn not_built(path: &str) -> Failure {
    Failure::NotBuilt(format!("{path} is not built yet"))
}

/// A header as text; empty if it is missing or no text.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

fn unreadable(why: Unread) -> Failure {
    match why {
        Unread::TooLarge => Failure::TooLarge,
        Unread::Ended => Failure::Unbound(Error::args("the request body ended early")),
        Unread::Busy => {
            metrics::counter!("magpie_api_bodies_refused_total").increment(1);
            Error::from(Code::RATE_LIMITED).into()
        }
    }
}
