//! The two ends of a call between processes, in memory: what is sealed can be opened, and nothing else.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, OnceLock},
};

use axum::body::Body as AxumBody;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::BodyExt as _;
use magpie_service::{
    Caller, Context,
    internal::{Internal, Limits},
    trace::{self, Propagator},
};
use magpie_types::UserId;
use tonic::{Code, Status, body::Body};
use tower::{Layer as _, ServiceExt as _};
use tracing::Span;

const LIMITS: Limits = Limits {
    calls: 1,
    request: 10,
};

fn cluster(secret: &str) -> Arc<Internal> {
    Internal::new(&secret.into())
}

fn context(caller: Caller) -> Context {
    Context {
        caller,
        operation_id: "an operation 手机".to_owned(),
        connection_id: "c-1".to_owned(),
        platform_id: 5,
    }
}

/// A request as it arrives in another process: extensions don't travel.
fn sealed(by: &Internal, context: Option<Context>) -> Request<AxumBody> {
    let mut request = Request::new(Body::empty());
    if let Some(context) = context {
        request.extensions_mut().insert(context);
    }
    by.seal(&mut request).expect("a sealed request");
    let (parts, body) = request.into_parts();
    let mut sent = Request::new(AxumBody::new(body));
    *sent.headers_mut() = parts.headers;
    sent
}

/// What an instance named "a" sees, or why it sees nothing.
async fn opened(
    by: &Arc<Internal>,
    request: Request<AxumBody>,
) -> Result<(Option<Context>, HeaderMap), Status> {
    let seen = Arc::new(Mutex::new(None));
    let inner = tower::service_fn({
        let seen = Arc::clone(&seen);
        move |request: Request<AxumBody>| {
            let seen = Arc::clone(&seen);
            async move {
                let (parts, body) = request.into_parts();
                let answer = match body.collect().await {
                    Ok(_) => Status::ok(""),
                    Err(_) => Status::out_of_range("too long"),
                };
                let context = parts.extensions.get::<Context>().cloned();
                *seen.lock().expect("a lock") = Some((context, parts.headers));
                Ok::<Response<AxumBody>, Infallible>(answer.into_http())
            }
        }
    });
    let guarded = by.guard("a", LIMITS).layer(inner);
    let answer = guarded.oneshot(request).await.expect("never fails");
    let status = Status::from_header_map(answer.headers()).expect("a status");
    let seen = seen.lock().expect("a lock").take();
    match status.code() {
        Code::Ok => Ok(seen.expect("it was seen")),
        _ => Err(status),
    }
}

#[tokio::test]
async fn every_caller_arrives_as_he_was() {
    let cluster = cluster("s");
    let user = UserId::new("张三").unwrap();
    for caller in [
        Caller::User(user.clone()),
        Caller::Admin(user),
        Caller::Internal,
    ] {
        let sent = context(caller);
        let request = sealed(&cluster, Some(sent.clone()));
        let (seen, headers) = opened(&cluster, request).await.unwrap();
        assert_eq!(seen, Some(sent));
        let ours = |k: &http::HeaderName| k.as_str().starts_with("magpie");
        assert!(!headers.keys().any(ours), "{headers:?}");
    }
    let (nobody, _) = opened(&cluster, sealed(&cluster, None)).await.unwrap();
    assert_eq!(nobody, None);
}

#[tokio::test]
async fn without_the_clusters_proof_nothing_is_let_in() {
    let (ours, theirs) = (cluster("s"), cluster("another secret"));
    let foreign = sealed(&theirs, Some(context(Caller::Internal)));
    let refused = opened(&ours, foreign).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    let mut bare = sealed(&ours, Some(context(Caller::Internal)));
    bare.headers_mut().remove("magpie-proof");
    let refused = opened(&ours, bare).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}

