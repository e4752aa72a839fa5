//! Topics that are missing, different or made anew, offsets outside the log, and backlogs that are too large.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use magpie_log::{BatchLimits, LogError, MessageLog as _, Topic};
use magpie_log_kafka::{KafkaLog, Options, Remembered};
use magpie_types::time::now_ms;
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
};

use crate::common::{
    BROKER, append, append_all, commit, in_time, next, number, open, options, read, subscribe,
};

fn admin() -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", BROKER.url());
    config.create().expect("a client")
}

/// Takes away what is before the offset, as retention does.
async fn expire(options: &Options, partition: i32, before: i64) {
    let mut list = TopicPartitionList::new();
    let topic = format!("{}inbound", options.prefix);
    list.add_partition_offset(&topic, partition, Offset::Offset(before))
        .expect("set by hand");
    let deleted = admin()
        .delete_records(&list, &AdminOptions::new())
        .await
        .expect("records deleted");
    deleted
        .elements()
        .iter()
        .for_each(|e| e.error().expect("records deleted"));
}

/// Deletes a topic, and returns when the broker does not show it any more.
async fn delete(topic: String) {
    let admin = admin();
    let deleted = admin.delete_topics(&[&topic], &AdminOptions::new()).await;
    deleted.expect("deleted");
    let gone = tokio::task::spawn_blocking(move || {
        loop {
            let shown = admin
                .inner()
                .fetch_metadata(None, Duration::from_secs(10))
                .expect("metadata");
            if shown.topics().iter().all(|shown| shown.name() != topic) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    in_time("a topic's end", gone).await.expect("no panic");
}

/// Sets a committed offset by hand.
async fn commit_by_hand(options: &Options, offset: i64, metadata: String) {
    let (brokers, prefix) = (options.brokers.clone(), options.prefix.clone());
    let committing = tokio::task::spawn_blocking(move || {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("group.id", format!("{prefix}inbound-group"));
        let consumer: BaseConsumer = config.create().expect("set by hand");
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(&format!("{prefix}inbound"), 0);
        element
            .set_offset(Offset::Offset(offset))
            .expect("set by hand");
        element.set_metadata(metadata);
        consumer
            .commit(&list, CommitMode::Sync)
            .expect("set by hand");
    });
    committing.await.expect("set by hand");
}

fn one_partition() -> Options {
    Options {
        partitions: 1,
        ..options(&BROKER)
    }
}

#[tokio::test]
async fn another_number_of_partitions_is_refused() {
    let options = options(&BROKER);
    let log = open(&options).await;
    assert_eq!(log.partitions(Topic::Inbound), 6);
    assert_eq!(log.partitions(Topic::Parked), 1);
    let other = KafkaLog::open(Options {
        partitions: 8,
        ..options.clone()
    })
    .await;
    let text = other.err().expect("an error").to_string();
    assert!(
        text.contains("has 6 partitions and the configuration says 8"),
        "{text}"
    );
    log.close().await.expect("close");
}

#[tokio::test]
async fn processes_that_start_together_find_the_same_topics() {
    let options = options(&BROKER);
    let logs = futures::future::join_all((0..6).map(|_| open(&options))).await;
    let topics: Vec<_> = logs.iter().map(|log| log.topics()).collect();
    assert!(
        topics.windows(2).all(|pair| pair[0] == pair[1]),
        "{topics:?}"
    );
    for log in logs {
        log.close().await.expect("close");
    }
}

#[tokio::test]
async fn less_than_safe_settings_are_told() {
    let log = open(&options(&BROKER)).await;
    assert_eq!(log.warnings().len(), 4, "{:?}", log.warnings());
    assert!(
        log.warnings()
            .iter()
            .all(|w| w.contains("flush.messages=1"))
    );
    log.close().await.expect("close");
}

#[tokio::test]
async fn no_broker_is_an_error_that_says_so() {
    let options = Options {
        brokers: "127.0.0.1:1".to_owned(),
        request_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let error = in_time("an error", KafkaLog::open(options))
        .await
        .err()
        .expect("an error");
    assert!(
        error
            .to_string()
            .contains("no answer from Kafka at 127.0.0.1:1"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_made_anew_is_noticed_and_read_from_its_start() {
    let options = one_partition();
    let log = open(&options).await;
    let [before, ..] = log.topics();
    append_all(&log, 1, 0..50).await;
    let mut consumer = subscribe(&log, "group").await;
    let records = read(&mut *consumer, 50).await;
    commit(&mut *consumer, &records).await;
    log.close().await.expect("close");
    let topic = format!("{}inbound", options.prefix);
    delete(topic).await;
    let log = open(&options).await;
    let [after, ..] = log.topics();
    assert_ne!(before.incarnation, after.incarnation);
    assert_eq!(
        after.compare(&before).expect("as many partitions"),
        Remembered::MadeAnew
    );
    assert_eq!(after.compare(&after).expect("the same"), Remembered::Same);
    append_all(&log, 1, 0..60).await;
    let mut consumer = subscribe(&log, "group").await;
    let records = read(&mut *consumer, 60).await;
    assert!(
        records
            .iter()
            .all(|r| r.position.incarnation == after.incarnation)
    );
    log.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_of_another_log_are_not_taken_for_ours() {
    let options = one_partition();
    let log = open(&options).await;
    let [topic, ..] = log.topics();
    append_all(&log, 1, 0..50).await;
    log.close().await.expect("close");
    let (same, other) = (topic.incarnation, topic.incarnation ^ 1);
    for (offset, incarnation, committed_in, first) in [
        (20, same, 0, Some(20)),
        (20, other, 0, Some(0)),
        (1000, other, 0, Some(0)),
        // The log lost its end: back by some minutes, as newer records may stand below the offset by now.
        (1000, same, 0, Some(0)),
        (1000, same, 3600, None),
    ] {
        let at = now_ms() + committed_in * 1000;
        commit_by_hand(&options, offset, format!("{incarnation:016x} {at}")).await;
        let log = open(&options).await;
        let mut consumer = subscribe(&log, "group").await;
        let records = match first {
            Some(_) => next(&mut *consumer).await,
            None => {
                let appends = async {
                    loop {
                        append(&log, "key", 7).await.expect("append");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                };
                tokio::select! {
                    records = next(&mut *consumer) => records,
                    () = appends => unreachable!("it appends for ever"),
                }
            }
        };
        let found = records
            .first()
            .map(|r| r.position.offset)
            .expect("a record");
        assert!(
            first.map_or(found >= 50, |first| found == first),
            "{found} for {first:?}"
        );
        drop(consumer);
        log.close().await.expect("close");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_without_offsets_starts_where_the_caller_says() {
    let options = Options {
        start: Some(Arc::new(|topic, group, _incarnation, partition| {
            assert_eq!((topic, partition), (Topic::Inbound, 0));
            match group {
                "knows" => Some(30),
                "finished" => Some(50),
                _ => None,
            }
        })),
        ..one_partition()
    };
    let log = open(&options).await;
    append_all(&log, 1, 0..50).await;
    // What the caller knows is committed, though no record follows: others see that the group has nothing left to do.
    let mut finished = subscribe(&log, "finished").await;
    let other = open(&options).await;
    let caught_up = async {
        while other
            .backlog(Topic::Inbound, "finished")
            .await
            .expect("a backlog")
            .records
            > 0
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        batch = finished.next() => panic!("{batch:?}"),
        () = in_time("the commit", caught_up) => {}
    }
    other.close().await.expect("close");
    for (group, first) in [("knows", 30), ("new", 0)] {
        let mut consumer = subscribe(&log, group).await;
        let records = read(&mut *consumer, 50 - first).await;
        assert_eq!(records.first().map(number), Some(first));
    }
    log.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_behind_the_retention_goes_on_at_the_oldest() {
    let options = one_partition();
    let log = open(&options).await;
    append_all(&log, 1, 0..100).await;
    let mut consumer = subscribe(&log, "group").await;
    let records = read(&mut *consumer, 100).await;
    commit(&mut *consumer, &records[..10]).await;
    drop(consumer);
    log.close().await.expect("close");
    expire(&options, 0, 40).await;
    let log = open(&options).await;
    let mut consumer = subscribe(&log, "group").await;
    assert_eq!(read(&mut *consumer, 60).await.first().map(number), Some(40));
    log.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_retention_overtakes_goes_on_at_the_oldest() {
    let options = Options {
        fetch_bytes: 4096,
        max_record: 2000,
        ..one_partition()
    };
    let log = open(&options).await;
    for n in 0..200 {
        let value = Bytes::from(format!("{n:01000}"));
        log.append(Topic::Inbound, b"key", value)
            .await
            .expect("append");
    }
    let limits = BatchLimits {
        records: 1,
        ..BatchLimits::default()
    };
    let mut consumer = log
        .subscribe(Topic::Inbound, "group", limits)
        .await
        .expect("subscribe");
    let records = read(&mut *consumer, 3).await;
    commit(&mut *consumer, &records).await;
    expire(&options, 0, 150).await;
    let mut seen: Vec<u64> = Vec::new();
    while seen.last() != Some(&199) {
        seen.extend(next(&mut *consumer).await.iter().map(|r| r.position.offset));
    }
    assert!(seen.windows(2).all(|pair| pair[0] < pair[1]), "{seen:?}");
    assert!(seen.len() < 150, "it had read everything ahead");
    assert!((150..200).all(|n| seen.contains(&n)), "{seen:?}");
    log.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inbound_is_refused_while_its_backlog_is_too_large() {
    let options = Options {
        watched: vec![(Topic::Inbound, "group".to_owned())],
        max_backlog_bytes: 2000,
        ..options(&BROKER)
    };
    let log = open(&options).await;
    let mut appended = 0;
    let full = async {
        loop {
            match append(&log, "key", appended).await {
                Ok(_) => appended += 1,
                Err(LogError::Unavailable(why)) => return why,
                Err(e) => panic!("{e}"),
            }
        }
    };
    let why = in_time("a refusal", full).await;
    assert!(why.contains("backlog"), "{why}");
    log.append(Topic::Stored, b"key", Bytes::new())
        .await
        .expect("another topic");
    let mut consumer = subscribe(&log, "group").await;
    let records = read(&mut *consumer, appended).await;
    commit(&mut *consumer, &records).await;
    let taken = async { while append(&log, "key", 0).await.is_err() {} };
    in_time("appends again", taken).await;
    log.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_backlog_tells_its_age() {
    let log = open(&options(&BROKER)).await;
    append_all(&log, 5, 0..20).await;
    let aged = async {
        loop {
            let backlog = log.backlog(Topic::Inbound, "group").await.expect("backlog");
            assert_eq!(backlog.records, 20);
            if backlog.age >= Duration::from_secs(2) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    in_time("an age", aged).await;
    log.close().await.expect("close");
}

#[tokio::test]
async fn properties_of_the_deployment_reach_the_client() {
    let properties = BTreeMap::from([("debug".to_owned(), "nonsense".to_owned())]);
    let refused = KafkaLog::open(Options {
        properties,
        ..options(&BROKER)
    })
    .await;
    assert!(refused.is_err(), "librdkafka did not see the property");
}
