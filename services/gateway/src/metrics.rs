//! The gateway's metrics, declared once.

use std::sync::LazyLock;

use metrics::{Counter, Gauge, counter, gauge};

/// What is counted per message or frame is looked up once.
static MESSAGES_IN: LazyLock<Counter> =
    LazyLock::new(|| counter!("magpie_gateway_messages_in_total"));
static FRAMES_OUT: LazyLock<Counter> =
    LazyLock::new(|| counter!("magpie_gateway_frames_out_total"));
static QUEUED: LazyLock<Gauge> = LazyLock::new(|| gauge!("magpie_gateway_queued_bytes"));

/// Live connections.
pub(crate) fn connections(delta: f64) {
    gauge!("magpie_gateway_connections").increment(delta);
}

/// A handshake was answered with this error code, 0 for success.
pub(crate) fn handshake(code: i32) {
    counter!("magpie_gateway_handshakes_total", "code" => code.to_string()).increment(1);
}

/// A complete message came from a client.
pub(crate) fn message_in() {
    MESSAGES_IN.increment(1);
}

/// Frames were handed to connections.
pub(crate) fn frames_out(count: u64) {
    FRAMES_OUT.increment(count);
}

/// Bytes waiting for slow sockets.
pub(crate) fn queued(delta: f64) {
    QUEUED.increment(delta);
}

/// A connection ended for this reason.
pub(crate) fn closed(reason: &'static str) {
    counter!("magpie_gateway_closed_total", "reason" => reason).increment(1);
}

/// Connections were ended by another login or an administrator.
pub(crate) fn kicks(count: usize) {
    counter!("magpie_gateway_kicks_total").increment(u64::try_from(count).unwrap_or(u64::MAX));
}

/// An item was not delivered because a newer one of its partition was.
pub(crate) fn repeated_item() {
    counter!("magpie_gateway_repeated_items_total").increment(1);
}

/// A connection asked for more presence subscriptions than it may have.
pub(crate) fn subscriptions_refused() {
    counter!("magpie_gateway_subscriptions_refused_total").increment(1);
}
