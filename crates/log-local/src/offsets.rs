//! The committed offsets on disk: two slots written in turn, each with a generation and a checksum, so that a torn write
//! leaves the other one.

use std::{io, sync::Arc};

use magpie_log::Topic;

use crate::{
    files::{File, Files},
    format::{MAX_PARTITIONS, le_u32, le_u64},
};

const NAMES: [&str; 2] = ["offsets.0", "offsets.1"];
const MAGIC: &[u8; 8] = b"mgpoff01";
/// A slot is never larger; groups and their names are bounded.
const MAX_SLOT: u64 = 4 << 20;

/// What one group has committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) topic: Topic,
    pub(crate) group: String,
    pub(crate) incarnation: u64,
    /// The next offset of each partition.
    pub(crate) next: Vec<u64>,
}

/// The two slots.
pub(crate) struct Offsets {
    slots: [Arc<dyn File>; 2],
    generation: u64,
}

impl Offsets {
    /// Opens or creates the slots and reads the newer whole one.
    pub(crate) fn open(files: &dyn Files, names: &[String]) -> io::Result<(Self, Vec<Committed>)> {
        let mut created = false;
        let mut slot = |name: &str| {
            if names.iter().any(|n| n == name) {
                return files.open(name);
            }
            created = true;
            let file = files.create(name)?;
            file.preallocate(0, 4096)?;
            file.fdatasync()?;
            Ok(file)
        };
        let slots = [slot(NAMES[0])?, slot(NAMES[1])?];
        if created {
            files.sync_dir()?;
        }
        let mut newest = (0, Vec::new());
        for file in &slots {
            let mut bytes = vec![0; usize::try_from(file.size()?.min(MAX_SLOT)).unwrap_or(0)];
            let read = file.pread(&mut bytes, 0)?;
            if let Some(found) = decode(bytes.get(..read).unwrap_or_default())
                && found.0 > newest.0
            {
                newest = found;
            }
        }
        Ok((
            Self {
                slots,
                generation: newest.0,
            },
            newest.1,
        ))
    }

    /// Makes these offsets durable, in place of all before.
    pub(crate) fn store(&mut self, committed: &[Committed]) -> io::Result<()> {
        let generation = self.generation + 1;
        let [even, odd] = &self.slots;
        let slot = if generation.is_multiple_of(2) {
            even
        } else {
            odd
        };
        slot.pwrite(&encode(generation, committed), 0)?;
        slot.fdatasync()?;
        self.generation = generation;
        Ok(())
    }
}

fn encode(generation: u64, committed: &[Committed]) -> Vec<u8> {
    let mut body = Vec::new();
    for entry in committed {
        put_text(&mut body, entry.topic.name());
        put_text(&mut body, &entry.group);
        body.extend_from_slice(&entry.incarnation.to_le_bytes());
        body.extend_from_slice(&(entry.next.len() as u64).to_le_bytes());
        for next in &entry.next {
            body.extend_from_slice(&next.to_le_bytes());
        }
    }
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&generation.to_le_bytes());
    out.extend_from_slice(&(body.len() as u64).to_le_bytes());
    out.extend_from_slice(&body);
    out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
    out
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn decode(bytes: &[u8]) -> Option<(u64, Vec<Committed>)> {
    let generation = le_u64(bytes, 8)?;
    let end = usize::try_from(le_u64(bytes, 16)?).ok()?.checked_add(24)?;
    let covered = bytes.get(..end)?;
    if !covered.starts_with(MAGIC) || le_u32(bytes, end)? != crc32fast::hash(covered) {
        return None;
    }
    let mut at = 24;
    let mut entries = Vec::new();
    while at < end {
        let topic = take_text(covered, &mut at)?;
        let group = take_text(covered, &mut at)?;
        let incarnation = take_u64(covered, &mut at)?;
        let count = take_u64(covered, &mut at).filter(|n| *n <= u64::from(MAX_PARTITIONS))?;
        let next = (0..count)
            .map(|_| take_u64(covered, &mut at))
            .collect::<Option<_>>()?;
        if let Some(topic) = Topic::ALL.into_iter().find(|t| t.name() == topic) {
            entries.push(Committed {
                topic,
                group,
                incarnation,
                next,
            });
        }
    }
    Some((generation, entries))
}

fn take_u64(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let n = le_u64(bytes, *at)?;
    *at += 8;
    Some(n)
}

fn take_text(bytes: &[u8], at: &mut usize) -> Option<String> {
    let len = usize::try_from(take_u64(bytes, at)?).ok()?;
    let end = at.checked_add(len)?;
    let text = std::str::from_utf8(bytes.get(*at..end)?).ok()?.to_owned();
    *at = end;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_slot_leaves_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let files = crate::files::OsFiles::new(dir.path()).unwrap();
        let at = |n| Committed {
            topic: Topic::Stored,
            group: "push".to_owned(),
            incarnation: 7,
            next: vec![n, 0],
        };
        let (mut offsets, found) = Offsets::open(&files, &[]).unwrap();
        assert!(found.is_empty());
        offsets.store(&[at(1)]).unwrap();
        offsets.store(&[at(2)]).unwrap();
        let names = files.list().unwrap();
        assert_eq!(Offsets::open(&files, &names).unwrap().1, [at(2)]);
        files
            .open("offsets.0")
            .unwrap()
            .pwrite(b"torn", 30)
            .unwrap();
        assert_eq!(Offsets::open(&files, &names).unwrap().1, [at(1)]);
    }
}
