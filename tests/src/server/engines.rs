//! The engines that servers run on: embedded, or real etcd, Kafka, MongoDB and Redis servers.
//!
//! The environment variable `MAGPIE_TEST_ENGINES` chooses: `embedded` (default) or `cluster`. The real servers are shared by the
//! tests of a binary; each test has a [`Namespace`] in them. A test that harms one brings its own.

use std::io::Write as _;
use std::sync::LazyLock;
use std::thread;

use magpie_testdeps::{Kind, Server};

/// Name of the variable.
const VARIABLE: &str = "MAGPIE_TEST_ENGINES";
/// By this secret the processes of a cluster know each other.
const CLUSTER_SECRET: &str = "tests-only-between-services-fedcba9876543210";

static SHARED: LazyLock<Engines> = LazyLock::new(|| {
    let start = |kind| move || Server::start(kind);
    thread::scope(|scope| {
        let kinds = [Kind::Etcd, Kind::Kafka, Kind::Mongo, Kind::Redis];
        let [etcd, kafka, mongo, redis] = kinds.map(|kind| scope.spawn(start(kind)));
        let join = |server: thread::ScopedJoinHandle<'_, Server>| {
            server
                .join()
                .expect("it starts (scripts/deps install gets what is missing)")
        };
        Engines {
            etcd: join(etcd),
            kafka: join(kafka),
            mongo: join(mongo),
            redis: join(redis),
        }
    })
});

/// Whether tests run on real engines.
///
/// # Panics
/// The variable has an unknown value.
#[must_use]
pub fn on_cluster() -> bool {
    match std::env::var(VARIABLE).as_deref() {
        Err(_) | Ok("" | "embedded") => false,
        Ok("cluster") => true,
        Ok(other) => panic!("{VARIABLE} is {other}; it can be embedded or cluster"),
    }
}

/// Whether a test about the files of embedded engines can't run now. Then it says so, on a passing run too.
#[must_use]
pub fn needs_embedded(test: &str, why: &str) -> bool {
    skip(on_cluster(), test, "embedded", why)
}

/// Whether a test about processes of a cluster can't run now. Then it says so, on a passing run too.
#[must_use]
pub fn needs_cluster(test: &str, why: &str) -> bool {
    skip(!on_cluster(), test, "cluster", why)
}

fn skip(skipped: bool, test: &str, needs: &str, why: &str) -> bool {
    if skipped {
        // Not `eprintln!`: what that prints is only shown when a test fails.
        let line = format!("skipped: {test} needs {VARIABLE}={needs}: {why}\n");
        std::io::stderr().write_all(line.as_bytes()).ok();
    }
    skipped
}

/// Real servers.
#[derive(Clone)]
pub struct Engines {
    /// Registry.
    pub etcd: Server,
    /// Message log.
    pub kafka: Server,
    /// Store.
    pub mongo: Server,
    /// Presence.
    pub redis: Server,
}

impl Engines {
    /// Those that all tests of this binary share. Blocks until they answer.
    #[must_use]
    pub fn shared() -> Self {
        SHARED.clone()
    }
}

impl std::fmt::Debug for Engines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [etcd, kafka] = [self.etcd.url(), self.kafka.url()];
        write!(f, "Engines({etcd}, {kafka}, …)")
    }
}

/// A cluster's own part of the engines.
#[derive(Debug, Clone)]
pub(super) struct Namespace {
    engines: Engines,
    name: String,
}

impl Namespace {
    pub(super) fn new(engines: Engines) -> Self {
        let name = format!("t{:012x}", rand::random::<u64>() >> 16);
        Self { engines, name }
    }

    /// What a process of the cluster is told by its environment.
    pub(super) fn env(&self) -> Vec<(&'static str, String)> {
        let Self { engines, name } = self;
        vec![
            ("MAGPIE_CLUSTER_SECRET", CLUSTER_SECRET.to_owned()),
            ("MAGPIE_ETCD_ENDPOINTS", engines.etcd.url()),
            ("MAGPIE_ETCD_PREFIX", format!("/{name}/services")),
            ("MAGPIE_KAFKA_BROKERS", engines.kafka.url()),
            ("MAGPIE_KAFKA_PREFIX", format!("{name}-")),
            ("MAGPIE_KAFKA_REPLICATION", "1".to_owned()),
            ("MAGPIE_KAFKA_PARTITIONS", "8".to_owned()),
            ("MAGPIE_MONGO_URI", engines.mongo.url()),
            ("MAGPIE_MONGO_DATABASE", name.clone()),
            ("MAGPIE_REDIS_URI", engines.redis.url()),
            ("MAGPIE_REDIS_PREFIX", name.clone()),
        ]
    }
}
