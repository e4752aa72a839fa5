//! The log's metrics, by topic.

use magpie_log::Topic;
use metrics::{Counter, Gauge, Histogram};

/// Handles of one topic, looked up once.
#[derive(Debug)]
pub(crate) struct Metrics {
    topic: Topic,
    /// Records that have a place in the log.
    pub(crate) appended: Counter,
    /// Bytes of them on disk.
    pub(crate) appended_bytes: Counter,
    /// Appends refused because of the backlog or because the disk is too slow.
    pub(crate) refused: Counter,
    /// Time of one write and fdatasync.
    pub(crate) sync_seconds: Histogram,
    /// Records that one fdatasync made durable.
    pub(crate) batch_records: Histogram,
    /// Writes and syncs that failed.
    pub(crate) failed: Counter,
    /// Batches read from disk, because the consumer is behind what is kept in memory.
    pub(crate) disk_batches: Counter,
    /// Torn tails cut off on opening.
    pub(crate) torn: Counter,
    /// Committed offsets found beyond the end on opening.
    pub(crate) offset_resets: Counter,
    /// Segment files.
    pub(crate) segments: Gauge,
    /// Segment files deleted by retention.
    pub(crate) expired: Counter,
}

impl Metrics {
    pub(crate) fn new(topic: Topic) -> Self {
        let name = topic.name();
        Self {
            topic,
            appended: metrics::counter!("magpie_log_append_total", "topic" => name),
            appended_bytes: metrics::counter!("magpie_log_append_bytes_total", "topic" => name),
            refused: metrics::counter!("magpie_log_append_refused_total", "topic" => name),
            sync_seconds: metrics::histogram!("magpie_log_sync_seconds", "topic" => name),
            batch_records: metrics::histogram!("magpie_log_sync_batch_records", "topic" => name),
            failed: metrics::counter!("magpie_log_write_failed_total", "topic" => name),
            disk_batches: metrics::counter!("magpie_log_disk_batch_total", "topic" => name),
            torn: metrics::counter!("magpie_log_torn_tail_total", "topic" => name),
            offset_resets: metrics::counter!("magpie_log_offset_reset_total", "topic" => name),
            segments: metrics::gauge!("magpie_log_segments", "topic" => name),
            expired: metrics::counter!("magpie_log_segment_expired_total", "topic" => name),
        }
    }

    /// What a group has not committed.
    pub(crate) fn backlog(&self, group: &str, bytes: u64, age_seconds: f64) {
        let (topic, group) = (self.topic.name(), group.to_owned());
        #[expect(clippy::cast_precision_loss, reason = "a gauge")]
        metrics::gauge!("magpie_log_backlog_bytes", "topic" => topic, "group" => group.clone())
            .set(bytes as f64);
        metrics::gauge!("magpie_log_backlog_age_seconds", "topic" => topic, "group" => group)
            .set(age_seconds);
    }
}
