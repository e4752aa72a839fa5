//! Where the log says that somebody came or left his bounds are set, whatever is replayed.

#![cfg(test)]

use magpie_log::Topic;
use magpie_proto::{
    magpie::log::{Inbound, Membership, Stored},
    openim::sdkws::MsgData,
};
use magpie_service::Deps;
use magpie_store::{
    Documents as _, SharedStore,
    documents::{Head, Message, UserSeq},
    key,
};
use magpie_testkit::{Engines, ScriptedLog};
use magpie_transfer::Config;
use prost::Message as _;

const CHAT: &str = "sg_g";
const NOTICES: &str = "n_g";

fn worker(engines: &Engines) -> ScriptedLog {
    worker_with(engines, Config::default())
}

fn worker_with(engines: &Engines, config: Config) -> ScriptedLog {
    let log = ScriptedLog::default();
    let deps = Deps {
        log: std::sync::Arc::new(log.clone()),
        ..engines.deps.clone()
    };
    magpie_transfer::start(&deps, config);
    log
}

/// A record of the group; `stored` ones get a seq.
fn record(id: &str, conversation: &str, stored: bool, membership: Option<Membership>) -> Inbound {
    let msg = MsgData {
        client_msg_id: id.to_owned(),
        ..MsgData::default()
    };
    let mut server_msg_id = format!("{conversation}{id}").into_bytes();
    server_msg_id.resize(16, 0);
    Inbound {
        conversation_id: conversation.to_owned(),
        msg: msg.encode_to_vec().into(),
        stored,
        sender_id: "a".to_owned(),
        server_msg_id: server_msg_id.into(),
        send_time: 5,
        session_type: 3,
        group_id: "g".to_owned(),
        membership,
        ..Inbound::default()
    }
}

fn said(id: &str) -> Inbound {
    record(id, CHAT, true, None)
}

fn change(version: i64, joined: &[&str], left: &[&str]) -> Membership {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    Membership {
        version,
        joined: owned(joined),
        left: owned(left),
        hide_history: true,
        ..Membership::default()
    }
}

fn at(offset: u64, inbound: &Inbound) -> (u64, &'static str, Vec<u8>) {
    (offset, "g", inbound.encode_to_vec())
}

/// Lower and upper bound and version of a user in a stream.
async fn bounds(store: &SharedStore, user: &str, stream: &str) -> (i64, i64, i64) {
    let seqs: Option<UserSeq> = store.find(key![user, stream]).await.unwrap();
    seqs.map_or((0, 0, 0), |s| (s.min_seq, s.max_seq, s.member_version))
}

/// Published records: seq and the version at their place.
fn stamps(log: &ScriptedLog) -> Vec<(i64, i64)> {
    log.take(Topic::Stored)
        .into_iter()
        .map(|(_, value)| Stored::decode(value).unwrap())
        .map(|s| (s.seq, s.member_version))
        .collect()
}

#[tokio::test]
async fn bounds_are_those_of_the_place_and_every_record_has_its_version() {
    bounds_and_versions(Config::default()).await;
}

/// A record with version 0 would be pushed to nobody.
#[tokio::test]
async fn a_version_that_is_forgotten_while_its_record_is_worked_on_is_stamped_all_the_same() {
    let config = Config {
        version_ttl_ms: 0,
        ..Config::default()
    };
    bounds_and_versions(config).await;
}

async fn bounds_and_versions(config: Config) {
    let engines = Engines::new().await;
    let (log, store) = (worker_with(&engines, config), &engines.deps.store);
    log.feed([
        at(0, &said("m1")),
        at(1, &record("revoke", NOTICES, true, None)),
        // b joins: the first of two records carries it.
        at(
            2,
            &record("j", NOTICES, false, Some(change(1, &["b"], &[]))),
        ),
        at(3, &record("j", CHAT, true, None)),
        at(4, &said("m3")),
        // b leaves: the last one carries it.
        at(5, &record("l", NOTICES, false, None)),
        at(6, &record("l", CHAT, true, Some(change(2, &[], &["b"])))),
        at(7, &said("m5")),
        at(8, &record("revoke again", NOTICES, true, None)),
    ])
    .await;
    assert_eq!(bounds(store, "b", CHAT).await, (2, 4, 2));
    assert_eq!(bounds(store, "b", NOTICES).await, (2, 1, 2));
    assert_eq!(
        stamps(&log),
        [
            (1, 0),
            (1, 0),
            (0, 1),
            (2, 1),
            (3, 1),
            (0, 1),
            (4, 2),
            (5, 2),
            (2, 2)
        ]
    );
    let head: Head = store.find(key![CHAT]).await.unwrap().unwrap();
    assert_eq!(
        (head.max_seq, head.member_version, head.closed_seq),
        (5, 2, 0)
    );
}

