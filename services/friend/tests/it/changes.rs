//! Deleting, remarks, pins and extension texts, with their versions and notifications; what was asked of several users at once.

use magpie_discovery::Channel;
use magpie_proto::openim::{
    protobuf::{BoolValue, StringValue},
    relation::{friend_client::FriendClient, *},
};
use magpie_service::Context;
use magpie_store::{Documents as _, documents::Friend, key};
use magpie_testkit::{admin, age_intents, code, user};

use super::{delete, full_ids, import, since, start};

fn update(friends: &[&str]) -> UpdateFriendsReq {
    UpdateFriendsReq {
        owner_user_id: "u1".to_owned(),
        friend_user_i_ds: friends.iter().map(|&f| f.to_owned()).collect(),
        is_pinned: None,
        remark: None,
        ex: None,
    }
}

async fn set(client: &FriendClient<Channel>, ctx: &Context, req: UpdateFriendsReq) -> i32 {
    code(client.clone().update_friends(ctx.request(req)).await)
}

fn text(value: &str) -> Option<StringValue> {
    Some(StringValue {
        value: value.to_owned(),
    })
}

#[tokio::test]
async fn a_deleted_friend_is_gone_from_one_list() {
    let (world, client) = start().await;
    import(&client, &admin(), &["u2", "u3"]).await;
    let (mine, theirs) = (full_ids(&client, "u1").await, full_ids(&client, "u2").await);
    world.sent();
    assert_eq!(delete(&client, "u1", "u2").await, 0);
    let detail = r#"{"fromToUserID":{"fromUserID":"u1","toUserID":"u2"},"friendVersion":0,"friendVersionID":""}"#;
    let told = (
        1205,
        "u1".to_owned(),
        "u1".to_owned(),
        false,
        detail.to_owned(),
    );
    assert_eq!(world.sent(), [told]);
    let changes = since(&client, "u1", &mine).await;
    assert_eq!(changes.delete, ["u2"]);
    assert_eq!(full_ids(&client, "u1").await.user_i_ds, ["u3"]);
    assert_eq!(full_ids(&client, "u2").await.version, theirs.version);
    let req = IsFriendReq {
        user_id1: "u1".to_owned(),
        user_id2: "u2".to_owned(),
    };
    let is = client.clone().is_friend(user("u1").request(req)).await;
    let is = is.unwrap().into_inner();
    assert_eq!((is.in_user1_friends, is.in_user2_friends), (false, true));
    // Who is no friend is no error, and nothing happens.
    for nobody in ["u2", "nobody"] {
        assert_eq!(delete(&client, "u1", nobody).await, 0);
    }
    assert!(world.sent().is_empty());
    assert_eq!(full_ids(&client, "u1").await.version, changes.version);
    let foreign = DeleteFriendReq {
        owner_user_id: "u1".to_owned(),
        friend_user_id: "u3".to_owned(),
    };
    let foreign = client
        .clone()
        .delete_friend(user("u2").request(foreign))
        .await;
    assert_eq!(code(foreign), 1002);
    assert_eq!(delete(&client, "u1", "").await, 1001);
    // Imported again, he is back with a fresh record.
    import(&client, &admin(), &["u2"]).await;
    assert_eq!(full_ids(&client, "u1").await.user_i_ds, ["u3", "u2"]);
}

