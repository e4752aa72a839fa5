//! Kafka as the message log, with what the store remembers of it: what its topics are, and how far each group has applied them.
//!
//! A topic with another number of partitions does not start: keys would change their partition, and with it their order. A topic
//! that was made anew is said aloud. A group without a committed offset starts from the applied one. A process that still runs when
//! the log has been repartitioned ends.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use magpie_discovery::name;
use magpie_log::{
    Backlog, Batch, BatchLimits, Consumer, LogError, MessageLog, Position, Result, SharedLog, Topic,
};
use magpie_log_kafka::{KafkaLog, Options, Remembered, TopicState};
use magpie_store::{
    Document as _, Documents as _, Follow, Outcome, SharedStore, StoreError,
    documents::{AppliedOffset, LogTopic},
    key,
};
use tokio::{runtime::Handle, time::sleep};
use tokio_util::sync::CancellationToken;

use super::engines;
use crate::config::Config;

/// Time between two notes of applied offsets.
const NOTE_INTERVAL: Duration = Duration::from_secs(1);
/// Time between two looks whether the log was repartitioned.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// `next` in [`AppliedOffset`].
const NEXT: &[usize] = &[AppliedOffset::next];
/// Every consumer group, upstream first.
pub(super) const GROUPS: [(Topic, &str); 2] = [
    (Topic::Inbound, name::TRANSFER),
    (Topic::Stored, name::PUSH),
];

/// The log of a process that has none.
pub(super) struct Absent;

/// Opens Kafka and compares it with what the store remembers; with the generation of its topics.
pub(super) async fn open(config: &Config, store: &SharedStore) -> anyhow::Result<(SharedLog, u32)> {
    let known = known(store).await?;
    if let Some(known) = &known {
        check(known, config.kafka.partitions)?;
    }
    let generation = known.map_or(0, |known| known.generation);
    let options = options(config, store, generation);
    let away = |e: &LogError| matches!(e, LogError::Unavailable(_));
    let open = async || KafkaLog::open(options.clone()).await;
    let kafka = super::wait_for("Kafka (kafka.brokers)", open, away).await?;
    for state in kafka.topics() {
        remember(store, &state, generation).await?;
    }
    let log = Arc::new(KeptLog {
        kafka,
        store: Arc::clone(store),
    });
    Ok((log, generation))
}

/// What the store knows of the log; nothing before the first start.
pub(super) async fn known(store: &SharedStore) -> Result<Option<LogTopic>, StoreError> {
    store.find(key![Topic::Inbound.name()]).await
}

/// Refuses another number of partitions, and a log that is being repartitioned.
fn check(known: &LogTopic, wanted: u32) -> anyhow::Result<()> {
    let LogTopic {
        partitions,
        moving_to,
        ..
    } = known;
    anyhow::ensure!(
        *moving_to == 0,
        "the message log is being repartitioned: wait for `magpie admin repartition --partitions {moving_to}`, or run it again if it \
         was interrupted"
    );
    anyhow::ensure!(
        *partitions == wanted,
        "kafka.partitions is {wanted} and the message log has {partitions} partitions: set kafka.partitions to {partitions}, or \
         change the log with `magpie admin repartition --partitions {wanted}`"
    );
    Ok(())
}

/// Ends with an error when the log has been repartitioned: this process would write into topics that nobody reads.
pub(super) async fn follow(
    store: SharedStore,
    generation: u32,
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            () = sleep(LOOK_INTERVAL) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        match known(&store).await {
            Ok(Some(known)) if known.generation != generation => anyhow::bail!(
                "it was repartitioned and has {0} partitions now: set kafka.partitions to {0} and start again",
                known.partitions
            ),
            Ok(_) => {}
            Err(e) => {
                tracing::debug!(error = %e, "it can't be seen whether the log was repartitioned")
            }
        }
    }
}

/// Kafka as the configuration has it, with the topics of a generation.
pub(super) fn options(config: &Config, store: &SharedStore, generation: u32) -> Options {
    let (store, runtime) = (Arc::clone(store), Handle::current());
    let start = move |topic: Topic, group: &str, incarnation: u64, partition: u32| {
        let key = key![
            topic.name(),
            group,
            incarnation.cast_signed(),
            i64::from(partition)
        ];
        let found = runtime.block_on(store.find::<AppliedOffset>(key));
        match found {
            Ok(found) => found.and_then(|f| u64::try_from(f.next).ok()),
            Err(e) => {
                tracing::error!(error = %e, topic = topic.name(), group, partition, "the applied offset can't be read; the partition starts at its oldest record");
                None
            }
        }
    };
    Options {
        generation,
        watched: vec![(Topic::Inbound, magpie_transfer::GROUP.to_owned())],
        start: Some(Arc::new(start)),
        ..engines::log(config)
    }
}

