//! Brokers that die, hang and are away: what was acknowledged is there, once per key and in order, and appends work again.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt as _;
use magpie_log::{LogError, MessageLog as _, Topic};
use magpie_log_kafka::{KafkaLog, Options};
use magpie_testdeps::{Kind, Server};

use crate::common::{
    append, blocking, by_key, commit, in_time, next, open, options, read_all, subscribe,
};

const WRITERS: usize = 12;
const EACH: usize = 1500;

/// Writers append numbered records, a few at a time; `acked` counts. All appends must end well.
async fn write(log: Arc<KafkaLog>, acked: Arc<AtomicUsize>) {
    let writers = (0..WRITERS).map(|writer| {
        let (log, acked) = (Arc::clone(&log), Arc::clone(&acked));
        tokio::spawn(async move {
            let numbers: Vec<usize> = (0..EACH).collect();
            for few in numbers.chunks(20) {
                let appends: Vec<_> = few
                    .iter()
                    .map(|n| append(&log, &format!("w{writer}"), *n))
                    .collect();
                for outcome in futures::future::join_all(appends).await {
                    outcome.expect("append");
                    acked.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    for writer in futures::future::join_all(writers).await {
        writer.expect("a writer");
    }
}

async fn wait_for(acked: &AtomicUsize, count: usize) {
    while acked.load(Ordering::Relaxed) < count {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Consumes until every record was seen; some come twice, none is missing.
async fn consume(log: Arc<KafkaLog>) {
    let mut consumer = subscribe(&log, "all").await;
    let mut seen = HashSet::new();
    while seen.len() < WRITERS * EACH {
        let records = next(&mut *consumer).await;
        seen.extend(records.iter().map(|record| record.position));
        commit(&mut *consumer, &records).await;
    }
}

/// The log has every number once for each key, in order, and nothing else.
async fn assert_all_once(log: &KafkaLog) {
    let keys = by_key(&read_all(log).await);
    assert_eq!(keys.len(), WRITERS);
    for (key, numbers) in keys {
        assert!(numbers.iter().copied().eq(0..EACH), "{key}: {numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_loses_and_doubles_nothing() {
    let server = Server::start(Kind::Kafka);
    let options = Options {
        delivery_timeout: Duration::from_secs(90),
        ..options(&server)
    };
    let log = open(&options).await;
    let acked = Arc::new(AtomicUsize::new(0));
    let writing = tokio::spawn(write(Arc::clone(&log), Arc::clone(&acked)));
    let consuming = tokio::spawn(consume(Arc::clone(&log)));
    for part in 1..=2 {
        in_time(
            "acknowledgements",
            wait_for(&acked, WRITERS * EACH * part / 4),
        )
        .await;
        blocking(&server, |server| {
            server.kill();
            server.restart();
        })
        .await;
    }
    in_time("all acknowledgements", writing)
        .await
        .expect("writers");
    in_time("all records", consuming).await.expect("a consumer");
    assert_all_once(&log).await;
    log.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_three_brokers_may_die() {
    let brokers = Server::kafka_cluster();
    let options = Options {
        brokers: brokers.each_ref().map(Server::url).join(","),
        replication: 3,
        delivery_timeout: Duration::from_secs(90),
        ..options(&brokers[0])
    };
    let log = open(&options).await;
    assert_eq!(log.warnings(), &[] as &[String], "three replicas are safe");
    let acked = Arc::new(AtomicUsize::new(0));
    let writing = tokio::spawn(write(Arc::clone(&log), Arc::clone(&acked)));
    let consuming = tokio::spawn(consume(Arc::clone(&log)));
    in_time("acknowledgements", wait_for(&acked, WRITERS * EACH / 4)).await;
    let [_, second, _] = &brokers;
    blocking(second, Server::kill).await;
    in_time("all acknowledgements", writing)
        .await
        .expect("writers");
    in_time("all records", consuming).await.expect("a consumer");
    assert_all_once(&log).await;
    log.close().await.expect("close");
}

/// Appends one by one until one is acknowledged.
async fn append_until_taken(log: &KafkaLog, key: &str, n: usize) {
    while let Err(e) = append(log, key, n).await {
        assert!(matches!(e, LogError::Unavailable(_)), "{e:?}");
    }
}

/// Appends these numbers one by one until each is acknowledged; a busy machine may need longer than the timeout.
async fn take(log: &KafkaLog, numbers: std::ops::Range<usize>) {
    for n in numbers {
        in_time("an append", append_until_taken(log, "key0", n)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_is_away_appends_end_and_later_they_work() {
    let server = Server::start(Kind::Kafka);
    let options = Options {
        delivery_timeout: Duration::from_secs(1),
        max_buffer_records: 50,
        ..options(&server)
    };
    let log = open(&options).await;
    take(&log, 0..10).await;
    for hangs in [false, true] {
        let away = move |server: &Server| if hangs { server.stop() } else { server.kill() };
        let back = move |server: &Server| {
            if hangs {
                server.cont()
            } else {
                server.restart()
            }
        };
        blocking(&server, away).await;
        // Those that wait fail together; what the queue has no room for fails at once.
        let appends: Vec<_> = (10..60).map(|n| append(&log, "key0", n)).collect();
        let refused = log
            .append(Topic::Inbound, b"key0", Bytes::from_static(b"60"))
            .await;
        assert!(
            matches!(refused, Err(LogError::Unavailable(_))),
            "{refused:?}"
        );
        for outcome in in_time("the end of appends", futures::future::join_all(appends)).await {
            assert!(
                matches!(outcome, Err(LogError::Unavailable(_))),
                "{outcome:?}"
            );
        }
        blocking(&server, back).await;
        take(&log, 100..140).await;
    }
    let keys = by_key(&read_all(&log).await);
    // The failed ones may be there; the acknowledged ones are, in order.
    let mut numbers = keys.get("key0").expect("records").clone();
    numbers.retain(|n| !(10..=60).contains(n));
    // One that was acknowledged too late was sent again.
    numbers.dedup();
    assert!(
        numbers
            .into_iter()
            .eq((0..10).chain(100..140).chain(100..140))
    );
    log.close().await.expect("close");
}

/// Appends in one go until one is refused, as transfer does. The outcomes are told later.
fn burst(log: &KafkaLog) -> impl Future<Output = Vec<bool>> + use<> {
    let mut under_way = Vec::new();
    for n in 0..200 {
        let mut append = append(log, "key", n).boxed();
        match (&mut append).now_or_never() {
            Some(Err(_)) => break,
            // Acknowledged between the two halves of the poll, when this thread had to wait for a core there.
            Some(taken) => under_way.push(std::future::ready(taken).boxed()),
            None => under_way.push(append),
        }
        // Long bursts, so that many are under way when the log gives up.
        std::thread::sleep(Duration::from_micros(10));
    }
    futures::future::join_all(under_way)
        .map(|outcomes| outcomes.iter().map(Result::is_ok).collect())
}

/// Of appends made in one go none succeeds behind one that failed: sending the failed ones again keeps the order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_succeeds_behind_what_failed() {
    let server = Server::start(Kind::Kafka);
    let options = Options {
        delivery_timeout: Duration::from_millis(400),
        max_buffer_records: 100_000,
        ..options(&server)
    };
    let log = open(&options).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
        tokio::task::spawn_blocking(move || {
            let mut bursts = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                bursts.push(tokio::spawn(burst(&log)));
                std::thread::sleep(Duration::from_millis(1));
            }
            bursts
        })
    };
    for round in 0..15 {
        blocking(&server, Server::stop).await;
        // Around the timeout: some records are answered, some are given up.
        tokio::time::sleep(Duration::from_millis(300 + 20 * round)).await;
        blocking(&server, Server::cont).await;
        in_time("an append", append_until_taken(&log, "back", 0)).await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut failed = 0;
    for burst in writer.await.expect("a writer") {
        let outcomes = in_time("the end of a burst", burst).await.expect("a burst");
        let taken = outcomes.iter().take_while(|taken| **taken).count();
        failed += outcomes.len() - taken;
        let behind = outcomes.iter().skip(taken).filter(|taken| **taken).count();
        assert_eq!(behind, 0, "after {taken} that were taken");
    }
    assert!(failed > 0, "no append failed");
    log.close().await.expect("close");
}
