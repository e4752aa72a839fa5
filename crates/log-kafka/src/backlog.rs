//! What a group has not committed: asked of the brokers, cheap enough for every second.
//!
//! - records: the ends of the partitions minus what the group has committed, one request each. What a consumer of this
//!   process has committed and not sent yet counts as committed.
//! - bytes: the records times the mean size of those that this process has appended or read; an estimate.
//! - age: by asking for the first offset newer than a time, with times that double and then halve. It is rounded down, to an
//!   eighth of itself or to a second; a backlog younger than a second costs one request.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use magpie_log::{Backlog, LogError, Result};
use magpie_types::time::now_ms;
use rdkafka::{consumer::BaseConsumer, error::KafkaResult};

use crate::{context::Plain, offsets::Asking, options::Options, start::decide, topic::TopicHandle};

/// Steps of the search for an age: up to a year.
const DOUBLINGS: u32 = 25;
const HALVINGS: u32 = 3;
/// Errors of a client that nobody polls otherwise.
const EVENTS: usize = 1000;

/// A client that asks for one group and never joins it.
pub(crate) struct Lookup {
    topic: Arc<TopicHandle>,
    consumer: Mutex<BaseConsumer<Plain>>,
    timeout: Duration,
}

impl Lookup {
    pub(crate) fn new(topic: Arc<TopicHandle>, group: &str, options: &Options) -> Result<Self> {
        let config = options.consumer(&options.group_name(topic.state.topic, group));
        let consumer = config.create_with_context(Plain).map_err(|e| {
            LogError::Unavailable(format!("the Kafka consumer's settings are refused: {e}"))
        })?;
        Ok(Self {
            topic,
            consumer: Mutex::new(consumer),
            timeout: options.request_timeout,
        })
    }

    /// Blocks for some requests; `committed` is what consumers here have committed and perhaps not sent.
    pub(crate) fn ask(&self, committed: &BTreeMap<u32, u64>) -> Result<Backlog> {
        let consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..EVENTS {
            if consumer.poll(Duration::ZERO).is_none() {
                break;
            }
        }
        let asking = Asking {
            consumer: &consumer,
            topic: &self.topic,
            timeout: self.timeout,
        };
        self.count(&asking, committed).map_err(|e| {
            LogError::Unavailable(format!(
                "the backlog of topic {} can't be read: {e}",
                self.topic.name
            ))
        })
    }

    fn count(&self, asking: &Asking<'_, Plain>, here: &BTreeMap<u32, u64>) -> KafkaResult<Backlog> {
        let state = self.topic.state;
        let all: Vec<u32> = (0..state.partitions).collect();
        let ends = asking.ends(&all)?;
        let committed = asking.committed(&all)?;
        let without: Vec<u32> = all
            .iter()
            .filter(|p| !committed.contains_key(p))
            .copied()
            .collect();
        let oldest = asking.oldest(&without)?;
        let mut lagging = Vec::new();
        let mut records = 0;
        for (partition, end) in ends {
            let oldest = oldest.get(&partition).copied().unwrap_or(0);
            let committed = committed.get(&partition).copied();
            let start = decide(committed, state.incarnation, oldest, end, || None);
            let next = start.offset.max(here.get(&partition).copied().unwrap_or(0));
            if next < end {
                records += end - next;
                lagging.push((partition, next));
            }
        }
        if records == 0 {
            return Ok(Backlog::default());
        }
        Ok(Backlog {
            records,
            bytes: records * self.topic.mean_bytes(),
            age: age(asking, lagging)?,
        })
    }
}

/// Age of the oldest of these records.
fn age(asking: &Asking<'_, Plain>, mut records: Vec<(u32, u64)>) -> KafkaResult<Duration> {
    let now = now_ms();
    // Those of the records that are older.
    let older = |records: &[(u32, u64)], age: i64| {
        let partitions: Vec<u32> = records.iter().map(|(partition, _)| *partition).collect();
        let since = asking.since(&partitions, now - age)?;
        let is_older =
            |(partition, next): &&(u32, u64)| since.get(partition).is_none_or(|first| first > next);
        KafkaResult::Ok(records.iter().filter(is_older).copied().collect::<Vec<_>>())
    };
    let (mut low, mut high) = (0, 1000);
    for _ in 0..DOUBLINGS {
        let found = older(&records, high)?;
        if found.is_empty() {
            break;
        }
        records = found;
        (low, high) = (high, high * 2);
    }
    for _ in 0..if low == 0 { 0 } else { HALVINGS } {
        let middle = low.midpoint(high);
        let found = older(&records, middle)?;
        if found.is_empty() {
            high = middle;
        } else {
            (records, low) = (found, middle);
        }
    }
    Ok(Duration::from_millis(low.unsigned_abs()))
}
