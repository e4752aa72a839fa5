//! The transfer worker over a log that shows it chosen batches: numbers, replays, resends, conflicts with another owner.

#![cfg(test)]

use std::collections::HashMap;

use magpie_log::Topic;
use magpie_proto::{
    magpie::log::{Inbound, Stored},
    openim::sdkws::MsgData,
};
use magpie_service::{Deps, pending};
use magpie_store::{
    Documents as _, Page, SharedStore,
    documents::{Conversation, Head, Mention, Message, UserSeq, VersionHead},
    key,
    versions::{self, Delta, List, Version},
};
use magpie_testkit::{Engines, ScriptedLog};
use magpie_transfer::Config;
use prost::Message as _;

const CHAT: &str = "si_a_b";
const STEM: &str = "a_b";

/// A worker and its log.
fn worker(engines: &Engines) -> ScriptedLog {
    let log = ScriptedLog::default();
    let deps = Deps {
        log: std::sync::Arc::new(log.clone()),
        ..engines.deps.clone()
    };
    magpie_transfer::start(&deps, Config::default());
    log
}

/// A message of `a` to `b`; its id is derived from `id`.
fn inbound(id: &str) -> Inbound {
    let msg = MsgData {
        client_msg_id: id.to_owned(),
        content: id.as_bytes().to_vec().into(),
        ..MsgData::default()
    };
    let mut server_msg_id = id.as_bytes().to_vec();
    server_msg_id.resize(16, 0);
    Inbound {
        conversation_id: CHAT.to_owned(),
        msg: msg.encode_to_vec().into(),
        stored: true,
        operation_id: format!("op-{id}"),
        connection_id: "connection".to_owned(),
        sender_id: "a".to_owned(),
        receiver_ids: vec!["b".to_owned(), "a".to_owned()],
        server_msg_id: server_msg_id.into(),
        send_time: 5,
        sender_reads: true,
        session_type: 1,
        ..Inbound::default()
    }
}

/// A record of the conversation at an offset.
fn at(offset: u64, inbound: &Inbound) -> (u64, &'static str, Vec<u8>) {
    (offset, STEM, inbound.encode_to_vec())
}

fn published(log: &ScriptedLog) -> Vec<Stored> {
    log.take(Topic::Stored)
        .into_iter()
        .map(|(key, value)| {
            assert_eq!(key, STEM);
            Stored::decode(value).unwrap()
        })
        .collect()
}

/// Published records as (client id, seq, resend).
fn lines(log: &ScriptedLog) -> Vec<(String, i64, bool)> {
    published(log)
        .into_iter()
        .map(|s| {
            let msg = MsgData::decode(s.msg).unwrap();
            assert_eq!(msg.seq, s.seq);
            (msg.client_msg_id, s.seq, s.resend)
        })
        .collect()
}

fn line(id: &str, seq: i64) -> (String, i64, bool) {
    (id.to_owned(), seq, false)
}

/// What is stored, as (client id, seq), in order.
async fn stored(store: &SharedStore) -> Vec<(String, i64)> {
    let page = Page::of("by_seq", key![CHAT], 200);
    let messages: Vec<Message> = store.list(page).await.unwrap();
    messages
        .into_iter()
        .map(|m| {
            let msg = MsgData::decode(m.body).unwrap();
            assert_eq!(msg.seq, m.seq);
            (msg.client_msg_id, m.seq)
        })
        .collect()
}

fn rows(ids: &[&str]) -> Vec<(String, i64)> {
    ids.iter()
        .zip(1..)
        .map(|(id, seq)| ((*id).to_owned(), seq))
        .collect()
}

#[tokio::test]
async fn a_batch_is_numbered_stored_and_published_in_order_with_all_effects() {
    let engines = Engines::new().await;
    let log = worker(&engines);
    log.feed([at(0, &inbound("m1")), at(1, &inbound("m2"))])
        .await;
    assert_eq!(lines(&log), [line("m1", 1), line("m2", 2)]);
    let store = &engines.deps.store;
    assert_eq!(stored(store).await, rows(&["m1", "m2"]));
    let head: Head = store.find(key![CHAT]).await.unwrap().unwrap();
    assert_eq!((head.max_seq, head.max_seq_time), (2, 5));
    let read: UserSeq = store.find(key!["a", CHAT]).await.unwrap().unwrap();
    assert_eq!(read.read_seq, 2);
    for (owner, peer) in [("a", "b"), ("b", "a")] {
        let record: Conversation = store.find(key![owner, CHAT]).await.unwrap().unwrap();
        assert_eq!(record.user_id, peer);
    }
}

