//! Every metric of the engine, declared once.

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Handles, made when the store is opened.
#[derive(Clone)]
pub(crate) struct Metrics {
    commits: Counter,
    failed_commits: Counter,
    commit_rows: Histogram,
    commit_seconds: Histogram,
    write_queue: Gauge,
    wal_bytes: Gauge,
    conflicts: Counter,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            commits: counter!("magpie_store_commits_total"),
            failed_commits: counter!("magpie_store_failed_commits_total"),
            commit_rows: histogram!("magpie_store_commit_rows"),
            commit_seconds: histogram!("magpie_store_commit_seconds"),
            write_queue: gauge!("magpie_store_write_queue_length"),
            wal_bytes: gauge!("magpie_store_wal_bytes"),
            conflicts: counter!("magpie_store_conflicts_total"),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "row counts are small")]
    pub(crate) fn committed(&self, rows: usize, took: Duration) {
        self.commits.increment(1);
        self.commit_rows.record(rows as f64);
        self.commit_seconds.record(took);
    }

    pub(crate) fn commit_failed(&self) {
        self.failed_commits.increment(1);
    }

    #[expect(clippy::cast_precision_loss, reason = "the queue is bounded")]
    pub(crate) fn queue(&self, length: usize) {
        self.write_queue.set(length as f64);
    }

    #[expect(clippy::cast_precision_loss, reason = "a gauge of bytes")]
    pub(crate) fn wal(&self, bytes: u64) {
        self.wal_bytes.set(bytes as f64);
    }

    pub(crate) fn conflict(&self) {
        self.conflicts.increment(1);
    }
}
