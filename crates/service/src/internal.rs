//! Who calls, between processes.
//!
//! In one process a [`Context`] travels as a typed extension. Between two, [`Internal::seal`] turns it into metadata, beside the
//! trace parent, the version of the protocol, and a *proof* that the caller is of the cluster: a token signed with the
//! cluster's secret, short-lived and reused for half its life. [`Internal::guard`] is the other end: it refuses whatever
//! comes without a proof, a version too far away, or a call that is meant for another instance; it restores the context, and lets no such
//! metadata pass on. A proof says "of the cluster", so the network between services must be trusted or encrypted.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{Arc, Mutex, PoisonError},
    task::{Context as TaskContext, Poll},
};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use futures::future::{BoxFuture, Either};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Limited;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use magpie_discovery::{INSTANCE, WIRE_VERSION};
use magpie_proto::magpie::internal::{Context as Wire, Role};
use magpie_types::{UserId, time::now_ms};
use prost::Message as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tonic::{Status, body::Body};
use tower::{Layer, Service};
use tracing::{Instrument as _, Span, info_span};

use crate::{Caller, Context, trace};

const PROOF: HeaderName = HeaderName::from_static("magpie-proof");
const VERSION: HeaderName = HeaderName::from_static("magpie-wire");
const CONTEXT: HeaderName = HeaderName::from_static("magpie-context-bin");

/// What only members of the cluster set.
const OURS: [HeaderName; 4] = [PROOF, VERSION, CONTEXT, HeaderName::from_static(INSTANCE)];

/// Keeps proofs apart from the tokens of users, should both be signed with one secret.
const AUDIENCE: &str = "magpie.internal";

/// How long a proof is good, seconds; it is renewed in the middle.
const LIFE: i64 = 300;

/// How far the clocks of two machines may be apart, seconds.
const LEEWAY: u64 = 60;

/// Longest encoded context, bytes: well below what servers take as metadata.
const MAX_CONTEXT: usize = 4096;

#[derive(Serialize, Deserialize)]
struct Claims {
    aud: String,
    exp: i64,
}

/// The cluster's secret, and what is made of it.
pub struct Internal {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    /// The proof in use, and when to make the next one (Unix seconds).
    proof: Mutex<Option<(HeaderValue, i64)>>,
}

impl Internal {
    /// All processes of a cluster must be given the same secret.
    pub fn new(secret: &SecretString) -> Arc<Self> {
        let secret = secret.expose_secret().as_bytes();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud"]);
        validation.leeway = LEEWAY;
        Arc::new(Self {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
            proof: Mutex::default(),
        })
    }

    /// Puts on a request what travels between processes; nothing of that kind that it brought from outside stays.
    pub fn seal(&self, request: &mut Request<Body>) -> Result<(), Status> {
        let context = request
            .extensions()
            .get::<Context>()
            .map(encode)
            .transpose()?;
        let proof = self.proof()?;
        let headers = request.headers_mut();
        strip(
            headers,
            &[CONTEXT, HeaderName::from_static(trace::TRACEPARENT)],
        );
        headers.insert(PROOF, proof);
        headers.insert(VERSION, HeaderValue::from(WIRE_VERSION));
        if let Some(context) = context {
            headers.insert(CONTEXT, context);
        }
        if let Ok(parent) = HeaderValue::try_from(trace::traceparent(&Span::current()))
            && !parent.is_empty()
        {
            headers.insert(trace::TRACEPARENT, parent);
        }
        Ok(())
    }

    /// The layer that lets only members of the cluster through.
    pub fn guard(self: &Arc<Self>, instance: &str, limits: Limits) -> Guard {
        Guard(Arc::new(Gate {
            internal: Arc::clone(self),
            // Instances are registered by the same name, which is checked there.
            instance: HeaderValue::try_from(instance).unwrap_or(HeaderValue::from_static("-")),
            room: Arc::new(Semaphore::new(limits.calls.min(Semaphore::MAX_PERMITS))),
            limits,
        }))
    }

    fn proof(&self) -> Result<HeaderValue, Status> {
        let now = now_ms() / 1000;
        let mut proof = self.proof.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((proof, renew)) = &*proof
            && now < *renew
        {
            return Ok(proof.clone());
        }
        let claims = Claims {
            aud: AUDIENCE.to_owned(),
            exp: now + LIFE,
        };
        let failed =
            |e: &dyn std::fmt::Display| Status::internal(format!("no proof for the cluster: {e}"));
        let token = jsonwebtoken::encode(&Header::default(), &claims, &self.encoding)
            .map_err(|e| failed(&e))?;
        let mut made = HeaderValue::try_from(token).map_err(|e| failed(&e))?;
        made.set_sensitive(true);
        *proof = Some((made.clone(), now + LIFE / 2));
        Ok(made)
    }

    /// Checks a call and takes its context off its metadata.
    fn open(&self, headers: &mut HeaderMap) -> Result<Option<Context>, Status> {
        let foreign = |why: &str| {
            Status::unauthenticated(format!("this port is for services of the cluster: {why}"))
        };
        let proof = headers
            .get(PROOF)
            .ok_or_else(|| foreign("the call has no proof"))?;
        let not_good = |why: &dyn std::fmt::Display| {
            foreign(&format!(
                "its proof is not good ({why}); all need the same secret and time"
            ))
        };
        let proof =
            jsonwebtoken::decode::<Claims>(proof.as_bytes(), &self.decoding, &self.validation)
                .map_err(|e| not_good(&e))?;
        if proof.claims.exp > now_ms() / 1000 + LIFE + LEEWAY.cast_signed() {
            return Err(not_good(&"it ends too late"));
        }
        let version = headers.get(VERSION).and_then(|v| v.to_str().ok());
        let version = version.and_then(|v| v.parse::<u32>().ok()).unwrap_or(0);
        // During an update the version before and the next one are there as well.
        if version.abs_diff(WIRE_VERSION) > 1 || version == 0 {
            return Err(Status::failed_precondition(format!(
                "the caller speaks version {version} of the protocol between services, this one {WIRE_VERSION}: finish the update"
            )));
        }
        let context = headers.get(CONTEXT).map(decode).transpose()?;
        strip(headers, &OURS);
        Ok(context)
    }
}

