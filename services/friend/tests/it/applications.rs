//! Applications: who may do what with them, what they cause, how they are listed.

use magpie_discovery::Channel;
use magpie_proto::openim::{
    relation::{friend_client::FriendClient, *},
    sdkws::FriendRequest,
};
use magpie_service::Context;
use magpie_testkit::{admin, code, user};
use tonic::Code;

use super::{apply, delete, first_page, full_ids, import, respond, since, start};

async fn received(
    client: &FriendClient<Channel>,
    of: &str,
    handle_results: &[i32],
) -> (i32, Vec<FriendRequest>) {
    let req = GetPaginationFriendsApplyToReq {
        user_id: of.to_owned(),
        pagination: first_page(),
        handle_results: handle_results.to_vec(),
    };
    let page = client
        .clone()
        .get_pagination_friends_apply_to(user(of).request(req))
        .await
        .unwrap()
        .into_inner();
    (page.total, page.friend_requests)
}

async fn open_count(client: &FriendClient<Channel>, of: &str, time: i64) -> i64 {
    let req = GetSelfUnhandledApplyCountReq {
        user_id: of.to_owned(),
        time,
    };
    client
        .clone()
        .get_self_unhandled_apply_count(user(of).request(req))
        .await
        .unwrap()
        .into_inner()
        .count
}

