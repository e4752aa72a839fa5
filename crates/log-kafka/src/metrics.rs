//! The log's metrics, named as those of the embedded log where they mean the same.

use magpie_log::Topic;
use metrics::{Counter, Gauge, Histogram};

/// Handles of one topic, looked up once.
#[derive(Debug)]
pub(crate) struct Metrics {
    topic: Topic,
    /// Records that Kafka has acknowledged.
    pub(crate) appended: Counter,
    /// Bytes of their keys and values.
    pub(crate) appended_bytes: Counter,
    /// Appends refused because of the backlog or because the producer's queue is full.
    pub(crate) refused: Counter,
    /// Appends that Kafka refused or did not acknowledge in time.
    pub(crate) failed: Counter,
    /// From the append to its acknowledgement.
    pub(crate) ack_seconds: Histogram,
    /// Partitions that this process consumes.
    pub(crate) owned: Gauge,
    /// Commits for partitions that another consumer has by now.
    pub(crate) not_owned: Counter,
    /// Records read ahead and dropped because their partition went to another consumer.
    pub(crate) dropped: Counter,
}

impl Metrics {
    pub(crate) fn new(topic: Topic) -> Self {
        let name = topic.name();
        Self {
            topic,
            appended: metrics::counter!("magpie_log_append_total", "topic" => name),
            appended_bytes: metrics::counter!("magpie_log_append_bytes_total", "topic" => name),
            refused: metrics::counter!("magpie_log_append_refused_total", "topic" => name),
            failed: metrics::counter!("magpie_log_write_failed_total", "topic" => name),
            ack_seconds: metrics::histogram!("magpie_log_ack_seconds", "topic" => name),
            owned: metrics::gauge!("magpie_log_partitions_owned", "topic" => name),
            not_owned: metrics::counter!("magpie_log_commit_not_owned_total", "topic" => name),
            dropped: metrics::counter!("magpie_log_readahead_dropped_total", "topic" => name),
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

    /// Partitions came or went.
    pub(crate) fn rebalanced(&self, event: &'static str) {
        metrics::counter!("magpie_log_rebalance_total", "topic" => self.topic.name(), "event" => event)
            .increment(1);
    }

    /// A partition does not start at its committed offset.
    pub(crate) fn offset_reset(&self, why: &'static str) {
        metrics::counter!("magpie_log_offset_reset_total", "topic" => self.topic.name(), "why" => why)
            .increment(1);
    }
}
