//! What the lock of a topic guards: the buffer of appends, the recent records, the groups.
//!
//! Addresses grow in this order: `synced` ≤ start of the buffer ≤ end of the buffer. Consumers see what is before
//! `visible`: for a synced topic that is `synced`, for a deferred one the end of the buffer.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, OnceLock},
};

use magpie_log::{BatchLimits, LogError, Position, Record, Result};
use tokio::sync::Notify;

use crate::{
    format::{self, SegmentHeader},
    group::Group,
};

/// What appends, writer and consumers share.
pub(crate) struct State {
    /// Next offset of each partition.
    pub(crate) next: Vec<u64>,
    /// Encoded records that the writer has not taken.
    pub(crate) buffer: Vec<u8>,
    /// Address of the buffer's first byte, and the next offsets there.
    pub(crate) buffer_start: u64,
    pub(crate) buffer_offsets: Vec<u64>,
    /// The records in the buffer of a synced topic: no consumer sees them yet.
    pub(crate) pending: Vec<Entry>,
    /// Whom to tell that the buffer of a synced topic is durable.
    pub(crate) flush: Arc<Flush>,
    /// Bytes that the writer has taken and not synced.
    pub(crate) unsynced: usize,
    /// Everything before this address is durable.
    pub(crate) synced: u64,
    /// Recent records in the order of the log.
    pub(crate) ring: VecDeque<Entry>,
    ring_bytes: usize,
    /// Consumers may read up to this address; the offsets there.
    pub(crate) visible: u64,
    pub(crate) ends: Vec<u64>,
    pub(crate) segments: VecDeque<SegmentHeader>,
    pub(crate) groups: BTreeMap<String, Group>,
    /// The oldest uncommitted record is too old.
    pub(crate) overdue: bool,
    /// The writer waits for work.
    pub(crate) writer_waits: bool,
    /// The writer is asked to sync up to this address.
    pub(crate) sync_to: u64,
    pub(crate) failures: u64,
    pub(crate) last_error: Option<LogError>,
    /// No more appends; the writer ends when it has done its work.
    pub(crate) closed: bool,
    pub(crate) writer_gone: bool,
}

/// A record in memory.
pub(crate) struct Entry {
    pub(crate) address: u64,
    pub(crate) record: Record,
}

impl Entry {
    pub(crate) fn len(&self) -> usize {
        format::encoded_len(&self.record.key, &self.record.value)
    }

    pub(crate) fn end(&self) -> u64 {
        self.address + self.len() as u64
    }
}

/// The outcome of one group commit, for all who wait for it.
#[derive(Default)]
pub(crate) struct Flush {
    result: OnceLock<Result<()>>,
    done: Notify,
}

impl Flush {
    pub(crate) async fn wait(&self) -> Result<()> {
        // Made before the result is looked at: it sees every notification from here on.
        let done = self.done.notified();
        if self.result.get().is_none() {
            done.await;
        }
        self.result.get().cloned().unwrap_or(Err(LogError::Closed))
    }

    pub(crate) fn finish(&self, result: Result<()>) {
        // The first outcome stays.
        if self.result.set(result).is_ok() {
            self.done.notify_waiters();
        }
    }
}

/// What recovery found.
pub(crate) struct Recovered {
    pub(crate) incarnation: u64,
    pub(crate) segments: VecDeque<SegmentHeader>,
    pub(crate) end: u64,
    pub(crate) offsets: Vec<u64>,
    pub(crate) groups: BTreeMap<String, Group>,
}

impl State {
    pub(crate) fn new(found: Recovered) -> Self {
        Self {
            next: found.offsets.clone(),
            buffer: Vec::new(),
            buffer_start: found.end,
            buffer_offsets: found.offsets.clone(),
            pending: Vec::new(),
            flush: Arc::default(),
            unsynced: 0,
            synced: found.end,
            ring: VecDeque::new(),
            ring_bytes: 0,
            visible: found.end,
            ends: found.offsets,
            segments: found.segments,
            groups: found.groups,
            overdue: false,
            writer_waits: false,
            sync_to: 0,
            failures: 0,
            last_error: None,
            closed: false,
            writer_gone: false,
        }
    }

    /// Shows records to consumers.
    pub(crate) fn publish(&mut self, entries: impl Iterator<Item = Entry>) {
        for entry in entries {
            let Position {
                partition, offset, ..
            } = entry.record.position;
            if let Some(end) = self.ends.get_mut(partition as usize) {
                *end = offset + 1;
            }
            self.visible = entry.end();
            self.ring_bytes += entry.len();
            self.ring.push_back(entry);
        }
    }

    /// Forgets records that are on disk and that all subscribers have read, or that are more than memory may hold.
    pub(crate) fn evict(&mut self, recent_bytes: usize) {
        let read = self
            .groups
            .values()
            .filter_map(|g| g.cursor)
            .min()
            .unwrap_or(0);
        while let Some(first) = self.ring.front()
            && first.end() <= self.synced
            && (first.end() <= read || self.ring_bytes > recent_bytes)
        {
            self.ring_bytes -= first.len();
            self.ring.pop_front();
        }
    }

    /// Takes back the records that no consumer has seen: their append fails.
    pub(crate) fn take_back(&mut self, error: &LogError) {
        self.buffer.clear();
        self.pending.clear();
        self.buffer_start = self.visible;
        self.next.clone_from(&self.ends);
        self.buffer_offsets.clone_from(&self.ends);
        std::mem::take(&mut self.flush).finish(Err(error.clone()));
    }
}

/// Collects a batch up to its limits.
pub(crate) struct Filling {
    limits: BatchLimits,
    bytes: usize,
    pub(crate) records: Vec<Record>,
}

impl Filling {
    pub(crate) fn new(limits: BatchLimits) -> Self {
        Self {
            limits,
            bytes: 0,
            records: Vec::new(),
        }
    }

    /// Takes the record, or skips it if it is before `next`; false when it has no room.
    pub(crate) fn offer(&mut self, record: &Record, next: &mut [u64]) -> bool {
        let Position {
            partition, offset, ..
        } = record.position;
        let Some(next) = next
            .get_mut(partition as usize)
            .filter(|next| **next <= offset)
        else {
            return true;
        };
        let full = self.records.len() >= self.limits.records
            || self.bytes + record.value.len() > self.limits.bytes;
        if full && !self.records.is_empty() {
            return false;
        }
        self.bytes += record.value.len();
        self.records.push(record.clone());
        *next = offset + 1;
        true
    }
}
