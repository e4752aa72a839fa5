//! The embedded message log: append-only segments with group commit in one directory.
//!
//! Each topic is one sequence of segment files with the partition in each record, so that one fdatasync covers all
//! partitions. `topic` and `state` hold what is shared, `writer` is the thread that writes, `recover` opens a directory, `format`
//! is what is on disk, [`files`] the file layer. Committed offsets become durable in cycles: they are captured, then
//! the deferred topics are synced, then they are stored, so no offset is ever ahead of what its effects appended.

mod backlog;
mod commit;
mod consumer;
pub mod files;
mod format;
mod group;
pub mod lossy;
mod metrics;
mod offsets;
mod reader;
mod recover;
mod state;
mod topic;
mod writer;

use std::{
    io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use magpie_log::{Backlog, BatchLimits, Consumer, LogError, MessageLog, Position, Result, Topic};

use crate::{
    commit::Committer,
    consumer::LocalConsumer,
    files::{Files, OsFiles},
    format::{MAX_BODY, MAX_PARTITIONS},
    offsets::Offsets,
    topic::TopicLog,
    writer::Writer,
};

/// Settings of the local log.
#[derive(Debug, Clone)]
pub struct Options {
    /// Partitions of each topic; fixed when the directory is made.
    pub partitions: u32,
    /// A segment ends at about this size.
    pub segment_bytes: u64,
    /// Two fdatasyncs of a synced topic start at least this far apart.
    pub sync_spacing: Duration,
    /// How often deferred topics are synced and committed offsets are made durable.
    pub deferred_interval: Duration,
    /// The largest key and value together.
    pub max_record: usize,
    /// Bytes of a topic that may wait for the disk before appends are refused.
    pub max_buffer_bytes: usize,
    /// Bytes of a topic's newest records that stay in memory for consumers.
    pub recent_bytes: usize,
    /// Segments are deleted when they are this old and all groups have committed them.
    pub retention: Duration,
    /// Appends to the inbound topic are refused when a group has this much uncommitted,
    pub max_backlog_bytes: u64,
    /// or something this old; below half the retention.
    pub max_backlog_age: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let hour = Duration::from_secs(3600);
        Self {
            partitions: 4,
            segment_bytes: 64 << 20,
            sync_spacing: Duration::from_millis(2),
            deferred_interval: Duration::from_millis(500),
            max_record: 1 << 20,
            max_buffer_bytes: 8 << 20,
            recent_bytes: 8 << 20,
            retention: hour * 24,
            max_backlog_bytes: 4 << 30,
            max_backlog_age: hour * 11,
        }
    }
}

/// The log in one directory, which belongs to this process while it is open.
///
/// Dropping it is closing it: it writes what waits, which blocks for as long as the disk takes.
pub struct LocalLog {
    topics: [Arc<TopicLog>; 4],
    running: Mutex<Option<Running>>,
}

struct Running {
    writers: Vec<JoinHandle<()>>,
    committer: Committer,
    _lock: Box<dyn Send + Sync>,
}

impl LocalLog {
    /// Opens the log in `dir`, or makes it. Blocks while it reads the last segments (at most some hundred milliseconds).
    ///
    /// `Unavailable` says that the directory is in use, by whom, or what the disk answered; `Damaged` that files are missing
    /// or broken before the tail.
    pub fn open(dir: &Path, options: Options) -> Result<Arc<Self>> {
        let failed =
            |e: io::Error| LogError::Unavailable(format!("can't open {}: {e}", dir.display()));
        Self::open_with(Arc::new(OsFiles::new(dir).map_err(failed)?), options)
    }

