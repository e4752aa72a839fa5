//! What the tests share: topics of one's own on a broker, numbered records, waiting for a state.

use std::{
    collections::HashMap,
    future::Future,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use magpie_log::{BatchLimits, Consumer, LogError, MessageLog as _, Position, Record, Topic};
use magpie_log_kafka::{KafkaLog, Options};
use magpie_testdeps::{Kind, Server};

/// Fails a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// For all tests that do no harm to it.
pub(crate) static BROKER: LazyLock<Server> = LazyLock::new(|| Server::start(Kind::Kafka));

pub(crate) fn options(server: &Server) -> Options {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    Options {
        prefix: format!("test{}-", NEXT.fetch_add(1, Ordering::Relaxed)),
        ..options_at(server.url())
    }
}

/// Of topics that somebody else has named.
pub(crate) fn options_at(brokers: String) -> Options {
    Options {
        brokers,
        partitions: 6,
        replication: 1,
        ..Options::default()
    }
}

pub(crate) async fn open(options: &Options) -> Arc<KafkaLog> {
    KafkaLog::open(options.clone()).await.expect("open")
}

pub(crate) async fn subscribe(log: &KafkaLog, group: &str) -> Box<dyn Consumer> {
    let joined = log.subscribe(Topic::Inbound, group, BatchLimits::default());
    joined.await.expect("subscribe")
}

/// Appends the number to the inbound topic.
pub(crate) fn append(
    log: &KafkaLog,
    key: &str,
    n: usize,
) -> impl Future<Output = Result<Position, LogError>> + use<> {
    log.append(Topic::Inbound, key.as_bytes(), Bytes::from(n.to_string()))
}

/// Appends these numbers with a key each, all at once.
pub(crate) async fn append_all(log: &KafkaLog, keys: usize, numbers: std::ops::Range<usize>) {
    let appends = numbers.map(|n| append(log, &format!("key{}", n % keys), n));
    for outcome in futures::future::join_all(appends).await {
        outcome.expect("append");
    }
}

pub(crate) fn number(record: &Record) -> usize {
    let text = std::str::from_utf8(&record.value).expect("text");
    text.parse().expect("a number")
}

pub(crate) async fn in_time<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, waiting).await;
    outcome.unwrap_or_else(|_| panic!("not in time: {what}"))
}

pub(crate) async fn next(consumer: &mut dyn Consumer) -> Vec<Record> {
    in_time("a batch", consumer.next())
        .await
        .expect("a batch")
        .records
}

/// Reads so many records.
pub(crate) async fn read(consumer: &mut dyn Consumer, count: usize) -> Vec<Record> {
    let mut records = Vec::new();
    while records.len() < count {
        records.extend(next(consumer).await);
    }
    records
}

pub(crate) async fn commit(consumer: &mut dyn Consumer, records: &[Record]) {
    let records = records.to_vec();
    let positions = magpie_log::Batch { records }.last_positions();
    consumer.commit(&positions).await.expect("commit");
}

/// The numbers of each key, in the order of the log.
pub(crate) fn by_key(records: &[Record]) -> HashMap<String, Vec<usize>> {
    let mut records: Vec<&Record> = records.iter().collect();
    records.sort_by_key(|record| record.position);
    records.dedup_by_key(|record| record.position);
    let mut keys: HashMap<String, Vec<usize>> = HashMap::new();
    for record in records {
        let key = String::from_utf8(record.key.to_vec()).expect("text");
        keys.entry(key).or_default().push(number(record));
    }
    keys
}

/// Everything in the inbound topic.
pub(crate) async fn read_all(log: &KafkaLog) -> Vec<Record> {
    let group = format!("check{}", rand::random::<u64>());
    let total = log
        .backlog(Topic::Inbound, &group)
        .await
        .expect("backlog")
        .records;
    let mut consumer = subscribe(log, &group).await;
    read(&mut *consumer, usize::try_from(total).expect("few")).await
}

/// Runs what blocks, such as killing a server.
pub(crate) async fn blocking(server: &Server, act: impl FnOnce(&Server) + Send + 'static) {
    let server = server.clone();
    tokio::task::spawn_blocking(move || act(&server))
        .await
        .expect("no panic");
}