#[tokio::test]
async fn a_replay_at_its_position_is_published_again_and_repairs_its_effects() {
    let engines = Engines::new().await;
    let log = worker(&engines);
    log.feed([at(0, &inbound("m1"))]).await;
    assert_eq!(lines(&log), [line("m1", 1)]);
    // As if the process had died right after the insert.
    let store = &engines.deps.store;
    store.remove::<Head>(vec![key![CHAT]]).await.unwrap();
    store
        .remove::<Conversation>(vec![key!["b", CHAT]])
        .await
        .unwrap();
    log.feed([at(0, &inbound("m1")), at(1, &inbound("m2"))])
        .await;
    assert_eq!(lines(&log), [line("m1", 1), line("m2", 2)]);
    assert_eq!(stored(store).await, rows(&["m1", "m2"]));
    let head: Head = store.find(key![CHAT]).await.unwrap().unwrap();
    assert_eq!(head.max_seq, 2);
    let record: Option<Conversation> = store.find(key!["b", CHAT]).await.unwrap();
    assert!(record.is_some());
}

#[tokio::test]
async fn a_replay_leaves_a_mention_that_was_worked_off_as_it_is() {
    let engines = Engines::new().await;
    let log = worker(&engines);
    let message = Inbound {
        conversation_id: "sg_g".to_owned(),
        group_id: "g".to_owned(),
        receiver_ids: Vec::new(),
        session_type: 3,
        mentioned: vec!["b".to_owned()],
        ..inbound("m1")
    };
    let record = || [(0, "g", message.encode_to_vec())];
    log.feed(record()).await;
    let store = &engines.deps.store;
    let found = async || {
        let found: Option<Mention> = store.find(key!["g", "1"]).await.unwrap();
        found.expect("a mention")
    };
    let mut mention = found().await;
    assert_eq!(pending::mark(&mention.pending), Some(Mention::NEW));
    // As the conversation service does it; transfer is killed before it has committed the record.
    mention.done_at = 9;
    pending::finish(store.as_ref(), mention).await.unwrap();
    let done = found().await;
    log.feed(record()).await;
    assert_eq!(found().await, done);
    assert_eq!(done.done_at, 9);
}

/// The first messages of many chats in one batch: every owner's list has every new conversation, each in a step of its own.
#[tokio::test]
async fn all_new_chats_of_a_batch_are_in_the_version_lists_of_both_sides() {
    const PEERS: usize = 150;
    let engines = Engines::new().await;
    let log = worker(&engines);
    let store = &engines.deps.store;
    let peers: Vec<String> = (0..PEERS).map(|n| format!("p{n:03}")).collect();
    let mut known: HashMap<&str, Version> = HashMap::new();
    for owner in peers.iter().map(String::as_str).chain(["a"]) {
        let version = versions::current(&**store, owner, List::Conversations);
        known.insert(owner, version.await.unwrap());
    }
    let stems: Vec<String> = peers.iter().map(|peer| format!("a_{peer}")).collect();
    let first = |n: usize| {
        let record = Inbound {
            conversation_id: format!("si_{}", stems[n]),
            receiver_ids: vec![peers[n].clone(), "a".to_owned()],
            ..inbound(&format!("m{n}"))
        };
        (n as u64, stems[n].as_str(), record.encode_to_vec())
    };
    log.feed((0..PEERS).map(first)).await;
    assert_eq!(log.take(Topic::Stored).len(), PEERS);
    let news = async |owner: &str| {
        let Version { id, number } = &known[owner];
        let delta = versions::since(&**store, owner, List::Conversations, id, *number).await;
        match delta.unwrap() {
            Delta::Changes {
                version,
                mut insert,
                update,
                delete,
                ..
            } => {
                assert_eq!((update.len(), delete.len()), (0, 0));
                insert.sort_unstable();
                (version.number - number, insert)
            }
            other => panic!("{owner}: {other:?}"),
        }
    };
    let chats: Vec<String> = stems.iter().map(|stem| format!("si_{stem}")).collect();
    assert_eq!(news("a").await, (150, chats.clone()));
    for (peer, chat) in peers.iter().zip(&chats) {
        assert_eq!(news(peer).await, (1, vec![chat.clone()]));
    }

    // As if the process had died after the inserts.
    for owner in known.keys() {
        let head = key![*owner, "conversations"];
        assert_eq!(store.remove::<VersionHead>(vec![head]).await.unwrap(), 1);
    }
    log.feed((0..PEERS).map(first)).await;
    for (owner, entries) in [("a", 150), ("p000", 1), ("p149", 1)] {
        let head = key![owner, "conversations"];
        let head: VersionHead = store.find(head).await.unwrap().unwrap();
        let Version { id, .. } = versions::current(&**store, owner, List::Conversations)
            .await
            .unwrap();
        assert_eq!((&head.version_id, head.version), (&id, entries));
        let least = usize::try_from(entries).unwrap() * chats[0].len();
        assert!(head.entries.len() > least);
    }
}

