//! Owner, administrators, mutes, and how members are shown.

use magpie_proto::openim::{group::*, protobuf::Int32Value};
use magpie_store::{Documents as _, documents::MemberFanout, key};
use magpie_testkit::{admin, code, until, user};

use crate::world::{G, World, text};

pub(crate) async fn mute(world: &World, by: &str, whom: &str, seconds: u32) -> i32 {
    let request = MuteGroupMemberReq {
        group_id: G.to_owned(),
        user_id: whom.to_owned(),
        muted_seconds: seconds,
    };
    code(
        world
            .client()
            .mute_group_member(user(by).request(request))
            .await,
    )
}

pub(crate) async fn transfer(world: &World, by: &str, from: &str, to: &str) -> i32 {
    let request = TransferGroupOwnerReq {
        group_id: G.to_owned(),
        old_owner_user_id: from.to_owned(),
        new_owner_user_id: to.to_owned(),
    };
    code(
        world
            .client()
            .transfer_group_owner(user(by).request(request))
            .await,
    )
}

fn member(whom: &str) -> SetGroupMemberInfo {
    SetGroupMemberInfo {
        group_id: G.to_owned(),
        user_id: whom.to_owned(),
        ..SetGroupMemberInfo::default()
    }
}

pub(crate) async fn set(world: &World, by: &str, members: Vec<SetGroupMemberInfo>) -> i32 {
    let request = SetGroupMemberInfoReq { members };
    code(
        world
            .client()
            .set_group_member_info(user(by).request(request))
            .await,
    )
}

pub(crate) fn role(whom: &str, level: i32) -> SetGroupMemberInfo {
    SetGroupMemberInfo {
        role_level: Some(Int32Value { value: level }),
        ..member(whom)
    }
}

fn nickname(whom: &str, name: &str) -> SetGroupMemberInfo {
    SetGroupMemberInfo {
        nickname: Some(text(name)),
        ..member(whom)
    }
}

#[tokio::test]
async fn a_muted_heir_may_speak_before_he_owns_the_group() {
    let mut world = World::new().await;
    world.group(G, &["u2", "u3"]).await;
    assert_eq!(mute(&world, "u1", "u2", 600).await, 0);
    assert_eq!(world.say("u2", "muted").await, 1402);
    world.until_now().await;
    for (by, from, to, expected) in [
        ("u2", "u1", "u2", 1002),
        ("u1", "u1", "u1", 1001),
        ("u1", "u1", "u5", 1001),
        ("u1", "u2", "u3", 1002),
        ("u1", "u1", "u2", 0),
    ] {
        assert_eq!(
            transfer(&world, by, from, to).await,
            expected,
            "{by} {from} {to}"
        );
    }
    let told = world.until_now().await;
    let line: Vec<_> = told
        .iter()
        .map(|n| {
            (
                n.kind,
                n.conversation.as_str(),
                n.tips["groupMemberVersion"].as_i64(),
            )
        })
        .collect();
    assert_eq!(
        line,
        [
            (1513, "n_g1", Some(3)),
            (1513, "sg_g1", Some(3)),
            (1507, "n_g1", Some(4)),
            (1507, "sg_g1", Some(4))
        ]
    );
    assert_eq!(told[2].tips["newGroupOwner"]["userID"], "u2");
    assert_eq!(told[2].tips["oldGroupOwnerInfo"]["roleLevel"], 20);
    assert_eq!(world.document().await.owner_id, "u2");
    assert_eq!(world.say("u2", "mine").await, 0);
    assert_eq!(world.member_ids().await, ["u2", "u1", "u3"]);
}

#[tokio::test]
async fn only_those_above_a_member_mute_him() {
    let world = World::new().await;
    world.group(G, &["u2", "u3", "u4"]).await;
    assert_eq!(
        set(&world, "u1", vec![role("u2", 60), role("u4", 60)]).await,
        0
    );
    for (by, whom, expected) in [
        ("u3", "u2", 1002),
        ("u3", "u3", 1002),
        ("u2", "u4", 1002),
        ("u2", "u1", 1002),
        ("u1", "u1", 1002),
        ("u5", "u3", 1004),
        ("u1", "u5", 1004),
        ("u2", "u3", 0),
        ("u1", "u2", 0),
    ] {
        assert_eq!(mute(&world, by, whom, 60).await, expected, "{by} {whom}");
    }
    assert_eq!(mute(&world, "u1", "u3", 0).await, 1001);
    assert_eq!(world.say("u3", "x").await, 1402);
    let request = CancelMuteGroupMemberReq {
        group_id: G.to_owned(),
        user_id: "u3".to_owned(),
    };
    let by = admin();
    let answer = world
        .client()
        .cancel_mute_group_member(by.request(request))
        .await;
    assert_eq!(code(answer), 0);
    assert_eq!(world.say("u3", "x").await, 0);
}

