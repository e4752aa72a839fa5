//! The user service through its generated client, with the real friend and group services, on SQLite.

#![cfg(test)]

mod client_config;
mod commands;
mod profiles;
mod registration;
mod statistics;
#[path = "../../../conversation/tests/world/mod.rs"]
mod world;

use magpie_discovery::{Channel, name};
use magpie_proto::openim::{
    relation::{ImportFriendReq, friend_client::FriendClient},
    sdkws::UserInfo,
    user::{GetDesignateUsersReq, user_client::UserClient},
};
use magpie_service::Deps;
use magpie_testkit::{admin, user};
use world::World;

fn serve(world: &World, deps: &Deps) -> UserClient<Channel> {
    world.registry.serve(
        name::USER,
        magpie_user::routes(deps, magpie_user::Config::default()),
    );
    UserClient::new(world.deps.channel(name::USER))
}

async fn start() -> (World, UserClient<Channel>) {
    let world = World::new().await;
    let deps = world.deps.clone();
    world.registry.serve(
        name::FRIEND,
        magpie_friend::routes(&deps, magpie_friend::Config::default()),
    );
    world.registry.serve(
        name::GROUP,
        magpie_group::routes(&deps, magpie_group::Config::default()),
    );
    let client = serve(&world, &deps);
    (world, client)
}

async fn befriend(world: &World, owner: &str, friends: &[&str]) {
    let req = ImportFriendReq {
        owner_user_id: owner.to_owned(),
        friend_user_i_ds: friends.iter().map(|&f| f.to_owned()).collect(),
    };
    FriendClient::new(world.deps.channel(name::FRIEND))
        .import_friends(admin().request(req))
        .await
        .unwrap();
    world.messages();
}

async fn profile(client: &UserClient<Channel>, of: &str) -> UserInfo {
    let req = GetDesignateUsersReq {
        user_i_ds: vec![of.to_owned()],
    };
    let found = client
        .clone()
        .get_designate_users(user("u1").request(req))
        .await;
    found.unwrap().into_inner().users_info.remove(0)
}
