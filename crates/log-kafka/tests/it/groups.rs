//! Members of a group that come, leave, die and hang: somebody has every partition, nothing is missed.

use std::{
    collections::{BTreeSet, HashSet},
    io::{BufRead as _, BufReader, Write as _},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use magpie_log::{BatchLimits, Consumer, MessageLog as _, Topic};
use magpie_log_kafka::{KafkaLog, Options};
use tokio::sync::Notify;

use crate::common::{
    BROKER, append_all, commit, in_time, next, number, open, options, options_at, read, subscribe,
};

/// The numbers that members were handed, with repeats.
#[derive(Default)]
struct Handed {
    numbers: Mutex<Vec<usize>>,
    batches: AtomicUsize,
}

impl Handed {
    fn different(&self) -> usize {
        let numbers = self.numbers.lock().expect("a member at work");
        numbers.iter().collect::<HashSet<_>>().len()
    }
}

/// Consumes and commits small batches until it is told to stop, then leaves: as services do, before their log is closed.
async fn work(log: Arc<KafkaLog>, handed: Arc<Handed>, stop: Arc<Notify>) {
    let limits = BatchLimits {
        records: 7,
        ..BatchLimits::default()
    };
    let mut consumer = log
        .subscribe(Topic::Inbound, "group", limits)
        .await
        .expect("a member at work");
    loop {
        let batch = tokio::select! {
            biased;
            () = stop.notified() => return,
            batch = consumer.next() => batch.expect("a member at work"),
        };
        handed.batches.fetch_add(1, Ordering::Relaxed);
        handed
            .numbers
            .lock()
            .expect("a member at work")
            .extend(batch.records.iter().map(number));
        // Effects take their time; a batch is not torn from a member meanwhile.
        tokio::time::sleep(Duration::from_millis(2)).await;
        consumer
            .commit(&batch.last_positions())
            .await
            .expect("a member at work");
    }
}

async fn wait_until(what: &str, mut reached: impl FnMut() -> bool) {
    in_time(what, async {
        while !reached() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Members of two logs, as two processes have them: partitions go between batches, after the commit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_go_to_a_member_that_joins_and_back_without_a_repeat() {
    let options = options(&BROKER);
    let (one, two) = (open(&options).await, open(&options).await);
    let (first, second) = (Arc::new(Handed::default()), Arc::new(Handed::default()));
    let (stop_first, stop_second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let working = tokio::spawn(work(
        Arc::clone(&one),
        Arc::clone(&first),
        Arc::clone(&stop_first),
    ));
    append_all(&one, 50, 0..1000).await;
    wait_until("the first works", || {
        first.batches.load(Ordering::Relaxed) > 3
    })
    .await;
    let joining = tokio::spawn(work(
        Arc::clone(&two),
        Arc::clone(&second),
        Arc::clone(&stop_second),
    ));
    let mut appended = 1000;
    in_time("the second works", async {
        while second.batches.load(Ordering::Relaxed) < 3 {
            append_all(&one, 50, appended..appended + 20).await;
            appended += 20;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    // Leaves in the middle.
    append_all(&one, 50, appended..appended + 500).await;
    appended += 500;
    stop_second.notify_one();
    in_time("the second ends", joining).await.unwrap();
    two.close().await.expect("close");
    wait_until("all records", || {
        first.different() + second.different() >= appended
    })
    .await;
    stop_first.notify_one();
    in_time("the first ends", working).await.unwrap();
    one.close().await.expect("close");
    let mut all = first.numbers.lock().unwrap().clone();
    all.extend(second.numbers.lock().unwrap().iter());
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..appended), "missing or repeated");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_dropped_leaves_what_it_did_not_commit() {
    let log = open(&options(&BROKER)).await;
    append_all(&log, 20, 0..300).await;
    let mut first = subscribe(&log, "group").await;
    let records = read(&mut *first, 300).await;
    let mut second = subscribe(&log, "group").await;
    let done: Vec<_> = records
        .iter()
        .filter(|r| r.position.partition < 2)
        .cloned()
        .collect();
    commit(&mut *first, &done).await;
    drop(first);
    let left = read(&mut *second, 300 - done.len()).await;
    let left: BTreeSet<_> = left.iter().map(|r| r.position).collect();
    let wanted = records.iter().filter(|r| r.position.partition >= 2);
    assert_eq!(left, wanted.map(|r| r.position).collect());
    log.close().await.expect("close");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_hangs_loses_its_partitions_and_comes_back() {
    let options = Options {
        max_batch_time: Duration::from_secs(6),
        ..options(&BROKER)
    };
    let log = open(&options).await;
    append_all(&log, 20, 0..100).await;
    let mut hanging = subscribe(&log, "group").await;
    let stale = read(&mut *hanging, 100).await;
    let mut other = subscribe(&log, "group").await;
    // The other one waits until the first has not asked for a batch for too long.
    let taken = read(&mut *other, 100).await;
    commit(&mut *other, &taken).await;
    append_all(&log, 20, 100..200).await;
    let taken = read(&mut *other, 100).await;
    commit(&mut *other, &taken).await;
    // It goes on: its commit is late and changes nothing, not even the backlog.
    commit(&mut *hanging, &stale).await;
    assert_eq!(
        log.backlog(Topic::Inbound, "group")
            .await
            .expect("backlog")
            .records,
        0
    );
    let again = async {
        let mut seen = HashSet::new();
        let mut n = 200;
        while seen.is_empty() {
            append_all(&log, 20, n..n + 20).await;
            n += 20;
            let waiting = tokio::time::timeout(Duration::from_millis(200), hanging.next());
            let elsewhere = tokio::time::timeout(Duration::from_millis(200), other.next());
            let (here, there) = futures::future::join(waiting, elsewhere).await;
            if let Ok(batch) = here {
                seen.extend(batch.expect("a batch").records.iter().map(number));
            }
            if let Ok(batch) = there {
                commit(&mut *other, &batch.expect("a batch").records).await;
            }
        }
        seen
    };
    let seen = in_time("partitions again", again).await;
    assert!(
        seen.iter().all(|n| *n >= 200),
        "what the other one committed came again: {seen:?}"
    );
    log.close().await.expect("close");
}

const CHILD: &str = "MAGPIE_KAFKA_CHILD";

fn child_options(of: &str) -> Options {
    let (brokers, prefix) = of.split_once(' ').expect("brokers and prefix");
    Options {
        prefix: prefix.to_owned(),
        ..options_at(brokers.to_owned())
    }
}

/// Not a test of its own: a member that prints what it works on, until it is killed.
#[tokio::test]
#[ignore = "run as a child by the test below"]
async fn child_consumes_until_killed() {
    let Ok(of) = std::env::var(CHILD) else { return };
    let log = open(&child_options(&of)).await;
    let limits = BatchLimits {
        records: 10,
        ..BatchLimits::default()
    };
    let mut consumer = log
        .subscribe(Topic::Inbound, "group", limits)
        .await
        .unwrap();
    while let Ok(batch) = consumer.next().await {
        for record in &batch.records {
            let line = format!("\nworked {}\n", number(record));
            std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
        }
        consumer.commit(&batch.last_positions()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_member_takes_over_after_kill_9() {
    let options = options(&BROKER);
    let log = open(&options).await;
    append_all(&log, 20, 0..2000).await;
    let of = format!("{} {}", options.brokers, options.prefix);
    let child = tokio::task::spawn_blocking(move || {
        let mut child = Command::new(std::env::current_exe().expect("own path"))
            .args([
                "--exact",
                "groups::child_consumes_until_killed",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD, of)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut worked = HashSet::new();
        for line in BufReader::new(child.stdout.take().expect("a pipe"))
            .lines()
            .map_while(Result::ok)
        {
            if let Some(n) = line.strip_prefix("worked ") {
                worked.insert(n.parse::<usize>().expect("a number"));
            }
            if worked.len() == 700 {
                child.kill().expect("kill");
            }
        }
        child.wait().expect("wait");
        worked
    });
    let mut seen = in_time("the child's end", child).await.expect("no panic");
    assert!(seen.len() >= 700, "the child ended early");
    let mut consumer: Box<dyn Consumer> = subscribe(&log, "group").await;
    while seen.len() < 2000 {
        let records = next(&mut *consumer).await;
        seen.extend(records.iter().map(number));
        commit(&mut *consumer, &records).await;
    }
    log.close().await.expect("close");
}
