//! CPU per record and latency: appends to the inbound topic at a fixed rate and consumes them, against a real broker.
//!
//! On two cores shared with the broker, 64 partitions, records of 300 bytes (µs of CPU per record, appended and consumed; ms to
//! the acknowledgement at p50): 300/s 355 µs, 5.7 ms; 2,000/s 178 µs, 3.4 ms; 10,000/s 45 µs, 4.8 ms. lz4 costs a tenth more
//! CPU and saves nothing at these batch sizes, so that `none` is the default. Idle with two consumers: 7.6 MB, 12 ms of CPU a
//! second; 31 MB after 10,000/s.
//!
//! `scripts/deps start kafka; cargo run --release -p magpie-log-kafka --example append [BROKERS] [COMPRESSION] [LINGER_MS]`

#![expect(clippy::print_stdout, reason = "an example that prints a table")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use magpie_log::{BatchLimits, LogError, MessageLog as _, Topic};
use magpie_log_kafka::{KafkaLog, Options};

const SECONDS: u64 = 5;
const TICK: Duration = Duration::from_millis(1);

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), LogError> {
    let mut arguments = std::env::args().skip(1);
    let mut argument = |default: &str| arguments.next().unwrap_or_else(|| default.to_owned());
    let started = std::process::id();
    let options = Options {
        brokers: argument("127.0.0.1:19094"),
        compression: argument("none"),
        linger: Duration::from_secs_f64(argument("1").parse().unwrap_or(1.0) / 1000.0),
        prefix: format!("append{started}-"),
        replication: 1,
        ..Options::default()
    };
    println!("before: {} KB resident", resident());
    let log = KafkaLog::open(options).await?;
    let mut first = log
        .subscribe(Topic::Inbound, "a", BatchLimits::default())
        .await?;
    let mut second = log
        .subscribe(Topic::Stored, "b", BatchLimits::default())
        .await?;
    let idle = cpu_micros();
    let waiting = futures::future::join(first.next(), second.next());
    drop(tokio::time::timeout(Duration::from_secs(10), waiting).await);
    println!(
        "idle with a producer and two consumers: {} KB resident, {:.2} ms CPU per second",
        resident(),
        (cpu_micros() - idle) as f64 / 10_000.0
    );
    println!(
        "{:>10} {:>12} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "rate/s", "records", "µs/record", "ack p50 µs", "ack p99 µs", "read p50 µs", "read p99 µs"
    );
    for rate in [300, 2_000, 10_000] {
        run(&log, rate, &mut *first).await?;
    }
    println!("after: {} KB resident", resident());
    drop((first, second));
    log.close().await
}

async fn run(
    log: &Arc<KafkaLog>,
    rate: u64,
    consumer: &mut dyn magpie_log::Consumer,
) -> Result<(), LogError> {
    let records = rate * SECONDS;
    let cpu = cpu_micros();
    let origin = Instant::now();
    let reader = async {
        let mut times = Vec::new();
        while (times.len() as u64) < records {
            let batch = consumer.next().await?;
            for record in &batch.records {
                let intended: u64 = record
                    .value
                    .first_chunk()
                    .map_or(0, |bytes| u64::from_le_bytes(*bytes));
                times.push(
                    origin
                        .elapsed()
                        .saturating_sub(Duration::from_micros(intended)),
                );
            }
            consumer.commit(&batch.last_positions()).await?;
        }
        Ok::<_, LogError>(times)
    };
    let (acks, reads) =
        futures::future::join(append_paced(log, rate, records, origin), reader).await;
    let micros = (cpu_micros() - cpu) as f64 / records as f64;
    let at = |times: &mut Vec<Duration>, part: usize| {
        times.sort_unstable();
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
            .as_micros()
    };
    let (mut acks, mut reads) = (acks?, reads?);
    println!(
        "{rate:>10} {records:>12} {micros:>12.2} {:>12} {:>12} {:>12} {:>12}",
        at(&mut acks, 50),
        at(&mut acks, 99),
        at(&mut reads, 50),
        at(&mut reads, 99)
    );
    Ok(())
}

/// Appends at the rate, open loop; answers the time from each intended start to its acknowledgement.
async fn append_paced(
    log: &Arc<KafkaLog>,
    rate: u64,
    records: u64,
    origin: Instant,
) -> Result<Vec<Duration>, LogError> {
    let mut tick = tokio::time::interval(TICK);
    let mut waiting = tokio::task::JoinSet::new();
    let mut sent = 0;
    while sent < records {
        tick.tick().await;
        let due = (u64::try_from(origin.elapsed().as_micros()).unwrap_or(u64::MAX) * rate
            / 1_000_000)
            .min(records);
        for n in sent..due {
            let key = format!("si_user{}_user{}", n % 200, n % 200 + 200);
            let intended = n * 1_000_000 / rate;
            let mut value = vec![7; 300];
            value.splice(..8, intended.to_le_bytes());
            let append = log.append(Topic::Inbound, key.as_bytes(), Bytes::from(value));
            let intended = origin + Duration::from_micros(intended);
            waiting.spawn(async move { append.await.map(|_| intended.elapsed()) });
        }
        sent = due;
    }
    waiting.join_all().await.into_iter().collect()
}

/// CPU time of this process, µs.
fn cpu_micros() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task")
        .into_iter()
        .flatten()
        .flatten();
    let micros = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        text.split(' ')
            .next()
            .and_then(|n| n.parse::<u64>().ok())
            .unwrap_or(0)
            / 1000
    };
    tasks.map(micros).sum()
}

/// Resident memory of this process, KB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}
