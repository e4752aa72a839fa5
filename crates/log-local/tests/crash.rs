//! Power failures, full disks and broken bytes, on files that forget what was not synced.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use magpie_log::{BatchLimits, Consumer, LogError, MessageLog as _, Position, Record, Topic};
use magpie_log_local::{LocalLog, Options, files::Files as _, lossy::LossyFiles};
use proptest::prelude::*;

const FOREVER: Duration = Duration::from_secs(3600);
const SOON: Duration = Duration::from_millis(1);
const WAIT: Duration = Duration::from_secs(30);

fn options(deferred_interval: Duration) -> Options {
    Options {
        deferred_interval,
        sync_spacing: Duration::ZERO,
        max_record: 50_000,
        ..Options::default()
    }
}

fn open(files: &LossyFiles, options: Options) -> Arc<LocalLog> {
    LocalLog::open_with(Arc::new(files.clone()), options).expect("open")
}

fn value(n: usize) -> Bytes {
    Bytes::from(format!("{n} {}", "x".repeat(n * 37 % 900)))
}

async fn append(log: &LocalLog, topic: Topic, n: usize) -> Result<Position, LogError> {
    log.append(topic, format!("key{}", n % 7).as_bytes(), value(n))
        .await
}

async fn subscribe(log: &LocalLog, topic: Topic, group: &str) -> Box<dyn Consumer> {
    log.subscribe(topic, group, BatchLimits::default())
        .await
        .expect("subscribe")
}

async fn read(consumer: &mut dyn Consumer, count: u64) -> Vec<Record> {
    let mut records = Vec::new();
    while (records.len() as u64) < count {
        let batch = tokio::time::timeout(WAIT, consumer.next())
            .await
            .expect("a batch in time");
        records.extend(batch.expect("a batch").records);
    }
    records
}

/// Everything in a topic, which must have no holes.
async fn read_all(log: &LocalLog, topic: Topic) -> Vec<Record> {
    let group = format!("all{}", rand::random::<u64>());
    let count = log.backlog(topic, &group).await.expect("backlog").records;
    let records = read(&mut *subscribe(log, topic, &group).await, count).await;
    let places: HashSet<(u32, u64)> = records
        .iter()
        .map(|r| (r.position.partition, r.position.offset))
        .collect();
    assert_eq!(places.len(), records.len(), "doubled");
    assert!(
        places
            .iter()
            .all(|(p, o)| *o == 0 || places.contains(&(*p, o - 1))),
        "a hole"
    );
    records
}

fn numbers(records: &[Record]) -> Vec<usize> {
    let number = |r: &Record| {
        std::str::from_utf8(&r.value)
            .ok()?
            .split(' ')
            .next()?
            .parse()
            .ok()
    };
    let numbers: Vec<usize> = records
        .iter()
        .map(|r| number(r).expect("a number"))
        .collect();
    assert!(
        records
            .iter()
            .zip(&numbers)
            .all(|(r, n)| r.value == value(*n)),
        "other bytes than were appended"
    );
    numbers
}

