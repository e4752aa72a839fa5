//! The thread of a consumer: polls librdkafka while the worker waits, and fills batches.
//!
//! Batches are spaced, not delayed: a batch costs its worker a few calls whatever its size, so under load the next one gathers a
//! little, and a record that comes alone is handed out at once.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use magpie_log::{LogError, Position, Record, Result};
use rdkafka::{
    Message,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::BorrowedMessage,
};

use crate::{consumer::Member, group::Group, options::Options};

const POLL: Duration = Duration::from_millis(200);

pub(crate) struct Reader {
    member: Arc<Member>,
    consumer: BaseConsumer<Group>,
    /// What was read and not handed out: the record that did not fit, or a batch that an error interrupted.
    ahead: Vec<Record>,
    spacing: Duration,
    /// Before this the next batch is not begun.
    next: Instant,
}

impl Reader {
    /// Joins the group and starts the thread.
    pub(crate) fn start(member: Arc<Member>, options: &Options) -> Result<()> {
        let topic = &member.topic;
        let config = options.consumer(&options.group_name(topic.state.topic, &member.group));
        let group = Group::new(Arc::clone(&member), options);
        let consumer: BaseConsumer<Group> = config.create_with_context(group).map_err(|e| {
            LogError::Unavailable(format!("the Kafka consumer's settings are refused: {e}"))
        })?;
        consumer.subscribe(&[&topic.name]).map_err(|e| {
            LogError::Unavailable(format!("can't join group {}: {e}", member.group))
        })?;
        let reader = Self {
            member,
            consumer,
            ahead: Vec::new(),
            spacing: options.batch_spacing,
            next: Instant::now(),
        };
        thread::Builder::new()
            .name("log-reader".to_owned())
            .spawn(|| reader.run())
            .map(drop)
            .map_err(|e| LogError::Unavailable(format!("no thread for a consumer: {e}")))
    }

    fn run(mut self) {
        while self.member.wait_wanted() {
            thread::sleep(self.next.saturating_duration_since(Instant::now()));
            if let Some(batch) = self.fill().transpose() {
                self.next = Instant::now() + self.spacing;
                self.member.publish(batch);
            }
        }
        self.group().store_commits(&self.consumer);
        let Self {
            member, consumer, ..
        } = self;
        // Commits and leaves the group.
        drop(consumer);
        member.set_ended();
    }

    fn group(&self) -> &Group {
        self.consumer.context()
    }

    /// Waits for a record and takes what else is there, up to the limits. `None`: closing.
    fn fill(&mut self) -> Result<Option<Vec<Record>>> {
        self.group().store_commits(&self.consumer);
        let limits = self.member.limits;
        let mut bytes: usize = self.ahead.iter().map(|record| record.value.len()).sum();
        while self.ahead.len() < limits.records.max(1) {
            let wait = if self.ahead.is_empty() {
                POLL
            } else {
                Duration::ZERO
            };
            let polled = self
                .consumer
                .poll(wait)
                .map(|polled| polled.map(|message| self.record(&message)));
            if polled.is_none() {
                // Perhaps a rebalance: nothing of a partition that went is handed out.
                self.drop_revoked();
            }
            match polled {
                None if !self.ahead.is_empty() => break,
                None if self.member.closing() => return Ok(None),
                None => self.group().store_commits(&self.consumer),
                Some(Ok(record)) => {
                    let size = record.value.len();
                    if !self.ahead.is_empty() && bytes + size > limits.bytes {
                        let full = std::mem::replace(&mut self.ahead, vec![record]);
                        return Ok(Some(by_partition(full)));
                    }
                    bytes += size;
                    self.ahead.push(record);
                }
                Some(Err(e)) => self.recover(&e)?,
            }
        }
        Ok(Some(by_partition(std::mem::take(&mut self.ahead))))
    }

    /// Drops what was read ahead of partitions that are with another member now.
    fn drop_revoked(&mut self) {
        if self.ahead.is_empty() {
            return;
        }
        let (before, ahead) = (self.ahead.len(), &mut self.ahead);
        self.member.with_owned(|owned| {
            ahead.retain(|record| owned.contains_key(&record.position.partition));
        });
        self.member
            .topic
            .metrics
            .dropped
            .increment((before - self.ahead.len()) as u64);
    }

    fn record(&self, message: &BorrowedMessage<'_>) -> Record {
        let (key, value) = (
            message.key().unwrap_or_default(),
            message.payload().unwrap_or_default(),
        );
        self.member.topic.saw(key.len() + value.len());
        let both = Bytes::from([key, value].concat());
        Record {
            position: Position {
                incarnation: self.member.topic.state.incarnation,
                partition: message.partition().cast_unsigned(),
                offset: message.offset().cast_unsigned(),
            },
            appended_at: message.timestamp().to_millis().unwrap_or(0),
            key: both.slice(..key.len()),
            value: both.slice(key.len()..),
        }
    }

    /// Goes on after an error, or says why it can't.
    fn recover(&self, error: &KafkaError) -> Result<()> {
        let topic = self.member.topic.name.as_str();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset) => {
                self.group().reposition(&self.consumer).map_err(|e| {
                    LogError::Unavailable(format!("offsets of topic {topic} can't be read: {e}"))
                })
            }
            Some(RDKafkaErrorCode::PollExceeded) => {
                tracing::warn!(
                    topic,
                    "a batch took too long; its partitions go to another consumer"
                );
                Ok(())
            }
            Some(
                RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::Fatal,
            ) => Err(LogError::Unavailable(format!(
                "topic {topic} can't be read: {error}"
            ))),
            // Brokers that are away; librdkafka connects again by itself.
            _ => {
                crate::context::error(error, "consumer");
                Ok(())
            }
        }
    }
}

fn by_partition(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(|record| record.position.partition);
    records
}
