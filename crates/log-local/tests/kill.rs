//! kill -9 in the middle of appends: every acknowledged record is there afterwards, once, in order, without holes.
//!
//! The test starts its own binary again as the process that appends; that one prints a line per acknowledged record.

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use magpie_log::{BatchLimits, Consumer, MessageLog as _, Record, Topic};
use magpie_log_local::{LocalLog, Options};

const KILLS: u32 = 12;
const DIR: &str = "MAGPIE_LOG_KILL_DIR";

fn options() -> Options {
    Options {
        segment_bytes: 300_000,
        deferred_interval: Duration::from_millis(20),
        ..Options::default()
    }
}

/// Not a test of its own: what the child does until it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run as a child by the test below"]
async fn child_appends_until_killed() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let log = LocalLog::open(Path::new(&dir), options()).unwrap();
    let life: u64 = rand::random();
    let mut tasks = Vec::new();
    for task in 0..16 {
        let log = Arc::clone(&log);
        tasks.push(tokio::spawn(async move {
            for n in 0_u64.. {
                let value = Bytes::from(format!("{life} {n} {}", "x".repeat((n % 300) as usize)));
                let key = format!("task{task}");
                let at = log
                    .append(Topic::Inbound, key.as_bytes(), value.clone())
                    .await
                    .unwrap();
                let line = format!("\nacked {} {} {life} {n}\n", at.partition, at.offset);
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                log.append(Topic::Stored, key.as_bytes(), value)
                    .await
                    .unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

/// Appends in a child, kills it after so many acknowledgements; answers (partition, offset) → (life, n).
fn append_and_kill(dir: &Path, after: usize) -> HashMap<(u32, u64), (u64, u64)> {
    let mut child = Command::new(std::env::current_exe().expect("own path"))
        .args([
            "--exact",
            "child_appends_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    let mut acked = HashMap::new();
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while lines.read_line(&mut line).is_ok_and(|n| n > 0) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let (true, ["acked", partition, offset, life, n]) =
            (line.ends_with('\n'), words.as_slice())
        {
            let number = |word: &str| word.parse::<u64>().expect("a number");
            let at = (partition.parse().expect("a partition"), number(offset));
            acked.insert(at, (number(life), number(n)));
            if acked.len() == after {
                child.kill().expect("kill");
            }
        }
        line.clear();
    }
    child.wait().expect("wait");
    assert!(acked.len() >= after, "the child ended early");
    acked
}

async fn read_all(log: &Arc<LocalLog>, topic: Topic) -> Vec<Record> {
    let group = format!("check{}", rand::random::<u64>());
    let total = log.backlog(topic, &group).await.expect("backlog").records;
    let mut consumer: Box<dyn Consumer> = log
        .subscribe(topic, &group, BatchLimits::default())
        .await
        .expect("subscribe");
    let mut records = Vec::new();
    while (records.len() as u64) < total {
        records.extend(consumer.next().await.expect("a batch").records);
    }
    records
}

fn assert_once_in_order_without_holes(records: &[Record]) -> HashMap<(u32, u64), (u64, u64)> {
    let mut found = HashMap::new();
    let mut due: HashMap<u32, u64> = HashMap::new();
    let mut last: HashMap<(Bytes, u64), u64> = HashMap::new();
    for record in records {
        let at = record.position;
        let due = due.entry(at.partition).or_default();
        assert_eq!(
            at.offset, *due,
            "a hole or a repeat in partition {}",
            at.partition
        );
        *due += 1;
        let text = std::str::from_utf8(&record.value).expect("text");
        let mut numbers = text.split(' ').map_while(|word| word.parse::<u64>().ok());
        let (life, n) = (numbers.next().expect("life"), numbers.next().expect("n"));
        let expected = last
            .get(&(record.key.clone(), life))
            .map_or(0, |before| before + 1);
        assert_eq!(n, expected, "out of order, doubled or lost");
        last.insert((record.key.clone(), life), n);
        found.insert((at.partition, at.offset), (life, n));
    }
    found
}

#[tokio::test]
async fn every_acknowledged_record_survives_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acked = HashMap::new();
    for _ in 0..KILLS {
        let path = dir.path().to_owned();
        let after = rand::random_range(1..2500);
        let new = tokio::task::spawn_blocking(move || append_and_kill(&path, after))
            .await
            .unwrap();
        for (at, what) in new {
            assert!(
                acked.insert(at, what).is_none(),
                "a position was acknowledged twice"
            );
        }
        let log = LocalLog::open(dir.path(), options()).unwrap();
        let found = assert_once_in_order_without_holes(&read_all(&log, Topic::Inbound).await);
        for (at, what) in &acked {
            assert_eq!(found.get(at), Some(what), "acknowledged at {at:?}");
        }
        let stored = assert_once_in_order_without_holes(&read_all(&log, Topic::Stored).await);
        let inbound: HashSet<_> = found.values().collect();
        assert!(
            stored.values().all(|what| inbound.contains(what)),
            "stored what was never durable"
        );
        log.close().await.unwrap();
    }
}
