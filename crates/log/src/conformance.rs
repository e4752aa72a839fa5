//! The contract of [`MessageLog`](crate::MessageLog) as tests, generic over a factory.
//!
//! An engine runs all of them with [`conformance_tests!`](crate::conformance_tests), which makes one test of each case from
//! one table. Every case gets a factory of its own, whose directory or namespace is fresh, and closes the log before it
//! opens it again.

mod appends;
mod groups;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;

use crate::{Batch, BatchLimits, Consumer, Position, Record, SharedLog, Topic};

pub use appends::*;
pub use groups::*;

/// Makes logs for one case.
#[async_trait]
pub trait Factory: Send + Sync {
    /// Opens the log of this factory: empty the first time, with everything it had the next time.
    async fn open(&self) -> SharedLog;

    /// The largest record that the log takes: key and value.
    fn max_record(&self) -> usize;
}

/// Makes a `#[tokio::test]` of each case. The expression makes a new [`Factory`](crate::conformance::Factory).
#[macro_export]
macro_rules! conformance_tests {
    (@cases $factory:expr; $($case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::conformance::$case(&$factory).await;
            }
        )*
    };
    ($factory:expr) => {
        $crate::conformance_tests! { @cases $factory;
            concurrent_appends_keep_the_order_of_each_key,
            offsets_have_no_holes,
            a_key_stays_in_one_partition,
            every_topic_has_its_own_records,
            uncommitted_records_come_again_after_reopening,
            committed_records_do_not_come_again,
            a_commit_inside_a_batch_counts,
            a_subscriber_that_leaves_hands_over_what_it_did_not_commit,
            groups_are_independent,
            a_group_has_one_subscriber_in_a_process,
            a_new_group_starts_at_the_oldest_record,
            next_loses_nothing_when_it_is_cancelled,
            next_waits_for_an_append,
            appends_go_on_after_reopening,
            a_dropped_append_is_not_taken_back,
            batches_keep_their_limits,
            a_large_record_is_refused,
            keys_and_values_come_back_as_they_were,
            backlog_counts_what_is_not_committed,
            a_closed_log_takes_nothing,
        }
    };
}

const LIMITS: BatchLimits = BatchLimits {
    records: 100,
    bytes: 1 << 20,
};
const WAIT: Duration = Duration::from_secs(30);

async fn append(log: &SharedLog, topic: Topic, key: &str, value: &str) -> Position {
    log.append(
        topic,
        key.as_bytes(),
        Bytes::copy_from_slice(value.as_bytes()),
    )
    .await
    .expect("append")
}

async fn append_numbered(log: &SharedLog, topic: Topic, keys: usize, from: usize, to: usize) {
    let one = |n: usize| {
        log.append(
            topic,
            format!("key{}", n % keys).as_bytes(),
            Bytes::from(n.to_string()),
        )
    };
    for result in join_all((from..to).map(one)).await {
        result.expect("append");
    }
}

async fn subscribe(log: &SharedLog, topic: Topic, group: &str) -> Box<dyn Consumer> {
    log.subscribe(topic, group, LIMITS)
        .await
        .expect("subscribe")
}

async fn next(consumer: &mut dyn Consumer) -> Batch {
    tokio::time::timeout(WAIT, consumer.next())
        .await
        .expect("a batch in time")
        .expect("a batch")
}

async fn read(consumer: &mut dyn Consumer, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        records.extend(next(consumer).await.records);
    }
    assert_eq!(records.len(), count, "more records than were appended");
    records
}

async fn commit_all(consumer: &mut dyn Consumer, records: Vec<Record>) {
    consumer
        .commit(&Batch { records }.last_positions())
        .await
        .expect("commit");
}

fn number(record: &Record) -> usize {
    std::str::from_utf8(&record.value)
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("a number")
}

fn assert_ordered(records: &[Record]) {
    let mut last: HashMap<&Bytes, usize> = HashMap::new();
    for record in records {
        let before = last.insert(&record.key, number(record));
        assert!(
            before.is_none_or(|before| before < number(record)),
            "out of order or doubled: {record:?}"
        );
    }
}

fn assert_all(records: &[Record], numbers: std::ops::Range<usize>) {
    let found: HashSet<usize> = records.iter().map(number).collect();
    assert_eq!(records.len(), found.len(), "doubled");
    assert_eq!(found, numbers.collect());
}