    /// Opens the log on another file layer.
    pub fn open_with(files: Arc<dyn Files>, mut options: Options) -> Result<Arc<Self>> {
        let failed =
            |e: io::Error| LogError::Unavailable(format!("can't open the message log: {e}"));
        options.partitions = options.partitions.clamp(1, MAX_PARTITIONS);
        options.max_record = options.max_record.min(MAX_BODY / 2);
        options.max_buffer_bytes = options.max_buffer_bytes.max(options.max_record * 2);
        let lock = files.lock().map_err(failed)?;
        let names = files.list().map_err(failed)?;
        let (offsets, saved) = Offsets::open(&*files, &names).map_err(failed)?;
        let open = |topic| recover::open_topic(topic, &options, Arc::clone(&files), &names, &saved);
        let [inbound, stored, offline, parked] = Topic::ALL;
        let opened = [open(inbound)?, open(stored)?, open(offline)?, open(parked)?];
        let mut writers = Vec::new();
        let mut failure = None;
        let topics = opened.map(|(log, tail)| {
            let log = Arc::new(log);
            let writer = Writer::new(Arc::clone(&log), tail);
            match thread::Builder::new()
                .name(format!("log-{}", log.topic.name()))
                .spawn(|| writer.run())
            {
                Ok(thread) => writers.push(thread),
                Err(e) => failure = Some(e),
            }
            log
        });
        let committer = Committer::start(topics.clone(), offsets, options.deferred_interval);
        let (committer, failure) = match (committer, failure) {
            (Ok(committer), None) => (committer, None),
            (Ok(committer), Some(e)) => (committer, Some(e)),
            (Err(e), _) => {
                close_writers(&topics, writers);
                return Err(failed(e));
            }
        };
        let log = Arc::new(Self {
            topics,
            running: Mutex::new(Some(Running {
                writers,
                committer,
                _lock: lock,
            })),
        });
        match failure {
            Some(e) => Err(failed(e)),
            None => Ok(log),
        }
    }

    fn topic(&self, topic: Topic) -> &Arc<TopicLog> {
        let [inbound, stored, offline, parked] = &self.topics;
        match topic {
            Topic::Inbound => inbound,
            Topic::Stored => stored,
            Topic::Offline => offline,
            Topic::Parked => parked,
        }
    }
}

impl Running {
    /// Writes and syncs all that waits, then stores the offsets.
    fn close(self, topics: &[Arc<TopicLog>; 4]) -> Result<()> {
        let offsets = self.committer.stop();
        close_writers(topics, self.writers);
        for log in topics {
            let state = log.lock();
            if let Some(error) = &state.last_error
                && state.synced < state.visible
            {
                return Err(error.clone());
            }
        }
        let Some(mut offsets) = offsets else {
            return Err(LogError::Closed);
        };
        let committed: Vec<_> = topics.iter().flat_map(|log| log.committed()).collect();
        offsets
            .store(&committed)
            .map_err(|e| LogError::Unavailable(format!("can't store offsets: {e}")))
    }
}

fn close_writers(topics: &[Arc<TopicLog>; 4], writers: Vec<JoinHandle<()>>) {
    for log in topics {
        log.lock().closed = true;
        log.work.notify_all();
        log.arrived.notify_waiters();
    }
    for writer in writers {
        if writer.join().is_err() {
            tracing::error!("a writer of the message log panicked");
        }
    }
}

impl Drop for LocalLog {
    fn drop(&mut self) {
        let running = self
            .running
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(Err(error)) = running.map(|running| running.close(&self.topics)) {
            tracing::error!(%error, "could not close the message log");
        }
    }
}

#[async_trait]
impl MessageLog for LocalLog {
    fn partitions(&self, topic: Topic) -> u32 {
        self.topic(topic).partitions
    }

    fn append(
        &self,
        topic: Topic,
        key: &[u8],
        value: Bytes,
    ) -> BoxFuture<'static, Result<Position>> {
        let (position, flush) = match self.topic(topic).append(key, value) {
            Ok((position, Some(flush))) => (position, flush),
            Ok((position, None)) => return Box::pin(std::future::ready(Ok(position))),
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        Box::pin(async move { flush.wait().await.map(|()| position) })
    }

    async fn subscribe(
        &self,
        topic: Topic,
        group: &str,
        limits: BatchLimits,
    ) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(LocalConsumer::join(
            Arc::clone(self.topic(topic)),
            group,
            limits,
        )?))
    }

    async fn backlog(&self, topic: Topic, group: &str) -> Result<Backlog> {
        Ok(self.topic(topic).backlog(group))
    }

    async fn close(&self) -> Result<()> {
        let Some(running) = self
            .running
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        else {
            return Ok(());
        };
        let topics = self.topics.clone();
        tokio::task::spawn_blocking(move || running.close(&topics))
            .await
            .map_err(|_stopping| LogError::Closed)?
    }
}
