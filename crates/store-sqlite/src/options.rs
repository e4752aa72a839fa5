//! What can be chosen about the engine; the defaults suit one machine with a chat server on it.

use std::time::Duration;

/// Settings of a [`SqliteStore`](crate::SqliteStore).
#[derive(Debug, Clone)]
pub struct Options {
    /// A commit starts at the earliest this long after the start of the last one.
    pub commit_spacing: Duration,
    /// A transaction takes no further request once it has this many rows.
    pub batch_rows: usize,
    /// Writes that may wait; further callers wait for a place.
    pub write_queue: usize,
    /// Reads that may wait; further callers wait for a place.
    pub read_queue: usize,
    /// Reader threads.
    pub readers: usize,
    /// Page cache of the writer, bytes at most.
    pub writer_cache: usize,
    /// Page cache of each reader, bytes at most.
    pub reader_cache: usize,
    /// Page size of a new database, bytes; an existing one keeps its own.
    pub page_size: u32,
    /// The write-ahead log is copied into the database when it holds this many bytes.
    pub wal_soft_limit: u64,
    /// Above this many bytes the writer stops to empty the write-ahead log before it goes on.
    pub wal_hard_limit: u64,
    /// After this long without a commit the write-ahead log is emptied and cut.
    pub idle_checkpoint: Duration,
    /// How long a connection waits for another one's lock.
    pub busy_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            commit_spacing: Duration::from_millis(2),
            batch_rows: 1024,
            write_queue: 1024,
            read_queue: 1024,
            readers: 2,
            writer_cache: 8 << 20,
            reader_cache: 4 << 20,
            page_size: 4096,
            wal_soft_limit: 32 << 20,
            wal_hard_limit: 256 << 20,
            idle_checkpoint: Duration::from_secs(5),
            busy_timeout: Duration::from_secs(5),
        }
    }
}
