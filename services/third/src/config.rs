//! Configuration of the third service.

use serde::{Deserialize, Serialize};

/// Limits of the third service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Longest device token, bytes.
    pub max_push_token_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_push_token_bytes: 4096,
        }
    }
}