#[tokio::test]
async fn updates_set_what_is_given() {
    let (world, client) = start().await;
    import(&client, &admin(), &["u2", "u3"]).await;
    let before = full_ids(&client, "u1").await;
    world.sent();
    let (me, all) = (user("u1"), ["u2", "u3"]);
    let remark = UpdateFriendsReq {
        remark: text("R"),
        ..update(&["u2"])
    };
    let pin = UpdateFriendsReq {
        is_pinned: Some(BoolValue { value: true }),
        ..update(&["u3"])
    };
    let ex = UpdateFriendsReq {
        ex: text("E"),
        ..update(&all)
    };
    for req in [remark, pin, ex] {
        assert_eq!(set(&client, &me, req).await, 0);
    }
    let told = |ids: &str| {
        let detail = format!(
            r#"{{"fromToUserID":{{"fromUserID":"u1","toUserID":"u1"}},"friendIDs":[{ids}],"friendVersion":0,"friendVersionID":""}}"#
        );
        (1210, "u1".to_owned(), "u1".to_owned(), false, detail)
    };
    assert_eq!(
        world.sent(),
        [told(r#""u2""#), told(r#""u3""#), told(r#""u2","u3""#)]
    );
    let changes = since(&client, "u1", &before).await;
    assert!(changes.insert.is_empty() && changes.delete.is_empty());
    let shown: Vec<_> = changes
        .update
        .iter()
        .map(|f| (&*f.remark, f.is_pinned, &*f.ex))
        .collect();
    assert_eq!(shown, [("R", false, "E"), ("", true, "E")]);
    assert_eq!(changes.sort_version, before.version + 2);
    assert_eq!(full_ids(&client, "u1").await.user_i_ds, ["u3", "u2"]);
    let empty = UpdateFriendsReq {
        remark: text(""),
        ..update(&["u2"])
    };
    assert_eq!(set(&client, &me, empty).await, 0);
    let now = full_ids(&client, "u1").await;
    world.sent();
    // Nothing to set, and one who is no friend: told, but no change.
    assert_eq!(set(&client, &me, update(&["u2"])).await, 0);
    let nobody = UpdateFriendsReq {
        remark: text("x"),
        ..update(&["nobody"])
    };
    assert_eq!(set(&client, &me, nobody).await, 0);
    assert_eq!(world.sent(), [told(r#""u2""#), told(r#""nobody""#)]);
    assert_eq!(full_ids(&client, "u1").await.version, now.version);
}

#[tokio::test]
async fn updates_refuse_bad_lists_and_others() {
    let (world, client) = start().await;
    let many: Vec<String> = (0..1001).map(|n| format!("x{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let me = user("u1");
    for friends in [&["u2", "u2"][..], &[], &[""], &many] {
        let code = set(&client, &me, update(friends)).await;
        assert_eq!(code, 1001, "{} friends", friends.len());
    }
    assert_eq!(set(&client, &user("u2"), update(&["u2"])).await, 1002);
    let nobody = UpdateFriendsReq {
        owner_user_id: String::new(),
        ..update(&["u2"])
    };
    assert_eq!(set(&client, &me, nobody).await, 1001);
    let long = UpdateFriendsReq {
        remark: text(&"x".repeat(17 << 10)),
        ..update(&["u2"])
    };
    assert_eq!(set(&client, &me, long).await, 1001);
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn the_older_route_sets_a_remark() {
    let (world, client) = start().await;
    import(&client, &admin(), &["u2"]).await;
    world.sent();
    let set = |ctx: Context, friend: &str| {
        let req = SetFriendRemarkReq {
            owner_user_id: "u1".to_owned(),
            friend_user_id: friend.to_owned(),
            remark: "old".to_owned(),
        };
        let mut client = client.clone();
        async move { code(client.set_friend_remark(ctx.request(req)).await) }
    };
    assert_eq!(set(user("u1"), "u2").await, 0);
    let detail = r#"{"fromToUserID":{"fromUserID":"u1","toUserID":"u2"},"friendVersion":0,"friendVersionID":"","friendSortVersion":0}"#;
    let told = (
        1206,
        "u1".to_owned(),
        "u1".to_owned(),
        false,
        detail.to_owned(),
    );
    assert_eq!(world.sent(), [told]);
    assert_eq!(set(user("u1"), "u3").await, 1004);
    assert_eq!(set(user("u2"), "u2").await, 1002);
    assert_eq!(set(user("u1"), "").await, 1001);
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn specified_users_are_shown_with_what_the_owner_has_with_them() {
    let (_world, client) = start().await;
    import(&client, &admin(), &["u2"]).await;
    let block = AddBlackReq {
        owner_user_id: "u1".to_owned(),
        black_user_id: "u3".to_owned(),
        ex: "why".to_owned(),
    };
    client
        .clone()
        .add_black(user("u1").request(block))
        .await
        .unwrap();
    let ask = |ctx: Context, users: &[&str]| {
        let req = GetSpecifiedFriendsInfoReq {
            owner_user_id: "u1".to_owned(),
            user_id_list: users.iter().map(|&u| u.to_owned()).collect(),
        };
        let mut client = client.clone();
        async move { client.get_specified_friends_info(ctx.request(req)).await }
    };
    let infos = ask(user("u1"), &["u3", "nobody", "u2", "u1"]).await;
    let infos = infos.unwrap().into_inner().infos;
    let shown: Vec<_> = infos
        .iter()
        .map(|i| {
            let id = i.user_info.as_ref().map_or("", |u| u.user_id.as_str());
            (id, i.friend_info.is_some(), i.black_info.is_some())
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("u3", false, true),
            ("u2", true, false),
            ("u1", false, false)
        ]
    );
    let friend = infos[1].friend_info.clone().unwrap();
    assert!(friend.friend_user.is_none() && friend.create_time > 100_000_000_000);
    assert_eq!(code(ask(user("u2"), &["u1"]).await), 1002);
    assert_eq!(code(ask(user("u1"), &[]).await), 1001);
    assert_eq!(code(ask(user("u1"), &["u2", "u2"]).await), 1001);
}

/// A late roll-forward of an import does not bring back whom the friend has deleted since.
#[tokio::test]
async fn what_happened_later_has_the_last_word() {
    let (world, client) = start().await;
    import(&client, &admin(), &["u2"]).await;
    assert_eq!(delete(&client, "u2", "u1").await, 0);
    let friend: Friend = world
        .deps
        .store
        .find(key!["u1", "u2"])
        .await
        .unwrap()
        .unwrap();
    // As if the import's process had died after it had made the other record.
    let again = Friend {
        pending: vec![0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 7].into(),
        mirror_rev: 0,
        rev: friend.rev + 1,
        ..friend
    };
    let rev = again.rev - 1;
    assert!(world.deps.store.replace(again, rev).await.unwrap());
    assert_eq!(age_intents::<Friend>(world.deps.store.as_ref()).await, 1);
    super::serve(&world, &world.deps);
    magpie_testkit::until("the worker's end", async || {
        let friend: Friend = world.deps.store.find(key!["u1", "u2"]).await.unwrap()?;
        friend.pending.is_empty().then_some(())
    })
    .await;
    assert!(full_ids(&client, "u2").await.user_i_ds.is_empty());
}
