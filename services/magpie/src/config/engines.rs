//! Settings of the embedded engines that an operator may want to change; the rest stays as the engines choose it.

use serde::{Deserialize, Serialize};

/// The message log of `magpie up`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Log {
    /// Partitions of each topic; fixed when the data directory is made.
    pub(crate) partitions: u32,
    /// A segment file ends at about this size, bytes.
    pub(crate) segment_bytes: u64,
    /// Two fsyncs start at least this far apart, ms; what waits goes with the next one.
    pub(crate) sync_spacing_ms: u64,
    /// Largest record, bytes.
    pub(crate) max_record_bytes: usize,
    /// Records that may wait for the disk before sends are refused, bytes.
    pub(crate) max_buffer_bytes: usize,
    /// Segments are deleted when they are this old and consumed, hours.
    pub(crate) retention_hours: u64,
    /// Sends are refused when this much waits to be stored, bytes.
    pub(crate) max_backlog_bytes: u64,
    /// Sends are refused when something has waited this long to be stored, minutes; below half the retention.
    pub(crate) max_backlog_minutes: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            partitions: 4,
            segment_bytes: 64 << 20,
            sync_spacing_ms: 3,
            max_record_bytes: 1 << 20,
            max_buffer_bytes: 8 << 20,
            retention_hours: 24,
            max_backlog_bytes: 4 << 30,
            max_backlog_minutes: 11 * 60,
        }
    }
}

/// The store of `magpie up`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Store {
    /// Two commits start at least this far apart, ms; what waits goes with the next one.
    pub(crate) commit_spacing_ms: u64,
    /// Threads that read.
    pub(crate) readers: usize,
    /// Page cache for writing, bytes at most.
    pub(crate) writer_cache_bytes: usize,
    /// Page cache of each thread that reads, bytes at most.
    pub(crate) reader_cache_bytes: usize,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            commit_spacing_ms: 3,
            readers: 2,
            writer_cache_bytes: 16 << 20,
            reader_cache_bytes: 4 << 20,
        }
    }
}

#[cfg(feature = "embedded")]
mod options {
    use std::time::Duration;

    impl From<&super::Log> for magpie_log_local::Options {
        fn from(log: &super::Log) -> Self {
            Self {
                partitions: log.partitions,
                segment_bytes: log.segment_bytes,
                sync_spacing: Duration::from_millis(log.sync_spacing_ms),
                max_record: log.max_record_bytes,
                max_buffer_bytes: log.max_buffer_bytes,
                retention: Duration::from_secs(log.retention_hours * 3600),
                max_backlog_bytes: log.max_backlog_bytes,
                max_backlog_age: Duration::from_secs(log.max_backlog_minutes * 60),
                ..Self::default()
            }
        }
    }

    impl From<&super::Store> for magpie_store_sqlite::Options {
        fn from(store: &super::Store) -> Self {
            Self {
                commit_spacing: Duration::from_millis(store.commit_spacing_ms),
                readers: store.readers,
                writer_cache: store.writer_cache_bytes,
                reader_cache: store.reader_cache_bytes,
                ..Self::default()
            }
        }
    }
}
