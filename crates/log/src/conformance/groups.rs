//! Cases about groups: what is handed out, and when again.

use std::{collections::HashSet, time::Duration};

use futures::FutureExt as _;

use super::{
    Factory, LIMITS, WAIT, append, append_numbered, assert_all, assert_ordered, commit_all, next,
    read, subscribe,
};
use crate::{Backlog, BatchLimits, Position, Record, Topic};

/// What was handed out and not committed is handed out again, in order.
pub async fn uncommitted_records_come_again_after_reopening(factory: &impl Factory) {
    for topic in [Topic::Inbound, Topic::Stored] {
        let log = factory.open().await;
        append_numbered(&log, topic, 5, 0, 250).await;
        let mut consumer = subscribe(&log, topic, "again").await;
        read(&mut *consumer, 250).await;
        drop(consumer);
        log.close().await.expect("close");
        drop(log);
        let log = factory.open().await;
        let mut consumer = subscribe(&log, topic, "again").await;
        let records = read(&mut *consumer, 250).await;
        assert_ordered(&records);
        assert_all(&records, 0..250);
        drop(consumer);
        log.close().await.expect("close");
    }
}

/// What was committed is not handed out again after a close.
pub async fn committed_records_do_not_come_again(factory: &impl Factory) {
    for topic in [Topic::Inbound, Topic::Stored] {
        let log = factory.open().await;
        append_numbered(&log, topic, 5, 0, 100).await;
        let mut consumer = subscribe(&log, topic, "done").await;
        let records = read(&mut *consumer, 100).await;
        commit_all(&mut *consumer, records).await;
        append_numbered(&log, topic, 5, 100, 130).await;
        read(&mut *consumer, 30).await;
        drop(consumer);
        log.close().await.expect("close");
        drop(log);
        let log = factory.open().await;
        let mut consumer = subscribe(&log, topic, "done").await;
        assert_all(&read(&mut *consumer, 30).await, 100..130);
        drop(consumer);
        log.close().await.expect("close");
    }
}

/// A commit in the middle of a batch holds for each partition up to there.
pub async fn a_commit_inside_a_batch_counts(factory: &impl Factory) {
    let log = factory.open().await;
    append_numbered(&log, Topic::Inbound, 4, 0, 60).await;
    let mut consumer = subscribe(&log, Topic::Inbound, "middle").await;
    let records = read(&mut *consumer, 60).await;
    let middle = records.get(30).expect("a record").position;
    let committed = |r: &&Record| {
        r.position.partition == middle.partition && r.position.offset <= middle.offset
    };
    let left: HashSet<Position> = records
        .iter()
        .filter(|r| !committed(r))
        .map(|r| r.position)
        .collect();
    consumer.commit(&[middle]).await.expect("commit");
    drop(consumer);
    log.close().await.expect("close");
    drop(log);
    let log = factory.open().await;
    let mut consumer = subscribe(&log, Topic::Inbound, "middle").await;
    let again = read(&mut *consumer, left.len()).await;
    assert_eq!(
        again.iter().map(|r| r.position).collect::<HashSet<_>>(),
        left
    );
    drop(consumer);
    log.close().await.expect("close");
}

/// The next subscriber of a group starts at what is not committed.
pub async fn a_subscriber_that_leaves_hands_over_what_it_did_not_commit(factory: &impl Factory) {
    let log = factory.open().await;
    append_numbered(&log, Topic::Inbound, 3, 0, 50).await;
    let mut consumer = subscribe(&log, Topic::Inbound, "over").await;
    let records = read(&mut *consumer, 50).await;
    commit_all(&mut *consumer, records).await;
    append_numbered(&log, Topic::Inbound, 3, 50, 80).await;
    read(&mut *consumer, 30).await;
    drop(consumer);
    let mut consumer = subscribe(&log, Topic::Inbound, "over").await;
    assert_all(&read(&mut *consumer, 30).await, 50..80);
    log.close().await.expect("close");
}

/// Two groups get every record each, and commit apart.
pub async fn groups_are_independent(factory: &impl Factory) {
    let log = factory.open().await;
    append_numbered(&log, Topic::Stored, 5, 0, 100).await;
    let mut push = subscribe(&log, Topic::Stored, "push").await;
    let mut hooks = subscribe(&log, Topic::Stored, "webhook").await;
    let records = read(&mut *push, 100).await;
    commit_all(&mut *push, records).await;
    assert_all(&read(&mut *hooks, 100).await, 0..100);
    drop((push, hooks));
    log.close().await.expect("close");
    drop(log);
    let log = factory.open().await;
    let mut hooks = subscribe(&log, Topic::Stored, "webhook").await;
    let mut push = subscribe(&log, Topic::Stored, "push").await;
    assert_all(&read(&mut *hooks, 100).await, 0..100);
    append_numbered(&log, Topic::Stored, 5, 100, 101).await;
    assert_all(&read(&mut *push, 1).await, 100..101);
    drop((push, hooks));
    log.close().await.expect("close");
}

