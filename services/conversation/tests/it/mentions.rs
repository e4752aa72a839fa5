//! Mentions and announcements that come again, because transfer or the group service was killed before it had noted them as done.

use magpie_proto::magpie::log::UserIds;
use magpie_service::pending;
use magpie_store::{
    Document as _, Documents as _, Follow,
    documents::{Conversation, Mention},
    key,
};
use magpie_testkit::{rows, until};
use prost::Message as _;

use crate::{start, world::World};

const G: &str = "g1";
const CHAT: &str = "sg_g1";

/// As transfer makes it of a message of u1, and without users the group service of an announcement.
fn mention(source: &str, users: &[&str]) -> Mention {
    let ids = UserIds {
        ids: users.iter().map(|&id| id.to_owned()).collect(),
    };
    Mention {
        group_id: G.to_owned(),
        source: source.to_owned(),
        sender_id: "u1".to_owned(),
        mentioned: ids.encode_to_vec().into(),
        is_announcement: users.is_empty(),
        after: String::new(),
        pending: pending::begin(Mention::NEW),
        rev: 1,
        done_at: 0,
    }
}

async fn make(world: &World, mention: Mention) {
    let make = Follow::InsertIfAbsent {
        schema: Mention::SCHEMA,
        row: mention.into_row(),
    };
    world.deps.store.apply(vec![make]).await.unwrap();
}

/// The mention, once it is worked off.
async fn done(world: &World, source: &str) -> Mention {
    let store = &world.deps.store;
    let look = async || {
        let found: Option<Mention> = store.find(key![G, source]).await.unwrap();
        found.filter(|m| m.pending.is_empty())
    };
    until("the mention is worked off", look).await
}

async fn record(world: &World, who: &str) -> Conversation {
    let found = world.deps.store.find(key![who, CHAT]).await;
    found.unwrap().expect("a record")
}

/// The user looks into the chat.
async fn look_into(world: &World, who: &str) {
    let old = record(world, who).await;
    let rev = old.rev;
    let seen = Conversation {
        group_at_type: 0,
        rev: rev + 1,
        ..old
    };
    assert!(world.deps.store.replace(seen, rev).await.unwrap());
}

#[tokio::test]
async fn what_was_worked_off_changes_nothing_when_it_comes_again() {
    let (world, _client) = start().await;
    for who in ["u1", "u2", "u3"] {
        let member = rows::member(G, who, 1, 0);
        world.deps.store.add(member).await.unwrap();
    }
    let cases: [(&str, &[&str], i32); 2] = [("7", &["u2"], 1), ("announcement", &[], 4)];
    for (source, users, at_type) in cases {
        let made = mention(source, users);
        make(&world, made.clone()).await;
        let trace = done(&world, source).await;
        assert!(trace.done_at > 0);
        assert_eq!(record(&world, "u2").await.group_at_type, at_type);
        look_into(&world, "u2").await;
        world.messages();
        make(&world, made).await;
        // They are worked off in their order, so this one last.
        let later = format!("{source} and later");
        make(&world, mention(&later, &["u3"])).await;
        done(&world, &later).await;
        assert_eq!(record(&world, "u2").await.group_at_type, 0);
        let told: Vec<String> = world.messages().into_iter().map(|m| m.recv_id).collect();
        assert_eq!(told, ["u3"]);
        assert_eq!(done(&world, source).await, trace);
    }
}
