//! The third service through its generated client, on SQLite.

#![cfg(test)]

#[path = "../../conversation/tests/world/mod.rs"]
mod world;

use magpie_discovery::name;
use magpie_proto::openim::third::{third_client::ThirdClient, *};
use magpie_store::{
    Documents as _,
    documents::{AppBadge, PushToken},
    key,
};
use magpie_testkit::{code, user};
use world::World;

#[tokio::test]
async fn a_platform_keeps_its_newest_push_token() {
    let world = World::new().await;
    world.registry.serve(
        name::THIRD,
        magpie_third::routes(&world.deps, magpie_third::Config::default()),
    );
    let client = ThirdClient::new(world.deps.channel(name::THIRD));
    let token = |platform_id, token: &str, expire_time| FcmUpdateTokenReq {
        platform_id,
        fcm_token: token.to_owned(),
        account: "u1".to_owned(),
        expire_time,
    };
    client
        .clone()
        .fcm_update_token(user("u1").request(token(2, "old", 1000)))
        .await
        .unwrap();
    client
        .clone()
        .fcm_update_token(user("u1").request(token(2, "new", 0)))
        .await
        .unwrap();
    let stored: PushToken = world.deps.store.find(key!["u1", 2]).await.unwrap().unwrap();
    assert_eq!((stored.token.as_str(), stored.expire_time), ("new", 0));
    for bad in [
        token(0, "t", 0),
        token(2, "", 0),
        token(99, "t", 0),
        token(2, &"x".repeat(5000), 0),
    ] {
        assert_eq!(
            code(
                client
                    .clone()
                    .fcm_update_token(user("u1").request(bad))
                    .await
            ),
            1001
        );
    }
    let mut other = client.clone();
    let foreign = other.fcm_update_token(user("u2").request(token(2, "stolen", 0)));
    assert_eq!(code(foreign.await), 1002);
    let stored: PushToken = world.deps.store.find(key!["u1", 2]).await.unwrap().unwrap();
    assert_eq!(stored.token, "new");
    let badge = |user_id: &str, n| SetAppBadgeReq {
        user_id: user_id.to_owned(),
        app_unread_count: n,
    };
    for n in [5, 6] {
        client
            .clone()
            .set_app_badge(user("u1").request(badge("u1", n)))
            .await
            .unwrap();
    }
    assert_eq!(
        world
            .deps
            .store
            .find::<AppBadge>(key!["u1"])
            .await
            .unwrap()
            .unwrap()
            .unread,
        6
    );
    assert_eq!(
        code(
            client
                .clone()
                .set_app_badge(user("u1").request(badge("u2", 1)))
                .await
        ),
        1002
    );
    assert!(world.sent().is_empty());
}