/// Within a process, a second subscriber of a group with all partitions taken gets an error or no records.
pub async fn a_group_has_one_subscriber_in_a_process(factory: &impl Factory) {
    let log = factory.open().await;
    append_numbered(&log, Topic::Inbound, 3, 0, 10).await;
    let mut first = subscribe(&log, Topic::Inbound, "one").await;
    assert_all(&read(&mut *first, 10).await, 0..10);
    if let Ok(mut second) = log.subscribe(Topic::Inbound, "one", LIMITS).await {
        assert!(second.next().now_or_never().is_none());
    }
    log.close().await.expect("close");
}

/// A group that never committed gets everything.
pub async fn a_new_group_starts_at_the_oldest_record(factory: &impl Factory) {
    let log = factory.open().await;
    append_numbered(&log, Topic::Inbound, 3, 0, 40).await;
    let mut early = subscribe(&log, Topic::Inbound, "early").await;
    let records = read(&mut *early, 40).await;
    commit_all(&mut *early, records).await;
    let mut late = subscribe(&log, Topic::Inbound, "late").await;
    assert_all(&read(&mut *late, 40).await, 0..40);
    log.close().await.expect("close");
}

/// A call of next that is dropped at any point loses and doubles nothing.
pub async fn next_loses_nothing_when_it_is_cancelled(factory: &impl Factory) {
    let log = factory.open().await;
    append_numbered(&log, Topic::Inbound, 5, 0, 300).await;
    let limits = BatchLimits {
        records: 3,
        bytes: 1 << 20,
    };
    let mut consumer = log
        .subscribe(Topic::Inbound, "cancel", limits)
        .await
        .expect("subscribe");
    let more = append_numbered(&log, Topic::Inbound, 5, 300, 600);
    let reading = async {
        let mut records = Vec::new();
        while records.len() < 600 {
            for _ in 0..3 {
                if let Some(batch) = consumer.next().now_or_never() {
                    records.extend(batch.expect("a batch").records);
                }
                tokio::task::yield_now().await;
            }
            if let Ok(batch) = tokio::time::timeout(Duration::from_millis(1), consumer.next()).await
            {
                records.extend(batch.expect("a batch").records);
            }
        }
        records
    };
    let both = futures::future::join(reading, more);
    let (records, ()) = tokio::time::timeout(WAIT, both)
        .await
        .expect("all records in time");
    assert_ordered(&records);
    assert_all(&records, 0..600);
    log.close().await.expect("close");
}

/// A waiting consumer gets what is appended then.
pub async fn next_waits_for_an_append(factory: &impl Factory) {
    let log = factory.open().await;
    for topic in Topic::ALL {
        let mut consumer = subscribe(&log, topic, "wait").await;
        assert!(consumer.next().now_or_never().is_none());
        let both = futures::future::join(next(&mut *consumer), append(&log, topic, "key", "1"));
        let (batch, position) = both.await;
        assert_eq!(batch.last_positions(), [position]);
    }
    log.close().await.expect("close");
}

/// No batch has more records or bytes than its limits, except a single record.
pub async fn batches_keep_their_limits(factory: &impl Factory) {
    let log = factory.open().await;
    for n in 0..60 {
        append(
            &log,
            Topic::Inbound,
            &format!("key{}", n % 3),
            &format!("{n:0100}"),
        )
        .await;
    }
    let few = BatchLimits {
        records: 7,
        bytes: 1 << 20,
    };
    let small = BatchLimits {
        records: 1000,
        bytes: 450,
    };
    let tiny = BatchLimits {
        records: 1000,
        bytes: 1,
    };
    for (group, limits, most) in [("few", few, 7), ("small", small, 4), ("tiny", tiny, 1)] {
        let mut consumer = log
            .subscribe(Topic::Inbound, group, limits)
            .await
            .expect("subscribe");
        let mut records = Vec::new();
        while records.len() < 60 {
            let batch = next(&mut *consumer).await.records;
            assert!(
                (1..=most).contains(&batch.len()),
                "{group}: {} records",
                batch.len()
            );
            records.extend(batch);
        }
        assert_ordered(&records);
        assert_all(&records, 0..60);
    }
    log.close().await.expect("close");
}

/// The backlog of a group is what it has not committed; nothing of it when it has committed everything.
pub async fn backlog_counts_what_is_not_committed(factory: &impl Factory) {
    let log = factory.open().await;
    for topic in [Topic::Inbound, Topic::Stored] {
        assert_eq!(
            log.backlog(topic, "back").await.expect("backlog").records,
            0
        );
        let mut consumer = subscribe(&log, topic, "back").await;
        append_numbered(&log, topic, 3, 0, 90).await;
        let all = log.backlog(topic, "back").await.expect("backlog");
        assert_eq!(all.records, 90);
        assert!(all.bytes >= 80 + 90, "less than the values: {all:?}");
        let records = read(&mut *consumer, 90).await;
        assert_eq!(
            log.backlog(topic, "back").await.expect("backlog").records,
            90,
            "handed out is not committed"
        );
        let half = records
            .iter()
            .filter(|r| r.position.offset < 10)
            .cloned()
            .collect::<Vec<_>>();
        let left = 90 - half.len() as u64;
        commit_all(&mut *consumer, half).await;
        assert_eq!(
            log.backlog(topic, "back").await.expect("backlog").records,
            left
        );
        commit_all(&mut *consumer, records).await;
        assert_eq!(
            log.backlog(topic, "back").await.expect("backlog"),
            Backlog::default()
        );
    }
    log.close().await.expect("close");
}
