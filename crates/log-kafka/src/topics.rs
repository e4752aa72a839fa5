//! The topics at the brokers: made when missing, checked when there.
//!
//! A topic's incarnation is the first half of the id that Kafka gives it when it is created (a random UUID): it is the same
//! for every process, survives everything that the topic survives, and is another one when the topic was made anew.
//! What the log has found is offered as [`TopicState`], for the caller to keep in the store and to compare at the next start.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use magpie_log::{LogError, Result, Topic};
use rdkafka::{
    admin::{
        AdminClient, AdminOptions, ConfigResource, NewTopic, OwnedResourceSpecifier,
        ResourceSpecifier, TopicReplication,
    },
    types::RDKafkaErrorCode,
};

use crate::{
    context::Plain,
    durability,
    native::{Described, describe_topics},
    options::Options,
};

const POLL: Duration = Duration::from_millis(50);
/// The setting that limits what a topic takes.
pub(crate) const LARGEST: &str = "max.message.bytes";

/// Settings of a topic.
pub(crate) type Settings = BTreeMap<String, String>;

/// What a topic is; kept in the store by the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicState {
    /// Which topic.
    pub topic: Topic,
    /// Its partitions.
    pub partitions: u32,
    /// Its incarnation; another one when the topic was made anew.
    pub incarnation: u64,
}

/// How a topic compares with what the store remembers of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remembered {
    /// It is the same.
    Same,
    /// The topic was made anew: what it held and consumers had not processed is gone.
    MadeAnew,
}

impl TopicState {
    /// Compares with what the store remembers. Another number of partitions is an error: keys would change their partition,
    /// and with it their order.
    pub fn compare(&self, remembered: &Self) -> Result<Remembered> {
        if self.partitions != remembered.partitions {
            return Err(LogError::Damaged(format!(
                "topic {} has {} partitions and had {} before; a key must not change its partition. Restore the topic; \
                 `magpie admin repartition` is the way to another number",
                self.topic.name(),
                self.partitions,
                remembered.partitions,
            )));
        }
        Ok(match self.incarnation == remembered.incarnation {
            true => Remembered::Same,
            false => Remembered::MadeAnew,
        })
    }
}

/// The topics as they were found, and what an operator should know of them.
pub(crate) struct Found {
    pub(crate) topics: [TopicState; 4],
    pub(crate) warnings: Vec<String>,
}

/// Makes the topics that are missing and checks all.
pub(crate) async fn prepare(options: &Options) -> Result<Found> {
    let admin = connect(options)?;
    let mut described = describe(&admin, options).await?;
    let missing: Vec<Topic> = Topic::ALL
        .into_iter()
        .filter(|topic| find(&described, options, *topic).is_none())
        .collect();
    if !missing.is_empty() {
        let topics = missing.into_iter().map(|topic| (topic, Settings::new()));
        create(&admin, options, topics.collect()).await?;
        let started = Instant::now();
        while described.iter().filter(|d| d.partitions > 0).count() < Topic::ALL.len() {
            if started.elapsed() > options.request_timeout {
                return Err(LogError::Unavailable(
                    "Kafka has created the topics and does not show them yet; start again"
                        .to_owned(),
                ));
            }
            tokio::time::sleep(POLL).await;
            described = describe(&admin, options).await?;
        }
    }
    let mut warnings = Vec::new();
    let configs = configs(&admin, options).await;
    let state = |topic| check_state(&described, options, topic);
    let [inbound, stored, offline, parked] = Topic::ALL;
    let topics = [
        state(inbound)?,
        state(stored)?,
        state(offline)?,
        state(parked)?,
    ];
    match configs {
        Ok(configs) => {
            for config in &configs {
                let OwnedResourceSpecifier::Topic(name) = &config.specifier else {
                    continue;
                };
                let get = |key: &str| config.get(key).and_then(|entry| entry.value.as_deref());
                let topic = described.iter().find(|d| d.name == *name);
                let replication = topic.map_or(0, |d| d.replication);
                warnings.extend(durability::check(name, get, replication, options)?);
            }
        }
        Err(e) => warnings.push(format!(
            "the topics' settings can't be read, so durability is not checked: {e}"
        )),
    }
    // Its drop waits for its thread.
    tokio::task::spawn_blocking(move || drop(admin));
    Ok(Found { topics, warnings })
}

pub(crate) fn connect(options: &Options) -> Result<Arc<AdminClient<Plain>>> {
    let admin = options.admin().create_with_context(Plain);
    admin
        .map(Arc::new)
        .map_err(|e| LogError::Unavailable(format!("the Kafka settings are refused: {e}")))
}

