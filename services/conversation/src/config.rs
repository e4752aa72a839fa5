//! Configuration of the conversation service.

use serde::{Deserialize, Serialize};

/// Limits of the conversation service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Most conversations in one page.
    pub max_page: usize,
    /// Most owners or conversations named in one request.
    pub max_ids: usize,
    /// Conversations of a user beyond which his settings make no record of a further one.
    pub max_records: u64,
    /// Longest extension and longest attached info of a record, bytes each.
    pub max_text_bytes: usize,
    /// Elements that are kept between the pages of a walk through a long list, all users together.
    pub kept_elements: u64,
    /// Members who are told of one mention or announcement before its place is stored.
    pub mention_page: usize,
    /// Owners whose records are written at the same time in one request.
    pub concurrency: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_page: 50_000,
            max_ids: 10_000,
            max_records: 20_000,
            max_text_bytes: 16 << 10,
            kept_elements: 100_000,
            mention_page: 500,
            concurrency: 16,
        }
    }
}
