//! The steps from these topics to ones with another number of partitions; who calls them puts them in order and drains between.
//!
//! The new topics are a new generation, with names of their own: a process that still knows the old ones can't write into the
//! new ones where it believes a key to be. The old inbound topic is *closed* first: its brokers refuse every record, whoever
//! sends it (largest record 0), while what it has can be read. So a msg that nobody knows of, which stood still or was cut off,
//! is never acknowledged a record that nobody will read.

use std::{
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use magpie_log::{LogError, Result, Topic};
use rdkafka::{
    ClientContext,
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigSource, OwnedResourceSpecifier,
        ResourceSpecifier,
    },
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    message::DeliveryResult,
    producer::{BaseProducer, BaseRecord, NoCustomPartitioner, ProducerContext},
};

use crate::{
    context::{self, Plain},
    options::Options,
    topics::{self, LARGEST, Settings},
};

const PAUSE: Duration = Duration::from_millis(50);
/// How long brokers that have taken a change may need to show it: only the operator waits.
const SETTLE: Duration = Duration::from_secs(60);
/// The topics that change; the others have one partition for ever.
const MOVED: [Topic; 3] = [Topic::Inbound, Topic::Stored, Topic::Offline];

/// See the module.
pub struct Repartition {
    options: Options,
    admin: Arc<AdminClient<Plain>>,
}

impl Repartition {
    /// Of the topics that these options name.
    pub fn of(options: Options) -> Result<Self> {
        options.check().map_err(LogError::Unavailable)?;
        let admin = topics::connect(&options)?;
        Ok(Self { options, admin })
    }

    /// Has the brokers refuse whatever is appended to the inbound topic, and returns when every partition does. Until then a
    /// partition may take empty records, which say nothing to anybody.
    pub async fn close_inbound(&self) -> Result<()> {
        self.limit_inbound("0").await?;
        let options = self.options.clone();
        tokio::task::spawn_blocking(move || wait_closed(&options))
            .await
            .map_err(|_stopping| LogError::Closed)?
    }

    /// Takes the closing back.
    pub async fn reopen_inbound(&self) -> Result<()> {
        let largest = self.options.largest_record_of_topics();
        self.limit_inbound(&largest).await
    }

    async fn limit_inbound(&self, largest: &str) -> Result<()> {
        let name = self.options.topic_name(Topic::Inbound);
        let settings = self.settings(Topic::Inbound).await?;
        // The request sets all settings of a topic.
        let mut altered = AlterConfig::new(ResourceSpecifier::Topic(&name));
        for (key, value) in &settings {
            altered = altered.set(key, value);
        }
        let altered = altered.set(LARGEST, largest);
        let done = self.admin.alter_configs([&altered], &self.limits()).await;
        let failed = |e: String| {
            LogError::Unavailable(format!(
                "the settings of topic {name} can't be changed: {e}"
            ))
        };
        for outcome in done.map_err(|e| failed(e.to_string()))? {
            outcome.map_err(|(_, code)| failed(code.to_string()))?;
        }
        Ok(())
    }

    /// Creates the topics that these options name, with the settings of the present ones.
    pub async fn create(&self, next: &Options) -> Result<()> {
        let mut made = Vec::new();
        for topic in MOVED {
            let mut settings = self.settings(topic).await?;
            settings.remove(LARGEST);
            made.push((topic, settings));
        }
        topics::create(&self.admin, next, made).await
    }

    /// Deletes the topics, but for those that every generation has; returns when they are gone. Missing ones are no error.
    pub async fn delete(&self) -> Result<()> {
        let names = MOVED.map(|topic| self.options.topic_name(topic));
        let named: Vec<&str> = names.iter().map(String::as_str).collect();
        let deleted = self.admin.delete_topics(&named, &self.limits()).await;
        let failed =
            |e: String| LogError::Unavailable(format!("topics {named:?} can't be deleted: {e}"));
        for outcome in deleted.map_err(|e| failed(e.to_string()))? {
            match outcome {
                Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition)) => {}
                Err((_, code)) => return Err(failed(code.to_string())),
            }
        }
        let started = Instant::now();
        loop {
            let shown = topics::describe(&self.admin, &self.options).await?;
            if !shown.iter().any(|topic| names.contains(&topic.name)) {
                return Ok(());
            }
            if started.elapsed() > SETTLE {
                return Err(failed("the brokers still show them".to_owned()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// What was set for this topic, by Magpie or by hand.
    async fn settings(&self, topic: Topic) -> Result<Settings> {
        let name = self.options.topic_name(topic);
        let found = topics::configs(&self.admin, &self.options).await;
        let found = found.map_err(|code| {
            LogError::Unavailable(format!("the topics' settings can't be read: {code}"))
        })?;
        let found = found.into_iter().find(
            |config| matches!(&config.specifier, OwnedResourceSpecifier::Topic(n) if *n == name),
        );
        let entries = found.map(|config| config.entries).unwrap_or_default();
        let set = entries
            .into_iter()
            .filter(|entry| entry.source == ConfigSource::DynamicTopic);
        Ok(set
            .filter_map(|entry| Some((entry.name, entry.value?)))
            .collect())
    }

    fn limits(&self) -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(self.options.request_timeout))
            .operation_timeout(Some(self.options.request_timeout))
    }
}

/// What became of a record; on the thread that polls.
struct Told(mpsc::Sender<Result<(), KafkaError>>);

impl ClientContext for Told {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        context::log(level, facility, text);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::error(&error, reason);
    }
}

impl ProducerContext<NoCustomPartitioner> for Told {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let outcome = result.as_ref().map(drop).map_err(|(e, _)| e.clone());
        // Nobody waits any more.
        drop(self.0.send(outcome));
    }
}

/// Offers an empty record to every partition until it is refused: brokers learn of a setting one after the other.
fn wait_closed(options: &Options) -> Result<()> {
    let name = options.topic_name(Topic::Inbound);
    let failed = |e: String| {
        LogError::Unavailable(format!(
            "it can't be seen whether topic {name} is closed: {e}"
        ))
    };
    let (tell, told) = mpsc::channel();
    let timeout = options.request_timeout.as_millis();
    let mut config = options.admin();
    config.set("acks", "all");
    config.set("message.timeout.ms", timeout.to_string());
    let producer: BaseProducer<Told> = config
        .create_with_context(Told(tell))
        .map_err(|e| failed(e.to_string()))?;
    let started = Instant::now();
    for partition in 0..options.partitions {
        loop {
            let record = BaseRecord::<(), [u8]>::to(&name)
                .partition(partition.cast_signed())
                .payload(&[]);
            producer
                .send(record)
                .map_err(|(e, _)| failed(e.to_string()))?;
            // Ends by the record's own timeout.
            let outcome = loop {
                producer.poll(PAUSE);
                if let Ok(outcome) = told.try_recv() {
                    break outcome;
                }
            };
            match outcome {
                Err(e) if e.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                    break;
                }
                Err(e) => return Err(failed(e.to_string())),
                Ok(()) if started.elapsed() > SETTLE => {
                    return Err(failed("it still takes records".to_owned()));
                }
                Ok(()) => std::thread::sleep(PAUSE),
            }
        }
    }
    Ok(())
}