fn find<'a>(described: &'a [Described], options: &Options, topic: Topic) -> Option<&'a Described> {
    let name = options.topic_name(topic);
    described.iter().find(|d| d.name == name)
}

pub(crate) async fn describe(
    admin: &Arc<AdminClient<Plain>>,
    options: &Options,
) -> Result<Vec<Described>> {
    let names: Vec<String> = Topic::ALL.map(|topic| options.topic_name(topic)).to_vec();
    let (admin, timeout) = (Arc::clone(admin), options.request_timeout);
    tokio::task::spawn_blocking(move || describe_topics(admin.inner(), &names, timeout))
        .await
        .map_err(|_stopping| LogError::Closed)?
        .map_err(|e| {
            LogError::Unavailable(format!(
                "no answer from Kafka at {}: {e}; check the address and that a broker runs",
                options.brokers
            ))
        })
}

/// Creates topics, each with these settings over ours.
pub(crate) async fn create(
    admin: &AdminClient<Plain>,
    options: &Options,
    topics: Vec<(Topic, Settings)>,
) -> Result<()> {
    let in_sync = if options.replication >= 3 { "2" } else { "1" };
    let ours = [
        ("cleanup.policy", "delete".to_owned()),
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        (LARGEST, options.largest_record_of_topics()),
        ("retention.ms", options.retention.as_millis().to_string()),
        ("min.insync.replicas", in_sync.to_owned()),
        ("unclean.leader.election.enable", "false".to_owned()),
    ];
    let topics: Vec<(Topic, String, Settings)> = topics
        .into_iter()
        .map(|(topic, over)| {
            let mut all: Settings = ours.clone().map(|(k, v)| (k.to_owned(), v)).into();
            all.extend(over);
            (topic, options.topic_name(topic), all)
        })
        .collect();
    let topics: Vec<NewTopic<'_>> = topics
        .iter()
        .map(|(topic, name, settings)| {
            let partitions = i32::try_from(options.partitions(*topic)).unwrap_or(i32::MAX);
            let replication = TopicReplication::Fixed(i32::from(options.replication));
            let new = NewTopic::new(name, partitions, replication);
            settings.iter().fold(new, |new, (k, v)| new.set(k, v))
        })
        .collect();
    let admin_options = AdminOptions::new()
        .request_timeout(Some(options.request_timeout))
        .operation_timeout(Some(options.request_timeout));
    let results = admin
        .create_topics(&topics, &admin_options)
        .await
        .map_err(|e| LogError::Unavailable(format!("topics can't be created: {e}")))?;
    for result in results {
        match result {
            Ok(name) => tracing::info!(topic = name, "created"),
            // Another process was quicker.
            Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => {
                return Err(LogError::Unavailable(format!(
                    "topic {name} can't be created: {code}; it needs {} live brokers (kafka.replication) and the right to create \
                     topics, or create it by hand",
                    options.replication
                )));
            }
        }
    }
    Ok(())
}

fn check_state(described: &[Described], options: &Options, topic: Topic) -> Result<TopicState> {
    let name = options.topic_name(topic);
    let Some(found) = find(described, options, topic) else {
        return Err(LogError::Unavailable(format!("topic {name} is gone")));
    };
    let wanted = options.partitions(topic);
    if found.partitions != wanted {
        return Err(LogError::Damaged(format!(
            "topic {name} has {} partitions and the configuration says {wanted}. The number is fixed when a topic is created: \
             correct kafka.partitions, or change the topics by `magpie admin repartition`",
            found.partitions
        )));
    }
    if found.id == 0 {
        return Err(LogError::Damaged(format!(
            "the brokers give topic {name} no id; Magpie needs Kafka 2.8 or newer"
        )));
    }
    Ok(TopicState {
        topic,
        partitions: found.partitions,
        incarnation: found.id,
    })
}

pub(crate) async fn configs(
    admin: &AdminClient<Plain>,
    options: &Options,
) -> Result<Vec<ConfigResource>, RDKafkaErrorCode> {
    let names = Topic::ALL.map(|topic| options.topic_name(topic));
    let wanted: Vec<_> = names
        .iter()
        .map(|name| ResourceSpecifier::Topic(name))
        .collect();
    let admin_options = AdminOptions::new().request_timeout(Some(options.request_timeout));
    let results = admin.describe_configs(&wanted, &admin_options).await;
    let results = results.map_err(|e| e.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail))?;
    results.into_iter().collect()
}