/// Signed with the right secret, but not for this: a token of a user, one for others, one without an end, one
/// that ended, one that would never end.
#[tokio::test]
async fn other_tokens_are_no_proof() {
    let ours = cluster("s");
    let key = jsonwebtoken::EncodingKey::from_secret(b"s");
    let later = magpie_types::time::now_ms() / 1000 + 100;
    let (earlier, never) = (later - 1000, later + 100 * 365 * 24 * 3600);
    for claims in [
        serde_json::json!({ "UserID": "u", "PlatformID": 1, "exp": later }),
        serde_json::json!({ "aud": "somebody", "exp": later }),
        serde_json::json!({ "aud": "magpie.internal" }),
        serde_json::json!({ "aud": "magpie.internal", "exp": earlier }),
        serde_json::json!({ "aud": "magpie.internal", "exp": never }),
    ] {
        let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
        let mut request = sealed(&ours, Some(context(Caller::Internal)));
        let headers = request.headers_mut();
        headers.insert("magpie-proof", token.parse().unwrap());
        let refused = opened(&ours, request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{claims}");
    }
}

#[tokio::test]
async fn another_version_or_another_instance_is_refused() {
    let ours = cluster("s");
    let mut request = sealed(&ours, None);
    let headers = request.headers_mut();
    headers.insert("magpie-wire", HeaderValue::from_static("3"));
    let refused = opened(&ours, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    // The next one is there during an update.
    let mut request = sealed(&ours, None);
    let headers = request.headers_mut();
    headers.insert("magpie-wire", HeaderValue::from_static("2"));
    assert!(opened(&ours, request).await.is_ok());

    let meant = |instance| {
        let mut request = sealed(&ours, None);
        let headers = request.headers_mut();
        headers.insert("magpie-instance", HeaderValue::from_static(instance));
        request
    };
    assert!(opened(&ours, meant("a")).await.is_ok());
    let refused = opened(&ours, meant("b")).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert_eq!(refused.metadata().get("magpie-instance").unwrap(), "a");
}

#[test]
fn metadata_from_outside_is_replaced_or_removed() {
    let mut request = Request::new(Body::empty());
    for name in ["magpie-context-bin", "magpie-proof", "traceparent"] {
        let forged = HeaderValue::from_static("forged");
        request.headers_mut().insert(name, forged);
    }
    cluster("s").seal(&mut request).unwrap();
    let headers = request.headers();
    assert!(!headers.contains_key("magpie-context-bin"));
    assert!(!headers.values().any(|v| v == "forged"), "{headers:?}");
}

#[test]
fn a_context_that_is_too_long_is_refused_by_the_sender() {
    let mut request = Request::new(Body::empty());
    let long = Context::internal("o".repeat(10_000));
    request.extensions_mut().insert(long);
    let refused = cluster("s").seal(&mut request).unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn requests_and_calls_have_a_limit() {
    let ours = cluster("s");
    let long = sealed(&ours, None).map(|_| AxumBody::from(vec![0; LIMITS.request + 1]));
    let refused = opened(&ours, long).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);

    let silent = tower::service_fn(|_: Request<AxumBody>| {
        std::future::pending::<Result<Response<AxumBody>, Infallible>>()
    });
    let guarded = ours.guard("a", LIMITS).layer(silent);
    let first = guarded.clone().oneshot(sealed(&ours, None));
    let second = guarded.oneshot(sealed(&ours, None));
    tokio::select! {
        biased;
        _ = first => unreachable!("it is silent"),
        answer = second => {
            let status = Status::from_header_map(answer.unwrap().headers()).unwrap();
            assert_eq!(status.code(), Code::ResourceExhausted);
        }
    }
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Every span is `PARENT`; remembers what a span was made to follow.
struct Fake;

static FOLLOWED: OnceLock<String> = OnceLock::new();

impl Propagator for Fake {
    fn traceparent(&self, _span: &Span) -> String {
        PARENT.to_owned()
    }

    fn follow(&self, _span: &Span, parent: &str) {
        FOLLOWED.get_or_init(|| parent.to_owned());
    }
}

#[tokio::test]
async fn the_trace_goes_on_at_the_other_end() {
    trace::install(Fake);
    let ours = cluster("s");
    let _on = tracing::subscriber::set_default(tracing_subscriber::registry());
    let request = tracing::info_span!("rpc").in_scope(|| sealed(&ours, None));
    opened(&ours, request).await.unwrap();
    assert_eq!(FOLLOWED.get().unwrap(), PARENT);
}
