//! Every metric of the engine, declared once.

use std::time::Duration;

use metrics::{Counter, counter, histogram};

/// Handles, made when the store is connected.
pub(crate) struct Metrics {
    conflicts: Counter,
    repeats: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            conflicts: counter!("magpie_store_conflicts_total"),
            repeats: counter!("magpie_store_repeated_commands_total"),
        }
    }

    /// A unique index or a revision held something else.
    pub(crate) fn conflict(&self) {
        self.conflicts.increment(1);
    }

    /// A command was sent again: a racing upsert, or a lost connection.
    pub(crate) fn repeat(&self) {
        self.repeats.increment(1);
    }

    /// A call of the trait ended.
    pub(crate) fn call(call: &'static str, failed: bool, took: Duration) {
        histogram!("magpie_store_call_seconds", "call" => call).record(took);
        if failed {
            counter!("magpie_store_failed_calls_total", "call" => call).increment(1);
        }
    }
}
