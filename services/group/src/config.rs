//! Configuration of the group service.

use serde::{Deserialize, Serialize};

/// Limits of the group service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most entries in one page.
    pub max_page: usize,
    /// Most groups named in one request.
    pub max_ids: usize,
    /// Changed members in the answer for several groups; groups beyond it are answered as to be read in full.
    pub max_batch_changes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_page: 50_000,
            max_ids: 1000,
            max_batch_changes: 10_000,
        }
    }
}
