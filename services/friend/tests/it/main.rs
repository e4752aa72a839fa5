//! The friend service through its generated client, on SQLite.

#![cfg(test)]

mod applications;
mod blocking;
mod changes;
mod crashes;
mod fanout;
mod relations;
#[path = "../../../conversation/tests/world/mod.rs"]
mod world;

use std::sync::Arc;

use magpie_discovery::{Channel, name};
use magpie_proto::openim::{
    relation::{friend_client::FriendClient, *},
    sdkws::RequestPagination,
};
use magpie_service::{Context, Deps};
use magpie_testkit::{Fuse, code, user};
use world::World;

fn serve(world: &World, deps: &Deps) -> FriendClient<Channel> {
    let config = magpie_friend::Config {
        fanout_page: 2,
        ..magpie_friend::Config::default()
    };
    world
        .registry
        .serve(name::FRIEND, magpie_friend::routes(deps, config));
    FriendClient::new(world.deps.channel(name::FRIEND))
}

async fn start() -> (World, FriendClient<Channel>) {
    let world = World::new().await;
    let client = serve(&world, &world.deps);
    (world, client)
}

/// A service whose store can be made to fail.
async fn start_fused() -> (World, FriendClient<Channel>, Arc<Fuse>, Deps) {
    let world = World::new().await;
    let (fuse, deps) = Fuse::new(&world.deps);
    let client = serve(&world, &deps);
    (world, client, fuse, deps)
}

async fn import(client: &FriendClient<Channel>, ctx: &Context, friends: &[&str]) -> i32 {
    let req = ImportFriendReq {
        owner_user_id: "u1".to_owned(),
        friend_user_i_ds: friends.iter().map(|&f| f.to_owned()).collect(),
    };
    code(client.clone().import_friends(ctx.request(req)).await)
}

async fn full_ids(client: &FriendClient<Channel>, owner: &str) -> GetFullFriendUserIDsResp {
    let req = GetFullFriendUserIDsReq {
        id_hash: 0,
        user_id: owner.to_owned(),
    };
    client
        .clone()
        .get_full_friend_user_i_ds(user(owner).request(req))
        .await
        .unwrap()
        .into_inner()
}

fn first_page() -> Option<RequestPagination> {
    Some(RequestPagination {
        page_number: 1,
        show_number: 200,
    })
}

async fn apply(client: &FriendClient<Channel>, ctx: &Context, from: &str, to: &str) -> i32 {
    let req = ApplyToAddFriendReq {
        from_user_id: from.to_owned(),
        to_user_id: to.to_owned(),
        req_msg: "hello".to_owned(),
        ex: "e".to_owned(),
    };
    code(client.clone().apply_to_add_friend(ctx.request(req)).await)
}

async fn respond(
    client: &FriendClient<Channel>,
    ctx: &Context,
    (from, to): (&str, &str),
    handle_result: i32,
) -> i32 {
    let req = RespondFriendApplyReq {
        from_user_id: from.to_owned(),
        to_user_id: to.to_owned(),
        handle_result,
        handle_msg: "so".to_owned(),
    };
    code(client.clone().respond_friend_apply(ctx.request(req)).await)
}

async fn delete(client: &FriendClient<Channel>, owner: &str, friend: &str) -> i32 {
    let req = DeleteFriendReq {
        owner_user_id: owner.to_owned(),
        friend_user_id: friend.to_owned(),
    };
    code(client.clone().delete_friend(user(owner).request(req)).await)
}

async fn since(
    client: &FriendClient<Channel>,
    owner: &str,
    from: &GetFullFriendUserIDsResp,
) -> GetIncrementalFriendsResp {
    let req = GetIncrementalFriendsReq {
        user_id: owner.to_owned(),
        version_id: from.version_id.clone(),
        version: from.version,
    };
    client
        .clone()
        .get_incremental_friends(user(owner).request(req))
        .await
        .unwrap()
        .into_inner()
}
