//! The contract of the message log, run by the Kafka engine on a real broker; every case has topics of its own.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use magpie_log::{SharedLog, conformance::Factory};
use magpie_log_kafka::{KafkaLog, Options};

use crate::common::BROKER;

struct Kafka(Options);

impl Kafka {
    fn new(options: Options) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(Options {
            brokers: BROKER.url(),
            prefix: format!("case{}-", NEXT.fetch_add(1, Ordering::Relaxed)),
            replication: 1,
            ..options
        })
    }
}

#[async_trait]
impl Factory for Kafka {
    async fn open(&self) -> SharedLog {
        KafkaLog::open(self.0.clone()).await.expect("open")
    }

    fn max_record(&self) -> usize {
        self.0.max_record
    }
}

mod as_configured {
    use super::*;
    magpie_log::conformance_tests!(Kafka::new(Options {
        partitions: 8,
        ..Options::default()
    }));
}

/// Small reads, commits all the time, compressed.
mod small_buffers {
    use super::*;
    magpie_log::conformance_tests!(Kafka::new(Options {
        partitions: 3,
        fetch_bytes: 4096,
        max_record: 20_000,
        linger: Duration::ZERO,
        commit_interval: Duration::from_millis(5),
        compression: "lz4".to_owned(),
        ..Options::default()
    }));
}
