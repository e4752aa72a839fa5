//! Who gets a group's records: the members at their place, whatever the rows of the store say by then.

use crate::world::*;
use magpie_proto::magpie::log::{Membership, Stored};
use magpie_store::{
    Documents as _,
    documents::{Group, GroupMember},
};
use prost::Message as _;

const G: &str = "g1";

/// The row of a member: version that let him in, and the one that let him out, 0 if he is there.
async fn member(world: &World, who: &str, joined: i64, left: i64) {
    let row = GroupMember {
        group_id: G.to_owned(),
        user_id: who.to_owned(),
        role_level: 20,
        join_time: 1,
        nickname: String::new(),
        face_url: String::new(),
        join_source: 2,
        operator_id: String::new(),
        inviter_id: String::new(),
        ex: String::new(),
        mute_end_time: 0,
        member_version: joined.max(left),
        left_time: left,
        rev: 1,
        joined_version: joined,
        rank: 2,
    };
    world.engines.deps.store.add(row).await.unwrap();
}

async fn group(world: &World, status: i32, member_version: i64) {
    let group = Group {
        group_id: G.to_owned(),
        name: String::new(),
        notification: String::new(),
        notification_update_time: 0,
        notification_user_id: String::new(),
        introduction: String::new(),
        face_url: String::new(),
        ex: String::new(),
        owner_id: "a".to_owned(),
        creator_id: "a".to_owned(),
        create_time: 1,
        member_count: 0,
        status,
        group_type: 2,
        need_verification: 0,
        look_member_info: 0,
        apply_member_friend: 0,
        member_version,
        pending: Default::default(),
        rev: 1,
        change: Default::default(),
    };
    world.engines.deps.store.add(group).await.unwrap();
}

fn said(seq: i64, version: i64) -> Stored {
    Stored {
        conversation_id: format!("sg_{G}"),
        group_id: G.to_owned(),
        member_version: version,
        ..stored(seq, &[])
    }
}

fn moved(seq: i64, change: Membership) -> Stored {
    Stored {
        membership: Some(change.clone()),
        ..said(seq, change.version)
    }
}

fn joins(version: i64, who: &str) -> Membership {
    Membership {
        version,
        joined: vec![who.to_owned()],
        ..Membership::default()
    }
}

fn leaves(version: i64, who: &str) -> Membership {
    Membership {
        version,
        left: vec![who.to_owned()],
        ..Membership::default()
    }
}

fn of(offset: u64, stored: &Stored) -> (u64, &'static str, Vec<u8>) {
    (offset, G, stored.encode_to_vec())
}

/// Who got each record, sorted.
fn got(delivered: &Delivered) -> Vec<(i64, Vec<String>)> {
    let mut all: Vec<_> = calls(delivered).into_iter().flatten().collect();
    all.iter_mut().for_each(|(_, users)| users.sort());
    all
}

#[tokio::test]
async fn a_list_follows_the_records() {
    let world = World::new().await;
    let gateway = world.gateway("gw", &["a", "b", "c"]).await;
    group(&world, 0, 3).await;
    // As the store has them after everything: c came with 2, b left with 3.
    member(&world, "a", 1, 0).await;
    member(&world, "b", 1, 3).await;
    member(&world, "c", 2, 0).await;
    world
        .log
        .feed([
            of(0, &said(1, 1)),
            of(1, &moved(2, joins(2, "c"))),
            of(2, &said(3, 2)),
            of(3, &moved(4, leaves(3, "b"))),
            of(4, &said(5, 3)),
        ])
        .await;
    assert_eq!(
        got(&gateway),
        [
            item(1, &["a", "b"]),
            item(2, &["a", "b", "c"]),
            item(3, &["a", "b", "c"]),
            item(4, &["a", "b", "c"]),
            item(5, &["a", "c"]),
        ]
    );
}

#[tokio::test]
async fn a_worker_that_starts_in_the_middle_knows_who_was_there() {
    for (first, expected) in [
        (said(1, 1), item(1, &["a", "b"])),
        (moved(2, joins(2, "c")), item(2, &["a", "b", "c"])),
        (moved(4, leaves(3, "b")), item(4, &["a", "b", "c"])),
        (said(5, 3), item(5, &["a", "c"])),
    ] {
        let world = World::new().await;
        let gateway = world.gateway("gw", &["a", "b", "c"]).await;
        group(&world, 0, 3).await;
        member(&world, "a", 1, 0).await;
        member(&world, "b", 1, 3).await;
        member(&world, "c", 2, 0).await;
        world.log.feed([of(0, &first)]).await;
        assert_eq!(got(&gateway), [expected]);
    }
}

#[tokio::test]
async fn a_list_that_has_missed_a_change_is_read_again() {
    let world = World::new().await;
    let gateway = world.gateway("gw", &["a", "b"]).await;
    group(&world, 0, 1).await;
    member(&world, "a", 1, 0).await;
    world.log.feed([of(0, &said(1, 1))]).await;
    member(&world, "b", 2, 0).await;
    world.log.feed([of(7, &said(3, 2))]).await;
    assert_eq!(got(&gateway), [item(1, &["a"]), item(3, &["a", "b"])]);
}

#[tokio::test]
async fn a_dismissal_goes_to_all_and_nothing_after_it_to_anybody() {
    let dismissal = Membership {
        version: 2,
        dismissed: true,
        ..Membership::default()
    };
    for cold in [false, true] {
        let world = World::new().await;
        let gateway = world.gateway("gw", &["a", "b"]).await;
        group(&world, 2, 2).await;
        member(&world, "a", 1, 0).await;
        member(&world, "b", 1, 2).await;
        if !cold {
            world.log.feed([of(0, &said(1, 1))]).await;
            assert_eq!(got(&gateway), [item(1, &["a", "b"])]);
        }
        world.log.feed([of(1, &moved(2, dismissal.clone()))]).await;
        assert_eq!(got(&gateway), [item(2, &["a", "b"])]);
        world.log.feed([of(2, &said(3, 2))]).await;
        assert!(got(&gateway).is_empty());
    }
}

#[tokio::test]
async fn a_sender_can_be_left_out_and_a_quiet_change_is_for_nobody() {
    let world = World::new().await;
    let gateway = world.gateway("gw", &["a", "b"]).await;
    group(&world, 0, 1).await;
    member(&world, "a", 1, 0).await;
    member(&world, "b", 1, 0).await;
    let typing = Stored {
        skip_sender: true,
        ..said(0, 1)
    };
    let quiet = Membership {
        quiet: true,
        ..leaves(2, "b")
    };
    world
        .log
        .feed([of(0, &typing), of(1, &moved(0, quiet)), of(2, &said(1, 2))])
        .await;
    assert_eq!(got(&gateway), [item(0, &["b"]), item(1, &["a"])]);
}
