//! Opening a topic: which segments there are, where the last one ends, and what its groups have committed.

use std::{collections::VecDeque, io, sync::Arc};

use magpie_log::{LogError, Position, Result, Topic};
use magpie_types::time::now_ms;

use crate::{
    Options,
    files::{File, Files},
    format::{HEADER, HEADER_LEN, SegmentHeader, damaged, parse_segment_name, segment_name},
    group::Group,
    metrics::Metrics,
    offsets::Committed,
    reader::{Found, Reader},
    state::Recovered,
    topic::TopicLog,
    writer::{Tail, write_segment},
};

/// Opens a topic, or makes it.
pub(crate) fn open_topic(
    topic: Topic,
    options: &Options,
    files: Arc<dyn Files>,
    names: &[String],
    saved: &[Committed],
) -> Result<(TopicLog, Tail)> {
    let metrics = Metrics::new(topic);
    let failed =
        |e: io::Error| LogError::Unavailable(format!("can't open the topic {}: {e}", topic.name()));
    let mut segments = list_segments(topic, &*files, names)?;
    if segments.is_empty() {
        let header = SegmentHeader {
            incarnation: rand::random(),
            base: 0,
            previous: 0,
            created_at: now_ms(),
            offsets: vec![0; options.partitions as usize],
        };
        write_segment(&*files, topic.name(), &header).map_err(failed)?;
        segments.push_back(header);
    }
    let Some(last) = segments.back().cloned() else {
        return damaged(topic.name(), 0, "no segment");
    };
    if last.offsets.len() != options.partitions as usize {
        let (has, wanted) = (last.offsets.len(), options.partitions);
        tracing::warn!(
            topic = topic.name(),
            has,
            wanted,
            "log.partitions was changed, but those of a topic are fixed when it is made: the old number stays in force"
        );
    }
    let file = files
        .open(&segment_name(topic.name(), last.base))
        .map_err(failed)?;
    let mut restored: Vec<Restored> = saved
        .iter()
        .filter(|c| c.topic == topic && c.incarnation == last.incarnation)
        .map(|c| Restored::new(c, &segments))
        .collect();
    let (end, offsets) = scan(&file, &last, &mut restored).map_err(failed)?;
    let torn = zero_tail(&*file, HEADER + (end - last.base)).map_err(failed)?;
    if torn > 0 {
        metrics.torn.increment(1);
        tracing::warn!(
            topic = topic.name(),
            end,
            bytes = torn,
            "cut off a torn tail of the message log"
        );
    }
    let prepared = file.size().map_err(failed)?;
    let groups = restored
        .into_iter()
        .map(|group| group.finish(topic, end, &offsets, &metrics))
        .collect();
    let found = Recovered {
        incarnation: last.incarnation,
        segments,
        end,
        offsets,
        groups,
    };
    let log = TopicLog::new(topic, options.clone(), files, metrics, found);
    Ok((
        log,
        Tail {
            file,
            base: last.base,
            prepared,
        },
    ))
}

/// The headers of all segments in order. A last one that was never finished is removed.
fn list_segments(
    topic: Topic,
    files: &dyn Files,
    names: &[String],
) -> Result<VecDeque<SegmentHeader>> {
    let failed =
        |e: io::Error| LogError::Unavailable(format!("can't read the topic {}: {e}", topic.name()));
    let mut bases: Vec<u64> = names
        .iter()
        .filter_map(|name| parse_segment_name(topic.name(), name))
        .collect();
    bases.sort_unstable();
    let mut headers: VecDeque<SegmentHeader> = VecDeque::new();
    for (i, &base) in bases.iter().enumerate() {
        let name = segment_name(topic.name(), base);
        let file = files.open(&name).map_err(failed)?;
        let mut start = vec![0; HEADER_LEN + 8];
        let read = file.pread(&mut start, 0).map_err(failed)?;
        // Records are written only after the header is durable.
        let used = start
            .get(HEADER_LEN..read)
            .is_some_and(|first| first.iter().any(|b| *b != 0));
        match SegmentHeader::decode(&start) {
            Some(header) => {
                let chained = headers.back().is_none_or(|before| {
                    header.previous == before.base
                        && header.incarnation == before.incarnation
                        && header.offsets.len() == before.offsets.len()
                });
                if header.base != base || !chained {
                    return damaged(&name, base, "the segment does not follow the one before");
                }
                headers.push_back(header);
            }
            None if i + 1 == bases.len() && !used && (i > 0 || base == 0) => {
                files
                    .remove(&name)
                    .and_then(|()| files.sync_dir())
                    .map_err(failed)?;
            }
            None => return damaged(&name, base, "the header of the segment is broken"),
        }
    }
    Ok(headers)
}

