//! The settings of the four engines, as each of them takes them. [`check`] finds what can't work before anything is bound; what may
//! become better (a server that is away) is waited for later.

use std::{fmt::Display, path::Path, time::Duration};

use magpie_discovery_etcd::{Calls, Etcd, Options, Tls};
use magpie_service::config::Secret;

use crate::{config::Config, output::Failure};

/// Refuses what can't work; gives the settings of discovery, whose files are read here.
pub(super) fn check(config: &Config) -> Result<Options, Failure> {
    let wrong = |part: &str, why: &dyn Display| Failure::Usage(format!("{part}{why}"));
    let discovery = discovery(config)?;
    discovery.etcd.check().map_err(|why| wrong("etcd.", &why))?;
    log(config).check().map_err(|why| wrong("kafka.", &why))?;
    store(config)
        .check()
        .map_err(|why| wrong("mongo.uri: ", &why))?;
    presence(config)
        .check()
        .map_err(|why| wrong("redis.", &why))?;
    Ok(discovery)
}

/// Kafka, without what only a running process has.
pub(super) fn log(config: &Config) -> magpie_log_kafka::Options {
    let kafka = &config.kafka;
    let ms = Duration::from_millis;
    let property = |(name, value): (&String, &Secret)| (name.clone(), value.expose().to_owned());
    magpie_log_kafka::Options {
        brokers: kafka.brokers.clone(),
        prefix: kafka.prefix.clone(),
        partitions: kafka.partitions,
        replication: kafka.replication,
        retention: Duration::from_secs(kafka.retention_hours * 3600),
        max_record: kafka.max_record_bytes,
        max_buffer_bytes: kafka.max_buffer_bytes,
        linger: ms(kafka.linger_ms),
        batch_spacing: ms(kafka.batch_spacing_ms),
        compression: kafka.compression.clone(),
        delivery_timeout: ms(kafka.delivery_timeout_ms),
        session_timeout: ms(kafka.session_timeout_ms),
        max_backlog_bytes: kafka.max_backlog_bytes,
        max_backlog_age: Duration::from_secs(kafka.max_backlog_minutes * 60),
        properties: kafka.properties.iter().map(property).collect(),
        ..magpie_log_kafka::Options::default()
    }
}

/// MongoDB.
pub(super) fn store(config: &Config) -> magpie_store_mongo::Options {
    let mongo = &config.mongo;
    magpie_store_mongo::Options {
        database: mongo.database.clone(),
        pool_size: mongo.pool_size,
        call_timeout: Duration::from_millis(mongo.call_timeout_ms),
        ..magpie_store_mongo::Options::new(mongo.uri.clone())
    }
}

/// Redis.
pub(super) fn presence(config: &Config) -> magpie_presence_redis::Options {
    let redis = &config.redis;
    let set = |path: &Path| !path.as_os_str().is_empty();
    magpie_presence_redis::Options {
        prefix: redis.prefix.clone(),
        ca_file: set(&redis.ca_file).then(|| redis.ca_file.clone()),
        identity_files: set(&redis.cert_file)
            .then(|| (redis.cert_file.clone(), redis.key_file.clone())),
        ..magpie_presence_redis::Options::new(redis.uri.clone())
    }
}

/// etcd, and the calls between services.
fn discovery(config: &Config) -> Result<Options, Failure> {
    let (etcd, calls) = (&config.etcd, &config.calls);
    let read = |key: &str, path: &Path| {
        std::fs::read_to_string(path).map_err(|e| {
            Failure::Usage(format!("etcd.{key}: {} can't be read: {e}", path.display()))
        })
    };
    let set = |path: &Path| !path.as_os_str().is_empty();
    let tls = if set(&etcd.ca_file) {
        let identity = if set(&etcd.cert_file) {
            let key = Secret::from(read("key_file", &etcd.key_file)?);
            Some((read("cert_file", &etcd.cert_file)?, key.into()))
        } else {
            None
        };
        Some(Tls {
            authority: read("ca_file", &etcd.ca_file)?,
            identity,
            domain: None,
        })
    } else {
        None
    };
    Ok(Options {
        etcd: Etcd {
            endpoints: etcd.endpoints.clone(),
            prefix: etcd.prefix.clone(),
            user: (!etcd.user.is_empty())
                .then(|| (etcd.user.clone(), etcd.password.clone().into())),
            tls,
            lease: Duration::from_secs(etcd.lease_s),
            ..Etcd::default()
        },
        calls: Calls {
            timeout: Duration::from_millis(calls.timeout_ms),
            connect: Duration::from_millis(calls.connect_timeout_ms),
            max_outstanding: calls.max_outstanding,
            max_attempts: calls.max_attempts,
            retry_share: calls.retry_share as f32,
            ..Calls::default()
        },
    })
}
