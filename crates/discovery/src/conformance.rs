//! The contract of [`Registry`](crate::Registry) as tests, generic over a cluster of the engine.
//!
//! Every engine runs the first table with [`conformance_tests!`](crate::conformance_tests); one that can have several instances
//! of a service runs `conformance_tests!(several: ..)` besides. Every case gets a cluster of its own. The instances are tiny:
//! they answer every call with their own id.

mod one;
mod several;

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::Ready,
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use tonic::{Status, body::Body, server::NamedService, service::Routes};
use tower::{Service, ServiceExt as _};

use crate::{Channel, Idempotent, RouteKey, SharedRegistry};

pub use one::*;
pub use several::*;

/// The service of the cases.
pub const SERVICE: &str = "msg";

/// A cluster of one case.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// What a process that calls services sees. Each call may make another process.
    async fn registry(&self) -> SharedRegistry;

    /// Starts an instance of [`SERVICE`] and returns when it is ready to be found.
    async fn start(&self, instance: &str, routes: Routes);

    /// Has an instance leave in good order and returns when it has ended.
    async fn stop(&self, instance: &str);

    /// Ends an instance as kill -9 does: its connections break, and it deregisters nothing.
    async fn kill(&self, instance: &str);
}

/// Makes a `#[tokio::test]` of each case. The expression makes a new [`Cluster`](crate::conformance::Cluster).
#[macro_export]
macro_rules! conformance_tests {
    (@cases $cluster:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::$case(&$cluster).await;
            }
        )*
    };
    (several: $cluster:expr) => {
        $crate::conformance_tests! { @cases $cluster;
            calls_are_spread_over_the_instances,
            a_key_reaches_the_same_instance_from_every_process,
            a_new_instance_takes_only_the_keys_it_serves,
            an_instance_that_goes_moves_only_its_own_keys,
            no_call_fails_while_an_instance_leaves,
            no_repeatable_call_fails_when_an_instance_is_killed,
            a_killed_instance_vanishes,
            a_direct_channel_reaches_its_instance_and_no_other,
        }
    };
    ($cluster:expr) => {
        $crate::conformance_tests! { @cases $cluster;
            a_service_without_instances_is_unavailable,
            a_channel_made_before_its_service_works_when_it_runs,
            waiting_ends_when_the_service_runs,
            requests_and_answers_pass_unchanged,
            a_refusal_is_passed_on,
            an_instance_has_a_direct_channel,
            hints_are_no_hindrance,
        }
    };
}

/// How long a state may take to come. Generous: debug build, busy machine.
const WAIT: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(5);

/// The key of the answer that names the instance.
const WHO: &str = "who";

/// An instance that answers with its id, and with the caller's `text` and body. `/test.Who/Refuse` is refused.
#[derive(Clone)]
pub struct Who(HeaderValue);

impl Who {
    /// The routes of an instance.
    ///
    /// # Panics
    /// The id is no header value.
    pub fn routes(instance: &str) -> Routes {
        Routes::new(Self(instance.parse().expect("a header value")))
    }
}

impl NamedService for Who {
    const NAME: &'static str = "test.Who";
}

impl Service<Request<Body>> for Who {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.uri().path() == "/test.Who/Refuse" {
            return std::future::ready(Ok(
                Status::permission_denied("not for you").into_http::<Body>()
            ));
        }
        let (parts, body) = request.into_parts();
        let mut answer = Response::new(body);
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from_static("0"));
        headers.insert(WHO, self.0.clone());
        if let Some(text) = parts.headers.get("text") {
            headers.insert("text", text.clone());
        }
        std::future::ready(Ok(answer))
    }
}

/// A call of `/test.Who/Ask`.
///
/// # Panics
/// Never.
pub fn question() -> Request<Body> {
    Request::post("/test.Who/Ask")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::empty())
        .expect("a request")
}

/// The same, and it may be sent again.
pub fn repeatable() -> Request<Body> {
    let mut request = question();
    request.extensions_mut().insert(Idempotent);
    request
}

fn keyed(key: usize) -> Request<Body> {
    let mut request = question();
    let key = RouteKey(Bytes::from(format!("conversation {key}")));
    request.extensions_mut().insert(key);
    request
}

/// Who answers.
pub async fn ask(channel: &Channel, request: Request<Body>) -> Result<String, Status> {
    let call = channel.clone().oneshot(request);
    let answer = tokio::time::timeout(WAIT, call)
        .await
        .expect("an answer in time")?;
    if let Some(status) = Status::from_header_map(answer.headers())
        && status.code() != tonic::Code::Ok
    {
        return Err(status);
    }
    let who = answer.headers().get(WHO).and_then(|v| v.to_str().ok());
    Ok(who.unwrap_or_default().to_owned())
}

/// Looks until it is so.
///
/// # Panics
/// It is not so in time.
pub async fn until(what: &str, mut look: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + WAIT;
    while !look().await {
        assert!(tokio::time::Instant::now() < end, "{what}: not in time");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Starts instances with the cases' answers and waits until `registry` knows them.
async fn start(cluster: &dyn Cluster, registry: &SharedRegistry, instances: &[&str]) {
    for instance in instances {
        cluster.start(instance, Who::routes(instance)).await;
    }
    for instance in instances {
        until("an instance is seen", async || {
            ids(registry).contains(*instance)
        })
        .await;
    }
}

/// The ids of the instances.
pub fn ids(registry: &SharedRegistry) -> BTreeSet<String> {
    let instances = registry.instances(SERVICE);
    instances.into_iter().map(|(id, _)| id).collect()
}

const KEYS: usize = 300;

/// Who serves which key.
async fn placement(channel: &Channel) -> BTreeMap<usize, String> {
    let mut found = BTreeMap::new();
    for key in 0..KEYS {
        found.insert(key, ask(channel, keyed(key)).await.expect("an answer"));
    }
    found
}
