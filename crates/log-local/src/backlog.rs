//! What groups have not committed, and the segments that nobody needs any more.

use std::{io, time::Duration};

use magpie_log::Backlog;
use magpie_types::time::now_ms;

use crate::{
    format::segment_name,
    group::Group,
    offsets::Committed,
    reader::{Found, Reader},
    topic::TopicLog,
};

impl TopicLog {
    /// The committed offsets of all groups, as they are now.
    pub(crate) fn committed(&self) -> Vec<Committed> {
        let entry = |(name, group): (&String, &Group)| Committed {
            topic: self.topic,
            group: name.clone(),
            incarnation: self.incarnation,
            next: group.committed.clone(),
        };
        self.lock().groups.iter().map(entry).collect()
    }

    /// What a group has not committed; everything, if it is not known.
    pub(crate) fn backlog(&self, name: &str) -> Backlog {
        let state = self.lock();
        let oldest = state.segments.front();
        let (committed, low, handed) = match state.groups.get(name) {
            Some(group) => (Some(&group.committed), group.low, group.oldest_handed()),
            None => (
                oldest.map(|s| &s.offsets),
                oldest.map_or(state.visible, |s| s.base),
                None,
            ),
        };
        let committed = committed.unwrap_or(&state.ends);
        let records = state
            .ends
            .iter()
            .zip(committed)
            .map(|(end, next)| end.saturating_sub(*next))
            .sum();
        if records == 0 {
            return Backlog::default();
        }
        let bytes = state.visible.saturating_sub(low);
        let at = state.ring.partition_point(|e| e.address < low);
        let in_memory = state
            .ring
            .get(at)
            .filter(|e| e.address == low)
            .map(|e| e.record.appended_at);
        let base = state
            .segments
            .iter()
            .rev()
            .find(|s| s.base <= low)
            .map(|s| s.base);
        drop(state);
        let since = handed
            .or(in_memory)
            .or_else(|| base.and_then(|base| self.appended_at(base, low)));
        let age = since.map_or(0, |since| u64::try_from(now_ms() - since).unwrap_or(0));
        Backlog {
            records,
            bytes,
            age: Duration::from_millis(age),
        }
    }

    fn appended_at(&self, base: u64, address: u64) -> Option<i64> {
        let file = self
            .files
            .open(&segment_name(self.topic.name(), base))
            .ok()?;
        match Reader::new(file, base, self.incarnation)
            .read(address)
            .ok()?
        {
            Found::Record(record, _) => Some(record.appended_at),
            Found::End | Found::Bad(_) => None,
        }
    }

    /// Looks at all backlogs: sets metrics and refuses appends when one is too old.
    pub(crate) fn watch_backlogs(&self) {
        let names: Vec<String> = self.lock().groups.keys().cloned().collect();
        let mut overdue = false;
        for name in names {
            let Backlog { bytes, age, .. } = self.backlog(&name);
            self.metrics.backlog(&name, bytes, age.as_secs_f64());
            overdue |= age > self.options.max_backlog_age;
        }
        self.lock().overdue = overdue;
    }

    /// Deletes segments that are older than the retention and that all groups have committed.
    pub(crate) fn expire(&self) -> io::Result<()> {
        let retention = i64::try_from(self.options.retention.as_millis()).unwrap_or(i64::MAX);
        let before = now_ms().saturating_sub(retention);
        let mut removed = false;
        loop {
            let mut state = self.lock();
            let low = state
                .groups
                .values()
                .map(|g| g.low)
                .min()
                .unwrap_or(u64::MAX);
            match (state.segments.front(), state.segments.get(1)) {
                (Some(first), Some(next)) if next.created_at < before && next.base <= low => {
                    let name = segment_name(self.topic.name(), first.base);
                    state.segments.pop_front();
                    let left = state.segments.len();
                    drop(state);
                    self.files.remove(&name)?;
                    self.metrics.expired.increment(1);
                    self.metrics
                        .segments
                        .set(f64::from(u32::try_from(left).unwrap_or(u32::MAX)));
                    removed = true;
                }
                _ => break,
            }
        }
        if removed {
            self.files.sync_dir()
        } else {
            Ok(())
        }
    }
}
