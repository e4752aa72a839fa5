//! The message log: an ordered, partitioned, durable queue with consumer groups, as a trait.
//!
//! - [`MessageLog::append`] answers when the record is durable in the sense of its topic ([`Durability`]).
//! - [`MessageLog::subscribe`] gives a [`Consumer`] that hands out batches, each holding records of every partition that
//!   has some, in order, and commits them after their effects are stored: at least once.
//! - Offsets are (incarnation, partition, offset): a log that was made anew is never mistaken for the old one.
//!
//! Records with the same key share a partition and keep their order. [`conformance`] is the contract as tests.

pub mod conformance;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

/// The topics of Magpie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// What msg accepted; the acknowledgement to the client waits for it.
    Inbound,
    /// What transfer has stored, on its way to push and to the after-webhooks.
    Stored,
    /// Messages for offline push.
    Offline,
    /// Records that can never be processed; each one raises an alert.
    Parked,
}

/// What "appended" means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The record survives the death of process and machine when append returns, and no consumer sees it before.
    Synced,
    /// Consumers may see the record at once; it is durable within the engine's sync interval, and offsets committed by
    /// consumers upstream are made durable only after it (a crash replays the upstream record).
    Deferred,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 4] = [Self::Inbound, Self::Stored, Self::Offline, Self::Parked];

    /// Name on disk and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Stored => "stored",
            Self::Offline => "offline",
            Self::Parked => "parked",
        }
    }

    /// What append promises.
    pub fn durability(self) -> Durability {
        match self {
            Self::Inbound | Self::Parked => Durability::Synced,
            Self::Stored | Self::Offline => Durability::Deferred,
        }
    }
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// Which making of the log this is; random, fixed when the topic is created.
    pub incarnation: u64,
    /// Partition of the topic.
    pub partition: u32,
    /// Place in the partition, from 0, without holes.
    pub offset: u64,
}

/// A record as consumers see it.
#[derive(Debug, Clone)]
pub struct Record {
    /// Where it stands.
    pub position: Position,
    /// When the log took it, Unix ms.
    pub appended_at: i64,
    /// The key it was appended with.
    pub key: Bytes,
    /// What was appended.
    pub value: Bytes,
}

/// A batch: records of one or several partitions; those of one partition are in order.
#[derive(Debug, Default)]
pub struct Batch {
    /// The records, grouped by partition.
    pub records: Vec<Record>,
}

impl Batch {
    /// The position after which each partition goes on once this batch is done: the last record of each.
    pub fn last_positions(&self) -> Vec<Position> {
        let mut last: Vec<Position> = Vec::new();
        for record in &self.records {
            match last
                .iter_mut()
                .find(|p| p.partition == record.position.partition)
            {
                Some(p) => *p = record.position,
                None => last.push(record.position),
            }
        }
        last
    }
}

/// Why the log could not do something.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// The log can't take records now: disk full, broker away, or the backlog is at its limit.
    #[error("the message log is unavailable: {0}")]
    Unavailable(String),
    /// The record is larger than the log takes.
    #[error("a record of {size} bytes is larger than the limit of {limit}")]
    TooLarge {
        /// Bytes of the record.
        size: usize,
        /// Configured limit.
        limit: usize,
    },
    /// The log is shutting down.
    #[error("the message log is closed")]
    Closed,
    /// What is on disk can't be read.
    #[error("the message log is damaged: {0}")]
    Damaged(String),
}

impl From<LogError> for magpie_types::Error {
    fn from(e: LogError) -> Self {
        match e {
            LogError::Unavailable(_) => magpie_types::Error::new(
                magpie_types::Code::INTERNAL,
                "busy: messages can't be taken now, try again later",
            )
            .with_source(e),
            _ => magpie_types::Error::internal(e),
        }
    }
}

/// Result of a log call.
pub type Result<T, E = LogError> = std::result::Result<T, E>;

/// How many records and bytes a batch may hold; a batch has at least one record.
#[derive(Debug, Clone, Copy)]
pub struct BatchLimits {
    /// Records.
    pub records: usize,
    /// Bytes of values.
    pub bytes: usize,
}

impl Default for BatchLimits {
    fn default() -> Self {
        Self {
            records: 1000,
            bytes: 4 << 20,
        }
    }
}

/// A message log engine.
#[async_trait]
pub trait MessageLog: Send + Sync + 'static {
    /// How many partitions a topic has; fixed when it is created.
    fn partitions(&self, topic: Topic) -> u32;

    /// Appends a record to the partition of `key`. The order of two appends with one key is the order of the calls, not of
    /// the polls: the record has its place when this returns the future. The future's end says that the topic's promise
    /// holds; dropping it does not take the record back.
    fn append(
        &self,
        topic: Topic,
        key: &[u8],
        value: Bytes,
    ) -> BoxFuture<'static, Result<Position>>;

    /// Joins a consumer group. Within a group every partition has one consumer. A group that never committed starts at the
    /// oldest record.
    async fn subscribe(
        &self,
        topic: Topic,
        group: &str,
        limits: BatchLimits,
    ) -> Result<Box<dyn Consumer>>;

    /// How many bytes of the topic this group has not committed, and how old the oldest of these records is.
    async fn backlog(&self, topic: Topic, group: &str) -> Result<Backlog>;

    /// Makes everything appended and committed durable and stops taking records.
    async fn close(&self) -> Result<()>;
}

/// What a group has not done yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Records.
    pub records: u64,
    /// Bytes.
    pub bytes: u64,
    /// Age of the oldest.
    pub age: Duration,
}

/// A member of a consumer group.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for the next batch after what was handed out before (not: after what was committed). Cancel safe: a batch is
    /// either returned or handed out by the next call.
    async fn next(&mut self) -> Result<Batch>;

    /// Says that everything up to and including these positions has had its effect. Durable within the engine's interval;
    /// what is not durable yet is handed out again after a crash.
    async fn commit(&mut self, positions: &[Position]) -> Result<()>;
}

/// A shared engine.
pub type SharedLog = Arc<dyn MessageLog>;

/// The partition of a key: FNV-1a, so that every engine and every process agrees.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)
    });
    u32::try_from(hash % u64::from(partitions.max(1))).unwrap_or(0)
}
