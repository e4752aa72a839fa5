//! Limits and times of the gateway. Every queue and wait of the crate has its bound here.

use std::time::Duration;

use magpie_types::MultiLogin;
use serde::{Deserialize, Serialize};

/// Configuration of the gateway.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Connections of one gateway process; further handshakes get 1601.
    pub max_connections: usize,
    /// Connections of one user on one platform; a further one ends the oldest. A client may be back before its old connection is
    /// known to be dead, so this is no limit of devices.
    pub max_connections_per_user: usize,
    /// Handshakes under way at once; further connections wait in the kernel's backlog.
    pub max_handshakes: usize,
    /// Longest handshake, from the accepted connection to its answer, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// Largest head of the HTTP request of a handshake, in bytes.
    pub max_head_bytes: usize,
    /// Values of the `Origin` header that may connect; `*` is any. A handshake without the header is always allowed.
    pub allowed_origins: Vec<String>,
    /// Largest message of a client as received, in bytes; a larger one closes the connection with code 1009.
    pub max_message_bytes: usize,
    /// A connection that sends no frame for this long is closed, in milliseconds.
    pub read_timeout_ms: u64,
    /// Distance of the pings that keep browsers connected (platform 5), in milliseconds.
    pub web_ping_interval_ms: u64,
    /// Longest call that a client's request may cause, in milliseconds; the client then gets an error.
    pub request_timeout_ms: u64,
    /// Bytes that may wait for one client; with more it is closed as slow and resyncs.
    pub max_queue_bytes: usize,
    /// Bytes that may wait for all clients together; with more, a client for whom more would wait is closed as slow.
    pub max_queues_bytes: usize,
    /// Pulls under way at once, whose answers may be large; further ones wait their turn.
    pub max_pulls: usize,
    /// A client whose oldest waiting frame is older is closed as slow, in milliseconds.
    pub max_queue_age_ms: u64,
    /// Sends of one connection that are under way or wait for their conversation; then nothing more is read from it.
    pub max_sends: usize,
    /// Messages per second that a client may send on average; above that it is read more slowly.
    pub messages_per_second: u32,
    /// Messages that a client may send at once.
    pub message_burst: u32,
    /// A client that stays above its rate for this long is closed, in milliseconds.
    pub rate_patience_ms: u64,
    /// Users whose presence one connection may subscribe to; further ones are answered, but not kept.
    pub max_subscriptions: usize,
    /// What a new connection ends: the value of the auth service.
    #[serde(skip)]
    pub multi_login_policy: MultiLogin,
    /// Conversations whose newest delivered seq is remembered, to drop repeats.
    pub delivered_entries: u64,
    /// Members of large groups that are remembered, all groups together: about 80 bytes each. If the groups with traffic have more,
    /// lists are read from the store over and over.
    pub member_entries: u64,
    /// Pause after the members of a group could not be read, in milliseconds.
    pub member_backoff_ms: u64,
    /// Distance of the renewals of this gateway's presence, in milliseconds.
    pub presence_renewal_ms: u64,
    /// Longest wait for clients to go when the process stops, in milliseconds.
    pub drain_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: 100_000,
            max_connections_per_user: 32,
            max_handshakes: 1024,
            handshake_timeout_ms: 10_000,
            max_head_bytes: 16 << 10,
            allowed_origins: vec!["*".to_owned()],
            max_message_bytes: 51_200,
            read_timeout_ms: 30_000,
            web_ping_interval_ms: 27_000,
            request_timeout_ms: 10_000,
            max_queue_bytes: 4 << 20,
            max_queues_bytes: 512 << 20,
            max_pulls: 32,
            max_queue_age_ms: 10_000,
            max_sends: 64,
            messages_per_second: 500,
            message_burst: 1000,
            rate_patience_ms: 10_000,
            max_subscriptions: 5000,
            multi_login_policy: MultiLogin::default(),
            delivered_entries: 100_000,
            member_entries: 1_000_000,
            member_backoff_ms: 200,
            presence_renewal_ms: 3_000,
            drain_timeout_ms: 10_000,
        }
    }
}

impl Config {
    pub(crate) fn handshake_timeout(&self) -> Duration {
        Duration::from_millis(self.handshake_timeout_ms)
    }

    pub(crate) fn read_timeout(&self) -> Duration {
        Duration::from_millis(self.read_timeout_ms)
    }

    pub(crate) fn web_ping_interval(&self) -> Duration {
        Duration::from_millis(self.web_ping_interval_ms)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    pub(crate) fn max_queue_age(&self) -> Duration {
        Duration::from_millis(self.max_queue_age_ms)
    }

    pub(crate) fn rate_patience(&self) -> Duration {
        Duration::from_millis(self.rate_patience_ms)
    }

    pub(crate) fn member_backoff(&self) -> Duration {
        Duration::from_millis(self.member_backoff_ms)
    }

    pub(crate) fn presence_renewal(&self) -> Duration {
        Duration::from_millis(self.presence_renewal_ms)
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }
}
