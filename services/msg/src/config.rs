//! Settings of the msg service.

use serde::{Deserialize, Serialize};

/// Settings of the msg service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Single-chat messages need the receiver to have the sender as friend (1303).
    pub friend_verify: bool,
    /// Largest content of one message, bytes.
    pub max_content_bytes: usize,
    /// Largest content of a notification of the server itself, bytes; it must fit into a record of the log (1 MiB).
    pub max_notification_bytes: usize,
    /// Largest rest of one message: names, options, attached info, the application's own field, bytes.
    pub max_fields_bytes: usize,
    /// Largest request, bytes.
    pub max_request_bytes: usize,
    /// Most seqs one pull by ranges answers per conversation, and one by a list names.
    pub max_pull: usize,
    /// Where the answer of a pull ends, bytes; older messages of a range are left out then, and conversations after it. 4 MiB hold
    /// the 100 messages of 40 KiB that SDKs ask for at most. Native SDKs drop frames above 1 MiB (compressed), whatever they asked for.
    pub max_pull_bytes: usize,
    /// Most conversations one pull names; SDKs name about 100.
    pub max_pull_conversations: usize,
    /// Ranges of messages that one pull reads at the same time.
    pub pull_reads: usize,
    /// Most conversations one request for positions names.
    pub max_conversations: usize,
    /// Messages that one search walks.
    pub max_search: usize,
    /// Entries of each cache (users, participants, conversation settings, recent sends).
    pub cache_entries: u64,
    /// How long a cached entry lives if nothing invalidates it, seconds.
    pub cache_seconds: u64,
    /// How long a request waits for a seq above the conversation's head, milliseconds.
    pub head_wait_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            friend_verify: false,
            max_content_bytes: 40 << 10,
            max_notification_bytes: 512 << 10,
            max_fields_bytes: 64 << 10,
            max_request_bytes: 8 << 20,
            max_pull: 1000,
            max_pull_bytes: 4 << 20,
            max_pull_conversations: 1000,
            pull_reads: 4,
            max_conversations: 5000,
            max_search: 100_000,
            cache_entries: 100_000,
            cache_seconds: 30,
            head_wait_ms: 1000,
        }
    }
}