fn strip(headers: &mut HeaderMap, names: &[HeaderName]) {
    for name in names {
        headers.remove(name);
    }
}

fn encode(context: &Context) -> Result<HeaderValue, Status> {
    let (role, user_id) = match &context.caller {
        Caller::User(id) => (Role::User, id.as_str()),
        Caller::Admin(id) => (Role::Admin, id.as_str()),
        Caller::Internal => (Role::Internal, ""),
    };
    let wire = Wire {
        user_id: user_id.to_owned(),
        role: role.into(),
        operation_id: context.operation_id.clone(),
        connection_id: context.connection_id.clone(),
        platform_id: context.platform_id,
    };
    if wire.encoded_len() > MAX_CONTEXT {
        return Err(Status::invalid_argument("operationID is too long"));
    }
    HeaderValue::try_from(STANDARD_NO_PAD.encode(wire.encode_to_vec()))
        .map_err(|e| Status::internal(format!("the context can't be sent: {e}")))
}

fn decode(value: &HeaderValue) -> Result<Context, Status> {
    fn bad(why: impl std::fmt::Display) -> Status {
        Status::invalid_argument(format!("the context of the call can't be read: {why}"))
    }
    let bytes = STANDARD_NO_PAD.decode(value).map_err(bad)?;
    let wire = Wire::decode(bytes.as_slice()).map_err(bad)?;
    let user = |id: String| UserId::new(id).map_err(bad);
    Ok(Context {
        caller: match wire.role() {
            Role::User => Caller::User(user(wire.user_id)?),
            Role::Admin => Caller::Admin(user(wire.user_id)?),
            Role::Internal => Caller::Internal,
            Role::Unspecified => return Err(bad("it names no role")),
        },
        operation_id: wire.operation_id,
        connection_id: wire.connection_id,
        platform_id: wire.platform_id,
    })
}

/// What a process takes at most.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Calls under way; the next one is refused at once (`RESOURCE_EXHAUSTED`).
    pub calls: usize,
    /// Longest request, bytes.
    pub request: usize,
}

/// See [`Internal::guard`].
#[derive(Clone)]
pub struct Guard(Arc<Gate>);

struct Gate {
    internal: Arc<Internal>,
    instance: HeaderValue,
    limits: Limits,
    room: Arc<Semaphore>,
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            gate: Arc::clone(&self.0),
            inner,
        }
    }
}

/// A service behind a [`Guard`].
#[derive(Clone)]
pub struct Guarded<S> {
    gate: Arc<Gate>,
    inner: S,
}

impl Gate {
    /// A refusal that says that nothing was done: the caller tries another instance. One whose clock is wrong refuses everybody.
    fn not_here(&self, mut status: Status) -> Status {
        if let Ok(here) = self.instance.to_str().unwrap_or_default().parse() {
            status.metadata_mut().insert(INSTANCE, here);
        }
        status
    }

    fn admit(
        &self,
        request: &mut Request<axum::body::Body>,
    ) -> Result<tokio::sync::OwnedSemaphorePermit, Status> {
        if request
            .headers()
            .get(INSTANCE)
            .is_some_and(|meant| *meant != self.instance)
        {
            return Err(self.not_here(Status::unavailable(
                "the call is meant for another instance",
            )));
        }
        let opened = self.internal.open(request.headers_mut());
        let context = opened.map_err(|status| self.not_here(status))?;
        if let Some(context) = context {
            request.extensions_mut().insert(context);
        }
        Arc::clone(&self.room).try_acquire_owned().map_err(|full| {
            metrics::counter!("magpie_rpc_refused_total").increment(1);
            tracing::debug!(%full, "a call is refused");
            Status::resource_exhausted(format!(
                "{} calls are under way here, which is the limit",
                self.limits.calls
            ))
        })
    }
}

impl<S> Service<Request<axum::body::Body>> for Guarded<S>
where
    S: Service<
            Request<axum::body::Body>,
            Response = Response<axum::body::Body>,
            Error = Infallible,
        >,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Either<
        Ready<Result<Self::Response, Infallible>>,
        BoxFuture<'static, Result<Self::Response, Infallible>>,
    >;

    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<axum::body::Body>) -> Self::Future {
        let room = match self.gate.admit(&mut request) {
            Ok(room) => room,
            Err(status) => return Either::Left(ready(Ok(status.into_http()))),
        };
        let parent = request
            .headers()
            .get(trace::TRACEPARENT)
            .and_then(|v| v.to_str().ok());
        let span = trace::follow(parent.unwrap_or_default(), || {
            info_span!("rpc.serve", otel.name = request.uri().path())
        });
        let limit = self.gate.limits.request;
        let request = request.map(|body| axum::body::Body::new(Limited::new(body, limit)));
        let call = span.in_scope(|| self.inner.call(request));
        let answer = async move {
            let _room = room;
            call.await
        };
        Either::Right(Box::pin(answer.instrument(span)))
    }
}