#[tokio::test]
async fn an_accepted_application_makes_friends_of_both() {
    let (world, client) = start().await;
    let before = [full_ids(&client, "u1").await, full_ids(&client, "u2").await];
    assert_eq!(apply(&client, &user("u1"), "u1", "u2").await, 0);
    let sent = world.sent();
    let [(kind, from, to, in_chat, detail)] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!((*kind, &**from, &**to, *in_chat), (1203, "u1", "u2", false));
    let start = r#"{"fromToUserID":{"fromUserID":"u1","toUserID":"u2"},"request":{"fromUserID":"u1","fromNickname":"n-u1","fromFaceURL":"","toUserID":"u2","toNickname":"n-u2","toFaceURL":"","handleResult":0,"reqMsg":"hello","createTime":"#;
    assert!(detail.starts_with(start), "{detail}");
    assert_eq!(respond(&client, &user("u2"), ("u1", "u2"), 1).await, 0);
    let sent = world.sent();
    let [(kind, from, to, in_chat, detail)] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert_eq!((*kind, &**from, &**to, *in_chat), (1201, "u2", "u1", true));
    assert!(
        detail.contains(r#""handleMsg":"so","friendVersion":0,"friendVersionID":"","request":{"#),
        "{detail}"
    );
    assert!(detail.contains(r#""handlerUserID":"u2""#), "{detail}");
    for (owner, friend, before) in [("u1", "u2", &before[0]), ("u2", "u1", &before[1])] {
        let changes = since(&client, owner, before).await;
        assert_eq!((changes.insert.len(), changes.version), (1, 2));
        let new = &changes.insert[0];
        assert_eq!(new.friend_user.clone().unwrap().user_id, friend);
        assert_eq!((new.add_source, new.operator_user_id.as_str()), (2, "u1"));
    }
    assert_eq!(apply(&client, &user("u1"), "u1", "u2").await, 1304);
    assert_eq!(apply(&client, &user("u2"), "u2", "u1").await, 1304);
}

#[tokio::test]
async fn a_refused_application_can_be_made_again() {
    let (world, client) = start().await;
    assert_eq!(apply(&client, &user("u1"), "u1", "u2").await, 0);
    world.sent();
    assert_eq!(respond(&client, &user("u2"), ("u1", "u2"), -1).await, 0);
    let sent = world.sent();
    assert_eq!(
        (sent.len(), sent[0].0, &*sent[0].1, &*sent[0].2),
        (1, 1202, "u2", "u1")
    );
    assert!(sent[0].4.contains(r#""handleResult":-1"#));
    assert_eq!(respond(&client, &user("u2"), ("u1", "u2"), -1).await, 1305);
    assert_eq!(respond(&client, &user("u2"), ("u1", "u2"), 1).await, 1001);
    assert_eq!(open_count(&client, "u2", 0).await, 0);
    assert!(full_ids(&client, "u1").await.user_i_ds.is_empty());
    assert_eq!(apply(&client, &user("u1"), "u1", "u2").await, 0);
    assert_eq!(world.sent()[0].0, 1203);
    let (total, requests) = received(&client, "u2", &[]).await;
    assert_eq!(
        (total, requests.len(), requests[0].handle_result),
        (1, 1, 0)
    );
    assert_eq!(requests[0].handle_msg, "");
    assert!(requests[0].handle_time > 0);
}

#[tokio::test]
async fn accepting_one_accepts_the_other_direction_too() {
    let (world, client) = start().await;
    apply(&client, &user("u1"), "u1", "u3").await;
    apply(&client, &user("u3"), "u3", "u1").await;
    world.sent();
    assert_eq!(respond(&client, &user("u3"), ("u1", "u3"), 1).await, 0);
    assert_eq!(world.sent().len(), 1);
    let req = GetDesignatedFriendsApplyReq {
        from_user_id: "u1".to_owned(),
        to_user_id: "u3".to_owned(),
    };
    let both = client
        .clone()
        .get_designated_friends_apply(user("u1").request(req.clone()))
        .await
        .unwrap()
        .into_inner()
        .friend_requests;
    let states: Vec<_> = both
        .iter()
        .map(|r| (&*r.from_user_id, r.handle_result, &*r.handler_user_id))
        .collect();
    assert_eq!(states, [("u1", 1, "u3"), ("u3", 1, "u3")]);
    assert_eq!(both[0].handle_time, both[1].handle_time);
    assert_eq!(open_count(&client, "u1", 0).await, 0);
    let stranger = client
        .clone()
        .get_designated_friends_apply(user("u2").request(req))
        .await;
    assert_eq!(code(stranger), 1002);
}

#[tokio::test]
async fn lists_are_of_their_owner_newest_first_and_filtered() {
    let (_world, client) = start().await;
    for from in ["u1", "u2"] {
        apply(&client, &user(from), from, "u3").await;
    }
    respond(&client, &user("u3"), ("u1", "u3"), -1).await;
    let (total, requests) = received(&client, "u3", &[]).await;
    assert_eq!(total, 2);
    assert!(requests[0].create_time >= requests[1].create_time);
    let (total, open) = received(&client, "u3", &[0]).await;
    assert_eq!((total, &*open[0].from_user_id), (1, "u2"));
    assert_eq!(received(&client, "u3", &[1]).await.0, 0);
    assert_eq!(open_count(&client, "u3", 0).await, 1);
    assert_eq!(
        open_count(&client, "u3", requests[0].create_time - 1).await,
        1
    );
    assert_eq!(open_count(&client, "u3", i64::MAX).await, 0);
    assert_eq!(open_count(&client, "u3", i64::MIN).await, 1);
    let sent = GetPaginationFriendsApplyFromReq {
        user_id: "u2".to_owned(),
        pagination: first_page(),
        handle_results: Vec::new(),
    };
    let page = client
        .clone()
        .get_pagination_friends_apply_from(user("u2").request(sent.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (page.total, &*page.friend_requests[0].to_user_id),
        (1, "u3")
    );
    let foreign = client
        .clone()
        .get_pagination_friends_apply_from(user("u1").request(sent))
        .await;
    assert_eq!(code(foreign), 1002);
    let foreign = GetPaginationFriendsApplyToReq {
        user_id: "u3".to_owned(),
        pagination: first_page(),
        handle_results: Vec::new(),
    };
    let foreign = client
        .clone()
        .get_pagination_friends_apply_to(user("u1").request(foreign))
        .await;
    assert_eq!(code(foreign), 1002);
    let foreign = GetSelfUnhandledApplyCountReq {
        user_id: "u3".to_owned(),
        time: 0,
    };
    let foreign = client
        .clone()
        .get_self_unhandled_apply_count(user("u1").request(foreign))
        .await;
    assert_eq!(code(foreign), 1002);
}

#[tokio::test]
async fn refuses_strangers_missing_users_and_bad_answers() {
    let (world, client) = start().await;
    assert_eq!(apply(&client, &user("u1"), "u1", "u1").await, 1301);
    assert_eq!(apply(&client, &user("u1"), "u1", "nobody").await, 1004);
    assert_eq!(apply(&client, &user("u1"), "u3", "u2").await, 1002);
    assert_eq!(apply(&client, &user("u1"), "", "u2").await, 1001);
    assert_eq!(apply(&client, &user("u1"), "u1", "").await, 1001);
    let long = ApplyToAddFriendReq {
        from_user_id: "u1".to_owned(),
        to_user_id: "u2".to_owned(),
        req_msg: "x".repeat(17 << 10),
        ex: String::new(),
    };
    let long = client
        .clone()
        .apply_to_add_friend(user("u1").request(long))
        .await;
    assert_eq!(code(long), 1001);
    assert!(world.sent().is_empty());
    assert_eq!(apply(&client, &admin(), "u1", "u2").await, 0);
    world.sent();
    assert_eq!(respond(&client, &user("u1"), ("u1", "u2"), 1).await, 1002);
    assert_eq!(respond(&client, &user("u2"), ("u1", "u2"), 0).await, 1001);
    assert_eq!(respond(&client, &user("u2"), ("u1", "u2"), 2).await, 1001);
    assert_eq!(respond(&client, &user("u2"), ("u3", "u2"), 1).await, 1004);
    assert_eq!(respond(&client, &user("u2"), ("u3", "u2"), -1).await, 1004);
    assert!(world.sent().is_empty());
    let anonymous = client
        .clone()
        .apply_to_add_friend(tonic::Request::new(ApplyToAddFriendReq::default()))
        .await;
    assert_ne!(anonymous.unwrap_err().code(), Code::Ok);
}

#[tokio::test]
async fn who_was_deleted_on_one_side_comes_back_by_an_application() {
    let (_world, client) = start().await;
    import(&client, &admin(), &["u2"]).await;
    let theirs = full_ids(&client, "u2").await;
    assert_eq!(delete(&client, "u1", "u2").await, 0);
    let before = full_ids(&client, "u1").await;
    assert_eq!(apply(&client, &user("u1"), "u1", "u2").await, 0);
    assert_eq!(respond(&client, &user("u2"), ("u1", "u2"), 1).await, 0);
    let changes = since(&client, "u1", &before).await;
    assert_eq!(changes.insert.len(), 1);
    assert_eq!(
        (changes.insert[0].add_source, &*changes.insert[0].ex),
        (2, "")
    );
    // Nothing happened in the list of the one who had kept him.
    assert_eq!(full_ids(&client, "u2").await.version, theirs.version);
}

/// Two devices answer at the same time: one answer counts, and one 1201 or 1202 is sent.
#[tokio::test]
async fn one_of_two_answers_counts() {
    let (world, client) = start().await;
    for round in 0..5 {
        apply(&client, &user("u1"), "u1", "u2").await;
        world.sent();
        let u2 = user("u2");
        let (yes, no) = tokio::join!(
            respond(&client, &u2, ("u1", "u2"), 1),
            respond(&client, &u2, ("u1", "u2"), -1)
        );
        assert!(
            matches!((yes, no), (0, 1305) | (1001, 0)),
            "round {round}: {yes} {no}"
        );
        let told: Vec<_> = world.sent().iter().map(|s| s.0).collect();
        assert_eq!(told, [if yes == 0 { 1201 } else { 1202 }]);
        let friends = full_ids(&client, "u1").await.user_i_ds;
        assert_eq!(friends.is_empty(), yes != 0);
        delete(&client, "u1", "u2").await;
        delete(&client, "u2", "u1").await;
    }
}

#[tokio::test]
async fn an_internal_call_answers_for_the_one_asked() {
    let (_world, client) = start().await;
    apply(&client, &user("u1"), "u1", "u2").await;
    let internal = Context::internal("back end");
    assert_eq!(respond(&client, &internal, ("u1", "u2"), 1).await, 0);
    let (_, requests) = received(&client, "u2", &[1]).await;
    assert_eq!(requests[0].handler_user_id, "u2");
}
