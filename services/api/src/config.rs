//! Settings of the REST API.

use serde::{Deserialize, Serialize};

/// Settings of the REST API.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Longest request body, bytes.
    pub max_body_bytes: usize,
    /// Memory for all request bodies under way beyond the first 4 KiB of each, bytes; the next large one is answered 429.
    pub max_bodies_bytes: usize,
    /// Memory for all answers that are not written yet, beyond the first 4 KiB of each, bytes; the next large one is answered 429.
    pub max_answers_bytes: usize,
    /// Open connections; the next one waits to be accepted.
    pub max_connections: usize,
    /// Requests being worked on, their bodies having arrived; the next one is answered 429.
    pub max_requests: usize,
    /// How long a request may take, body included, in milliseconds.
    pub request_timeout_ms: u64,
    /// How long a client may take to send a request's head, in milliseconds.
    pub header_timeout_ms: u64,
    /// A client that takes nothing of its answer for this long is closed, in milliseconds.
    pub write_timeout_ms: u64,
    /// Requests for messages, whose answers may be large, being worked on; further ones wait their turn.
    pub max_pulls: usize,
    /// Receivers that one batch names.
    pub max_batch: usize,
    /// Receivers of one batch that are sent to at the same time.
    pub batch_parallel: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_body_bytes: 8 << 20,
            max_bodies_bytes: 64 << 20,
            max_answers_bytes: 512 << 20,
            max_connections: 10_000,
            max_requests: 1_000,
            request_timeout_ms: 30_000,
            header_timeout_ms: 10_000,
            write_timeout_ms: 30_000,
            max_pulls: 32,
            max_batch: 1_000,
            batch_parallel: 16,
        }
    }
}
