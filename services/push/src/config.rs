//! Settings of the push service.

use serde::{Deserialize, Serialize};

/// Settings of the push service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most records of one batch.
    pub batch_records: usize,
    /// Most bytes of one batch.
    pub batch_bytes: usize,
    /// How long one gateway may take to acknowledge a batch, milliseconds.
    pub deliver_timeout_ms: u64,
    /// Conversations whose newest pushed seq is remembered, to drop repeats.
    pub pushed_entries: u64,
    /// How long one gateway may take for a batch with records of large groups while it answers otherwise, milliseconds: it may
    /// have to read their members first. Below the 30 s that any call may take.
    pub audience_timeout_ms: u64,
    /// Members of the largest group whose receivers are looked up here; those of a larger one are found by every gateway.
    pub largest_group: usize,
    /// Members of groups that are remembered, all groups together.
    pub member_entries: u64,
    /// Pause after a failure of the log or of presence, milliseconds.
    pub backoff_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            batch_records: 500,
            batch_bytes: 4 << 20,
            deliver_timeout_ms: 2000,
            pushed_entries: 100_000,
            audience_timeout_ms: 10_000,
            largest_group: 1000,
            member_entries: 2_000_000,
            backoff_ms: 200,
        }
    }
}
