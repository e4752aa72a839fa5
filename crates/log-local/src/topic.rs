//! One topic: the state that appends, the writer thread and consumers share.
//!
//! An append takes its place (offset and address) and leaves its bytes in the buffer, all under one lock. The
//! writer writes the buffer. Consumers see a record once it is in `ring`: for a synced topic after its
//! fdatasync, for a deferred one at once. Records leave the ring only when they can be read from disk.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use magpie_log::{
    BatchLimits, Durability, LogError, Position, Record, Result, Topic, partition_of,
};
use magpie_types::time::now_ms;
use tokio::sync::Notify;

use crate::{
    Options,
    files::Files,
    format,
    group::Group,
    metrics::Metrics,
    state::{Entry, Filling, Flush, Recovered, State},
};

/// Groups a topic may have.
const GROUPS_MAX: usize = 64;
const GROUP_NAME_MAX: usize = 128;

/// A topic and what is shared about it.
pub(crate) struct TopicLog {
    pub(crate) topic: Topic,
    pub(crate) incarnation: u64,
    pub(crate) partitions: u32,
    pub(crate) options: Options,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) metrics: Metrics,
    state: Mutex<State>,
    /// Wakes the writer.
    pub(crate) work: Condvar,
    /// Wakes those who wait for the writer to sync.
    pub(crate) progress: Condvar,
    /// Wakes consumers.
    pub(crate) arrived: Notify,
}

/// What there is for a consumer.
pub(crate) enum Taken {
    Records(Vec<Record>),
    /// Not in memory: to be read from disk.
    OnDisk(DiskRange),
    Nothing,
}

