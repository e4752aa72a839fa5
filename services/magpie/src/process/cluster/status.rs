//! `magpie admin status`: the cluster as this machine sees it, and what is wrong with it.

use std::{fmt::Display, sync::Arc, time::Duration};

use magpie_discovery::{Registry as _, health_name};
use magpie_discovery_etcd::EtcdRegistry;
use magpie_log::{LogError, MessageLog as _};
use magpie_log_kafka::KafkaLog;
use magpie_service::internal::Internal;
use magpie_store::SharedStore;
use tokio::time::timeout;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{Place, log, presence, services};
use crate::{
    config::Config,
    output::{Failure, say},
};

/// Longest wait for each answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// A group that is further behind is in trouble.
const MAX_AGE: Duration = Duration::from_secs(30);

/// Lines to print, and what is wrong.
#[derive(Default)]
struct Report {
    wrong: Vec<String>,
}

impl Report {
    fn line(&self, what: &str, state: &str) {
        say(&format!("{what:<34} {state}"));
    }

    fn wrong(&mut self, what: &str, why: impl Display) {
        self.line(what, &format!("WRONG: {why}"));
        self.wrong.push(format!("{what}: {why}"));
    }
}

/// Prints the state of the cluster; false if something is wrong.
pub(crate) async fn show(config: &Config) -> Result<bool, Failure> {
    let place = Place::take(config)?;
    let internal = Internal::new(&place.secrets.internal.into());
    let seal = Arc::clone(&internal);
    let registry = EtcdRegistry::start(place.discovery, Arc::new(move |r| seal.seal(r)))
        .map_err(|e| Failure::Usage(e.to_string()))?;
    let mut report = Report::default();
    match timeout(PATIENCE, registry.ready()).await {
        Ok(()) => {
            report.line("discovery (etcd)", "answers");
            instances(&registry, &mut report).await;
        }
        Err(_) => report.wrong(
            "discovery (etcd)",
            "it does not answer (etcd.endpoints); who is registered can't be told",
        ),
    }
    match timeout(PATIENCE, super::store(config)).await {
        Ok(Ok(store)) => {
            report.line("store (MongoDB)", "answers");
            message_log(config, &(store as SharedStore), &mut report).await;
        }
        Ok(Err(e)) => report.wrong("store (MongoDB)", e),
        Err(_) => report.wrong("store (MongoDB)", "it does not answer (mongo.uri)"),
    }
    match presence(config, &registry) {
        Ok(redis) if timeout(PATIENCE, redis.ready()).await.is_ok() => {
            report.line("presence (Redis)", "answers");
        }
        Ok(_) => report.wrong("presence (Redis)", "it does not answer (redis.uri)"),
        Err(e) => report.wrong("presence (Redis)", e),
    }
    match report.wrong.len() {
        0 => say("\nnothing is wrong"),
        n => say(&format!("\n{n} wrong:\n  {}", report.wrong.join("\n  "))),
    }
    Ok(report.wrong.is_empty())
}

/// Every service's instances, each asked whether it serves.
async fn instances(registry: &EtcdRegistry, report: &mut Report) {
    for service in services::ALL {
        let there = registry.instances(service);
        if there.is_empty() {
            report.wrong(service, "no instance is registered in etcd");
        }
        for (instance, channel) in there {
            let what = format!("{service} {instance}");
            let question = HealthCheckRequest {
                service: health_name(service, &instance),
            };
            let mut health = HealthClient::new(channel);
            match timeout(PATIENCE, health.check(question)).await {
                Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => {
                    report.line(&what, "serves");
                }
                Ok(Ok(_)) => report.line(&what, "is starting or stopping"),
                Ok(Err(status)) => report.wrong(&what, status.message()),
                Err(_) => report.wrong(&what, "it does not answer"),
            }
        }
    }
}

/// How far the groups are behind, and what Kafka's settings risk.
async fn message_log(config: &Config, store: &SharedStore, report: &mut Report) {
    let known = match log::known(store).await {
        Ok(known) => known,
        Err(e) => return report.wrong("log (Kafka)", e),
    };
    if let Some(known) = known.as_ref().filter(|known| known.moving_to != 0) {
        let why = format!("a repartition to {} is not finished", known.moving_to);
        return report.wrong("log (Kafka)", why);
    }
    let generation = known.map_or(0, |known| known.generation);
    let options = log::options(config, store, generation);
    let opened = timeout(PATIENCE, KafkaLog::open(options));
    let kafka = match opened.await {
        Ok(Ok(kafka)) => kafka,
        Ok(Err(e)) => return report.wrong("log (Kafka)", e),
        Err(_) => return report.wrong("log (Kafka)", "it does not answer (kafka.brokers)"),
    };
    report.line("log (Kafka)", "answers");
    for warning in kafka.warnings() {
        report.line("log (Kafka)", &format!("warning: {warning}"));
    }
    for (topic, group) in log::GROUPS {
        let what = format!("log {} for {group}", topic.name());
        let backlog = timeout(PATIENCE, kafka.backlog(topic, group)).await;
        match backlog.unwrap_or_else(|_| Err(LogError::Unavailable("no answer".to_owned()))) {
            Ok(behind) => {
                let age = behind.age.as_secs_f32();
                let state = format!("{} behind, the oldest for {age:.1} s", behind.records);
                if behind.age > MAX_AGE {
                    report.wrong(&what, state);
                } else {
                    report.line(&what, &state);
                }
            }
            Err(e) => report.wrong(&what, e),
        }
    }
    if let Err(e) = kafka.close().await {
        tracing::debug!(error = %e, "Kafka was not closed");
    }
}
