//! Cases about what is appended: order, places, bytes, limits.

use std::collections::HashMap;

use bytes::Bytes;
use futures::{FutureExt as _, future::join_all};

use super::{
    Factory, LIMITS, WAIT, append, append_numbered, assert_all, assert_ordered, number, read,
    subscribe,
};
use crate::{LogError, Position, SharedLog, Topic};

/// Records of one key come in the order of the calls of append.
pub async fn concurrent_appends_keep_the_order_of_each_key(factory: &impl Factory) {
    let log = factory.open().await;
    let writers = (0..20).map(|writer| {
        let log = SharedLog::clone(&log);
        async move {
            for n in 0..50 {
                append(
                    &log,
                    Topic::Inbound,
                    &format!("writer{writer}"),
                    &n.to_string(),
                )
                .await;
            }
        }
    });
    let mut consumer = subscribe(&log, Topic::Inbound, "order").await;
    let (records, _) = futures::future::join(read(&mut *consumer, 1000), join_all(writers)).await;
    assert_ordered(&records);
    append_numbered(&log, Topic::Stored, 3, 0, 500).await;
    let mut consumer = subscribe(&log, Topic::Stored, "order").await;
    assert_ordered(&read(&mut *consumer, 500).await);
    log.close().await.expect("close");
}

/// The offsets of a partition are 0, 1, 2, …, and those that append answered.
pub async fn offsets_have_no_holes(factory: &impl Factory) {
    let log = factory.open().await;
    let one = |n: usize| {
        log.append(
            Topic::Inbound,
            format!("key{n}").as_bytes(),
            Bytes::from(n.to_string()),
        )
    };
    let answers = join_all((0..300).map(one)).await;
    let mut consumer = subscribe(&log, Topic::Inbound, "holes").await;
    let mut due: HashMap<u32, u64> = HashMap::new();
    for record in read(&mut *consumer, 300).await {
        let due = due.entry(record.position.partition).or_default();
        assert_eq!(record.position.offset, *due);
        *due += 1;
        assert_eq!(
            answers.get(number(&record)).and_then(|a| a.as_ref().ok()),
            Some(&record.position)
        );
    }
    assert!(due.len() > 1, "one partition only");
    log.close().await.expect("close");
}

/// Records with one key have one partition, the one that all processes agree on.
pub async fn a_key_stays_in_one_partition(factory: &impl Factory) {
    let log = factory.open().await;
    for n in 0..40 {
        let key = format!("key{}", n % 8);
        let position = append(&log, Topic::Inbound, &key, "x").await;
        assert_eq!(
            position.partition,
            crate::partition_of(key.as_bytes(), log.partitions(Topic::Inbound))
        );
    }
    log.close().await.expect("close");
}

/// What is appended to one topic is in no other.
pub async fn every_topic_has_its_own_records(factory: &impl Factory) {
    let log = factory.open().await;
    for topic in Topic::ALL {
        append(&log, topic, "key", topic.name()).await;
    }
    for topic in Topic::ALL {
        let mut consumer = subscribe(&log, topic, "topics").await;
        let records = read(&mut *consumer, 1).await;
        assert!(records.iter().all(|r| r.value == topic.name()));
        assert!(consumer.next().now_or_never().is_none());
    }
    log.close().await.expect("close");
}

/// Offsets and incarnation go on where they were.
pub async fn appends_go_on_after_reopening(factory: &impl Factory) {
    let mut last: Option<Position> = None;
    for n in 0..4 {
        let log = factory.open().await;
        let position = append(&log, Topic::Inbound, "key", &n.to_string()).await;
        if let Some(last) = last {
            assert_eq!(
                position,
                Position {
                    offset: last.offset + 1,
                    ..last
                }
            );
        }
        last = Some(position);
        log.close().await.expect("close");
    }
    let log = factory.open().await;
    let mut consumer = subscribe(&log, Topic::Inbound, "after").await;
    let records = read(&mut *consumer, 4).await;
    assert_ordered(&records);
    assert_all(&records, 0..4);
    drop(consumer);
    log.close().await.expect("close");
}

/// An append has its place when the call returns, even if nobody waits for its end.
pub async fn a_dropped_append_is_not_taken_back(factory: &impl Factory) {
    let log = factory.open().await;
    drop(log.append(Topic::Inbound, b"key", Bytes::from_static(b"0")));
    let second = log.append(Topic::Inbound, b"key", Bytes::from_static(b"1"));
    let third = append(&log, Topic::Inbound, "key", "2").await;
    assert_eq!((second.await.expect("append").offset, third.offset), (1, 2));
    let mut consumer = subscribe(&log, Topic::Inbound, "dropped").await;
    let records = read(&mut *consumer, 3).await;
    assert_ordered(&records);
    log.close().await.expect("close");
}

/// A record above the limit is refused and leaves no hole; one at the limit passes.
pub async fn a_large_record_is_refused(factory: &impl Factory) {
    let log = factory.open().await;
    let limit = factory.max_record();
    let refused = log
        .append(Topic::Inbound, b"key", Bytes::from(vec![1; limit - 2]))
        .await;
    assert!(
        matches!(refused, Err(LogError::TooLarge { .. })),
        "{refused:?}"
    );
    let taken = log
        .append(Topic::Inbound, b"key", Bytes::from(vec![1; limit - 3]))
        .await
        .expect("append");
    assert_eq!(taken.offset, 0);
    let mut consumer = subscribe(&log, Topic::Inbound, "large").await;
    let records = read(&mut *consumer, 1).await;
    assert!(records.iter().all(|r| r.value.len() == limit - 3));
    log.close().await.expect("close");
}

/// Keys and values are bytes of any kind, and may be empty.
pub async fn keys_and_values_come_back_as_they_were(factory: &impl Factory) {
    let cases: [(&[u8], &[u8]); 4] = [
        (b"", b"value"),
        (b"key", b""),
        (&[0; 9], &[0; 40]),
        (&[255, 0, 7], &[200; 3]),
    ];
    let log = factory.open().await;
    for (key, value) in cases {
        log.append(Topic::Parked, key, Bytes::copy_from_slice(value))
            .await
            .expect("append");
    }
    for _ in 0..2 {
        log.close().await.expect("close");
        let log = factory.open().await;
        let mut consumer = subscribe(&log, Topic::Parked, "bytes").await;
        let mut found: Vec<_> = read(&mut *consumer, 4)
            .await
            .into_iter()
            .map(|r| (r.key, r.value))
            .collect();
        let mut wanted = cases.map(|(k, v)| (Bytes::copy_from_slice(k), Bytes::copy_from_slice(v)));
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
        drop(consumer);
        log.close().await.expect("close");
    }
}

/// After close, append, next and commit end with an error; a second close is nothing.
pub async fn a_closed_log_takes_nothing(factory: &impl Factory) {
    let log = factory.open().await;
    append(&log, Topic::Inbound, "key", "1").await;
    let mut consumer = subscribe(&log, Topic::Inbound, "closed").await;
    read(&mut *consumer, 1).await;
    let closing = async { log.close().await.expect("close") };
    let (waiting, ()) =
        futures::future::join(tokio::time::timeout(WAIT, consumer.next()), closing).await;
    assert!(waiting.expect("next ends").is_err());
    let refused = log.append(Topic::Inbound, b"key", Bytes::new()).await;
    assert!(matches!(refused, Err(LogError::Closed)), "{refused:?}");
    assert!(
        log.subscribe(Topic::Inbound, "other", LIMITS)
            .await
            .is_err()
    );
    log.close().await.expect("close again");
}
