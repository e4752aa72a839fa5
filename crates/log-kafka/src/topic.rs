//! One topic in this process: its name and state, metrics, and the mean size of its records.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{metrics::Metrics, options::Options, topics::TopicState};

/// What an average weighs in 1/64: the newest record counts for one part of 64.
const WEIGHT: u64 = 64;
/// Bytes that a record has beside key and value.
const HEADER: u64 = 16;

pub(crate) struct TopicHandle {
    pub(crate) state: TopicState,
    /// Name at the brokers.
    pub(crate) name: String,
    pub(crate) metrics: Metrics,
    /// 64 times the mean size of the records this process has seen; 0 before the first.
    mean: AtomicU64,
}

impl TopicHandle {
    pub(crate) fn new(state: TopicState, options: &Options) -> Self {
        Self {
            state,
            name: options.topic_name(state.topic),
            metrics: Metrics::new(state.topic),
            mean: AtomicU64::new(0),
        }
    }

    /// Notes the size of a record. Two at the same time may count as one: it is an estimate.
    pub(crate) fn saw(&self, bytes: usize) {
        let size = bytes as u64 + HEADER;
        let before = self.mean.load(Ordering::Relaxed);
        let mean = match before {
            0 => size * WEIGHT,
            mean => mean - mean / WEIGHT + size,
        };
        self.mean.store(mean, Ordering::Relaxed);
    }

    /// Mean size of a record; 1 KiB before any was seen.
    pub(crate) fn mean_bytes(&self) -> u64 {
        match self.mean.load(Ordering::Relaxed) / WEIGHT {
            0 => 1024,
            mean => mean,
        }
    }
}

#[cfg(test)]
mod tests {
    use magpie_log::Topic;

    use super::*;

    #[test]
    fn the_mean_follows_the_sizes() {
        let state = TopicState {
            topic: Topic::Inbound,
            partitions: 1,
            incarnation: 1,
        };
        let topic = TopicHandle::new(state, &Options::default());
        assert_eq!(topic.mean_bytes(), 1024);
        topic.saw(84);
        assert_eq!(topic.mean_bytes(), 100);
        for _ in 0..1000 {
            topic.saw(984);
        }
        assert!(
            (990..=1000).contains(&topic.mean_bytes()),
            "{}",
            topic.mean_bytes()
        );
    }
}
