//! What a stored message costs: CPU time per message with its follow-up writes, checkpoints included, on a small and on a
//! large database.
//!
//! `cargo run --release -p magpie-store-sqlite --example insert -- [messages per call] [page size] [cache MiB] [WAL MiB] [largest]`

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use magpie_store::{
    Document, Follow, Outcome, RunItem, Store,
    documents::{Head, Message, SCHEMAS, UserSeq},
};
use magpie_store_sqlite::{Options, SqliteStore};

const CONVERSATIONS: u64 = 1_000;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the result of the measurement")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|a| a.parse::<usize>().ok());
    let per_call = arguments.next().unwrap_or(16);
    let defaults = Options::default();
    let options = Options {
        page_size: arguments
            .next()
            .map_or(defaults.page_size, |v| u32::try_from(v).unwrap_or(4096)),
        writer_cache: arguments.next().map_or(defaults.writer_cache, |v| v << 20),
        wal_soft_limit: arguments
            .next()
            .map_or(defaults.wal_soft_limit, |v| (v << 20) as u64),
        ..defaults
    };
    let largest = arguments.next().map_or(1_000_000, |v| v as u64);
    println!(
        "{per_call} messages per call, pages of {}, cache {} MiB",
        options.page_size,
        options.writer_cache >> 20
    );
    let folder = tempfile::tempdir()?;
    let store = SqliteStore::open(folder.path().join("bench.db"), options)?;
    store.prepare(SCHEMAS).await?;
    let mut load = Load {
        store,
        stored: 0,
        random: 42,
    };
    for stored in [10_000, 1_000_000].into_iter().filter(|n| *n <= largest) {
        load.run(stored - load.stored, 2_000).await?;
        for _ in 0..2 {
            let (cpu, start) = (cpu_by_thread()?, Instant::now());
            let count = 40_000;
            load.run(count, per_call).await?;
            let threads: Vec<_> = cpu_by_thread()?
                .into_iter()
                .map(|(name, ticks)| (name.clone(), ticks - cpu.get(&name).copied().unwrap_or(0.0)))
                .collect();
            let micros = |seconds: f64| seconds * 1e6 / count as f64;
            let total = micros(threads.iter().map(|(_, s)| s).sum());
            let parts: Vec<_> = threads
                .iter()
                .filter(|(_, s)| *s > 0.0)
                .map(|(n, s)| format!("{n} {:.1}", micros(*s)))
                .collect();
            let rate = count as f64 / start.elapsed().as_secs_f64();
            println!(
                "{stored:>8} stored: {total:5.1} µs CPU per message ({}), {rate:.0}/s",
                parts.join(", ")
            );
        }
    }
    Ok(())
}

struct Load {
    store: Arc<SqliteStore>,
    stored: u64,
    random: u64,
}

impl Load {
    async fn run(&mut self, count: u64, per_call: usize) -> Result<(), Box<dyn std::error::Error>> {
        let mut left = count;
        while left > 0 {
            let size = left.min(per_call as u64);
            let runs = (0..size).map(|_| vec![self.item()]).collect();
            let outcomes = self.store.insert_runs(Message::SCHEMA, runs).await?;
            if outcomes
                .iter()
                .flatten()
                .any(|outcome| *outcome != Outcome::Inserted)
            {
                return Err(format!("not inserted: {outcomes:?}").into());
            }
            left -= size;
        }
        Ok(())
    }

    fn next(&mut self) -> u64 {
        // xorshift: repeatable and without a dependency.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn item(&mut self) -> RunItem {
        let place = self.stored.wrapping_mul(7919) % CONVERSATIONS;
        let seq = i64::try_from(self.stored / CONVERSATIONS + 1).unwrap_or(i64::MAX);
        self.stored += 1;
        let (sender, receiver) = (format!("user{place:06}a"), format!("user{place:06}b"));
        let stem = format!("{sender}_{receiver}");
        let conversation_id = format!("si_{stem}");
        let id: Vec<u8> = [self.next().to_le_bytes(), self.next().to_le_bytes()].concat();
        let message = Message {
            stem,
            server_msg_id: Bytes::from(id),
            conversation_id: conversation_id.clone(),
            seq,
            sender_id: sender.clone(),
            state: 0,
            body: Bytes::from(vec![7; 300]),
            revocation: Bytes::new(),
            send_time: 1_700_000_000_000 + seq,
            log_incarnation: 1,
            log_partition: 0,
            log_offset: seq,
            member_version: 0,
        };
        let head = Head {
            conversation_id: conversation_id.clone(),
            max_seq: seq,
            max_seq_time: seq,
            min_seq: 1,
            member_version: 0,
            closed_seq: 0,
        };
        let read = UserSeq {
            user_id: sender,
            conversation_id,
            read_seq: seq,
            min_seq: 0,
            max_seq: 0,
            member_version: 0,
            marked_seq: 0,
        };
        RunItem {
            row: message.into_row(),
            then: vec![
                Follow::Max {
                    schema: Head::SCHEMA,
                    row: head.into_row(),
                    fields: &[Head::max_seq, Head::max_seq_time],
                },
                Follow::Max {
                    schema: UserSeq::SCHEMA,
                    row: read.into_row(),
                    fields: &[UserSeq::read_seq],
                },
            ],
        }
    }
}

/// Seconds of CPU time that each thread of this process has used.
fn cpu_by_thread() -> Result<BTreeMap<String, f64>, Box<dyn std::error::Error>> {
    let mut all = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task")? {
        let folder = task?.path();
        let name = std::fs::read_to_string(folder.join("comm"))?
            .trim()
            .to_owned();
        let nanos: f64 = std::fs::read_to_string(folder.join("schedstat"))?
            .split(' ')
            .next()
            .unwrap_or("0")
            .parse()?;
        *all.entry(name).or_insert(0.0) += nanos / 1e9;
    }
    Ok(all)
}
