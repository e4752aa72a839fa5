//! Versions of black lists, and writers who meet.

use magpie_discovery::Channel;
use magpie_proto::openim::relation::{friend_client::FriendClient, *};
use magpie_testkit::{code, user};

use super::start;

async fn block(client: &FriendClient<Channel>, blocked: &str) -> i32 {
    let req = AddBlackReq {
        owner_user_id: "u1".to_owned(),
        black_user_id: blocked.to_owned(),
        ex: "e".to_owned(),
    };
    code(client.clone().add_black(user("u1").request(req)).await)
}

#[tokio::test]
async fn a_remark_on_a_block_has_a_longest_value() {
    let (_world, client) = start().await;
    let req = AddBlackReq {
        owner_user_id: "u1".to_owned(),
        black_user_id: "u2".to_owned(),
        ex: "x".repeat((16 << 10) + 1),
    };
    let answer = client.clone().add_black(user("u1").request(req)).await;
    assert_eq!(code(answer), 1001);
}

async fn unblock(client: &FriendClient<Channel>, blocked: &str) -> i32 {
    let req = RemoveBlackReq {
        owner_user_id: "u1".to_owned(),
        black_user_id: blocked.to_owned(),
    };
    code(client.clone().remove_black(user("u1").request(req)).await)
}

async fn since(
    client: &FriendClient<Channel>,
    version_id: &str,
    version: u64,
) -> GetIncrementalBlacksResp {
    let req = GetIncrementalBlacksReq {
        user_id: "u1".to_owned(),
        version_id: version_id.to_owned(),
        version,
    };
    client
        .clone()
        .get_incremental_blacks(user("u1").request(req))
        .await
        .unwrap()
        .into_inner()
}

#[tokio::test]
async fn a_black_list_has_versions() {
    let (world, client) = start().await;
    let empty = since(&client, "", 0).await;
    assert!(empty.full);
    assert_eq!(block(&client, "u2").await, 0);
    assert_eq!(block(&client, "u3").await, 0);
    assert_eq!(unblock(&client, "u3").await, 0);
    let kinds: Vec<_> = world.sent().iter().map(|s| s.0).collect();
    assert_eq!(kinds, [1207, 1207, 1208]);
    let changes = since(&client, &empty.version_id, empty.version).await;
    assert_eq!(
        (changes.full, changes.delete),
        (false, vec!["u3".to_owned()])
    );
    let blocked = changes.insert[0].black_user_info.clone().unwrap();
    assert_eq!((changes.insert.len(), &*blocked.user_id), (1, "u2"));
    // What changes nothing is not told and no version.
    assert_eq!(block(&client, "u2").await, 0);
    assert_eq!(unblock(&client, "u3").await, 0);
    assert!(world.sent().is_empty());
    let now = since(&client, &empty.version_id, changes.version).await;
    assert_eq!(now.version, changes.version);
    let foreign = GetIncrementalBlacksReq {
        user_id: "u2".to_owned(),
        ..GetIncrementalBlacksReq::default()
    };
    let foreign = client
        .clone()
        .get_incremental_blacks(user("u1").request(foreign))
        .await;
    assert_eq!(code(foreign), 1002);
}

#[tokio::test]
async fn the_last_of_concurrent_writers_is_what_is_shown() {
    let (world, client) = start().await;
    for _ in 0..5 {
        let (a, b, c) = tokio::join!(
            block(&client, "u2"),
            unblock(&client, "u2"),
            block(&client, "u2")
        );
        assert_eq!((a, b, c), (0, 0, 0));
        let told = world.sent();
        let all = GetPaginationBlacksReq {
            user_id: "u1".to_owned(),
            pagination: super::first_page(),
        };
        let all = client
            .clone()
            .get_pagination_blacks(user("u1").request(all))
            .await
            .unwrap()
            .into_inner();
        assert!(!told.is_empty() || all.total == 1, "{told:?}");
        let full = since(&client, "", 0).await;
        unblock(&client, "u2").await;
        let changes = since(&client, &full.version_id, full.version).await;
        assert_eq!(changes.delete.len(), usize::from(all.total == 1));
        world.sent();
    }
}
