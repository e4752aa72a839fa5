//! Coming and going: rows, lists, records, bounds and notifications.

use magpie_group::Config;
use magpie_store::{
    Documents as _,
    documents::Head,
    key,
    versions::{self, Delta, List},
};
use magpie_testkit::{admin, user};

use crate::world::{G, World, kinds, verification};

#[tokio::test]
async fn a_new_group_is_told_to_its_members_and_has_their_records() {
    let mut world = World::new().await;
    let made = world.group(G, &["u2", "u3"]).await;
    assert_eq!(
        (
            made.owner_user_id.as_str(),
            made.creator_user_id.as_str(),
            made.member_count
        ),
        ("u1", "u1", 3)
    );
    let told = world.notice(1501).await;
    assert_eq!(
        (told.conversation.as_str(), told.seq, told.member_version),
        ("n_g1", 0, 1)
    );
    assert_eq!(told.tips["groupMemberVersion"], 1);
    assert_eq!(told.tips["memberList"].as_array().unwrap().len(), 1);
    let copy = world.notice(1501).await;
    assert_eq!(
        (copy.conversation.as_str(), copy.seq, copy.member_version),
        ("sg_g1", 1, 1)
    );
    assert_eq!(world.member_ids().await, ["u1", "u2", "u3"]);
    for who in ["u1", "u2", "u3"] {
        assert!(world.record(who).await.is_some());
        assert_eq!(world.bounds(who).await.unwrap().member_version, 1);
        assert_eq!(world.sees(who).await.unwrap(), [(1, 1501)]);
        let store = world.deps.store.as_ref();
        for list in [List::JoinedGroups, List::Conversations] {
            assert_eq!(versions::current(store, who, list).await.unwrap().number, 1);
        }
    }
    // Its members get no 1300: the group itself tells them.
    assert!(world.until_now().await.is_empty());
    assert!(world.document().await.pending.is_empty());
}

#[tokio::test]
async fn who_is_invited_gets_everything_once() {
    let mut world = World::new().await;
    world.group(G, &["u2"]).await;
    world.until_now().await;
    assert_eq!(world.invite(&user("u2"), &["u3", "u4"]).await, 0);
    let told = world.until_now().await;
    let expected = [
        (("n_g1".to_owned(), 1509), 1),
        (("n_u3_u3".to_owned(), 1300), 1),
        (("n_u4_u4".to_owned(), 1300), 1),
        (("sg_g1".to_owned(), 1509), 1),
    ];
    assert_eq!(kinds(&told), expected.into());
    let tips = &told[0].tips;
    assert_eq!(tips["group"]["memberCount"], 4);
    assert_eq!(tips["inviterUser"]["userID"], "u2");
    assert_eq!(tips["invitedUserList"][0]["nickname"], "n-u3");
    assert_eq!(tips["groupMemberVersion"], 2);
    // Who is a member already is no mistake.
    assert_eq!(world.invite(&user("u1"), &["u2", "u5"]).await, 0);
    assert_eq!(world.member_ids().await, ["u1", "u2", "u3", "u4", "u5"]);
    assert_eq!(world.invite(&user("u1"), &["u2"]).await, 0);
    assert_eq!(world.document().await.member_version, 3);
}

#[tokio::test]
async fn a_leaver_keeps_what_was_before_and_gets_nothing_after() {
    let mut world = World::new().await;
    world.group(G, &["u2", "u3"]).await;
    assert_eq!(world.say("u1", "before").await, 0);
    assert_eq!(world.quit(&user("u2"), "u2").await, 0);
    assert_eq!(world.say("u2", "late").await, 1203);
    let told = world.until_now().await;
    let left = told.iter().find(|n| n.kind == 1504).unwrap();
    assert_eq!(left.tips["quitUser"]["userID"], "u2");
    assert_eq!(kinds(&told)[&("n_u2_u2".to_owned(), 1300)], 1);
    assert_eq!(world.kick(&user("u1"), &["u3"]).await, 0);
    assert_eq!(
        world.sees("u2").await.unwrap(),
        [(1, 1501), (2, 101), (3, 1504)]
    );
    assert_eq!(world.sees("u3").await.unwrap().last(), Some(&(4, 1508)));
    assert_eq!(world.record("u2").await.unwrap().max_seq, 3);
    assert_eq!(world.document().await.member_count, 1);
    // His list of groups says that it is gone.
    let store = world.deps.store.as_ref();
    let current = versions::current(store, "u2", List::JoinedGroups)
        .await
        .unwrap();
    assert_eq!(current.number, 2);
    // He comes back, and sees all of it again.
    assert_eq!(world.invite(&user("u1"), &["u2"]).await, 0);
    assert_eq!(world.sees("u2").await.unwrap().len(), 5);
    assert_eq!(world.record("u2").await.unwrap().max_seq, 0);
    assert_eq!(world.bounds("u2").await.unwrap().max_seq, 0);
}

