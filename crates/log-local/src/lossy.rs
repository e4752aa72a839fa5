//! Files in memory that forget what was not synced, for tests of durability.
//!
//! [`LossyFiles::crash`] is a power failure: bytes since the last `fdatasync` of their file and names since the last
//! `sync_dir` are gone, or, with [`LossyFiles::crash_torn`], an arbitrary part of the sectors survives. Handles and clones from
//! before fail: a process that lost its power makes no file, removes none and syncs nothing any more. It can also be full, refuse writes, or fail syncs the way page caches do: what a failed sync did not write
//! counts as written.

use std::{
    collections::BTreeMap,
    io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::files::{File, Files};

const SECTOR: usize = 512;

/// A directory in memory. Clones share it until the next crash; the directory that was made first outlives all.
#[derive(Default)]
pub struct LossyFiles {
    disk: Arc<Mutex<Disk>>,
    /// The life in which it was cloned.
    life: Option<u64>,
}

impl Clone for LossyFiles {
    fn clone(&self) -> Self {
        Self {
            disk: Arc::clone(&self.disk),
            life: Some(self.disk().life),
        }
    }
}

fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn power_failed() -> io::Error {
    io::Error::other("the power failed")
}

#[derive(Default)]
struct Disk {
    nodes: Vec<Node>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Handles of an earlier life fail.
    life: u64,
    locked: bool,
    quota: Option<usize>,
    failing_syncs: usize,
    syncs: u64,
}

#[derive(Default)]
struct Node {
    now: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<Range<usize>>,
    /// Written since the last crash.
    touched: bool,
}

impl Node {
    fn keep(&mut self, range: Range<usize>) {
        let range = range.start.min(self.now.len())..range.end.min(self.now.len());
        if self.durable.len() < range.end {
            self.durable.resize(range.end, 0);
        }
        if let (Some(to), Some(from)) = (self.durable.get_mut(range.clone()), self.now.get(range)) {
            to.copy_from_slice(from);
        }
    }
}

impl LossyFiles {
    /// An empty directory.
    pub fn new() -> Self {
        Self::default()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    /// The disk, for a process whose power has not failed.
    fn powered(&self) -> io::Result<MutexGuard<'_, Disk>> {
        let disk = self.disk();
        match self.life {
            Some(life) if life != disk.life => Err(power_failed()),
            _ => Ok(disk),
        }
    }

    /// The power fails: nothing is left that was not synced.
    pub fn crash(&self) {
        self.crash_torn(|| false);
    }

    /// The power fails; of the sectors that were not synced those survive for which the closure says so.
    pub fn crash_torn(&self, mut survives: impl FnMut() -> bool) {
        let mut disk = self.disk();
        disk.life += 1;
        disk.locked = false;
        disk.names = disk.durable_names.clone();
        for node in &mut disk.nodes {
            for range in std::mem::take(&mut node.unsynced) {
                let mut at = range.start;
                while at < range.end {
                    let end = (at / SECTOR * SECTOR + SECTOR).min(range.end);
                    if survives() {
                        node.keep(at..end);
                    }
                    at = end;
                }
            }
            if std::mem::take(&mut node.touched) {
                node.now = node.durable.clone();
            }
        }
    }

    /// What would be left after a crash now, as a directory of its own.
    pub fn after_crash(&self) -> Self {
        let disk = self.disk();
        let whole = |n: &Node| Node {
            now: n.durable.clone(),
            durable: n.durable.clone(),
            unsynced: Vec::new(),
            touched: false,
        };
        let copy = Disk {
            nodes: disk.nodes.iter().map(whole).collect(),
            names: disk.durable_names.clone(),
            durable_names: disk.durable_names.clone(),
            ..Disk::default()
        };
        Self {
            disk: Arc::new(Mutex::new(copy)),
            life: None,
        }
    }

    /// Lets all files together hold so many bytes; writes beyond fail, having written a part.
    pub fn set_quota(&self, bytes: Option<usize>) {
        self.disk().quota = bytes;
    }

    /// Lets the next syncs of files fail.
    pub fn fail_syncs(&self, count: usize) {
        self.disk().failing_syncs = count;
    }

    /// How many syncs of files there were.
    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// Bytes of all files.
    pub fn used(&self) -> usize {
        let disk = self.disk();
        disk.names
            .values()
            .filter_map(|n| disk.nodes.get(*n))
            .map(|n| n.now.len())
            .sum()
    }

    /// Changes the bytes of a file, on disk too.
    pub fn tamper(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut disk = self.disk();
        if let Some(node) = disk
            .names
            .get(name)
            .copied()
            .and_then(|n| disk.nodes.get_mut(n))
        {
            change(&mut node.now);
            node.durable = node.now.clone();
        }
    }
}

impl Files for LossyFiles {
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.powered()?;
        let node = disk.nodes.len();
        disk.nodes.push(Node::default());
        disk.names.insert(name.to_owned(), node);
        Ok(Arc::new(Handle {
            disk: Arc::clone(&self.disk),
            node,
            life: disk.life,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let disk = self.powered()?;
        let node = *disk.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Handle {
            disk: Arc::clone(&self.disk),
            node,
            life: disk.life,
        }))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.powered()?
            .names
            .remove(name)
            .map(|_| ())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.powered()?.names.keys().cloned().collect())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut disk = self.powered()?;
        disk.durable_names = disk.names.clone();
        Ok(())
    }

    fn lock(&self) -> io::Result<Box<dyn Send + Sync>> {
        let mut disk = self.powered()?;
        if std::mem::replace(&mut disk.locked, true) {
            return Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                "the directory in memory is in use",
            ));
        }
        Ok(Box::new(Lock {
            disk: Arc::clone(&self.disk),
            life: disk.life,
        }))
    }
}

