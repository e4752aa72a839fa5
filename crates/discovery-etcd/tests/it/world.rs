//! A cluster in one test process: every instance has a runtime of its own, so that ending that ends it as a kill does.

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use magpie_discovery::{
    SharedRegistry,
    conformance::{Cluster, SERVICE},
};
use magpie_discovery_etcd::{EtcdRegistry, Options, Registration};
use magpie_service::{
    health::Readiness,
    internal::Internal,
    run::{Config as Ending, withdraw},
    serve::{self, Member},
};
use magpie_testdeps::{Kind, Server};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// One etcd for the cases that do it no harm.
pub(crate) static ETCD: LazyLock<Server> = LazyLock::new(|| Server::start(Kind::Etcd));

/// The cluster's secret.
pub(crate) const SECRET: &str = "a secret of the cluster";

pub(crate) fn internal() -> Arc<Internal> {
    Internal::new(&SECRET.into())
}

/// A namespace on an etcd, with its instances.
pub(crate) struct World {
    pub(crate) options: Options,
    nodes: Mutex<HashMap<String, Node>>,
}

impl World {
    pub(crate) fn new(etcd: &Server) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let mut options = Options::default();
        options.etcd.endpoints = vec![etcd.url()];
        options.etcd.prefix = format!("/test/{}", NUMBER.fetch_add(1, Relaxed));
        options.etcd.lease = Duration::from_secs(2);
        options.etcd.renewal = Duration::from_millis(500);
        Self {
            options,
            nodes: Mutex::default(),
        }
    }

    /// What another process sees.
    pub(crate) fn process(&self) -> Arc<EtcdRegistry> {
        self.process_with(self.options.clone())
    }

    pub(crate) fn process_with(&self, options: Options) -> Arc<EtcdRegistry> {
        let internal = internal();
        EtcdRegistry::start(options, Arc::new(move |request| internal.seal(request)))
            .expect("it works")
    }

    pub(crate) async fn add(&self, instance: &str, routes: Routes) -> String {
        self.add_with(instance, routes, internal()).await
    }

    /// An instance that refuses everybody.
    pub(crate) async fn add_stranger(&self, instance: &str, routes: Routes) {
        let other = Internal::new(&"another secret".into());
        self.add_with(instance, routes, other).await;
    }

    async fn add_with(&self, instance: &str, routes: Routes, internal: Arc<Internal>) -> String {
        let node = Node::start(self, instance, routes, internal).await;
        let address = node.address.clone();
        self.nodes
            .lock()
            .expect("a lock")
            .insert(instance.to_owned(), node);
        address
    }

    /// Whether etcd had all registrations at their last renewal.
    pub(crate) fn all_registered(&self) -> bool {
        let nodes = self.nodes.lock().expect("a lock");
        nodes.values().all(|n| n.registration.is_registered())
    }

    pub(crate) fn none_registered(&self) -> bool {
        let nodes = self.nodes.lock().expect("a lock");
        nodes.values().all(|n| !n.registration.is_registered())
    }

    fn take(&self, instance: &str) -> Node {
        self.nodes
            .lock()
            .expect("a lock")
            .remove(instance)
            .expect("it works")
    }
}

#[async_trait]
impl Cluster for World {
    async fn registry(&self) -> SharedRegistry {
        self.process()
    }

    async fn start(&self, instance: &str, routes: Routes) {
        self.add(instance, routes).await;
    }

    async fn stop(&self, instance: &str) {
        self.take(instance).stop().await;
    }

    async fn kill(&self, instance: &str) {
        self.take(instance).kill();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (_, node) in self.nodes.lock().expect("a lock").drain() {
            node.kill();
        }
    }
}

/// One instance.
struct Node {
    runtime: Option<Runtime>,
    address: String,
    readiness: Readiness,
    shutdown: CancellationToken,
    registration: Registration,
    serving: JoinHandle<()>,
    _registry: Arc<EtcdRegistry>,
}

impl Node {
    async fn start(world: &World, instance: &str, routes: Routes, internal: Arc<Internal>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let id = instance.to_owned();
        let (readiness, shutdown) = (Readiness::default(), CancellationToken::new());
        readiness.set(true);
        let registry = {
            let _inside = runtime.enter();
            world.process()
        };
        let parts = runtime.spawn({
            let (readiness, shutdown, registry) =
                (readiness.clone(), shutdown.clone(), Arc::clone(&registry));
            async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
                let address = listener.local_addr().expect("an address").to_string();
                let serving = tokio::spawn(run(
                    id.clone(),
                    routes,
                    internal,
                    readiness,
                    listener,
                    shutdown,
                ));
                let registration = registry.register(SERVICE, &id, &address).expect("a name");
                registration.registered().await;
                (address, serving, registration)
            }
        });
        let (address, serving, registration) = parts.await.expect("it starts");
        Self {
            runtime: Some(runtime),
            address,
            readiness,
            shutdown,
            registration,
            serving,
            _registry: registry,
        }
    }

    /// As a process ends at a signal.
    async fn stop(mut self) {
        let (config, leave) = (Ending::default(), self.registration.deregister());
        withdraw(&self.readiness, &config, &self.shutdown, leave).await;
        self.shutdown.cancel();
        self.serving.await.expect("it served");
        self.runtime.take().expect("it runs").shutdown_background();
    }

    fn kill(mut self) {
        self.runtime.take().expect("it runs").shutdown_background();
    }
}

/// Serves an instance.
pub(crate) async fn run(
    instance: String,
    routes: Routes,
    internal: Arc<Internal>,
    readiness: Readiness,
    listener: TcpListener,
    shutdown: CancellationToken,
) {
    let member = Member {
        service: SERVICE,
        instance,
        routes,
    };
    let config = serve::Config::default();
    serve::serve(member, &config, &internal, &readiness, listener, shutdown)
        .await
        .expect("it is served");
}