#[tokio::test]
async fn a_resend_at_another_position_goes_to_its_connection_alone_with_the_first_body() {
    let engines = Engines::new().await;
    let log = worker(&engines);
    log.feed([at(0, &inbound("m1"))]).await;
    published(&log);
    let mut again = inbound("m1");
    again.operation_id = "second".to_owned();
    again.connection_id = "other".to_owned();
    again.msg = MsgData {
        client_msg_id: "changed".to_owned(),
        ..MsgData::default()
    }
    .encode_to_vec()
    .into();
    log.feed([at(1, &again), at(2, &inbound("m2"))]).await;
    let published = published(&log);
    let [resend, next] = published.as_slice() else {
        panic!("two records")
    };
    assert_eq!(
        (
            resend.resend,
            resend.seq,
            resend.operation_id.as_str(),
            resend.connection_id.as_str()
        ),
        (true, 1, "second", "other")
    );
    assert_eq!(resend.receiver_ids, ["a"]);
    let body = MsgData::decode(resend.msg.clone()).unwrap();
    assert_eq!((body.client_msg_id.as_str(), body.seq), ("m1", 1));
    assert_eq!((next.resend, next.seq), (false, 2));
    // Without a connection nobody waits for an answer.
    again.connection_id = String::new();
    log.feed([at(3, &again)]).await;
    assert_eq!(lines(&log), []);
    assert_eq!(stored(&engines.deps.store).await, rows(&["m1", "m2"]));
}

#[tokio::test]
async fn of_two_items_with_one_id_in_a_batch_the_second_is_a_resend() {
    let engines = Engines::new().await;
    let log = worker(&engines);
    let (one, two) = (inbound("m1"), inbound("m2"));
    log.feed([at(0, &one), at(1, &one), at(2, &two), at(3, &one)])
        .await;
    let resend = ("m1".to_owned(), 1, true);
    assert_eq!(
        lines(&log),
        [line("m1", 1), resend.clone(), line("m2", 2), resend]
    );
    assert_eq!(stored(&engines.deps.store).await, rows(&["m1", "m2"]));
}

/// After a takeover two workers may number one conversation for a while; each knows a tail that the other moves on.
#[tokio::test]
async fn a_stale_owner_meets_the_conflict_and_renumbers_without_a_hole() {
    let engines = Engines::new().await;
    let (old, new) = (worker(&engines), worker(&engines));
    old.feed([at(0, &inbound("m1"))]).await;
    new.feed([at(1, &inbound("m2")), at(2, &inbound("m3"))])
        .await;
    // The old owner believes that 2 is free; what it already had at its position is a replay.
    old.feed([
        at(0, &inbound("m1")),
        at(1, &inbound("m2")),
        at(3, &inbound("m4")),
        at(4, &inbound("m5")),
    ])
    .await;
    new.feed([at(5, &inbound("m6"))]).await;
    assert_eq!(
        lines(&old),
        [
            line("m1", 1),
            line("m1", 1),
            line("m2", 2),
            line("m4", 4),
            line("m5", 5)
        ]
    );
    assert_eq!(lines(&new), [line("m2", 2), line("m3", 3), line("m6", 6)]);
    assert_eq!(
        stored(&engines.deps.store).await,
        rows(&["m1", "m2", "m3", "m4", "m5", "m6"])
    );
}

