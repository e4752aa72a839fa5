//! A subscriber: takes batches from memory, or from disk when it is behind.

use std::sync::Arc;

use async_trait::async_trait;
use magpie_log::{Batch, BatchLimits, Consumer, LogError, Position, Record, Result};

use crate::{
    format::{damaged, segment_name},
    reader::{Found, Reader},
    state::Filling,
    topic::{DiskRange, Taken, TopicLog},
};

/// The one subscriber of a group.
pub(crate) struct LocalConsumer {
    log: Arc<TopicLog>,
    group: String,
    limits: BatchLimits,
    /// Next offset of each partition to hand out.
    next: Vec<u64>,
    /// The segment that is being read, while the consumer is behind.
    reader: Option<Reader>,
}

impl LocalConsumer {
    pub(crate) fn join(log: Arc<TopicLog>, group: &str, limits: BatchLimits) -> Result<Self> {
        let next = log.join(group)?;
        Ok(Self {
            log,
            group: group.to_owned(),
            limits,
            next,
            reader: None,
        })
    }

    /// Nothing of `self` changes before the last await, so that a dropped call loses nothing.
    async fn read_disk(&mut self, range: DiskRange) -> Result<Vec<Record>> {
        let (log, limits, mut next) = (Arc::clone(&self.log), self.limits, self.next.clone());
        let reader = self.reader.take().filter(|r| r.base == range.base);
        let read = tokio::task::spawn_blocking(move || {
            let mut reader = match reader {
                Some(reader) => reader,
                None => open_reader(&log, range.base)?,
            };
            let (records, to) = fill(&log, &mut reader, range, limits, &mut next)?;
            Ok((reader, records, to, next))
        });
        let (reader, records, to, next) =
            read.await.map_err(|_stopping| LogError::Closed).flatten()?;
        self.log.metrics.disk_batches.increment(1);
        self.log.handed_out(&self.group, range.from, to, &records);
        self.next = next;
        self.reader = Some(reader);
        Ok(records)
    }
}

fn open_reader(log: &TopicLog, base: u64) -> Result<Reader> {
    let name = segment_name(log.topic.name(), base);
    let file = log
        .files
        .open(&name)
        .map_err(|e| LogError::Unavailable(format!("can't read {name}: {e}")))?;
    Ok(Reader::new(file, base, log.incarnation))
}

fn fill(
    log: &TopicLog,
    reader: &mut Reader,
    range: DiskRange,
    limits: BatchLimits,
    next: &mut [u64],
) -> Result<(Vec<Record>, u64)> {
    let name = log.topic.name();
    let mut filling = Filling::new(limits);
    let mut address = range.from;
    while address < range.to {
        match reader.read(address) {
            Ok(Found::Record(record, after)) => {
                if !filling.offer(&record, next) {
                    break;
                }
                address = after;
            }
            Ok(Found::End) => return damaged(name, address, "the segment ends too early"),
            Ok(Found::Bad(why)) => return damaged(name, address, why),
            Err(e) => return Err(LogError::Unavailable(format!("can't read {name}: {e}"))),
        }
    }
    Ok((filling.records, address))
}

#[async_trait]
impl Consumer for LocalConsumer {
    async fn next(&mut self) -> Result<Batch> {
        let log = Arc::clone(&self.log);
        loop {
            // Made before the look, so that what arrives in between wakes it.
            let arrived = log.arrived.notified();
            let mut records = match log.take(&self.group, &mut self.next, self.limits)? {
                Taken::Records(records) => {
                    self.reader = None;
                    records
                }
                Taken::OnDisk(range) => self.read_disk(range).await?,
                Taken::Nothing => {
                    arrived.await;
                    continue;
                }
            };
            if !records.is_empty() {
                records.sort_by_key(|r| r.position.partition);
                return Ok(Batch { records });
            }
        }
    }

    async fn commit(&mut self, positions: &[Position]) -> Result<()> {
        self.log.commit(&self.group, positions)
    }
}

impl Drop for LocalConsumer {
    fn drop(&mut self) {
        self.log.leave(&self.group);
    }
}
