//! The thread that writes a topic: group commit, segments, and what happens when the disk fails.
//!
//! Synced topics: one write and one fdatasync for everything that waits, then the appends end and consumers see the
//! records. If it fails, those appends fail and what may have reached the disk is zeroed before anything else is written.
//! Deferred topics: written soon, synced when asked; if it fails, the bytes since the last sync are kept and written again.
//! After a failed sync nothing is believed of the page cache: the bytes are written anew.

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use magpie_log::LogError;
use magpie_types::time::now_ms;

use crate::{
    files::{File, Files},
    format::{HEADER, HEADER_LEN, SegmentHeader, segment_name},
    topic::TopicLog,
};

/// How much is zeroed ahead of the records at a time.
const AHEAD: usize = 1 << 20;
/// Between attempts while the disk fails.
const RETRY: Duration = Duration::from_millis(100);
/// Between writes of a deferred topic: what the death of the process can lose.
const DEFERRED_SPACING: Duration = Duration::from_millis(5);
/// A buffer larger than this is given back.
const KEEP_CAPACITY: usize = 1 << 20;

/// The end of the last segment.
pub(crate) struct Tail {
    pub(crate) file: Arc<dyn File>,
    pub(crate) base: u64,
    /// Bytes of the file that are written or zeroed.
    pub(crate) prepared: u64,
}

/// The writer of one topic.
pub(crate) struct Writer {
    log: Arc<TopicLog>,
    tail: Tail,
    /// Where the next bytes go; all before is synced, except `unsynced` of a deferred topic.
    synced: u64,
    /// Bytes after `synced` that a failed write may have left on disk.
    doubtful: usize,
    /// A deferred topic's bytes since the last sync, and how many of them are written.
    unsynced: Vec<u8>,
    written: usize,
    spare: Vec<u8>,
    /// A segment could not be made. It may be on disk with this very start, so nothing more goes into the one before.
    must_roll: bool,
    last_start: Option<Instant>,
    /// The last commit had several records.
    loaded: bool,
    failing: bool,
}

impl Writer {
    pub(crate) fn new(log: Arc<TopicLog>, tail: Tail) -> Self {
        let synced = log.lock().synced;
        Self {
            log,
            tail,
            synced,
            doubtful: 0,
            unsynced: Vec::new(),
            written: 0,
            spare: Vec::new(),
            must_roll: false,
            last_start: None,
            loaded: false,
            failing: false,
        }
    }

    /// Works until the topic is closed and everything is written, or can't be.
    pub(crate) fn run(mut self) {
        loop {
            // Under load the buffer fills meanwhile and nobody has to wake this thread.
            if self.loaded {
                self.rest();
            }
            if !self.wait_for_work() {
                break;
            }
            let last = self.log.lock().closed;
            self.rest();
            self.last_start = Some(Instant::now());
            let result = if self.log.synced_topic() {
                self.commit_synced()
            } else {
                self.write_deferred()
            };
            self.note(result);
            if last && self.failing {
                break;
            }
        }
    }

    /// Waits until there is something to do; false if there never will be.
    fn wait_for_work(&self) -> bool {
        let mut state = self.log.lock();
        loop {
            let pending = !state.buffer.is_empty() || self.written < self.unsynced.len();
            let sync = state.sync_to > self.synced && (pending || !self.unsynced.is_empty());
            let last = state.closed && !self.unsynced.is_empty();
            if pending || sync || last {
                return true;
            }
            if state.closed {
                return false;
            }
            state.writer_waits = true;
            state = self
                .log
                .work
                .wait(state)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            state.writer_waits = false;
        }
    }

    /// A commit starts at once if the last one started long enough ago.
    fn rest(&self) {
        let spacing = match (self.failing, self.log.synced_topic()) {
            (true, _) => RETRY,
            (false, true) => self.log.options.sync_spacing,
            (false, false) => DEFERRED_SPACING,
        };
        if let Some(rest) = self
            .last_start
            .and_then(|last| spacing.checked_sub(last.elapsed()))
        {
            thread::sleep(rest);
        }
    }

