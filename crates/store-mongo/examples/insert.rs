//! What a stored message costs: round trips in a second, and CPU time of this process per message with its follow-up writes.
//!
//! `cargo run --release -p magpie-store-mongo --example insert -- [messages per call] [calls at once] [messages] [URI]`
//!
//! Without a URI it starts a server of its own.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use magpie_store::{
    Document, Follow, Outcome, RunItem, Store,
    documents::{Head, Message, SCHEMAS, UserSeq},
};
use magpie_store_mongo::{MongoStore, Options};
use magpie_testdeps::{Kind, Server};
use tokio::task::JoinSet;

const CONVERSATIONS: u64 = 1_000;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "the result of the measurement")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| arguments.next().map_or(Ok(default), |a| a.parse());
    let (per_call, at_once, count) = (number(200)?, number(1)?.max(1), number(40_000)?);
    let uri = std::env::args().nth(4);
    let server = uri.is_none().then(|| Server::start(Kind::Mongo));
    let uri = uri
        .or_else(|| server.as_ref().map(Server::url))
        .unwrap_or_default();
    let database = format!("magpie_bench_{}", magpie_types::time::now_ms());
    let options = Options {
        database,
        ..Options::new(uri)
    };
    let store = MongoStore::connect(options).await?;
    store.prepare(SCHEMAS).await?;
    println!("{per_call} messages per call, {at_once} calls at once");
    for round in 0..3 {
        let (cpu, start) = (cpu()?, Instant::now());
        let mut tasks = JoinSet::new();
        for task in 0..at_once {
            let load = Load {
                store: Arc::clone(&store),
                task,
                stored: round * count / at_once,
                random: 42 + task * 1000 + round,
            };
            tasks.spawn(load.run(count / at_once, per_call));
        }
        tasks
            .join_all()
            .await
            .into_iter()
            .collect::<Result<(), _>>()?;
        let micros = (self::cpu()? - cpu) * 1e6 / count as f64;
        let rate = count as f64 / start.elapsed().as_secs_f64();
        println!("{rate:.0} messages/s, {micros:.1} µs CPU of the client per message");
    }
    Ok(())
}

struct Load {
    store: Arc<MongoStore>,
    task: u64,
    stored: u64,
    random: u64,
}

impl Load {
    async fn run(mut self, count: u64, per_call: u64) -> Result<(), Error> {
        let mut left = count;
        while left > 0 {
            let size = left.min(per_call);
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
        let (sender, receiver) = (
            format!("user{place:06}a{}", self.task),
            format!("user{place:06}b{}", self.task),
        );
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

/// Seconds of CPU time that this process has used.
fn cpu() -> Result<f64, Error> {
    let mut nanos = 0.0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let schedstat = std::fs::read_to_string(task?.path().join("schedstat"))?;
        nanos += schedstat.split(' ').next().unwrap_or("0").parse::<f64>()?;
    }
    Ok(nanos / 1e9)
}