/// A part of a segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DiskRange {
    pub(crate) base: u64,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl TopicLog {
    pub(crate) fn new(
        topic: Topic,
        options: Options,
        files: Arc<dyn Files>,
        metrics: Metrics,
        found: Recovered,
    ) -> Self {
        metrics.segments.set(f64::from(
            u32::try_from(found.segments.len()).unwrap_or(u32::MAX),
        ));
        Self {
            topic,
            incarnation: found.incarnation,
            partitions: u32::try_from(found.offsets.len()).unwrap_or(1),
            options,
            files,
            metrics,
            state: Mutex::new(State::new(found)),
            work: Condvar::new(),
            progress: Condvar::new(),
            arrived: Notify::new(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn synced_topic(&self) -> bool {
        self.topic.durability() == Durability::Synced
    }

    /// Gives the record its place. A flush to wait for comes with records of synced topics.
    pub(crate) fn append(
        &self,
        key: &[u8],
        value: Bytes,
    ) -> Result<(Position, Option<Arc<Flush>>)> {
        let size = key.len() + value.len();
        if size > self.options.max_record {
            return Err(LogError::TooLarge {
                size,
                limit: self.options.max_record,
            });
        }
        let partition = partition_of(key, self.partitions);
        let key = Bytes::copy_from_slice(key);
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(LogError::Closed);
        }
        if let Err(busy) = self.admit(state, size) {
            self.metrics.refused.increment(1);
            return Err(busy);
        }
        let next = state
            .next
            .get_mut(partition as usize)
            .ok_or(LogError::Closed)?;
        let position = Position {
            incarnation: self.incarnation,
            partition,
            offset: *next,
        };
        *next += 1;
        let record = Record {
            position,
            appended_at: now_ms(),
            key,
            value,
        };
        let address = state.buffer_start + state.buffer.len() as u64;
        format::encode(&mut state.buffer, address, &record);
        let entry = Entry { address, record };
        let flush = if self.synced_topic() {
            state.pending.push(entry);
            Some(Arc::clone(&state.flush))
        } else {
            state.publish(std::iter::once(entry));
            self.metrics.appended.increment(1);
            None
        };
        if std::mem::take(&mut state.writer_waits) {
            self.work.notify_one();
        }
        drop(guard);
        if flush.is_none() {
            self.arrived.notify_waiters();
        }
        Ok((position, flush))
    }

    fn admit(&self, state: &State, size: usize) -> Result<()> {
        let waiting = state.buffer.len() + state.unsynced;
        if waiting + size > self.options.max_buffer_bytes {
            let why = state.last_error.as_ref().map_or_else(
                || "busy: the disk is too slow".to_owned(),
                ToString::to_string,
            );
            return Err(LogError::Unavailable(why));
        }
        if self.topic == Topic::Inbound {
            let low = state
                .groups
                .values()
                .map(|g| g.low)
                .min()
                .unwrap_or(state.visible);
            if state.visible.saturating_sub(low) > self.options.max_backlog_bytes {
                return Err(LogError::Unavailable(
                    "busy: the backlog has reached its size limit".to_owned(),
                ));
            }
            if state.overdue {
                return Err(LogError::Unavailable(
                    "busy: the backlog has reached its age limit".to_owned(),
                ));
            }
        }
        Ok(())
    }

    /// Adds a subscriber to a group; answers the next offsets to hand out.
    pub(crate) fn join(&self, name: &str) -> Result<Vec<u64>> {
        let mut state = self.lock();
        if state.closed {
            return Err(LogError::Closed);
        }
        if !state.groups.contains_key(name) {
            if state.groups.len() >= GROUPS_MAX || name.is_empty() || name.len() > GROUP_NAME_MAX {
                return Err(LogError::Unavailable(format!(
                    "no group {name:?}: bad name, or too many groups"
                )));
            }
            let oldest = state.segments.front().map(|s| (s.offsets.clone(), s.base));
            let (offsets, low) = oldest.unwrap_or_else(|| (state.ends.clone(), state.visible));
            state
                .groups
                .insert(name.to_owned(), Group::new(offsets, low));
        }
        match state.groups.get_mut(name) {
            Some(group) if group.cursor.is_none() => {
                group.join();
                Ok(group.committed.clone())
            }
            _ => Err(LogError::Unavailable(format!(
                "group {name} of {} already has a subscriber",
                self.topic.name()
            ))),
        }
    }

    /// Removes the subscriber of a group.
    pub(crate) fn leave(&self, name: &str) {
        if let Some(group) = self.lock().groups.get_mut(name) {
            group.leave();
        }
    }

    /// Takes what a subscriber gets next: from `next` on, and no more than the limits.
    pub(crate) fn take(&self, name: &str, next: &mut [u64], limits: BatchLimits) -> Result<Taken> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(LogError::Closed);
        }
        let group = state.groups.get_mut(name).ok_or(LogError::Closed)?;
        let from = group.cursor.ok_or(LogError::Closed)?;
        if from >= state.visible {
            return Ok(Taken::Nothing);
        }
        let in_memory = state.ring.front().map_or(state.visible, |e| e.address);
        if from < in_memory {
            let after = state.segments.partition_point(|s| s.base <= from);
            let Some(segment) = after.checked_sub(1).and_then(|i| state.segments.get(i)) else {
                return Err(LogError::Damaged(format!(
                    "{} has no segment for address {from}",
                    self.topic.name()
                )));
            };
            let to = state
                .segments
                .get(after)
                .map_or(in_memory, |s| s.base.min(in_memory));
            return Ok(Taken::OnDisk(DiskRange {
                base: segment.base,
                from,
                to,
            }));
        }
        let start = state.ring.partition_point(|e| e.address < from);
        let mut filling = Filling::new(limits);
        let mut to = from;
        for entry in state.ring.range(start..) {
            if !filling.offer(&entry.record, next) {
                break;
            }
            to = entry.end();
        }
        let records = filling.records;
        group.hand_out(from, to, &records);
        state.evict(self.options.recent_bytes);
        Ok(Taken::Records(records))
    }

    /// Notes that records read from disk are handed out.
    pub(crate) fn handed_out(&self, name: &str, from: u64, to: u64, records: &[Record]) {
        if let Some(group) = self.lock().groups.get_mut(name) {
            group.hand_out(from, to, records);
        }
    }

    pub(crate) fn commit(&self, name: &str, positions: &[Position]) -> Result<()> {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return Err(LogError::Closed);
        }
        let group = state.groups.get_mut(name).ok_or(LogError::Closed)?;
        for position in positions {
            let end = state
                .ends
                .get(position.partition as usize)
                .copied()
                .unwrap_or(0);
            if position.incarnation != self.incarnation || position.offset >= end {
                return Err(LogError::Damaged(format!(
                    "{position:?} was never handed out by {}",
                    self.topic.name()
                )));
            }
            group.commit(position.partition, position.offset + 1);
        }
        group.settle();
        Ok(())
    }
}