#[tokio::test]
async fn a_newcomer_sees_nothing_from_before_where_so_configured() {
    let world = World::with(Config {
        history_for_new_members: false,
        ..Config::default()
    })
    .await;
    world.group(G, &["u2"]).await;
    assert_eq!(world.say("u1", "before").await, 0);
    assert_eq!(world.sees("u3").await, Err(1002));
    assert_eq!(world.invite(&user("u1"), &["u3"]).await, 0);
    assert_eq!(world.say("u1", "after").await, 0);
    let seen = async || {
        let seen = world.sees("u3").await.unwrap();
        (seen.len() == 2).then_some(seen)
    };
    let seen = magpie_testkit::until("the message is stored", seen).await;
    assert_eq!(seen, [(3, 1509), (4, 101)]);
    // Again from where he comes back.
    assert_eq!(world.quit(&user("u3"), "u3").await, 0);
    assert_eq!(
        world.sees("u3").await.unwrap(),
        [(3, 1509), (4, 101), (5, 1504)]
    );
    assert_eq!(world.invite(&user("u1"), &["u3"]).await, 0);
    assert_eq!(world.sees("u3").await.unwrap(), [(6, 1509)]);
}

#[tokio::test]
async fn everybody_may_join_a_group_that_asks_for_nothing() {
    let mut world = World::new().await;
    world.group(G, &[]).await;
    assert_eq!(world.set(&user("u1"), verification(2)).await, 0);
    world.until_now().await;
    assert_eq!(world.join("u2").await, 0);
    let told = world.until_now().await;
    assert_eq!(told[0].kind, 1510);
    assert_eq!(told[0].sender, "u2");
    assert_eq!(told[0].tips["entrantUser"]["inviterUserID"], "u2");
    assert_eq!(kinds(&told)[&("n_u2_u2".to_owned(), 1300)], 1);
    assert_eq!(world.join("u2").await, 1001);
}

#[tokio::test]
async fn a_dismissed_group_is_gone_for_everybody() {
    let mut world = World::new().await;
    world.group(G, &["u2"]).await;
    world.until_now().await;
    assert_eq!(world.dismiss(&user("u2")).await, 1002);
    assert_eq!(world.dismiss(&user("u1")).await, 0);
    let told = world.notice(1511).await;
    assert_eq!(
        (
            told.tips["group"]["status"].as_i64(),
            told.tips["group"]["memberCount"].as_i64()
        ),
        (Some(2), Some(2))
    );
    assert_eq!(world.notice(1511).await.conversation, "sg_g1");
    for (answer, what) in [
        (world.dismiss(&user("u1")).await, "dismiss"),
        (world.say("u1", "late").await, "say"),
        (world.join("u3").await, "join"),
        (world.invite(&user("u1"), &["u3"]).await, "invite"),
        (world.kick(&user("u1"), &["u2"]).await, "kick"),
        (world.quit(&user("u2"), "u2").await, "quit"),
        (world.set(&user("u1"), verification(2)).await, "set"),
    ] {
        assert_eq!(answer, 1204, "{what}");
    }
    let store = world.deps.store.as_ref();
    let head: Head = store.find(key!["sg_g1"]).await.unwrap().unwrap();
    assert_eq!(head.closed_seq, head.max_seq);
    assert!(!world.is_member("u1").await && !world.is_member("u2").await);
    let group = world.document().await;
    assert_eq!((group.member_count, group.owner_id.as_str()), (0, ""));
    let known = versions::current(store, "u2", List::JoinedGroups)
        .await
        .unwrap();
    let delta = versions::since(store, "u2", List::JoinedGroups, &known.id, known.number - 1);
    let Delta::Changes { delete, .. } = delta.await.unwrap() else {
        panic!("one change");
    };
    assert_eq!(delete, [G]);
    // What was said stays readable.
    assert_eq!(world.sees("u2").await.unwrap().last(), Some(&(2, 1511)));
}

#[tokio::test]
async fn an_administrator_adds_and_removes_without_a_line_in_the_chat() {
    let mut world = World::new().await;
    world.group(G, &["u2"]).await;
    world.until_now().await;
    let request = magpie_proto::openim::group::KickGroupMemberReq {
        group_id: G.to_owned(),
        kicked_user_i_ds: vec!["u2".to_owned()],
        send_message: Some(false),
        ..Default::default()
    };
    let answer = world
        .client()
        .kick_group_member(admin().request(request))
        .await;
    assert_eq!(magpie_testkit::code(answer), 0);
    let told = world.until_now().await;
    assert!(told.iter().all(|n| n.conversation != "sg_g1"));
    assert_eq!(told[0].tips["opUser"]["appMangerLevel"], 2);
    assert_eq!(world.sees("u2").await.unwrap(), [(1, 1501)]);
}
