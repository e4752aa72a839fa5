//! CPU per record: appends to the inbound topic at a fixed rate and consumes them, on a real directory.
//!
//! `cargo run --release -p magpie-log-local --example append [DIR]`

#![expect(clippy::print_stdout, reason = "an example that prints a table")]

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use magpie_log::{BatchLimits, LogError, MessageLog as _, Topic};
use magpie_log_local::{LocalLog, Options};

const SECONDS: u64 = 5;
const TICK: Duration = Duration::from_millis(1);

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), LogError> {
    let dir = std::env::args()
        .nth(1)
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join("magpie-log-append");
    println!(
        "{:>10} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "rate/s", "records", "µs/record", "of writer", "ack p50 µs", "ack p99 µs"
    );
    for rate in [300, 2_000, 10_000] {
        let log = LocalLog::open(&dir, Options::default())?;
        let records = rate * SECONDS;
        let mut consumer = log
            .subscribe(Topic::Inbound, &format!("g{rate}"), BatchLimits::default())
            .await?;
        let before = log
            .backlog(Topic::Inbound, &format!("g{rate}"))
            .await?
            .records;
        let mut read = 0;
        while read < before {
            read += consumer.next().await?.records.len() as u64;
        }
        let cpu = cpu_micros();
        let reader = async {
            let mut read = 0;
            while read < records {
                let batch = consumer.next().await?;
                read += batch.records.len() as u64;
                consumer.commit(&batch.last_positions()).await?;
            }
            Ok::<(), LogError>(())
        };
        let (acks, read) = futures::future::join(append_paced(&log, rate, records), reader).await;
        read?;
        let mut acks = acks?;
        acks.sort_unstable();
        let after = cpu_micros();
        let micros = (after.0 - cpu.0) as f64 / records as f64;
        let writer = (after.1 - cpu.1) as f64 / records as f64;
        let at = |part: usize| {
            acks.get(acks.len() * part / 100)
                .copied()
                .unwrap_or_default()
                .as_micros()
        };
        println!(
            "{rate:>10} {records:>12} {micros:>12.2} {writer:>12.2} {:>12} {:>12}",
            at(50),
            at(99)
        );
        log.close().await?;
        drop(consumer);
    }
    if let Err(error) = std::fs::remove_dir_all(&dir) {
        println!("could not remove {}: {error}", dir.display());
    }
    Ok(())
}

/// Appends at the rate, open loop; answers the time from each intended start to its acknowledgement.
async fn append_paced(
    log: &Arc<LocalLog>,
    rate: u64,
    records: u64,
) -> Result<Vec<Duration>, LogError> {
    let value = Bytes::from(vec![7; 300]);
    let started = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let mut waiting = tokio::task::JoinSet::new();
    let mut sent = 0;
    while sent < records {
        tick.tick().await;
        let due = (started.elapsed().as_micros() as u64 * rate / 1_000_000).min(records);
        for n in sent..due {
            let key = format!("si_user{}_user{}", n % 200, n % 200 + 200);
            let append = log.append(Topic::Inbound, key.as_bytes(), value.clone());
            let intended = started + Duration::from_micros(n * 1_000_000 / rate);
            waiting.spawn(async move { append.await.map(|_| intended.elapsed()) });
        }
        sent = due;
    }
    waiting.join_all().await.into_iter().collect()
}

/// CPU time of the threads of this process, µs: all, and the one that writes the inbound topic.
fn cpu_micros() -> (u64, u64) {
    let mut sums = (0, 0);
    for task in std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let micros = read("schedstat")
            .split(' ')
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0)
            / 1000;
        sums.0 += micros;
        if read("comm").trim() == "log-inbound" {
            sums.1 += micros;
        }
    }
    sums
}
