//! Settings of the transfer service.

use serde::{Deserialize, Serialize};

/// Settings of the transfer service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most records of one batch.
    pub batch_records: usize,
    /// Most bytes of one batch.
    pub batch_bytes: usize,
    /// Conversations whose last seq is kept in memory.
    pub tail_entries: u64,
    /// How long the version of a group's membership is believed before it is read again, milliseconds.
    pub version_ttl_ms: u64,
    /// Calls of the store that a batch with new conversations makes at the same time.
    pub store_calls: usize,
    /// Age at which typing and messages with history=false are dropped, milliseconds.
    pub drop_after_ms: i64,
    /// Longest pause between two tries while the store or the log is away, milliseconds.
    pub max_backoff_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            batch_records: 500,
            batch_bytes: 4 << 20,
            tail_entries: 100_000,
            version_ttl_ms: 10_000,
            store_calls: 16,
            drop_after_ms: 10_000,
            max_backoff_ms: 2000,
        }
    }
}
