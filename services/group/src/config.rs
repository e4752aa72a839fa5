//! Configuration of the group service.

use serde::{Deserialize, Serialize};

/// Settings of the group service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// New members see what was written before they joined.
    pub history_for_new_members: bool,
    /// Most entries in one page.
    pub max_page: usize,
    /// Most groups or users named in one request.
    pub max_ids: usize,
    /// Changed members in the answer for several groups; groups beyond it are answered as to be read in full.
    pub max_batch_changes: usize,
    /// Users that one change lets in or out; a request with more makes several changes, each with its own notification.
    pub members_per_change: usize,
    /// Longest name, avatar or extension text of a group or member, bytes.
    pub max_text: usize,
    /// Longest announcement or introduction, bytes.
    pub max_long_text: usize,
    /// Calls of the store or of other services that one change makes at the same time.
    pub concurrency: usize,
    /// How long a request waits for what follows its change, and for an earlier change of the same group, milliseconds.
    pub follow_up_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            history_for_new_members: true,
            max_page: 50_000,
            max_ids: 1000,
            max_batch_changes: 10_000,
            members_per_change: 50,
            max_text: 4096,
            max_long_text: 16_384,
            concurrency: 16,
            follow_up_ms: 5000,
        }
    }
}