struct Lock {
    disk: Arc<Mutex<Disk>>,
    life: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut disk = lock(&self.disk);
        if disk.life == self.life {
            disk.locked = false;
        }
    }
}

struct Handle {
    disk: Arc<Mutex<Disk>>,
    node: usize,
    life: u64,
}

impl Handle {
    fn with<T>(&self, f: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let mut disk = lock(&self.disk);
        if disk.life != self.life {
            return Err(power_failed());
        }
        f(&mut disk)
    }
}

impl File for Handle {
    fn pwrite(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.with(|disk| {
            let used: usize = disk
                .names
                .values()
                .filter_map(|n| disk.nodes.get(*n))
                .map(|n| n.now.len())
                .sum();
            let room = disk
                .quota
                .map_or(usize::MAX, |quota| quota.saturating_sub(used));
            let node = disk
                .nodes
                .get_mut(self.node)
                .ok_or(io::ErrorKind::NotFound)?;
            node.touched = true;
            let start = usize::try_from(at).map_err(io::Error::other)?;
            let end = (start + bytes.len()).min(node.now.len().saturating_add(room));
            if node.now.len() < end {
                node.now.resize(end, 0);
            }
            let fits = end.saturating_sub(start);
            if let (Some(to), Some(from)) =
                (node.now.get_mut(start..start + fits), bytes.get(..fits))
            {
                to.copy_from_slice(from);
                node.unsynced.push(start..start + fits);
            }
            if fits < bytes.len() {
                Err(io::ErrorKind::StorageFull.into())
            } else {
                Ok(())
            }
        })
    }

    fn pread(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.with(|disk| {
            let node = disk.nodes.get(self.node).ok_or(io::ErrorKind::NotFound)?;
            let from = usize::try_from(at)
                .ok()
                .and_then(|at| node.now.get(at..))
                .unwrap_or_default();
            let count = from.len().min(into.len());
            if let (Some(to), Some(from)) = (into.get_mut(..count), from.get(..count)) {
                to.copy_from_slice(from);
            }
            Ok(count)
        })
    }

    fn fdatasync(&self) -> io::Result<()> {
        self.with(|disk| {
            disk.syncs += 1;
            let fails = disk.failing_syncs > 0;
            disk.failing_syncs -= usize::from(fails);
            let node = disk
                .nodes
                .get_mut(self.node)
                .ok_or(io::ErrorKind::NotFound)?;
            let ranges = std::mem::take(&mut node.unsynced);
            if fails {
                return Err(io::Error::other("the disk did not take it"));
            }
            for range in ranges {
                node.keep(range);
            }
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        self.with(|disk| Ok(disk.nodes.get(self.node).map_or(0, |n| n.now.len()) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_lost_its_power_changes_nothing_any_more() {
        let files = LossyFiles::new();
        let before = files.clone();
        let handle = before.create("kept").unwrap();
        before.sync_dir().unwrap();
        files.crash();
        assert!(handle.pwrite(b"late", 0).is_err());
        assert!(before.create("late").is_err());
        assert!(before.remove("kept").is_err());
        assert!(before.sync_dir().is_err());
        assert!(before.lock().is_err());
        assert_eq!(files.list().unwrap(), ["kept"]);
    }
}
