//! The engines of a cluster, and this process's place in it.
//!
//! The process waits for its engines as long as it takes and says for what. Each of its services has a port of its own for the
//! others, behind the check of the cluster's secret, and a registration in etcd; their instance id is new at every start.
//!
//! - `secrets`: what must be set before a cluster starts. `engines`: the settings of the four engines. `log`: Kafka, with what the store remembers of it.
//!   `status`, `repartition`: `magpie admin status` and `repartition`.

mod engines;
mod log;
pub(crate) mod repartition;
mod secrets;
pub(crate) mod status;

use std::{fmt::Display, sync::Arc, time::Duration};

use anyhow::Context as _;
use magpie_discovery::{Registry as _, name};
use magpie_discovery_etcd::{EtcdRegistry, Options, Registration};
use magpie_log::SharedLog;
use magpie_presence::GatewayId;
use magpie_presence_redis::RedisPresence;
use magpie_service::{
    Deps,
    health::Readiness,
    internal::Internal,
    invalidation::{self, Invalidations, Observed},
    serve,
};
use magpie_store::{SharedStore, Store as _, StoreError, documents::SCHEMAS};
use magpie_store_mongo::MongoStore;
use magpie_types::ids;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::Routes;

use self::secrets::Secrets;
use super::{Plan, World, services};
use crate::{config::Config, output::Failure};

/// First pause before an engine is asked again at the start, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// Services that read or write the message log.
const WITH_LOG: [&str; 3] = [name::MSG, name::TRANSFER, name::PUSH];

/// What is known before anything is bound.
pub(super) struct Place {
    secrets: Secrets,
    discovery: Options,
}

