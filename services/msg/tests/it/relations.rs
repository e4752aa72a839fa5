//! Black lists and the demand for friendship: a change counts from the next message on.

use magpie_discovery::{Channel, name};
use magpie_proto::openim::relation::{
    AddBlackReq, DeleteFriendReq, ImportFriendReq, RemoveBlackReq, friend_client::FriendClient,
};
use magpie_testkit::{admin, user};

use crate::world::World;

fn friends(world: &World) -> FriendClient<Channel> {
    let deps = &world.engines.deps;
    world.engines.registry.serve(
        name::FRIEND,
        magpie_friend::routes(deps, Default::default()),
    );
    FriendClient::new(deps.channel(name::FRIEND))
}

#[tokio::test]
async fn a_blocked_user_is_refused_until_he_is_unblocked() {
    let world = World::new().await;
    let mut friends = friends(&world);
    assert_eq!(world.send("u1", "u2", "before").await, 0);
    for _ in 0..2 {
        let block = AddBlackReq {
            owner_user_id: "u2".to_owned(),
            black_user_id: "u1".to_owned(),
            ex: String::new(),
        };
        friends.add_black(user("u2").request(block)).await.unwrap();
        assert_eq!(world.send("u1", "u2", "blocked").await, 1302);
        assert_eq!(world.send("u2", "u1", "the other way").await, 0);
        assert_eq!(world.send("u3", "u2", "another one").await, 0);
        let unblock = RemoveBlackReq {
            owner_user_id: "u2".to_owned(),
            black_user_id: "u1".to_owned(),
        };
        friends
            .remove_black(user("u2").request(unblock))
            .await
            .unwrap();
        assert_eq!(world.send("u1", "u2", "after").await, 0);
    }
}

#[tokio::test]
async fn friendship_is_demanded_of_the_receivers_list() {
    let world = World::new().await;
    let (deps, registry) = (&world.engines.deps, &world.engines.registry);
    let config = magpie_msg::Config {
        friend_verify: true,
        ..magpie_msg::Config::default()
    };
    registry.serve(name::MSG, magpie_msg::routes(deps, config));
    let mut friends = friends(&world);
    assert_eq!(world.send("u1", "u2", "stranger").await, 1303);
    let import = ImportFriendReq {
        owner_user_id: "u1".to_owned(),
        friend_user_i_ds: vec!["u2".to_owned()],
    };
    friends
        .import_friends(admin().request(import))
        .await
        .unwrap();
    assert_eq!(world.send("u1", "u2", "friend").await, 0);
    assert_eq!(world.send("u2", "u1", "friend").await, 0);
    let delete = DeleteFriendReq {
        owner_user_id: "u2".to_owned(),
        friend_user_id: "u1".to_owned(),
    };
    friends
        .delete_friend(user("u2").request(delete))
        .await
        .unwrap();
    assert_eq!(world.send("u1", "u2", "deleted").await, 1303);
    assert_eq!(world.send("u2", "u1", "still on his list").await, 0);
}
