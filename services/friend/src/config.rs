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
    /// Elements that are kept between the pages of a walk through a long list, all users together.
    pub kept_elements: u64,
    /// Friends who are told of a changed profile between two notes of how far that is.
    pub fanout_page: usize,
    /// Longest text of an application, an answer, a remark or an extension, bytes.
    pub max_text_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_page: 50_000,
            max_ids: 1000,
            concurrency: 16,
            kept_elements: 100_000,
            fanout_page: 200,
            max_text_bytes: 16 << 10,
        }
    }
}