#[tokio::test]
async fn roles_are_the_owners_and_names_ones_own() {
    let mut world = World::new().await;
    world.group(G, &["u2", "u3"]).await;
    assert_eq!(set(&world, "u1", vec![role("u2", 60)]).await, 0);
    for (by, wanted, expected) in [
        ("u2", role("u3", 60), 1002),
        ("u3", role("u3", 60), 1002),
        ("u2", role("u2", 20), 1002),
        ("u1", role("u1", 20), 1001),
        ("u1", role("u3", 100), 1002),
        ("u1", role("u3", 7), 1001),
        ("u1", nickname("u5", "x"), 1001),
        ("u5", nickname("u3", "x"), 1002),
        ("u3", nickname("u2", "x"), 1002),
        ("u2", nickname("u1", "x"), 1002),
        ("u2", nickname("u3", "x"), 0),
        ("u3", nickname("u3", "own"), 0),
    ] {
        assert_eq!(
            set(&world, by, vec![wanted.clone()]).await,
            expected,
            "{by} {wanted:?}"
        );
    }
    assert_eq!(
        set(&world, "u1", vec![nickname("u2", "a"), nickname("u2", "b")]).await,
        1001
    );
    world.until_now().await;
    let both = SetGroupMemberInfo {
        nickname: Some(text("chief")),
        ..role("u3", 60)
    };
    assert_eq!(set(&world, "u1", vec![both]).await, 0);
    let told = world.until_now().await;
    let line: Vec<_> = told
        .iter()
        .map(|n| (n.kind, n.conversation.as_str()))
        .collect();
    assert_eq!(line, [(1517, "n_g1"), (1516, "n_g1")]);
    assert_eq!(told[0].tips["changedUser"]["nickname"], "chief");
    assert_eq!(
        told[0].tips["groupSortVersion"],
        told[0].tips["groupMemberVersion"]
    );
}

#[tokio::test]
async fn a_changed_profile_shows_where_the_group_has_none_of_its_own() {
    let mut world = World::new().await;
    world.group(G, &["u2", "u3"]).await;
    world.until_now().await;
    let changed = async |by: &str, who: &str| {
        let request = NotificationUserInfoUpdateReq {
            user_id: who.to_owned(),
            ..NotificationUserInfoUpdateReq::default()
        };
        let mut client = world.client();
        let answer = client.notification_user_info_update(user(by).request(request));
        code(answer.await)
    };
    let walked = async |who: &str| {
        let store = &world.deps.store;
        let walk: Option<MemberFanout> = store.find(key![who]).await.unwrap();
        walk.filter(|walk| walk.pending.is_empty())
    };
    assert_eq!(changed("u3", "u2").await, 1002);
    assert_eq!(changed("u2", "u2").await, 0);
    until("the walk is over", async || walked("u2").await).await;
    let own = SetGroupMemberInfo {
        face_url: Some(text("http://f")),
        ..nickname("u3", "own")
    };
    assert_eq!(set(&world, "u3", vec![own]).await, 0);
    assert_eq!(changed("u3", "u3").await, 0);
    until("the walk is over", async || walked("u3").await).await;
    let told = world.until_now().await;
    assert!(told.iter().all(|n| n.operation == "test"), "{told:?}");
    let line: Vec<_> = told
        .iter()
        .map(|n| {
            (
                n.kind,
                n.sender.as_str(),
                n.tips["changedUser"]["nickname"].as_str(),
            )
        })
        .collect();
    assert_eq!(
        line,
        [(1516, "u2", Some("n-u2")), (1516, "u3", Some("own"))]
    );
}

#[tokio::test]
async fn what_is_set_of_a_group_is_told_by_its_kind() {
    let mut world = World::new().await;
    world.group(G, &["u2"]).await;
    world.until_now().await;
    let all = SetGroupInfoExReq {
        group_name: Some(text("n")),
        notification: Some(text("  hello ")),
        introduction: Some(text("i")),
        ..SetGroupInfoExReq::default()
    };
    assert_eq!(world.set(&user("u1"), all).await, 0);
    let told = of_group(world.until_now().await);
    let line: Vec<_> = told
        .iter()
        .map(|n| (n.kind, n.conversation.as_str()))
        .collect();
    assert_eq!(
        line,
        [
            (1519, "n_g1"),
            (1519, "sg_g1"),
            (1520, "n_g1"),
            (1520, "sg_g1"),
            (1502, "n_g1")
        ]
    );
    let group = world.document().await;
    assert_eq!(
        (
            group.notification.as_str(),
            group.notification_user_id.as_str()
        ),
        ("hello", "u1")
    );
    let cleared = SetGroupInfoExReq {
        notification: Some(text("")),
        ..SetGroupInfoExReq::default()
    };
    assert_eq!(world.set(&user("u1"), cleared).await, 0);
    let told = of_group(world.until_now().await);
    assert_eq!((told.len(), told[0].kind), (1, 1519));
    assert_eq!(
        world.set(&user("u1"), SetGroupInfoExReq::default()).await,
        0
    );
    assert!(of_group(world.until_now().await).is_empty());
}

/// Without what the announcement tells single members, whenever that comes.
fn of_group(mut told: Vec<crate::world::Notice>) -> Vec<crate::world::Notice> {
    told.retain(|n| n.kind != 1300);
    told
}
