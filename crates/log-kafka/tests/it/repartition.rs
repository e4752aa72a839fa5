//! The steps to topics with another number of partitions: closed, opened again, made anew beside the old ones, deleted.

use std::time::Duration;

use bytes::Bytes;
use magpie_log::{LogError, MessageLog as _, Topic};
use magpie_log_kafka::{KafkaLog, Options, Repartition};
use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier},
    client::DefaultClientContext,
};

use crate::common::{
    BROKER, append, append_all, commit, in_time, number, open, options, read, subscribe,
};

fn admin() -> AdminClient<DefaultClientContext> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", BROKER.url());
    config.create().expect("a client")
}

fn topic(options: &Options, topic: &str) -> String {
    format!("{}{topic}", options.prefix)
}

/// What an operator sets by hand, and sees set: a broker answers before it shows it, and who changes another setting of the topic
/// meanwhile takes it back.
async fn set_by_hand(topic: &str, key: &str, value: &str) {
    let altered = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
    let admin = admin();
    let done = admin.alter_configs([&altered], &AdminOptions::new()).await;
    for outcome in done.expect("altered") {
        outcome.expect("altered");
    }
    let seen = async { while setting(&admin, topic, key).await.as_deref() != Some(value) {} };
    in_time("the setting", seen).await;
}

async fn setting(
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
    key: &str,
) -> Option<String> {
    let wanted = [ResourceSpecifier::Topic(topic)];
    let found = admin.describe_configs(&wanted, &AdminOptions::new());
    let found = found.await.expect("settings").remove(0).expect("a topic");
    found.get(key).and_then(|entry| entry.value.clone())
}

fn refusal<T>(outcome: Result<T, LogError>) -> String {
    outcome.err().expect("a refusal").to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_inbound_topic_takes_nothing_gives_what_it_has_and_opens_again() {
    let options = options(&BROKER);
    let inbound = topic(&options, "inbound");
    let log = open(&options).await;
    set_by_hand(&inbound, "retention.ms", "123456789").await;
    append_all(&log, 20, 0..40).await;
    let steps = Repartition::of(options.clone()).expect("steps");
    steps.close_inbound().await.expect("closed");
    for n in 0..20 {
        // One to each partition at least, by a process that knows nothing of it.
        let refused = append(&log, &format!("key{n}"), 100).await;
        assert!(refusal(refused).contains("refused"));
    }
    log.append(Topic::Stored, b"key", Bytes::new())
        .await
        .expect("the stored topic is open");
    let mut consumer = subscribe(&log, "group").await;
    let mut found: Vec<usize> = Vec::new();
    while found.len() < 40 {
        let records = read(&mut *consumer, 1).await;
        commit(&mut *consumer, &records).await;
        // Partitions may have taken an empty one before they were closed.
        let full = records.iter().filter(|record| !record.value.is_empty());
        found.extend(full.map(number));
    }
    found.sort_unstable();
    assert_eq!(found, (0..40).collect::<Vec<_>>());
    assert!(KafkaLog::open(options.clone()).await.is_err(), "it starts");

    steps.reopen_inbound().await.expect("open");
    let taken = async { while append(&log, "key", 100).await.is_err() {} };
    in_time("an append", taken).await;
    let kept = setting(&admin(), &inbound, "retention.ms").await;
    assert_eq!(kept.as_deref(), Some("123456789"), "set by hand");
    log.close().await.expect("close");
    open(&options).await.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_generation_has_its_own_topics_and_the_old_ones_go() {
    let old = Options {
        delivery_timeout: Duration::from_secs(3),
        ..options(&BROKER)
    };
    let next = Options {
        partitions: 2,
        generation: 1,
        ..old.clone()
    };
    let before = open(&old).await;
    set_by_hand(&topic(&old, "stored"), "segment.bytes", "7654321").await;
    append(&before, "key", 1).await.expect("append");
    let steps = Repartition::of(old.clone()).expect("steps");
    steps.close_inbound().await.expect("closed");
    steps.create(&next).await.expect("made");
    let after = open(&next).await;
    assert_eq!(after.partitions(Topic::Inbound), 2);
    assert_eq!(after.partitions(Topic::Parked), 1);
    let [inbound, .., parked] = before.topics();
    let [new_inbound, .., same_parked] = after.topics();
    assert_ne!(inbound.incarnation, new_inbound.incarnation);
    assert_eq!(parked, same_parked);
    let kept = setting(&admin(), &topic(&old, "stored-1"), "segment.bytes").await;
    assert_eq!(kept.as_deref(), Some("7654321"), "as in the old topic");

    append(&after, "key", 2).await.expect("the new one is open");
    steps.delete().await.expect("deleted");
    steps.delete().await.expect("nothing is left to delete");
    let mut consumer = subscribe(&after, "group").await;
    let records = read(&mut *consumer, 1).await;
    assert_eq!((number(&records[0]), records[0].position.offset), (2, 0));
    let stale = in_time("an end", append(&before, "key", 3)).await;
    refusal(stale);
    after.close().await.expect("close");
}
