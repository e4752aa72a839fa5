//! A consumer group of one topic: what it was handed and what it has committed.

use std::collections::VecDeque;

use magpie_log::{Position, Record};

/// Batches a group may hold uncommitted before they are accounted for together.
const HANDED_MAX: usize = 1024;

/// A group; there is at most one subscriber.
#[derive(Debug, Default)]
pub(crate) struct Group {
    /// The next offset of each partition that is not committed.
    pub(crate) committed: Vec<u64>,
    /// Every record before this address is committed.
    pub(crate) low: u64,
    /// Where the subscriber reads next.
    pub(crate) cursor: Option<u64>,
    handed: VecDeque<Handed>,
}

/// A batch that was handed out and is not committed.
#[derive(Debug)]
struct Handed {
    address: u64,
    appended_at: i64,
    /// The last offset of each partition in it.
    last: Vec<(u32, u64)>,
}

impl Group {
    pub(crate) fn new(committed: Vec<u64>, low: u64) -> Self {
        Self {
            committed,
            low,
            cursor: None,
            handed: VecDeque::new(),
        }
    }

    /// Notes that these records, in the order of the log and none of them empty-handed, are with the subscriber.
    pub(crate) fn hand_out(&mut self, from: u64, to: u64, records: &[Record]) {
        self.cursor = Some(to);
        let Some(first) = records.first() else {
            self.settle();
            return;
        };
        if self.handed.len() < HANDED_MAX {
            self.handed.push_back(Handed {
                address: from,
                appended_at: first.appended_at,
                last: Vec::new(),
            });
        }
        let Some(batch) = self.handed.back_mut() else {
            return;
        };
        for Position {
            partition, offset, ..
        } in records.iter().map(|r| r.position)
        {
            match batch.last.iter_mut().find(|(p, _)| *p == partition) {
                Some((_, last)) => *last = offset,
                None => batch.last.push((partition, offset)),
            }
        }
    }

    /// Raises the committed offset of a partition.
    pub(crate) fn commit(&mut self, partition: u32, next: u64) {
        if let Some(committed) = self.committed.get_mut(partition as usize) {
            *committed = next.max(*committed);
        }
    }

    /// Moves `low` up to the first batch that is not wholly committed.
    pub(crate) fn settle(&mut self) {
        while let Some(batch) = self.handed.front() {
            let done = |&(p, last): &(u32, u64)| {
                self.committed
                    .get(p as usize)
                    .is_some_and(|next| last < *next)
            };
            if !batch.last.iter().all(done) {
                self.low = batch.address;
                return;
            }
            self.handed.pop_front();
        }
        self.low = self.cursor.unwrap_or(self.low);
    }

    /// When the oldest record that was handed out and is not committed was appended.
    pub(crate) fn oldest_handed(&self) -> Option<i64> {
        self.handed.front().map(|batch| batch.appended_at)
    }

    /// Starts a subscriber at what is not committed.
    pub(crate) fn join(&mut self) {
        self.cursor = Some(self.low);
    }

    /// Ends the subscriber; what it did not commit is handed out again.
    pub(crate) fn leave(&mut self) {
        self.settle();
        self.handed.clear();
        self.cursor = None;
    }
}
