//! kill -9 of the server in the middle of concurrent runs: what was answered is there, and who tries again ends with every
//! message once, in order and without a gap, and with its follow-up writes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use magpie_store::{
    Document, Documents, Follow, Outcome, Page, RunItem, Store, StoreError,
    documents::{Head, Message},
    key,
};
use magpie_store_mongo::MongoStore;
use magpie_testdeps::{Kind, Server};
use tokio::task::JoinSet;

use crate::server::{impatient, until_available};

const CONVERSATIONS: usize = 8;
const KILLS: usize = 5;
/// Answered runs before each kill.
const RUNS: usize = 60;

fn message(conversation: &str, seq: i64) -> Message {
    Message {
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
    }
}

fn head(message: &Message) -> Follow {
    let head = Head {
        conversation_id: message.conversation_id.clone(),
        max_seq: message.seq,
        max_seq_time: message.seq,
        min_seq: 0,
        member_version: 0,
        closed_seq: 0,
    };
    Follow::Max {
        schema: Head::SCHEMA,
        row: head.into_row(),
        fields: &[Head::max_seq, Head::max_seq_time],
    }
}

/// Stores one run of three as the transfer service does: a conflict with the key is a replay, whose follow-up writes are
/// repeated.
async fn store_run(store: &MongoStore, conversation: &str, first: i64) -> Result<(), StoreError> {
    let mut next = first;
    while next < first + 3 {
        let run = (next..first + 3).map(|seq| {
            let message = message(conversation, seq);
            let then = vec![head(&message)];
            RunItem {
                row: message.into_row(),
                then,
            }
        });
        for outcome in store
            .insert_runs(Message::SCHEMA, vec![run.collect()])
            .await?
            .concat()
        {
            match outcome {
                Outcome::Inserted => {}
                Outcome::Conflict("key") => {
                    let stored: Option<Message> =
                        store.find(message(conversation, next).key()).await?;
                    let stored = stored.expect("what conflicts is stored");
                    assert_eq!(
                        stored,
                        message(conversation, next),
                        "stored by the call before"
                    );
                    store.apply(vec![head(&stored)]).await?;
                }
                Outcome::Skipped => break,
                outcome => panic!("{conversation} {next}: {outcome:?}"),
            }
            next += 1;
        }
    }
    Ok(())
}

trait KeyOf {
    fn key(self) -> magpie_store::Key;
}

impl KeyOf for Message {
    fn key(self) -> magpie_store::Key {
        Self::SCHEMA.key_of(&self.into_row())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn server_killed_again_and_again_loses_nothing() {
    let server = tokio::task::spawn_blocking(|| Server::start(Kind::Mongo))
        .await
        .unwrap();
    let store = MongoStore::connect(impatient(&server.url())).await.unwrap();
    store
        .prepare(&[Message::SCHEMA, Head::SCHEMA])
        .await
        .unwrap();
    let mut next = [1; CONVERSATIONS];
    for _ in 0..KILLS {
        let answered = Arc::new(AtomicUsize::new(0));
        let mut writers = JoinSet::new();
        for (n, first) in next.into_iter().enumerate() {
            writers.spawn(write(
                Arc::clone(&store),
                server.clone(),
                n,
                first,
                Arc::clone(&answered),
            ));
        }
        for (n, first) in writers.join_all().await {
            next[n] = first;
        }
        let same = server.clone();
        tokio::task::spawn_blocking(move || same.restart())
            .await
            .unwrap();
        for (n, first) in next.into_iter().enumerate() {
            let (stored, head) = stored(&store, &format!("c{n}")).await;
            // Of the run that was not answered a first part may be there, with or without its follow-up writes.
            assert!(
                (first - 1..first + 3).contains(&stored),
                "c{n}: {stored} stored, {first} is next"
            );
            assert!(
                (first - 1..=stored).contains(&head),
                "c{n}: head {head}, {first} is next"
            );
        }
    }
    for (n, first) in next.into_iter().enumerate() {
        let conversation = format!("c{n}");
        store_run(&store, &conversation, first).await.unwrap();
        assert_eq!(stored(&store, &conversation).await, (first + 2, first + 2));
    }
}

/// Stores run after run until the server is gone; who stores the last of [`RUNS`] kills it. Answers the first seq of the run
/// that was not answered.
async fn write(
    store: Arc<MongoStore>,
    server: Server,
    n: usize,
    mut first: i64,
    answered: Arc<AtomicUsize>,
) -> (usize, i64) {
    let conversation = format!("c{n}");
    loop {
        match store_run(&store, &conversation, first).await {
            Ok(()) => first += 3,
            Err(StoreError::Unavailable(_)) => return (n, first),
            Err(e) => panic!("{e}"),
        }
        if answered.fetch_add(1, Ordering::Relaxed) + 1 == RUNS {
            let server = server.clone();
            tokio::task::spawn_blocking(move || server.kill())
                .await
                .unwrap();
        }
    }
}

/// How many messages there are, numbered from 1, whole, each once; and the head.
async fn stored(store: &MongoStore, conversation: &str) -> (i64, i64) {
    let page = Page::of("by_seq", key![format!("si_{conversation}")], 10_000);
    let messages: Vec<Message> = until_available(|| store.list(page.clone())).await;
    for (expected, found) in (1..).zip(&messages) {
        assert_eq!(*found, message(conversation, expected));
    }
    let head: Option<Head> = store
        .find(key![format!("si_{conversation}")])
        .await
        .unwrap();
    (messages.len() as i64, head.map_or(0, |head| head.max_seq))
}