    fn note(&mut self, result: io::Result<()>) {
        let failing = result.is_err();
        if let Err(error) = result {
            self.log.metrics.failed.increment(1);
            if !self.failing {
                tracing::error!(topic = self.log.topic.name(), %error, "can't write the message log");
            }
        } else if self.failing {
            tracing::info!(
                topic = self.log.topic.name(),
                "the message log is written again"
            );
        }
        self.failing = failing;
    }

    fn commit_synced(&mut self) -> io::Result<()> {
        let prepared = self.repair().and_then(|()| self.roll_if_full());
        let (bytes, entries, flush) = {
            let mut state = self.log.lock();
            if let Err(error) = prepared {
                state.take_back(&unavailable(&error));
                return Err(error);
            }
            let bytes = std::mem::replace(&mut state.buffer, std::mem::take(&mut self.spare));
            let entries = std::mem::take(&mut state.pending);
            let flush = std::mem::take(&mut state.flush);
            state.buffer_start += bytes.len() as u64;
            state.unsynced = bytes.len();
            state.buffer_offsets = state.next.clone();
            (bytes, entries, flush)
        };
        let started = Instant::now();
        let result = self
            .write_at(self.synced, &bytes)
            .and_then(|()| self.tail.file.fdatasync());
        let metrics = &self.log.metrics;
        let mut state = self.log.lock();
        state.unsynced = 0;
        match result {
            Ok(()) => {
                metrics.sync_seconds.record(started.elapsed().as_secs_f64());
                metrics
                    .batch_records
                    .record(f64::from(u32::try_from(entries.len()).unwrap_or(u32::MAX)));
                metrics.appended.increment(entries.len() as u64);
                metrics.appended_bytes.increment(bytes.len() as u64);
                self.loaded = entries.len() > 1;
                self.synced += bytes.len() as u64;
                state.synced = self.synced;
                state.last_error = None;
                state.publish(entries.into_iter());
                state.evict(self.log.options.recent_bytes);
                drop(state);
                self.log.arrived.notify_waiters();
                flush.finish(Ok(()));
            }
            Err(error) => {
                self.doubtful = bytes.len();
                self.tail.prepared = self.tail.prepared.min(self.place(self.synced));
                let unavailable = unavailable(&error);
                state.take_back(&unavailable);
                drop(state);
                flush.finish(Err(unavailable));
                return Err(error);
            }
        }
        self.spare = bytes;
        self.spare.clear();
        self.spare.shrink_to(KEEP_CAPACITY);
        Ok(())
    }

    fn write_deferred(&mut self) -> io::Result<()> {
        let result = self.try_write_deferred();
        let mut state = self.log.lock();
        state.unsynced = self.unsynced.len();
        state.synced = self.synced;
        match &result {
            Ok(()) => state.last_error = None,
            Err(error) => {
                self.written = 0;
                self.tail.prepared = self.tail.prepared.min(self.place(self.synced));
                state.failures += 1;
                state.last_error = Some(unavailable(error));
            }
        }
        state.evict(self.log.options.recent_bytes);
        drop(state);
        self.log.progress.notify_all();
        result
    }

    fn try_write_deferred(&mut self) -> io::Result<()> {
        self.write_unsynced()?;
        let (waiting, sync) = {
            let state = self.log.lock();
            let full =
                (state.buffer.len() + self.unsynced.len()) > self.log.options.max_buffer_bytes / 4;
            (
                state.buffer.len(),
                full || state.closed || state.sync_to > self.synced,
            )
        };
        if self.is_full(waiting) {
            self.sync_unsynced()?;
            self.roll_if_full()?;
        }
        {
            let mut state = self.log.lock();
            self.unsynced.extend_from_slice(&state.buffer);
            self.log
                .metrics
                .appended_bytes
                .increment(state.buffer.len() as u64);
            state.buffer_start += state.buffer.len() as u64;
            state.buffer.clear();
            state.buffer.shrink_to(KEEP_CAPACITY);
            state.buffer_offsets = state.next.clone();
            state.unsynced = self.unsynced.len();
        }
        self.write_unsynced()?;
        if sync { self.sync_unsynced() } else { Ok(()) }
    }