/// Changes the first segment of the inbound topic, after its header.
fn tamper_with_inbound(files: &LossyFiles, change: impl FnOnce(&mut [u8])) {
    let names = files.list().expect("names");
    let segment = names
        .iter()
        .find(|n| n.starts_with("inbound."))
        .expect("a segment");
    files.tamper(segment, |bytes| change(&mut bytes[4096..]));
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(SOON).await;
        }
    };
    tokio::time::timeout(WAIT, wait)
        .await
        .unwrap_or_else(|_| panic!("{what} did not happen"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_records_survive_power_failures() {
    for segment_bytes in [64 << 20, 20_000] {
        let files = LossyFiles::new();
        let mut acked: HashSet<usize> = HashSet::new();
        for life in 0..8 {
            let log = open(
                &files,
                Options {
                    segment_bytes,
                    ..options(SOON)
                },
            );
            let done = Mutex::new(Vec::new());
            let writers = (0..8).map(|w| {
                let (log, done, files) = (&log, &done, &files);
                async move {
                    for n in 0..40 {
                        let n = life * 1000 + w * 100 + n;
                        if append(log, Topic::Inbound, n).await.is_err() {
                            break;
                        }
                        done.lock().expect("lock").push(n);
                        if n % 100 == 20 && w == life % 8 {
                            files.crash_torn(|| rand::random_bool(0.5));
                        }
                    }
                }
            });
            join_all(writers).await;
            acked.extend(done.into_inner().unwrap());
            drop(log);
            let log = open(&files, options(SOON));
            let found: HashSet<usize> = numbers(&read_all(&log, Topic::Inbound).await)
                .into_iter()
                .collect();
            assert!(
                acked.is_subset(&found),
                "lost: {:?}",
                acked.difference(&found)
            );
            log.close().await.unwrap();
            files.crash();
            acked = found;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_consumer_sees_a_synced_record_before_its_sync() {
    let files = LossyFiles::new();
    let log = open(&files, options(SOON));
    let mut consumer = subscribe(&log, Topic::Inbound, "early").await;
    let before = files.syncs();
    let (records, position) =
        futures::future::join(read(&mut *consumer, 1), append(&log, Topic::Inbound, 1)).await;
    assert!(files.syncs() > before);
    files.crash();
    drop((consumer, log));
    let log = open(&files, options(SOON));
    let found = read_all(&log, Topic::Inbound).await;
    assert_eq!(
        found.iter().map(|r| r.position).collect::<Vec<_>>(),
        [position.unwrap()]
    );
    assert_eq!(numbers(&found), numbers(&records));
}

/// The consumer appends to a deferred topic what it reads, and commits. After a crash nothing is missing downstream:
/// what was lost there is handed out upstream again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offsets_are_never_ahead_of_the_deferred_topic() {
    for interval in [SOON, Duration::from_millis(7), FOREVER] {
        let files = LossyFiles::new();
        for life in 0..8 {
            let log = open(&files, options(interval));
            let backlog = log
                .backlog(Topic::Inbound, "transfer")
                .await
                .unwrap()
                .records;
            let mut transfer = subscribe(&log, Topic::Inbound, "transfer").await;
            let feed = async {
                for n in 0..100 {
                    append(&log, Topic::Inbound, life * 100 + n).await.unwrap();
                }
            };
            let work = async {
                let mut seen = 0;
                while seen < 60 + backlog {
                    let batch = transfer.next().await.unwrap();
                    for n in numbers(&batch.records) {
                        append(&log, Topic::Stored, n).await.unwrap();
                    }
                    seen += batch.records.len() as u64;
                    transfer.commit(&batch.last_positions()).await.unwrap();
                }
            };
            futures::future::join(feed, work).await;
            files.crash_torn(|| rand::random_bool(0.3));
            drop((transfer, log));

            let log = open(&files, options(interval));
            let stored: HashSet<usize> = numbers(&read_all(&log, Topic::Stored).await)
                .into_iter()
                .collect();
            let left = log
                .backlog(Topic::Inbound, "transfer")
                .await
                .unwrap()
                .records;
            let mut transfer = subscribe(&log, Topic::Inbound, "transfer").await;
            let again: HashSet<usize> = numbers(&read(&mut *transfer, left).await)
                .into_iter()
                .collect();
            let all = numbers(&read_all(&log, Topic::Inbound).await);
            assert!(
                all.len() >= (life + 1) * 100,
                "acknowledged records are missing"
            );
            assert!(
                all.iter().all(|n| stored.contains(n) || again.contains(n)),
                "neither downstream nor replayed"
            );
            files.crash();
        }
    }
}

#[tokio::test]
async fn committed_offsets_become_durable_without_a_close() {
    let files = LossyFiles::new();
    let log = open(&files, options(SOON));
    append(&log, Topic::Inbound, 1).await.unwrap();
    let mut consumer = subscribe(&log, Topic::Inbound, "group").await;
    let position = read(&mut *consumer, 1).await[0].position;
    consumer.commit(&[position]).await.unwrap();
    eventually("a durable offset", async || {
        let log = open(&files.after_crash(), options(SOON));
        log.backlog(Topic::Inbound, "group").await.unwrap().records == 0
    })
    .await;
}

#[tokio::test]
async fn an_offset_beyond_the_end_is_set_to_the_end() {
    let files = LossyFiles::new();
    let log = open(&files, options(FOREVER));
    for n in 0..10 {
        append(&log, Topic::Inbound, 0).await.unwrap();
        append(&log, Topic::Inbound, n).await.unwrap();
    }
    let mut consumer = subscribe(&log, Topic::Inbound, "group").await;
    for record in read(&mut *consumer, 20).await {
        consumer.commit(&[record.position]).await.unwrap();
    }
    log.close().await.unwrap();
    drop((consumer, log));
    tamper_with_inbound(&files, |bytes| bytes.fill(0));
    let log = open(&files, options(FOREVER));
    assert_eq!(
        log.backlog(Topic::Inbound, "group").await.unwrap().records,
        0
    );
    let mut consumer = subscribe(&log, Topic::Inbound, "group").await;
    let position = append(&log, Topic::Inbound, 7).await.unwrap();
    assert_eq!(position.offset, 0);
    assert_eq!(read(&mut *consumer, 1).await[0].position, position);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_and_goes_on_when_there_is_room() {
    for segment_bytes in [64 << 20, 30_000] {
        let files = LossyFiles::new();
        let log = open(
            &files,
            Options {
                segment_bytes,
                ..options(SOON)
            },
        );
        let mut acked = Vec::new();
        for round in 0..4 {
            files.set_quota(Some(files.used() + 2_000_000));
            let mut refused = false;
            let mut n = round * 1_000_000;
            while !refused {
                n += 1;
                let one = |i: usize| append(&log, Topic::Inbound, n * 100 + i);
                for (i, result) in join_all((0..50).map(one)).await.into_iter().enumerate() {
                    match result {
                        Ok(_) => acked.push(n * 100 + i),
                        Err(e) => {
                            assert!(matches!(e, LogError::Unavailable(_)), "{e}");
                            refused = true;
                        }
                    }
                }
            }
            files.set_quota(None);
            let n = round * 1_000_000 + 999_999;
            eventually("an append with room", async || {
                append(&log, Topic::Inbound, n).await.is_ok()
            })
            .await;
            acked.push(n);
            if round % 2 == 1 {
                files.crash();
            }
            let log = if round % 2 == 1 {
                open(&files, options(SOON))
            } else {
                Arc::clone(&log)
            };
            let found = numbers(&read_all(&log, Topic::Inbound).await);
            assert_eq!(
                found.iter().collect::<HashSet<_>>(),
                acked.iter().collect(),
                "round {round}"
            );
            assert_eq!(found.len(), acked.len(), "doubled");
            if round % 2 == 1 {
                break;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deferred_topic_keeps_its_records_through_a_full_disk() {
    let files = LossyFiles::new();
    let log = open(
        &files,
        Options {
            segment_bytes: 30_000,
            ..options(SOON)
        },
    );
    let mut consumer = subscribe(&log, Topic::Stored, "push").await;
    let mut taken = 0;
    for round in 0..3 {
        files.set_quota(Some(files.used()));
        for n in 0..300 {
            append(&log, Topic::Stored, round * 300 + n).await.unwrap();
            taken += 1;
        }
        assert_eq!(
            numbers(&read(&mut *consumer, 300).await).len(),
            300,
            "visible although the disk is full"
        );
        files.set_quota(None);
    }
    log.close().await.unwrap();
    files.crash();
    let log = open(&files, options(SOON));
    assert_eq!(numbers(&read_all(&log, Topic::Stored).await).len(), taken);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_acknowledges_nothing_and_is_not_believed_later() {
    let files = LossyFiles::new();
    let log = open(&files, options(FOREVER));
    let mut acked = Vec::new();
    for n in 0..30 {
        files.fail_syncs(usize::from(n % 3 == 1));
        if append(&log, Topic::Inbound, n).await.is_ok() {
            acked.push(n);
        }
    }
    assert!(acked.len() < 30 && acked.len() >= 10);
    files.fail_syncs(0);
    append(&log, Topic::Stored, 1).await.unwrap();
    files.fail_syncs(1);
    append(&log, Topic::Stored, 2).await.unwrap();
    files.fail_syncs(0);
    log.close().await.unwrap();
    files.crash();
    drop(log);
    let log = open(&files, options(FOREVER));
    let mut found = numbers(&read_all(&log, Topic::Inbound).await);
    found.sort_unstable();
    assert_eq!(found, acked);
    assert_eq!(read_all(&log, Topic::Stored).await.len(), 2);
}

#[tokio::test]
async fn what_a_failed_commit_left_on_disk_is_never_read() {
    let files = LossyFiles::new();
    let spaced = Options {
        sync_spacing: Duration::from_millis(100),
        ..options(FOREVER)
    };
    let log = open(&files, spaced);
    append(&log, Topic::Inbound, 7).await.unwrap();
    let together = [7, 14, 21].map(|n| append(&log, Topic::Inbound, n));
    files.fail_syncs(1);
    for result in join_all(together).await {
        assert!(
            matches!(result, Err(LogError::Unavailable(_))),
            "{result:?}"
        );
    }
    append(&log, Topic::Inbound, 7).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    let log = open(&files, options(FOREVER));
    assert_eq!(numbers(&read_all(&log, Topic::Inbound).await), [7, 7]);
}

#[tokio::test]
async fn whole_records_behind_a_torn_one_are_never_read() {
    let files = LossyFiles::new();
    let log = open(&files, options(FOREVER));
    for n in [7, 14, 21] {
        append(&log, Topic::Inbound, n).await.unwrap();
    }
    log.close().await.unwrap();
    drop(log);
    tamper_with_inbound(&files, |bytes| bytes[0] ^= 1);
    let log = open(&files, options(FOREVER));
    append(&log, Topic::Inbound, 7).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    let log = open(&files, options(FOREVER));
    assert_eq!(numbers(&read_all(&log, Topic::Inbound).await), [7]);
}

#[tokio::test]
async fn a_deferred_topic_writes_anew_what_a_failed_sync_did_not_take() {
    let files = LossyFiles::new();
    let log = open(&files, options(SOON));
    files.fail_syncs(1);
    append(&log, Topic::Stored, 1).await.unwrap();
    eventually("a durable record", async || {
        let log = open(&files.after_crash(), options(FOREVER));
        read_all(&log, Topic::Stored).await.len() == 1
    })
    .await;
}

#[tokio::test]
async fn a_segment_that_could_not_be_made_hides_no_later_record() {
    let files = LossyFiles::new();
    let small = Options {
        segment_bytes: 10_000,
        ..options(FOREVER)
    };
    let log = open(&files, small.clone());
    append(&log, Topic::Inbound, 1).await.unwrap();
    files.fail_syncs(1);
    let large = log
        .append(Topic::Inbound, b"key", Bytes::from(vec![1; 8000]))
        .await;
    assert!(matches!(large, Err(LogError::Unavailable(_))), "{large:?}");
    append(&log, Topic::Inbound, 2).await.unwrap();
    log.close().await.unwrap();
    drop(log);
    let log = open(&files, small);
    let mut found = numbers(&read_all(&log, Topic::Inbound).await);
    found.sort_unstable();
    assert_eq!(found, [1, 2]);
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let log = LocalLog::open(dir.path(), Options::default()).unwrap();
    let error = LocalLog::open(dir.path(), Options::default())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains(&format!("process {}", std::process::id())),
        "{error}"
    );
    log.close().await.unwrap();
    LocalLog::open(dir.path(), Options::default()).unwrap();
}

#[tokio::test]
async fn a_backlog_above_its_limit_refuses_inbound_appends_until_it_is_worked_off() {
    let log = open(
        &LossyFiles::new(),
        Options {
            max_backlog_bytes: 5_000,
            ..options(SOON)
        },
    );
    let mut consumer = subscribe(&log, Topic::Inbound, "transfer").await;
    let mut count = 0;
    let refused = loop {
        match append(&log, Topic::Inbound, 10).await {
            Ok(_) => count += 1,
            Err(e) => break e,
        }
    };
    assert!(refused.to_string().contains("busy"), "{refused}");
    append(&log, Topic::Stored, 10).await.unwrap();
    let last = read(&mut *consumer, count).await.last().unwrap().position;
    consumer.commit(&[last]).await.unwrap();
    append(&log, Topic::Inbound, 10).await.unwrap();
}

#[tokio::test]
async fn a_missing_segment_is_an_error() {
    let files = LossyFiles::new();
    let log = open(
        &files,
        Options {
            segment_bytes: 10_000,
            ..options(SOON)
        },
    );
    for n in 0..60 {
        append(&log, Topic::Inbound, n).await.unwrap();
    }
    log.close().await.unwrap();
    let segments: Vec<String> = files
        .list()
        .unwrap()
        .into_iter()
        .filter(|n| n.starts_with("inbound."))
        .collect();
    assert!(segments.len() > 3, "{segments:?}");
    files.remove(&segments[1]).unwrap();
    let error = LocalLog::open_with(Arc::new(files.clone()), options(SOON)).err();
    assert!(matches!(error, Some(LogError::Damaged(_))), "{error:?}");
}

fn corruption() -> impl Strategy<Value = Vec<(usize, Vec<u8>)>> {
    let bytes = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40),
        prop::collection::vec(Just(0_u8), 1..600),
        prop::collection::vec(Just(255_u8), 1..40),
    ];
    prop::collection::vec((0..12_000_usize, bytes), 0..6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn broken_bytes_are_never_taken_for_records(changes in corruption(), cut in prop::option::of(0..12_000_usize)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let files = LossyFiles::new();
            let log = open(&files, options(FOREVER));
            for n in 0..25 {
                append(&log, Topic::Inbound, n).await.unwrap();
            }
            log.close().await.unwrap();
            drop(log);
            let segment = files.list().unwrap().into_iter().find(|n| n.starts_with("inbound.")).unwrap();
            files.tamper(&segment, |file| {
                for (at, bytes) in &changes {
                    file[4096 + at..4096 + at + bytes.len()].copy_from_slice(bytes);
                }
                if let Some(cut) = cut {
                    file.truncate(4096 + cut);
                }
            });
            for more in [100, 101] {
                let log = open(&files, options(FOREVER));
                let found = numbers(&read_all(&log, Topic::Inbound).await);
                assert!(found.iter().zip(0..).all(|(n, _)| *n < 25 || *n == 100), "{found:?}");
                append(&log, Topic::Inbound, more).await.unwrap();
                log.close().await.unwrap();
                files.crash();
                drop(log);
            }
            let log = open(&files, options(FOREVER));
            let found = numbers(&read_all(&log, Topic::Inbound).await);
            assert!(found.contains(&100) && found.contains(&101), "{found:?}");
        });
    }
}
