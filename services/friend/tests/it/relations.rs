//! Imports, lists, black lists.

use magpie_discovery::Channel;
use magpie_proto::openim::{
    relation::{friend_client::FriendClient, *},
    sdkws::RequestPagination,
};
use magpie_service::Context;
use magpie_testkit::{admin, code, user};

use super::{delete, first_page, full_ids, import, start};

/// A page of the friends of u1.
async fn friends_page(
    client: &FriendClient<Channel>,
    pagination: Option<RequestPagination>,
) -> GetPaginationFriendsResp {
    let req = GetPaginationFriendsReq {
        pagination,
        user_id: "u1".to_owned(),
    };
    let mut client = client.clone();
    let page = client.get_pagination_friends(user("u1").request(req));
    page.await.unwrap().into_inner()
}

#[tokio::test]
async fn imported_users_are_friends_in_both_directions_and_told_in_the_chat() {
    let (world, client) = start().await;
    assert_eq!(import(&client, &admin(), &["u2", "u3"]).await, 0);
    let tips = |friend: &str| {
        let detail = format!(
            r#"{{"fromToUserID":{{"fromUserID":"u1","toUserID":"{friend}"}},"handleMsg":"","friendVersion":0,"friendVersionID":"","request":null}}"#
        );
        (1201, friend.to_owned(), "u1".to_owned(), true, detail)
    };
    assert_eq!(world.sent(), [tips("u2"), tips("u3")]);
    let list = full_ids(&client, "u1").await;
    assert_eq!((list.version, list.equal), (1, false));
    assert_eq!(list.user_i_ds, ["u2", "u3"]);
    assert_eq!(full_ids(&client, "u2").await.user_i_ds, ["u1"]);
    let req = IsFriendReq {
        user_id1: "u1".to_owned(),
        user_id2: "u2".to_owned(),
    };
    let both = client
        .clone()
        .is_friend(user("u2").request(req))
        .await
        .unwrap()
        .into_inner();
    assert!(both.in_user1_friends && both.in_user2_friends);
}

#[tokio::test]
async fn importing_again_tells_again_and_changes_nothing() {
    let (world, client) = start().await;
    import(&client, &admin(), &["u2"]).await;
    world.sent();
    assert_eq!(import(&client, &admin(), &["u2"]).await, 0);
    assert_eq!(world.sent().len(), 1);
    assert_eq!(full_ids(&client, "u1").await.version, 1);
}

#[tokio::test]
async fn refuses_an_import_by_users_and_of_unknown_repeated_or_own_ids() {
    let (world, client) = start().await;
    assert_eq!(import(&client, &user("u1"), &["u2"]).await, 1002);
    for (friends, expected) in [
        (&["nobody"][..], 1004),
        (&["u2", "u2"], 1004),
        (&["u1"], 1004),
    ] {
        let answer = import(&client, &admin(), friends).await;
        assert_eq!(answer, expected, "{friends:?}");
    }
    assert_eq!(import(&client, &admin(), &[]).await, 0);
    assert!(world.sent().is_empty());
    assert!(full_ids(&client, "u1").await.equal);
}

#[tokio::test]
async fn pages_of_a_long_list_show_each_change_at_once() {
    let (_world, client) = start().await;
    import(&client, &admin(), &["u2", "u3"]).await;
    let page = async |number: i32| {
        let one = RequestPagination {
            page_number: number,
            show_number: 1,
        };
        let page = friends_page(&client, Some(one)).await;
        let friends = page.friends_info.into_iter();
        let friends = friends.map(|f| (f.friend_user.unwrap().user_id, f.remark));
        (page.total, friends.collect::<Vec<_>>())
    };
    let plain = |id: &str| (id.to_owned(), String::new());
    assert_eq!(page(1).await, (2, vec![plain("u2")]));
    assert_eq!(page(2).await, (2, vec![plain("u3")]));
    let remark = SetFriendRemarkReq {
        owner_user_id: "u1".to_owned(),
        friend_user_id: "u3".to_owned(),
        remark: "three".to_owned(),
    };
    let set = client
        .clone()
        .set_friend_remark(user("u1").request(remark))
        .await;
    assert_eq!(code(set), 0);
    let three = ("u3".to_owned(), "three".to_owned());
    assert_eq!(page(2).await.1, std::slice::from_ref(&three));
    assert_eq!(delete(&client, "u1", "u2").await, 0);
    assert_eq!(page(1).await, (1, vec![three]));
    assert_eq!(page(2).await, (1, Vec::new()));
}