    fn write_unsynced(&mut self) -> io::Result<()> {
        let new = self.unsynced.split_off(self.written);
        let result = self.write_at(self.synced + self.written as u64, &new);
        self.unsynced.extend_from_slice(&new);
        result?;
        self.written = self.unsynced.len();
        Ok(())
    }

    fn sync_unsynced(&mut self) -> io::Result<()> {
        if !self.unsynced.is_empty() {
            let started = Instant::now();
            self.tail.file.fdatasync()?;
            self.log
                .metrics
                .sync_seconds
                .record(started.elapsed().as_secs_f64());
            self.synced += self.unsynced.len() as u64;
            self.unsynced.clear();
            self.unsynced.shrink_to(KEEP_CAPACITY);
            self.written = 0;
        }
        Ok(())
    }

    /// Zeroes what a failed commit may have left, so that it is never taken for records.
    fn repair(&mut self) -> io::Result<()> {
        if self.doubtful > 0 {
            let there = self
                .tail
                .file
                .size()?
                .saturating_sub(self.place(self.synced));
            let left = self
                .doubtful
                .min(usize::try_from(there).unwrap_or(usize::MAX));
            self.tail.file.preallocate(self.place(self.synced), left)?;
            self.tail.file.fdatasync()?;
            self.doubtful = 0;
        }
        Ok(())
    }

    fn place(&self, address: u64) -> u64 {
        HEADER + (address - self.tail.base)
    }

    /// Writes bytes, and zeros ahead of them when they reach the end of what is prepared.
    fn write_at(&mut self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let at = self.place(address);
        let end = at + bytes.len() as u64;
        self.tail.file.pwrite(bytes, at)?;
        if end >= self.tail.prepared {
            let left = usize::try_from(self.log.options.segment_bytes.saturating_sub(end))
                .unwrap_or(usize::MAX);
            let ahead = left.clamp(HEADER_LEN, AHEAD);
            self.tail.file.preallocate(end, ahead)?;
            self.tail.prepared = end + ahead as u64;
        }
        Ok(())
    }

    fn is_full(&self, waiting: usize) -> bool {
        let used = self.place(self.synced) + self.unsynced.len() as u64;
        self.must_roll || used > HEADER && used + waiting as u64 > self.log.options.segment_bytes
    }

    /// Goes on in a new segment if the last one has no room. Everything before the buffer is synced.
    fn roll_if_full(&mut self) -> io::Result<()> {
        let header = {
            let state = self.log.lock();
            if !self.is_full(state.buffer.len()) {
                return Ok(());
            }
            SegmentHeader {
                incarnation: self.log.incarnation,
                base: state.buffer_start,
                previous: self.tail.base,
                created_at: now_ms(),
                offsets: state.buffer_offsets.clone(),
            }
        };
        debug_assert_eq!(
            header.base, self.synced,
            "a segment starts where the last one is synced"
        );
        self.must_roll = true;
        let file = write_segment(&*self.log.files, self.log.topic.name(), &header)?;
        self.tail = Tail {
            file,
            base: header.base,
            prepared: HEADER,
        };
        self.must_roll = false;
        let mut state = self.log.lock();
        state.segments.push_back(header);
        self.log.metrics.segments.set(f64::from(
            u32::try_from(state.segments.len()).unwrap_or(u32::MAX),
        ));
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut state = self.log.lock();
        state.closed = true;
        state.writer_gone = true;
        state.take_back(&LogError::Closed);
        drop(state);
        self.log.progress.notify_all();
        self.log.arrived.notify_waiters();
    }
}

/// Makes a durable segment without records.
pub(crate) fn write_segment(
    files: &dyn Files,
    topic: &str,
    header: &SegmentHeader,
) -> io::Result<Arc<dyn File>> {
    let file = files.create(&segment_name(topic, header.base))?;
    let mut start = header.encode();
    start.resize(HEADER_LEN, 0);
    file.pwrite(&start, 0)?;
    file.fdatasync()?;
    files.sync_dir()?;
    Ok(file)
}

fn unavailable(error: &io::Error) -> LogError {
    LogError::Unavailable(error.to_string())
}
