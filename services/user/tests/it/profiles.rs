//! Changed profiles: who may change them, what of them, and who learns of it.

use magpie_discovery::Channel;
use magpie_proto::openim::{
    protobuf::{Int32Value, StringValue},
    sdkws::{UserInfo, UserInfoWithEx},
    user::{user_client::UserClient, *},
};
use magpie_service::Context;
use magpie_store::{
    Documents as _,
    documents::{ProfileFanout, User},
    key,
};
use magpie_testkit::{Fuse, admin, age_intents, code, until, user};

use super::{befriend, profile, serve, start, world::World};

fn text(value: &str) -> Option<StringValue> {
    Some(StringValue {
        value: value.to_owned(),
    })
}

fn of(user_id: &str) -> UserInfoWithEx {
    UserInfoWithEx {
        user_id: user_id.to_owned(),
        ..UserInfoWithEx::default()
    }
}

async fn update(client: &UserClient<Channel>, ctx: &Context, info: UserInfoWithEx) -> i32 {
    let req = UpdateUserInfoExReq {
        user_info: Some(info),
    };
    code(client.clone().update_user_info_ex(ctx.request(req)).await)
}

/// What was told, as soon as there are `n`: kind, sender, receiver.
async fn told(world: &World, n: usize) -> Vec<(i32, String, String)> {
    let mut told = Vec::new();
    until("notifications", async || {
        told.extend(world.sent().into_iter().map(|s| (s.0, s.1, s.2)));
        (told.len() >= n).then_some(())
    })
    .await;
    told.sort();
    told
}

fn line(kind: i32, from: &str, to: &str) -> (i32, String, String) {
    (kind, from.to_owned(), to.to_owned())
}

#[tokio::test]
async fn a_new_name_is_told_to_the_user_and_his_friends() {
    let (world, client) = start().await;
    befriend(&world, "u1", &["u2", "u3"]).await;
    let name = UserInfoWithEx {
        nickname: text("new"),
        ..of("u1")
    };
    assert_eq!(update(&client, &user("u1"), name).await, 0);
    assert_eq!(
        told(&world, 3).await,
        [
            line(1209, "u1", "u2"),
            line(1209, "u1", "u3"),
            line(1303, "u1", "u1")
        ]
    );
    let face = UserInfoWithEx {
        face_url: text("f"),
        ex: text("x"),
        ..of("u1")
    };
    assert_eq!(update(&client, &admin(), face).await, 0);
    assert_eq!(
        told(&world, 3).await,
        [
            line(1209, "imAdmin", "u2"),
            line(1209, "imAdmin", "u3"),
            line(1303, "imAdmin", "u1")
        ]
    );
    let shown = profile(&client, "u1").await;
    assert_eq!(
        (&*shown.nickname, &*shown.face_url, &*shown.ex),
        ("new", "f", "x")
    );
}

#[tokio::test]
async fn what_friends_do_not_see_is_told_to_the_user_alone() {
    let (world, client) = start().await;
    befriend(&world, "u1", &["u2"]).await;
    let me = user("u1");
    let same = UserInfoWithEx {
        nickname: text("n-u1"),
        ex: text("x"),
        global_recv_msg_opt: Some(Int32Value { value: 2 }),
        ..of("u1")
    };
    assert_eq!(update(&client, &me, same).await, 0);
    assert_eq!(update(&client, &me, of("u1")).await, 0);
    let req = SetGlobalRecvMessageOptReq {
        user_id: "u1".to_owned(),
        global_recv_msg_opt: 1,
    };
    let set = client
        .clone()
        .set_global_recv_message_opt(me.request(req))
        .await;
    assert_eq!(code(set), 0);
    // Filled values only: what is empty or 0 stays.
    let req = UpdateUserInfoReq {
        user_info: Some(UserInfo {
            user_id: "u1".to_owned(),
            app_manger_level: 2,
            ..UserInfo::default()
        }),
    };
    let set = client.clone().update_user_info(me.request(req)).await;
    assert_eq!(code(set), 0);
    let all = vec![line(1303, "u1", "u1"); 4];
    assert_eq!(told(&world, 4).await, all);
    let shown = profile(&client, "u1").await;
    assert_eq!((&*shown.nickname, &*shown.ex), ("n-u1", "x"));
    assert_eq!((shown.global_recv_msg_opt, shown.app_manger_level), (1, 0));
    // The newer route stores empty texts too.
    let empty = UserInfoWithEx {
        nickname: text(""),
        ..of("u1")
    };
    assert_eq!(update(&client, &me, empty).await, 0);
    assert_eq!(profile(&client, "u1").await.nickname, "");
}

#[tokio::test]
async fn refuses_others_nobody_and_bad_values() {
    let (world, client) = start().await;
    let me = user("u1");
    assert_eq!(update(&client, &me, of("u2")).await, 1002);
    assert_eq!(update(&client, &me, of("")).await, 1001);
    assert_eq!(update(&client, &admin(), of("nobody")).await, 1004);
    let nothing = UpdateUserInfoExReq { user_info: None };
    let nothing = client
        .clone()
        .update_user_info_ex(me.request(nothing))
        .await;
    assert_eq!(code(nothing), 1001);
    let long = UserInfoWithEx {
        nickname: text(&"x".repeat(17 << 10)),
        ..of("u1")
    };
    assert_eq!(update(&client, &me, long).await, 1001);
    let opt = |user_id: &str, global_recv_msg_opt| SetGlobalRecvMessageOptReq {
        user_id: user_id.to_owned(),
        global_recv_msg_opt,
    };
    for (req, expected) in [
        (opt("u1", 3), 1001),
        (opt("u1", -1), 1001),
        (opt("", 1), 1001),
        (opt("u2", 1), 1002),
    ] {
        let set = client
            .clone()
            .set_global_recv_message_opt(me.request(req))
            .await;
        assert_eq!(code(set), expected);
    }
    let set = client
        .clone()
        .set_global_recv_message_opt(admin().request(opt("nobody", 1)))
        .await;
    assert_eq!(code(set), 1004);
    assert!(world.sent().is_empty());
}

