//! Settings of a cluster: its engines, and how its processes call each other.

use std::{collections::BTreeMap, path::PathBuf};

use magpie_service::config::Secret;
use serde::{Deserialize, Serialize};

/// What the processes of a cluster share.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Cluster {
    /// Secret that authenticates the services of the cluster to each other; at least 32 characters, the same for all. `openssl rand -hex 32`
    /// makes one.
    pub(crate) secret: Secret,
    /// File with that secret, instead.
    pub(crate) secret_file: PathBuf,
    /// Host under which the other processes reach this one. Empty: the address of `listen.internal`.
    pub(crate) advertise_host: String,
}

/// Calls between services.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Calls {
    /// Deadline of a call that brings none of its own, ms.
    pub(crate) timeout_ms: u64,
    /// Longest wait for a connection, ms.
    pub(crate) connect_timeout_ms: u64,
    /// Calls under way to one service; the next one is refused at once.
    pub(crate) max_outstanding: usize,
    /// How often a call that may be repeated is sent at most.
    pub(crate) max_attempts: usize,
    /// Repeated calls in relation to all calls of the last ten seconds.
    pub(crate) retry_share: f64,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            timeout_ms: 30_000,
            connect_timeout_ms: 1000,
            max_outstanding: 10_000,
            max_attempts: 3,
            retry_share: 0.2,
        }
    }
}

/// etcd, in which services find each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Etcd {
    /// Addresses of its members.
    pub(crate) endpoints: Vec<String>,
    /// Comes before the keys; clusters that share an etcd need different ones.
    pub(crate) prefix: String,
    /// User, where etcd asks for one.
    pub(crate) user: String,
    /// Password of that user.
    pub(crate) password: Secret,
    /// PEM file with the authority of etcd's certificate, for `https` endpoints.
    pub(crate) ca_file: PathBuf,
    /// PEM file with our certificate, where etcd asks for one.
    pub(crate) cert_file: PathBuf,
    /// PEM file with its key.
    pub(crate) key_file: PathBuf,
    /// A registration that is not renewed ends after this time, s.
    pub(crate) lease_s: u64,
}

impl Default for Etcd {
    fn default() -> Self {
        Self {
            endpoints: vec!["http://127.0.0.1:2379".to_owned()],
            prefix: "/magpie/services".to_owned(),
            user: String::new(),
            password: Secret::default(),
            ca_file: PathBuf::new(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            lease_s: 5,
        }
    }
}

/// Kafka, the message log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Kafka {
    /// Addresses to start from, `host:port,host:port`.
    pub(crate) brokers: String,
    /// Comes before the names of topics and groups; clusters that share a Kafka need different ones.
    pub(crate) prefix: String,
    /// Partitions of each topic; another number needs `magpie admin repartition`.
    pub(crate) partitions: u32,
    /// Replicas of topics that are made here. Below 3 an acknowledged message can be lost with one broker.
    pub(crate) replication: u16,
    /// How long topics that are made here keep records, hours.
    pub(crate) retention_hours: u64,
    /// How long a record waits for others to share its request, ms.
    pub(crate) linger_ms: u64,
    /// Batches of transfer and push are this far apart under load, so that they gather; a message that comes alone never waits, ms.
    pub(crate) batch_spacing_ms: u64,
    /// `none`, `lz4`, `snappy` or `gzip`.
    pub(crate) compression: String,
    /// Largest record, bytes.
    pub(crate) max_record_bytes: usize,
    /// Bytes that may wait for Kafka before sends are refused.
    pub(crate) max_buffer_bytes: usize,
    /// A record that Kafka has not acknowledged for this long is answered with an error, ms.
    pub(crate) delivery_timeout_ms: u64,
    /// A consumer that is not heard of for this long loses its partitions, ms.
    pub(crate) session_timeout_ms: u64,
    /// Sends are refused when this much waits to be stored, bytes.
    pub(crate) max_backlog_bytes: u64,
    /// Sends are refused when something has waited this long to be stored, minutes; below half the retention.
    pub(crate) max_backlog_minutes: u64,
    /// Further properties of librdkafka, such as `security.protocol`.
    pub(crate) properties: BTreeMap<String, Secret>,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: "127.0.0.1:9092".to_owned(),
            prefix: "magpie-".to_owned(),
            partitions: 64,
            replication: 3,
            retention_hours: 24,
            linger_ms: 1,
            batch_spacing_ms: 10,
            compression: "none".to_owned(),
            max_record_bytes: 1 << 20,
            max_buffer_bytes: 8 << 20,
            delivery_timeout_ms: 15_000,
            session_timeout_ms: 6000,
            max_backlog_bytes: 4 << 30,
            max_backlog_minutes: 11 * 60,
            properties: BTreeMap::new(),
        }
    }
}

/// MongoDB, the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mongo {
    /// Connection string, with user, password and TLS options. Default: `mongodb://127.0.0.1:27017/?replicaSet=rs0`.
    pub(crate) uri: Secret,
    /// Database.
    pub(crate) database: String,
    /// Most connections of a process to each server.
    pub(crate) pool_size: u32,
    /// Longest time of one call, ms.
    pub(crate) call_timeout_ms: u64,
}

impl Default for Mongo {
    fn default() -> Self {
        Self {
            uri: "mongodb://127.0.0.1:27017/?replicaSet=rs0"
                .to_owned()
                .into(),
            database: "magpie".to_owned(),
            pool_size: 16,
            call_timeout_ms: 10_000,
        }
    }
}

/// Redis, for presence.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Redis {
    /// `redis://host:port`, `redis+sentinel://host:port,host:port/MASTER` or `redis+cluster://host:port,host:port`; `rediss…` for TLS.
    /// Default: `redis://127.0.0.1:6379`.
    pub(crate) uri: Secret,
    /// Comes before all keys; clusters that share a Redis need different ones.
    pub(crate) prefix: String,
    /// With TLS: PEM file of the authority of Redis's certificate.
    pub(crate) ca_file: PathBuf,
    /// With TLS: PEM file with our certificate, where Redis asks for one.
    pub(crate) cert_file: PathBuf,
    /// With TLS: PEM file with its key.
    pub(crate) key_file: PathBuf,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            uri: "redis://127.0.0.1:6379".to_owned().into(),
            prefix: "magpie".to_owned(),
            ca_file: PathBuf::new(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
        }
    }
}