#[tokio::test]
async fn lists_show_public_profiles_with_seconds() {
    let (_world, client) = start().await;
    import(&client, &admin(), &["u2"]).await;
    let page = friends_page(&client, first_page()).await;
    assert_eq!(page.total, 1);
    let friend = &page.friends_info[0];
    let profile = friend.friend_user.clone().unwrap();
    assert_eq!(
        (profile.nickname.as_str(), profile.create_time),
        ("n-u2", 0)
    );
    assert_eq!(
        (friend.add_source, friend.operator_user_id.as_str()),
        (1, "imAdmin")
    );
    assert!(friend.create_time < 100_000_000_000, "seconds");
    let req = GetPaginationFriendsReq {
        pagination: None,
        user_id: "u1".to_owned(),
    };
    assert_eq!(
        code(
            client
                .clone()
                .get_pagination_friends(user("u1").request(req))
                .await
        ),
        1001
    );
    let req = GetPaginationFriendsReq {
        pagination: first_page(),
        user_id: "u1".to_owned(),
    };
    assert_eq!(
        code(
            client
                .clone()
                .get_pagination_friends(user("u2").request(req))
                .await
        ),
        1002
    );
}

#[tokio::test]
async fn a_new_friend_is_an_insert_since_the_version_before() {
    let (_world, client) = start().await;
    import(&client, &admin(), &["u2"]).await;
    let before = full_ids(&client, "u1").await;
    import(&client, &admin(), &["u3"]).await;
    let req = GetIncrementalFriendsReq {
        user_id: "u1".to_owned(),
        version_id: before.version_id,
        version: before.version,
    };
    let changes = client
        .clone()
        .get_incremental_friends(user("u1").request(req))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((changes.full, changes.version), (false, before.version + 1));
    assert_eq!(changes.insert[0].friend_user.clone().unwrap().user_id, "u3");
    assert!(changes.update.is_empty() && changes.delete.is_empty());
}

#[tokio::test]
async fn a_blocked_user_is_listed_until_he_is_unblocked() {
    let (world, client) = start().await;
    let add = |blocked: &str| AddBlackReq {
        owner_user_id: "u1".to_owned(),
        black_user_id: blocked.to_owned(),
        ex: "e".to_owned(),
    };
    let list = || GetPaginationBlacksReq {
        user_id: "u1".to_owned(),
        pagination: first_page(),
    };
    for _ in 0..2 {
        client
            .clone()
            .add_black(user("u1").request(add("u2")))
            .await
            .unwrap();
    }
    for (caller, blocked, expected) in [
        ("u1", "u1", 1001),
        ("u1", "nobody", 1004),
        ("u2", "u3", 1002),
    ] {
        let request = user(caller).request(add(blocked));
        let answer = client.clone().add_black(request).await;
        assert_eq!(code(answer), expected, "{caller} {blocked}");
    }
    let blacks = client
        .clone()
        .get_pagination_blacks(user("u1").request(list()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (
            blacks.total,
            blacks.blacks[0]
                .black_user_info
                .clone()
                .unwrap()
                .nickname
                .as_str()
        ),
        (1, "n-u2")
    );
    let detail = r#"{"fromToUserID":{"fromUserID":"u1","toUserID":"u2"}}"#;
    assert_eq!(
        world.sent()[0],
        (
            1207,
            "u1".to_owned(),
            "u1".to_owned(),
            false,
            detail.to_owned()
        )
    );
    let is = IsBlackReq {
        user_id1: "u1".to_owned(),
        user_id2: "u2".to_owned(),
    };
    let is = client
        .clone()
        .is_black(Context::internal("x").request(is))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((is.in_user1_blacks, is.in_user2_blacks), (true, false));
    let remove = RemoveBlackReq {
        owner_user_id: "u1".to_owned(),
        black_user_id: "u2".to_owned(),
    };
    client
        .clone()
        .remove_black(user("u1").request(remove))
        .await
        .unwrap();
    let blacks = client
        .clone()
        .get_pagination_blacks(user("u1").request(list()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((blacks.total, blacks.blacks.len()), (0, 0));
}