#[tokio::test]
async fn two_owners_at_work_together_number_every_message_once() {
    let engines = Engines::new().await;
    let (one, two) = (worker(&engines), worker(&engines));
    let feed = async |log: &ScriptedLog, name: &str, first: u64| {
        for n in 0..40 {
            let pair = [0, 1].map(|i| inbound(&format!("{name}{n}-{i}")));
            let offset = first + 2 * n;
            log.feed([at(offset, &pair[0]), at(offset + 1, &pair[1])])
                .await;
        }
    };
    tokio::join!(feed(&one, "x", 0), feed(&two, "y", 1000));
    let seqs: Vec<i64> = stored(&engines.deps.store)
        .await
        .into_iter()
        .map(|(_, seq)| seq)
        .collect();
    assert_eq!(seqs, (1..=160).collect::<Vec<_>>());
    for log in [&one, &two] {
        let own: Vec<i64> = lines(log).into_iter().map(|(_, seq, _)| seq).collect();
        assert_eq!(own.len(), 80);
        assert!(own.is_sorted());
    }
}

#[tokio::test]
async fn what_can_never_be_stored_is_parked_and_the_rest_goes_on() {
    let engines = Engines::new().await;
    let log = worker(&engines);
    // Larger than a row may be.
    let mut huge = inbound("huge");
    huge.msg = vec![0; 16 << 20].into();
    log.feed([
        (0, STEM, b"\xff\xff no record".to_vec()),
        at(1, &inbound("m1")),
        at(2, &huge),
        at(3, &inbound("m2")),
    ])
    .await;
    assert_eq!(lines(&log), [line("m1", 1), line("m2", 2)]);
    let parked = log.take(Topic::Parked);
    assert_eq!(parked.len(), 2);
    for ((_, note), offset) in parked.iter().zip([0, 2]) {
        let note = String::from_utf8_lossy(note);
        assert!(note.contains(&format!("offset: {offset}")), "{note}");
    }
    assert_eq!(stored(&engines.deps.store).await, rows(&["m1", "m2"]));
}

#[tokio::test]
async fn unstored_records_keep_their_place_and_old_droppable_ones_go() {
    let engines = Engines::new().await;
    let log = worker(&engines);
    let mut typing = inbound("typing");
    (typing.stored, typing.sender_reads, typing.droppable) = (false, false, true);
    log.feed([at(0, &inbound("m1")), at(1, &typing), at(2, &inbound("m2"))])
        .await;
    assert_eq!(
        lines(&log),
        [line("m1", 1), line("typing", 0), line("m2", 2)]
    );
    log.feed_old([at(3, &typing), at(4, &inbound("m3"))], 60_000)
        .await;
    assert_eq!(lines(&log), [line("m3", 3)]);
}

#[tokio::test]
async fn a_refused_record_is_not_overtaken_and_the_batch_waits_for_it() {
    let engines = Engines::new().await;
    let log = worker(&engines);
    log.refuse(1);
    log.feed([at(0, &inbound("m1")), at(1, &inbound("m2"))])
        .await;
    assert_eq!(lines(&log), [line("m1", 1), line("m2", 2)]);
}

/// The answer to a resend has the first body, so it can be larger than the record that asks for it.
#[tokio::test]
async fn a_record_too_large_for_the_stored_log_is_parked_and_the_rest_goes_on() {
    let engines = Engines::new().await;
    let log = worker(&engines);
    let mut large = inbound("large");
    large.msg = MsgData {
        ex: "x".repeat(1000),
        ..MsgData::default()
    }
    .encode_to_vec()
    .into();
    log.feed([at(0, &large)]).await;
    assert_eq!(published(&log).len(), 1);
    log.limit(1000);
    log.feed([at(1, &inbound("large")), at(2, &inbound("m2"))])
        .await;
    assert_eq!(lines(&log), [line("m2", 2)]);
    let parked = log.take(Topic::Parked);
    assert_eq!(parked.len(), 1);
    assert!(String::from_utf8_lossy(&parked[0].1).starts_with("si_a_b seq 1: "));
}
