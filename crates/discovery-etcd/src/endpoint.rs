//! One instance: its connection, what is under way to it, and whether it is put aside.
//!
//! An instance whose calls break is put aside (*ejected*) for a while that grows from one time to the next; then it is asked
//! whether it serves, and comes back when it says so. Only broken transports count: an answer, even a refusal, is a sign of
//! life. Whoever picks instances may still use one that is put aside when there is no other, and an answer brings it back.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed},
    },
};

use http::{HeaderValue, Request, Response};
use magpie_discovery::{INSTANCE, health_name};
use serde::{Deserialize, Serialize};
use tonic::{
    Status,
    body::Body,
    transport::{self, Endpoint as Dial},
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::{Service as _, ServiceExt as _};

use crate::{Calls, client::pauses};

/// What an instance registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// `host:port`.
    pub(crate) address: String,
    /// The protocol between processes that it speaks.
    pub(crate) version: u32,
    /// Unix time, ms.
    pub(crate) started_at: i64,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// There is no connection to it.
    Gone(String),
    /// It takes no call of ours, or somebody else is at its address.
    Refused(Status),
    /// The connection ended before the request was sent or looked at; there may be a new one at once.
    Unsent(String),
    /// It was sent, and nobody knows.
    Broken(String),
}

/// What an instance says when it is asked whether it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It is there and takes work.
    Serving,
    /// It is there and takes no work any more.
    Leaving,
    /// Nothing, or somebody else is at its address.
    Silent,
}

pub(crate) struct Endpoint {
    service: String,
    id: String,
    header: HeaderValue,
    instance: Instance,
    transport: transport::Channel,
    outstanding: AtomicUsize,
    /// Broken calls since the last answer.
    broken: AtomicU32,
    ejected: AtomicBool,
    /// How often it was ejected since its last answer.
    ejections: AtomicU32,
    limits: Arc<Calls>,
}

impl Endpoint {
    /// `None` for an address or an id that can't be used.
    pub(crate) fn new(
        service: &str,
        id: &str,
        instance: Instance,
        limits: Arc<Calls>,
    ) -> Option<Arc<Self>> {
        let dial = dial(&instance.address, &limits)?;
        Some(Arc::new(Self {
            service: service.to_owned(),
            id: id.to_owned(),
            header: HeaderValue::from_str(id).ok()?,
            transport: dial.connect_lazy(),
            instance,
            outstanding: AtomicUsize::new(0),
            broken: AtomicU32::new(0),
            ejected: AtomicBool::new(false),
            ejections: AtomicU32::new(0),
            limits,
        }))
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Calls under way.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Relaxed)
    }

    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected.load(Relaxed)
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn send(
        self: &Arc<Self>,
        mut request: Request<Body>,
    ) -> Result<Response<Body>, Failure> {
        request.headers_mut().insert(INSTANCE, self.header.clone());
        let _under_way = UnderWay::new(&self.outstanding);
        let mut transport = self.transport.clone();
        let result = match transport.ready().await {
            Ok(ready) => ready.call(request).await,
            Err(e) => Err(e),
        };
        match result {
            Ok(response) if response.headers().contains_key(INSTANCE) => {
                self.failed(true);
                let status = Status::from_header_map(response.headers());
                let other = || Status::unavailable("another instance answers at this address");
                Err(Failure::Refused(status.unwrap_or_else(other)))
            }
            Ok(response) => {
                self.answered();
                Ok(response)
            }
            Err(e) => {
                let text = format!("{} at {}: {}", self.id, self.instance.address, chain(&e));
                let failure = failure(&e, text);
                self.failed(matches!(failure, Failure::Gone(_)));
                Err(failure)
            }
        }
    }

    /// Asks this very instance.
    pub(crate) async fn state(&self) -> State {
        let request = HealthCheckRequest {
            service: health_name(&self.service, &self.id),
        };
        let mut health = HealthClient::new(self.transport.clone());
        let answer = tokio::time::timeout(self.limits.probe, health.check(request)).await;
        let Ok(Ok(answer)) = answer else {
            return State::Silent;
        };
        match answer.get_ref().status() {
            ServingStatus::Serving => State::Serving,
            ServingStatus::NotServing => State::Leaving,
            _ => State::Silent,
        }
    }

    fn answered(&self) {
        // Read first: these are shared by every call, and nearly always unchanged.
        if self.broken.load(Relaxed) != 0 {
            self.broken.store(0, Relaxed);
        }
        if self.ejections.load(Relaxed) != 0 {
            self.ejections.store(0, Relaxed);
        }
        self.readmit();
    }

    fn readmit(&self) {
        if self.is_ejected() && self.ejected.swap(false, Relaxed) {
            self.broken.store(0, Relaxed);
            tracing::info!(
                service = self.service,
                instance = self.id,
                "an instance serves again"
            );
        }
    }

    fn failed(self: &Arc<Self>, at_once: bool) {
        let broken = self.broken.fetch_add(1, Relaxed) + 1;
        if (at_once || broken >= self.limits.eject_after) && !self.ejected.swap(true, Relaxed) {
            let times = self.ejections.fetch_add(1, Relaxed);
            tracing::warn!(
                service = self.service,
                instance = self.id,
                address = self.instance.address,
                "an instance is put aside"
            );
            metrics::counter!("magpie_rpc_ejections_total", "service" => self.service.clone())
                .increment(1);
            tokio::spawn(recover(self, times));
        }
    }
}

/// What an answer, and all answers of a connection, may have on the way before they are read, bytes.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How instances are reached. The one place to add TLS between services.
fn dial(address: &str, limits: &Calls) -> Option<Dial> {
    let dial = Dial::from_shared(format!("http://{address}")).ok()?;
    Some(
        dial.connect_timeout(limits.connect)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(limits.keepalive)
            .keep_alive_timeout(limits.keepalive_timeout)
            .keep_alive_while_idle(true),
    )
}

/// Brings an ejected instance back when it serves. Ends with the instance.
fn recover(endpoint: &Arc<Endpoint>, times: u32) -> impl Future<Output = ()> + use<> {
    let limits = &endpoint.limits;
    // Its pauses go on growing when it is ejected again before it ever answered; ten doublings reach any limit.
    let pauses = pauses(limits.eject_first, limits.eject_longest / 2).skip(times.min(10) as usize);
    let endpoint = Arc::downgrade(endpoint);
    async move {
        for pause in pauses {
            tokio::time::sleep(pause).await;
            let Some(endpoint) = endpoint.upgrade() else {
                return;
            };
            if !endpoint.is_ejected() {
                return;
            }
            if endpoint.state().await == State::Serving {
                endpoint.readmit();
                return;
            }
        }
    }
}

struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// How far the request came.
fn failure(error: &transport::Error, text: String) -> Failure {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if error.is::<tonic::ConnectError>() {
            return Failure::Gone(text);
        }
        // HTTP/2 connections cancel only what waits in their queue.
        let canceled = error
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_canceled);
        if canceled || error.downcast_ref::<h2::Error>().is_some_and(untouched) {
            return Failure::Unsent(text);
        }
        next = error.source();
    }
    Failure::Broken(text)
}

/// Whether the other end says that it did not look at the request: a connection that is going away names the last one that
/// it answers, and a stream can be refused (RFC 9113, sections 6.8 and 8.7).
fn untouched(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(status) => status,
            Failure::Gone(text) | Failure::Unsent(text) | Failure::Broken(text) => {
                Self::unavailable(text)
            }
        }
    }
}
