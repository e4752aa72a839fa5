//! Who may change what, and what is refused whoever asks.

use magpie_proto::openim::group::*;
use magpie_testkit::{admin, code, user};

use crate::world::{G, World, info, named, owned};

/// u1 owner, u2 administrator, u3 and u4 ordinary, u5 nobody.
async fn ranks() -> World {
    let world = World::new().await;
    let request = CreateGroupReq {
        owner_user_id: "u1".to_owned(),
        admin_user_i_ds: owned(&["u2"]),
        member_user_i_ds: owned(&["u3", "u4"]),
        group_info: Some(info(G)),
        ..CreateGroupReq::default()
    };
    let made = world
        .client()
        .create_group(user("u1").request(request))
        .await;
    assert_eq!(code(made), 0);
    world
}

#[tokio::test]
async fn only_owner_and_administrators_set_what_the_group_says_of_itself() {
    let world = ranks().await;
    for (who, expected) in [("u1", 0), ("u2", 0), ("u3", 1002), ("u5", 1004)] {
        assert_eq!(world.set(&user(who), named("x")).await, expected, "{who}");
        let mute = MuteGroupReq {
            group_id: G.to_owned(),
        };
        let muted = world.client().mute_group(user(who).request(mute)).await;
        let expected = if expected == 0 { 0 } else { 1002 };
        assert_eq!(code(muted), expected, "{who}");
    }
    assert_eq!(world.set(&admin(), named("y")).await, 0);
    assert_eq!(world.document().await.name, "y");
    assert_eq!(world.say("u3", "muted").await, 1403);
    assert_eq!(
        (world.say("u1", "x").await, world.say("u2", "x").await),
        (0, 0)
    );
    // A blank name changes nothing, but is allowed.
    assert_eq!(world.set(&user("u1"), named(" ")).await, 0);
    assert_eq!(world.document().await.name, "y");
    assert_eq!(world.set(&user("u1"), named(&"n".repeat(5000))).await, 1001);
}

#[tokio::test]
async fn nobody_removes_those_beside_or_above_him() {
    let world = ranks().await;
    for (who, whom, expected) in [
        ("u3", "u4", 1002),
        ("u2", "u1", 1001),
        ("u2", "u2", 1001),
        ("u5", "u3", 1002),
        ("u2", "u5", 1101),
        ("u1", "nobody", 1101),
    ] {
        assert_eq!(
            world.kick(&user(who), &[whom]).await,
            expected,
            "{who} {whom}"
        );
    }
    assert_eq!(world.kick(&user("u1"), &["u3", "u3"]).await, 1001);
    assert_eq!(world.kick(&user("u1"), &[]).await, 1001);
    assert_eq!(world.kick(&user("u2"), &["u3"]).await, 0);
    assert_eq!(world.kick(&user("u1"), &["u2"]).await, 0);
    assert_eq!(world.quit(&user("u1"), "u1").await, 1002);
    assert_eq!(world.quit(&user("u4"), "u1").await, 1002);
    assert_eq!(world.quit(&user("u5"), "u5").await, 1004);
    assert_eq!(world.quit(&user("u4"), "").await, 0);
}

#[tokio::test]
async fn a_group_is_made_of_registered_users_each_named_once() {
    let world = World::new().await;
    let create = async |owner: &str, members: &[&str], admins: &[&str], group| {
        let request = CreateGroupReq {
            owner_user_id: owner.to_owned(),
            member_user_i_ds: owned(members),
            admin_user_i_ds: owned(admins),
            group_info: group,
            ..CreateGroupReq::default()
        };
        code(
            world
                .client()
                .create_group(user("u1").request(request))
                .await,
        )
    };
    assert_eq!(create("u1", &[], &[], None).await, 1001);
    assert_eq!(create("", &[], &[], Some(info("g2"))).await, 1001);
    assert_eq!(create("u2", &[], &[], Some(info("g2"))).await, 1002);
    assert_eq!(
        create("u1", &["u2", "u2"], &[], Some(info("g2"))).await,
        1001
    );
    assert_eq!(create("u1", &["u1"], &[], Some(info("g2"))).await, 1001);
    assert_eq!(create("u1", &["u2"], &["u2"], Some(info("g2"))).await, 1001);
    assert_eq!(create("u1", &["nobody"], &[], Some(info("g2"))).await, 1101);
    for bad in ["a_b", "a:b", "a/b", "a\u{0}b"] {
        assert_eq!(
            create("u1", &[], &[], Some(info(bad))).await,
            1001,
            "{bad:?}"
        );
    }
    let mut other = info("g2");
    other.group_type = 1;
    assert_eq!(create("u1", &[], &[], Some(other)).await, 1001);
    assert_eq!(create("u1", &["u2"], &[], Some(info("g2"))).await, 0);
    assert_eq!(create("u1", &["u2"], &[], Some(info("g2"))).await, 1202);
    assert_eq!(create("u1", &["u2"], &[], Some(info(""))).await, 0);
}

#[tokio::test]
async fn members_alone_invite_and_nobody_joins_for_another() {
    let world = ranks().await;
    assert_eq!(world.invite(&user("u5"), &["u6"]).await, 1002);
    assert_eq!(world.invite(&user("u3"), &["nobody"]).await, 1004);
    assert_eq!(world.invite(&user("u3"), &["u5", "u5"]).await, 1001);
    assert_eq!(world.invite(&user("u3"), &["u5"]).await, 0);
    let mut other = crate::world::joining("u6");
    let answer = world
        .client()
        .join_group(user("u4").request(other.clone()))
        .await;
    assert_eq!(code(answer), 1002);
    other.join_source = 5;
    let answer = world
        .client()
        .join_group(user("u6").request(other.clone()))
        .await;
    assert_eq!(code(answer), 1001);
    other.join_source = 3;
    other.group_id = "never".to_owned();
    let answer = world.client().join_group(user("u6").request(other)).await;
    assert_eq!(code(answer), 1004);
}