#[tokio::test]
async fn with_history_a_newcomer_has_no_lower_bound_and_who_returns_no_upper_one() {
    let engines = Engines::new().await;
    let (log, store) = (worker(&engines), &engines.deps.store);
    let open = |version, joined: &[&str]| Membership {
        hide_history: false,
        ..change(version, joined, &[])
    };
    log.feed([
        at(0, &said("m1")),
        at(1, &record("j", CHAT, true, Some(open(1, &["b"])))),
        at(2, &record("l", CHAT, true, Some(change(2, &[], &["b"])))),
    ])
    .await;
    assert_eq!(bounds(store, "b", CHAT).await, (0, 3, 2));
    // Nothing was in the other stream: nothing of it is his.
    assert_eq!(bounds(store, "b", NOTICES).await, (0, -1, 2));
    log.feed([at(3, &record("k", CHAT, true, Some(open(3, &["b"]))))])
        .await;
    assert_eq!(bounds(store, "b", CHAT).await, (0, 0, 3));
    assert_eq!(bounds(store, "b", NOTICES).await, (0, 0, 3));
}

#[tokio::test]
async fn a_replay_sets_the_same_bounds_as_at_first() {
    let batch = || {
        [
            at(0, &said("m1")),
            at(
                1,
                &record("j", NOTICES, false, Some(change(1, &["b"], &[]))),
            ),
            at(2, &record("j", CHAT, true, None)),
            at(
                3,
                &record("l", CHAT, true, Some(change(2, &[], &["b", "c"]))),
            ),
            at(4, &said("m4")),
            at(5, &record("n", NOTICES, true, None)),
        ]
    };
    let engines = Engines::new().await;
    let (log, store) = (worker(&engines), &engines.deps.store);
    log.feed(batch()).await;
    let first = (
        bounds(store, "b", CHAT).await,
        bounds(store, "b", NOTICES).await,
        bounds(store, "c", CHAT).await,
    );
    assert_eq!(first, ((2, 3, 2), (1, -1, 2), (0, 3, 2)));
    let published = stamps(&log);
    // As if the process had died before any bound was set.
    for user in ["b", "c"] {
        for stream in [CHAT, NOTICES] {
            store
                .remove::<UserSeq>(vec![key![user, stream]])
                .await
                .unwrap();
        }
    }
    log.feed(batch()).await;
    let again = (
        bounds(store, "b", CHAT).await,
        bounds(store, "b", NOTICES).await,
        bounds(store, "c", CHAT).await,
    );
    assert_eq!(again, first);
    // What is stored keeps the version of its place.
    let stored = |stamps: Vec<(i64, i64)>| -> Vec<(i64, i64)> {
        stamps.into_iter().filter(|(seq, _)| *seq > 0).collect()
    };
    assert_eq!(stored(stamps(&log)), stored(published));
}

#[tokio::test]
async fn an_older_change_is_ignored() {
    let engines = Engines::new().await;
    let (log, store) = (worker(&engines), &engines.deps.store);
    log.feed([
        at(0, &record("l", CHAT, true, Some(change(5, &[], &["b"])))),
        at(1, &record("old", CHAT, true, Some(change(4, &["b"], &[])))),
        at(2, &record("same", CHAT, true, Some(change(5, &["b"], &[])))),
    ])
    .await;
    assert_eq!(bounds(store, "b", CHAT).await, (0, 1, 5));
    assert_eq!(stamps(&log), [(1, 5), (2, 5), (3, 5)]);
}

#[tokio::test]
async fn a_dismissed_group_is_closed_at_its_place() {
    let engines = Engines::new().await;
    let (log, store) = (worker(&engines), &engines.deps.store);
    let end = Membership {
        dismissed: true,
        ..change(2, &[], &[])
    };
    log.feed([
        at(0, &said("m1")),
        at(1, &record("d", CHAT, true, Some(end))),
        at(2, &said("late")),
    ])
    .await;
    let head: Head = store.find(key![CHAT]).await.unwrap().unwrap();
    assert_eq!(
        (head.max_seq, head.closed_seq, head.member_version),
        (3, 2, 2)
    );
    let notices: Head = store.find(key![NOTICES]).await.unwrap().unwrap();
    assert_eq!(notices.closed_seq, -1);
    let late: Vec<Message> = store
        .list(magpie_store::Page::of("by_seq", key![CHAT, 3_i64], 1))
        .await
        .unwrap();
    assert_eq!(late.len(), 1, "what was acknowledged is stored");
}