/// Goes through the last segment; answers its end and the offsets there.
fn scan(
    file: &Arc<dyn File>,
    header: &SegmentHeader,
    groups: &mut [Restored],
) -> io::Result<(u64, Vec<u64>)> {
    let mut reader = Reader::new(Arc::clone(file), header.base, header.incarnation);
    let mut offsets = header.offsets.clone();
    let mut address = header.base;
    while let Found::Record(record, after) = reader.read(address)? {
        let Position {
            partition, offset, ..
        } = record.position;
        match offsets.get_mut(partition as usize) {
            Some(next) if *next == offset => *next += 1,
            _ => break,
        }
        for group in groups.iter_mut() {
            group.see(address, record.position);
        }
        address = after;
    }
    Ok((address, offsets))
}

/// Zeroes what stands after the end and makes the file durable as it is now: what is read from here on was synced.
fn zero_tail(file: &dyn File, from: u64) -> io::Result<u64> {
    let size = file.size()?;
    let mut chunk = vec![0; 256 << 10];
    let mut at = from;
    let mut torn = 0;
    while at < size {
        let read = file.pread(&mut chunk, at)?;
        let got = chunk.get(..read).unwrap_or_default();
        if read == 0 {
            break;
        }
        if let Some(last) = got.iter().rposition(|b| *b != 0) {
            file.preallocate(at, last + 1)?;
            torn = at + last as u64 + 1 - from;
        }
        at += read as u64;
    }
    file.fdatasync()?;
    Ok(torn)
}

/// A group on its way back.
struct Restored {
    name: String,
    next: Vec<u64>,
    low: Option<u64>,
}

impl Restored {
    fn new(saved: &Committed, segments: &VecDeque<SegmentHeader>) -> Self {
        let floor = segments
            .front()
            .map(|s| s.offsets.as_slice())
            .unwrap_or_default();
        let next: Vec<u64> = floor
            .iter()
            .enumerate()
            .map(|(p, oldest)| saved.next.get(p).copied().unwrap_or(0).max(*oldest))
            .collect();
        let done = |s: &&SegmentHeader| {
            s.offsets
                .iter()
                .zip(&next)
                .all(|(start, next)| start <= next)
        };
        // In the last segment the scan finds the place; in an earlier one its start is near enough.
        let low = match segments.iter().rev().find(done) {
            Some(s) if segments.back().is_some_and(|last| last.base == s.base) => None,
            Some(s) => Some(s.base),
            None => segments.front().map(|s| s.base),
        };
        Self {
            name: saved.group.clone(),
            next,
            low,
        }
    }

    /// Notes the first record that is not committed.
    fn see(&mut self, address: u64, position: Position) {
        let committed = self
            .next
            .get(position.partition as usize)
            .is_some_and(|next| position.offset < *next);
        if self.low.is_none() && !committed {
            self.low = Some(address);
        }
    }

    fn finish(
        mut self,
        topic: Topic,
        end: u64,
        offsets: &[u64],
        metrics: &Metrics,
    ) -> (String, Group) {
        for (partition, (next, end)) in self.next.iter_mut().zip(offsets).enumerate() {
            if *next > *end {
                metrics.offset_resets.increment(1);
                let (topic, group, was) = (topic.name(), self.name.as_str(), *next);
                tracing::warn!(
                    topic,
                    group,
                    partition,
                    was,
                    end,
                    "a committed offset was beyond the end"
                );
                *next = *end;
            }
        }
        (self.name, Group::new(self.next, self.low.unwrap_or(end)))
    }
}
