//! kill -9 of a process that writes: what it was told is stored is there, in order and without a gap.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use magpie_store::{
    Document, Documents, Follow, Outcome, Page, RunItem, SharedStore, Value,
    documents::{Head, Message},
    key,
};
use magpie_store_sqlite::{Options, SqliteStore};

const FOLDER: &str = "MAGPIE_STORE_CRASH_FOLDER";
const CONVERSATIONS: usize = 8;

fn open(folder: &Path) -> SharedStore {
    // Short logs, so that kills also meet checkpoints.
    let options = Options {
        wal_soft_limit: 256 << 10,
        ..Options::default()
    };
    SqliteStore::open(folder.join("store.db"), options).unwrap()
}

fn run(conversation: &str, first: i64) -> Vec<RunItem> {
    let item = |seq: i64| {
        let message = Message {
            stem: conversation.to_owned(),
            server_msg_id: Bytes::copy_from_slice(format!("{seq:016}").as_bytes()),
            conversation_id: format!("si_{conversation}"),
            seq,
            sender_id: "s".to_owned(),
            state: 0,
            body: Bytes::from(vec![1; 300]),
            revocation: Bytes::new(),
            send_time: seq,
            log_incarnation: 1,
            log_partition: 0,
            log_offset: seq,
            member_version: 0,
        };
        let conversation_id = message.conversation_id.clone();
        let head = Head {
            conversation_id,
            max_seq: seq,
            max_seq_time: seq,
            min_seq: 0,
            member_version: 0,
            closed_seq: 0,
        };
        let head = Follow::Max {
            schema: Head::SCHEMA,
            row: head.into_row(),
            fields: &[Head::max_seq, Head::max_seq_time],
        };
        RunItem {
            row: message.into_row(),
            then: vec![head],
        }
    };
    (first..first + 3).map(item).collect()
}

async fn last_seq(store: &SharedStore, conversation: &str) -> i64 {
    let newest = Page::of("by_seq", key![format!("si_{conversation}")], 1).descending();
    store
        .list::<Message>(newest)
        .await
        .unwrap()
        .first()
        .map_or(0, |message| message.seq)
}

/// The process that is killed; does nothing unless [`writer_killed_again_and_again_loses_nothing`] starts it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_writes_until_it_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let store = open(Path::new(&folder));
    store
        .prepare(&[Message::SCHEMA, Head::SCHEMA])
        .await
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..CONVERSATIONS {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let conversation = format!("c{n}");
            let mut next = last_seq(&store, &conversation).await + 1;
            loop {
                let outcomes = store
                    .insert_runs(Message::SCHEMA, vec![run(&conversation, next)])
                    .await
                    .unwrap();
                assert_eq!(outcomes, [vec![Outcome::Inserted; 3]]);
                next += 3;
                println!("stored {conversation} {}", next - 1);
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_killed_again_and_again_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: BTreeMap<String, i64> = BTreeMap::new();
    for round in 0..12 {
        kill_after(folder.path(), 40 + round * 37, &mut acknowledged);
        let store = open(folder.path());
        store
            .prepare(&[Message::SCHEMA, Head::SCHEMA])
            .await
            .unwrap();
        for n in 0..CONVERSATIONS {
            check(
                &store,
                &format!("c{n}"),
                acknowledged.get(&format!("c{n}")).copied().unwrap_or(0),
            )
            .await;
        }
    }
    assert!(acknowledged.values().sum::<i64>() > 1_000);
}

/// Runs the child until it has acknowledged this many runs, then kills it.
fn kill_after(folder: &Path, runs: usize, acknowledged: &mut BTreeMap<String, i64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::child_that_writes_until_it_is_killed",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    for line in lines {
        let line = line.unwrap();
        let Some((conversation, seq)) = line
            .strip_prefix("stored ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        acknowledged.insert(conversation.to_owned(), seq.parse().unwrap());
        seen += 1;
        if seen == runs {
            // What the pipe still holds is read too: it was acknowledged before the kill.
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(seen >= runs, "the child ended by itself");
}

async fn check(store: &SharedStore, conversation: &str, acknowledged: i64) {
    let mut page = Page::of(
        "by_seq",
        vec![Value::from(format!("si_{conversation}"))],
        1_000,
    );
    let mut expected = 1;
    loop {
        let messages = store.list::<Message>(page.clone()).await.unwrap();
        let Some(last) = messages.last().cloned() else {
            break;
        };
        for message in messages {
            assert_eq!(message.seq, expected, "{conversation}");
            assert_eq!(
                message.server_msg_id.as_ref(),
                format!("{expected:016}").as_bytes()
            );
            expected += 1;
        }
        page = page.after_row(Message::SCHEMA, &last.into_row());
    }
    let stored = expected - 1;
    assert!(
        stored >= acknowledged,
        "{conversation}: {stored} stored of {acknowledged} acknowledged"
    );
    assert_eq!(stored % 3, 0, "half a request was stored");
    let head = store
        .find::<Head>(key![format!("si_{conversation}")])
        .await
        .unwrap();
    assert_eq!(head.map_or(0, |head| head.max_seq), stored);
}