/// The services of this process, on their way to be served and registered.
pub(super) struct Host {
    instance: String,
    internal: Arc<Internal>,
    registry: Arc<EtcdRegistry>,
    advertise_host: String,
    listeners: Vec<TcpListener>,
    members: Vec<(&'static str, Routes)>,
    addresses: Vec<(&'static str, String)>,
    registrations: Vec<Registration>,
    /// Whether the other processes may call the services here: already while they are registered, which is before the process is
    /// ready.
    open: Readiness,
    /// Of the log's topics, if it is used here.
    log_generation: Option<u32>,
}

impl Place {
    pub(super) fn take(config: &Config) -> Result<Self, Failure> {
        let secrets = Secrets::of(config)?;
        let unusable = config.cluster.advertise_host.is_empty()
            && config.listen.internal.ip().is_unspecified();
        if unusable {
            return Err(Failure::Usage(format!(
                "listen.internal is {}: set cluster.advertise_host to the host under which the other processes reach this one",
                config.listen.internal
            )));
        }
        Ok(Self {
            secrets,
            discovery: engines::check(config)?,
        })
    }

    /// Connects to the engines, waiting for each.
    pub(super) async fn open(
        self,
        config: &Config,
        plan: &Plan,
        listeners: Vec<TcpListener>,
    ) -> anyhow::Result<World> {
        let internal = Internal::new(&self.secrets.internal.into());
        let seal = Arc::clone(&internal);
        let registry =
            EtcdRegistry::start(self.discovery, Arc::new(move |request| seal.seal(request)))?;
        let tasks = TaskTracker::new();
        let invalidations = Arc::new(Invalidations::default());
        let store = Observed::new(store(config).await?, Arc::clone(&invalidations));
        let with_log = WITH_LOG.into_iter().any(|service| plan.has(service));
        let (log, log_generation): (SharedLog, _) = if with_log {
            let opened = log::open(config, &(Arc::clone(&store) as SharedStore)).await?;
            (opened.0, Some(opened.1))
        } else {
            (Arc::new(log::Absent), None)
        };
        let deps = Deps {
            store,
            log,
            presence: presence(config, &registry).context("redis can't be used")?,
            registry: Arc::<EtcdRegistry>::clone(&registry),
            tasks,
            shutdown: CancellationToken::new(),
            invalidations,
            admins: config.shared.admin_user_ids.clone().into(),
        };
        invalidation::relay(&deps);
        let host = Host {
            instance: instance(),
            internal,
            registry,
            advertise_host: config.cluster.advertise_host.clone(),
            listeners,
            members: Vec::new(),
            addresses: Vec::new(),
            registrations: Vec::new(),
            open: Readiness::default(),
            log_generation,
        };
        Ok(World {
            deps,
            secret: self.secrets.shared,
            host: super::Host::Cluster(host),
        })
    }
}

impl Host {
    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn add(&mut self, service: &'static str, routes: Routes) {
        self.members.push((service, routes));
    }

    /// Serves every service on a port of its own, and ends the process when the log moves on.
    pub(super) fn serve(&mut self, deps: &Deps, failed: &services::Failed, config: &Config) {
        if let Some(generation) = self.log_generation {
            let (store, shutdown) = (Arc::clone(&deps.store), deps.shutdown.clone());
            let follow = log::follow(store, generation, shutdown);
            services::part(deps, failed, "message log", follow);
        }
        for ((service, routes), listener) in self.members.drain(..).zip(self.listeners.drain(..)) {
            let member = serve::Member {
                service,
                instance: self.instance.clone(),
                routes,
            };
            if let Ok(address) = listener.local_addr() {
                let host = match self.advertise_host.as_str() {
                    "" => address.ip().to_string(),
                    host => host.to_owned(),
                };
                let host = if host.contains(':') {
                    format!("[{host}]")
                } else {
                    host
                };
                self.addresses
                    .push((service, format!("{host}:{}", address.port())));
            }
            let (config, internal) = (config.internal.clone(), Arc::clone(&self.internal));
            let (open, shutdown) = (self.open.clone(), deps.shutdown.clone());
            services::part(deps, failed, service, async move {
                serve::serve(member, &config, &internal, &open, listener, shutdown).await
            });
        }
    }

    /// Registers the services and returns when etcd has them and this process knows it.
    pub(super) async fn join(&mut self) -> anyhow::Result<()> {
        self.open.set(true);
        let mut services = Vec::new();
        for (service, address) in self.addresses.drain(..) {
            services.push(service);
            let registration = self.registry.register(service, &self.instance, &address)?;
            self.registrations.push(registration);
        }
        for registration in &self.registrations {
            registration.registered().await;
        }
        // This process may need them too, and learns of them as the others do.
        for service in services {
            self.registry.wait_for(service).await;
        }
        Ok(())
    }

    pub(super) async fn leave(&mut self) {
        self.open.set(false);
        futures::future::join_all(self.registrations.drain(..).map(Registration::deregister)).await;
    }
}

/// Unique, and never used again: gateways are told apart by it.
fn instance() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || "-_.".contains(*c);
    let host: String = host.trim().chars().filter(plain).take(40).collect();
    let random = hex::encode(ids::random_bytes::<6>());
    if host.is_empty() {
        random
    } else {
        format!("{host}-{random}")
    }
}

/// Asks until it works. What can't become better ends the process.
async fn wait_for<T, E: Display>(
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<T, E>,
    may_become_better: impl Fn(&E) -> bool,
) -> anyhow::Result<T> {
    let [mut pause, longest] = PAUSES;
    loop {
        match attempt().await {
            Ok(value) => return Ok(value),
            Err(e) if may_become_better(&e) => {
                tracing::warn!(error = %e, ?pause, "waiting for {what}");
            }
            Err(e) => anyhow::bail!("{what} can't be used: {e}"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

async fn store(config: &Config) -> anyhow::Result<Arc<MongoStore>> {
    let options = engines::store(config);
    let away = |e: &StoreError| matches!(e, StoreError::Unavailable(_));
    let connect = async || {
        let store = MongoStore::connect(options.clone()).await?;
        store.prepare(SCHEMAS).await?;
        Ok(store)
    };
    wait_for("MongoDB (mongo.uri)", connect, away).await
}

fn presence(
    config: &Config,
    registry: &Arc<EtcdRegistry>,
) -> Result<Arc<RedisPresence>, magpie_presence_redis::OpenError> {
    let registry = Arc::downgrade(registry);
    let gateways = move || -> Vec<GatewayId> {
        let all = registry.upgrade().map(|r| r.instances(name::GATEWAY));
        let ids = all.into_iter().flatten().map(|(id, _)| id.into());
        ids.collect()
    };
    RedisPresence::open(&engines::presence(config), Arc::new(gateways))
}
