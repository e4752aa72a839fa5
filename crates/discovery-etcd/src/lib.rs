//! The registry of a cluster: instances registered in etcd, and balanced HTTP/2 channels to them.
//!
//! An instance is one key under a lease (`register.rs`). Every process follows all keys with one watch (`watch.rs`) into one
//! table (`table.rs`), which decides who is still there: a registration that went missing is not death, so an instance that
//! answers stays, and an etcd that came back empty removes nothing for one lease time. While etcd is away everybody goes on
//! with the last known instances and registers again for ever.
//!
//! A call (`call.rs`) picks an instance (`balance.rs`), sends the request over that instance's connection (`endpoint.rs`), and
//! sends it again elsewhere where that can do no harm. tower's budget of retries is used. Its balancer is not: it can't route
//! by key, exclude what was tried or reach one instance directly, and needs a task with a queue per service.

mod balance;
mod call;
mod client;
mod endpoint;
mod options;
mod register;
mod service;
mod table;
mod watch;

use std::sync::Arc;

use futures::future::BoxFuture;
use http::Request;
use magpie_discovery::{Channel, Farewell, Registry, call_span};
use tokio_util::task::AbortOnDropHandle;
use tonic::{Status, body::Body};
use tracing::Instrument as _;

use self::{call::Target, service::Service, table::Table};
pub use self::{
    options::{Calls, Etcd, Options, Tls, Unusable},
    register::Registration,
};

/// Runs on each request before it is sent, inside the span of the call: puts on it what travels between processes.
pub type Hook = Arc<dyn Fn(&mut Request<Body>) -> Result<(), Status> + Send + Sync>;

/// The instances of the cluster and the ways to them. Dropping it ends the watch; registrations are held by their handles.
pub struct EtcdRegistry {
    client: client::Connector,
    table: Arc<Table>,
    _watch: AbortOnDropHandle<()>,
}

impl EtcdRegistry {
    /// Follows the cluster from now on. It need not be there yet: `wait_for` says when a service is.
    pub fn start(options: Options, hook: Hook) -> Result<Arc<Self>, Unusable> {
        let client = client::Connector::new(options.etcd)?;
        let table = Arc::new(Table::new(client.lease(), options.calls, hook));
        let watch = watch::follow(client.clone(), Arc::clone(&table));
        Ok(Arc::new(Self {
            client,
            table,
            _watch: AbortOnDropHandle::new(tokio::spawn(watch)),
        }))
    }

    /// Returns once etcd has told what is registered, without a limit.
    pub async fn ready(&self) {
        self.table.was_read().await;
    }

    /// Keeps an instance registered until the handle is used to end that. `address` is `host:port` as others reach it; the id
    /// must be unique in the service and never be used again for something else.
    pub fn register(
        &self,
        service: &str,
        instance: &str,
        address: &str,
    ) -> Result<Registration, Unusable> {
        register::register(self.client.clone(), service, instance, address)
    }
}

impl Registry for EtcdRegistry {
    fn channel(&self, service: &'static str) -> Channel {
        let found = self.table.service(service);
        channel(service, move || Target::Any(Arc::clone(&found)))
    }

    fn instances(&self, service: &'static str) -> Vec<(String, Channel)> {
        let found = self.table.service(service);
        let direct = |endpoint: &Arc<endpoint::Endpoint>| {
            let (found, endpoint) = (Arc::clone(&found), Arc::clone(endpoint));
            let id = endpoint.id().to_owned();
            (
                id,
                channel(service, move || {
                    Target::One(Arc::clone(&found), Arc::clone(&endpoint))
                }),
            )
        };
        found.members().iter().map(direct).collect()
    }

    fn wait_for(&self, service: &'static str) -> BoxFuture<'_, ()> {
        let service: Arc<Service> = self.table.service(service);
        Box::pin(async move { service.populated().await })
    }

    fn was_read(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.table.was_read())
    }

    fn before_forgetting(&self, service: &'static str, farewell: Farewell) {
        self.table.service(service).set_farewell(farewell);
    }
}

fn channel(service: &'static str, target: impl Fn() -> Target + Send + Sync + 'static) -> Channel {
    Channel::new(move |request| {
        let span = call_span(service, &request);
        Box::pin(call::call(target(), request).instrument(span))
    })
}
