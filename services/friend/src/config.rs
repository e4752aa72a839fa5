//! Configuration of the friend service.

use serde::{Deserialize, Serialize};

/// Limits of the friend service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most entries in one page.
    pub max_page: usize,
    /// Most users named in one request.
    pub max_ids: usize,
    /// Records that are written at the same time in one request.
    pub concurrency: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_page: 50_000,
            max_ids: 1000,
            concurrency: 16,
        }
    }
}