#[tokio::test]
async fn concurrent_changes_are_all_there() {
    let (_world, client) = start().await;
    let (me, admin) = (user("u1"), admin());
    let name = UserInfoWithEx {
        nickname: text("a"),
        ..of("u1")
    };
    let face = UserInfoWithEx {
        face_url: text("b"),
        ..of("u1")
    };
    let ex = UserInfoWithEx {
        ex: text("c"),
        ..of("u1")
    };
    let codes = tokio::join!(
        update(&client, &me, name),
        update(&client, &admin, face),
        update(&client, &me, ex)
    );
    assert_eq!(codes, (0, 0, 0));
    let shown = profile(&client, "u1").await;
    assert_eq!(
        (&*shown.nickname, &*shown.face_url, &*shown.ex),
        ("a", "b", "c")
    );
}

/// An account of the application is renamed without 1303.
#[tokio::test]
async fn an_account_is_changed_quietly() {
    let (world, client) = start().await;
    let change = |user_id: &str| UpdateNotificationAccountInfoReq {
        user_id: user_id.to_owned(),
        nick_name: "shop".to_owned(),
        face_url: String::new(),
    };
    let set = client
        .clone()
        .update_notification_account_info(admin().request(change("u3")))
        .await;
    assert_eq!(code(set), 0);
    let missing = client
        .clone()
        .update_notification_account_info(admin().request(change("nobody")))
        .await;
    assert_eq!(code(missing), 1001);
    let foreign = client
        .clone()
        .update_notification_account_info(user("u3").request(change("u3")))
        .await;
    assert_eq!(code(foreign), 1002);
    assert_eq!(profile(&client, "u3").await.nickname, "shop");
    assert!(world.sent().is_empty());
}

/// Killed after any number of writes, the change is told to everybody, or did not happen.
#[tokio::test]
async fn a_change_that_was_interrupted_is_finished() {
    for writes in 0..4 {
        let (world, _) = start().await;
        befriend(&world, "u1", &["u2"]).await;
        let (fuse, deps) = Fuse::new(&world.deps);
        let client = serve(&world, &deps);
        profile(&client, "u1").await;
        fuse.blow_after(writes);
        let name = UserInfoWithEx {
            nickname: text("new"),
            ..of("u1")
        };
        let begun = update(&client, &user("u1"), name).await == 0;
        assert_eq!(begun, writes > 0);
        fuse.mend();
        age_intents::<User>(world.deps.store.as_ref()).await;
        let client = serve(&world, &deps);
        until("the worker's end", async || {
            let user: User = world.deps.store.find(key!["u1"]).await.unwrap()?;
            let walk: Option<ProfileFanout> = world.deps.store.find(key!["u1"]).await.unwrap();
            let idle = walk.is_none_or(|w| w.pending.is_empty());
            (idle && user.pending.is_empty()).then_some(())
        })
        .await;
        let mut told: Vec<_> = world
            .messages()
            .into_iter()
            .map(|m| (m.content_type, m.recv_id))
            .collect();
        told.sort();
        told.dedup();
        let all = [(1209, "u2".to_owned()), (1303, "u1".to_owned())];
        assert_eq!(told, if begun { all.to_vec() } else { Vec::new() });
        let name = profile(&client, "u1").await.nickname;
        assert_eq!(name, if begun { "new" } else { "n-u1" });
    }
}

#[tokio::test]
async fn users_are_sorted_by_the_names_given() {
    let (_world, client) = start().await;
    let names = [("u1", "z"), ("u2", ""), ("u3", "a"), ("nobody", "b")];
    let ask = |asc| SortQueryReq {
        asc,
        user_id_name: names
            .iter()
            .map(|(id, name)| ((*id).to_owned(), (*name).to_owned()))
            .collect(),
    };
    for (asc, expected) in [(true, ["u3", "u2", "u1"]), (false, ["u1", "u2", "u3"])] {
        let sorted = client
            .clone()
            .sort_query(user("u1").request(ask(asc)))
            .await;
        let sorted: Vec<_> = sorted
            .unwrap()
            .into_inner()
            .users
            .into_iter()
            .map(|u| u.user_id)
            .collect();
        assert_eq!(sorted, expected);
    }
}

#[tokio::test]
async fn a_user_asked_for_twice_is_shown_once() {
    let (_world, mut client) = start().await;
    let user_i_ds = ["u2", "nobody", "u1", "u2"].map(str::to_owned).to_vec();
    let req = GetDesignateUsersReq { user_i_ds };
    let found = client.get_designate_users(user("u1").request(req)).await;
    let found = found.unwrap().into_inner().users_info;
    let ids: Vec<_> = found.iter().map(|u| u.user_id.as_str()).collect();
    assert_eq!(ids, ["u2", "u1"]);
}