/// Compares a topic with what the store has of it, and keeps what is new.
pub(super) async fn remember(
    store: &SharedStore,
    state: &TopicState,
    generation: u32,
) -> anyhow::Result<()> {
    let name = state.topic.name();
    let now = LogTopic {
        topic: name.to_owned(),
        partitions: state.partitions,
        incarnation: state.incarnation.cast_signed(),
        rev: 1,
        generation,
        moving_to: 0,
    };
    if store.add(now.clone()).await? == Outcome::Inserted {
        return Ok(());
    }
    let Some(known) = store.find::<LogTopic>(key![name]).await? else {
        anyhow::bail!("the store has lost what it knew of topic {name}; start again");
    };
    anyhow::ensure!(
        known.moving_to == 0 && known.generation <= generation,
        "the message log is being repartitioned; start again when that is done"
    );
    if known.generation == generation {
        let before = TopicState {
            topic: state.topic,
            partitions: known.partitions,
            incarnation: known.incarnation.cast_unsigned(),
        };
        if state.compare(&before)? == Remembered::Same {
            return Ok(());
        }
        tracing::error!(
            topic = name,
            "the topic was made anew: what it held and was not applied is lost"
        );
    }
    let now = LogTopic {
        rev: known.rev + 1,
        ..now
    };
    store.replace(now, known.rev).await?;
    Ok(())
}

struct KeptLog {
    kafka: Arc<KafkaLog>,
    store: SharedStore,
}

#[async_trait]
impl MessageLog for KeptLog {
    fn partitions(&self, topic: Topic) -> u32 {
        self.kafka.partitions(topic)
    }

    fn append(
        &self,
        topic: Topic,
        key: &[u8],
        value: Bytes,
    ) -> BoxFuture<'static, Result<Position>> {
        self.kafka.append(topic, key, value)
    }

    async fn subscribe(
        &self,
        topic: Topic,
        group: &str,
        limits: BatchLimits,
    ) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(NotingConsumer {
            inner: self.kafka.subscribe(topic, group, limits).await?,
            store: Arc::clone(&self.store),
            topic,
            group: group.to_owned(),
            applied: HashMap::new(),
            noted: Instant::now(),
        }))
    }

    async fn backlog(&self, topic: Topic, group: &str) -> Result<Backlog> {
        self.kafka.backlog(topic, group).await
    }

    async fn close(&self) -> Result<()> {
        self.kafka.close().await
    }
}

/// A consumer that notes in the store how far it came.
struct NotingConsumer {
    inner: Box<dyn Consumer>,
    store: SharedStore,
    topic: Topic,
    group: String,
    /// By partition; what is not noted yet.
    applied: HashMap<u32, Position>,
    noted: Instant,
}

impl NotingConsumer {
    async fn note(&mut self) {
        let row = |position: Position| AppliedOffset {
            topic: self.topic.name().to_owned(),
            consumer: self.group.clone(),
            incarnation: position.incarnation.cast_signed(),
            partition: position.partition,
            next: (position.offset + 1).cast_signed(),
        };
        let writes = self.applied.drain().map(|(_, position)| Follow::Max {
            schema: AppliedOffset::SCHEMA,
            row: row(position).into_row(),
            fields: NEXT,
        });
        if let Err(e) = self.store.apply(writes.collect()).await {
            tracing::warn!(error = %e, "applied offsets are not noted; the next note has newer ones");
        }
        self.noted = Instant::now();
    }
}

#[async_trait]
impl Consumer for NotingConsumer {
    async fn next(&mut self) -> Result<Batch> {
        self.inner.next().await
    }

    async fn commit(&mut self, positions: &[Position]) -> Result<()> {
        self.inner.commit(positions).await?;
        self.applied
            .extend(positions.iter().map(|p| (p.partition, *p)));
        if self.noted.elapsed() >= NOTE_INTERVAL {
            self.note().await;
        }
        Ok(())
    }
}

fn absent<T>() -> Result<T> {
    Err(LogError::Unavailable(
        "this process runs no service that uses the message log".to_owned(),
    ))
}

#[async_trait]
impl MessageLog for Absent {
    fn partitions(&self, _topic: Topic) -> u32 {
        0
    }

    fn append(&self, _: Topic, _: &[u8], _: Bytes) -> BoxFuture<'static, Result<Position>> {
        Box::pin(std::future::ready(absent()))
    }

    async fn subscribe(&self, _: Topic, _: &str, _: BatchLimits) -> Result<Box<dyn Consumer>> {
        absent()
    }

    async fn backlog(&self, _: Topic, _: &str) -> Result<Backlog> {
        absent()
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
