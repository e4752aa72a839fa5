//! The conversation service through its generated client, on SQLite.

#![cfg(test)]

mod mentions;
mod overview;
mod private;
mod removal;
mod settings;
#[path = "../world/mod.rs"]
mod world;

use magpie_conversation::Config;
use magpie_discovery::{Channel, name};
use magpie_proto::openim::conversation::{conversation_client::ConversationClient, *};
use magpie_service::{Context, Deps};
use magpie_testkit::{code, user};
use world::World;

fn serve(world: &World, deps: &Deps) -> ConversationClient<Channel> {
    serve_with(world, deps, Config::default())
}

fn serve_with(world: &World, deps: &Deps, config: Config) -> ConversationClient<Channel> {
    let routes = magpie_conversation::routes(deps, config);
    world.registry.serve(name::CONVERSATION, routes);
    ConversationClient::new(world.deps.channel(name::CONVERSATION))
}

async fn start() -> (World, ConversationClient<Channel>) {
    let world = World::new().await;
    let client = serve(&world, &world.deps);
    (world, client)
}

fn with_u2() -> ConversationReq {
    ConversationReq {
        conversation_id: "si_u1_u2".to_owned(),
        conversation_type: 1,
        user_id: "u2".to_owned(),
        ..Default::default()
    }
}

async fn set(
    client: &ConversationClient<Channel>,
    ctx: &Context,
    owners: &[&str],
    conversation: ConversationReq,
) -> i32 {
    let req = SetConversationsReq {
        user_i_ds: owners.iter().map(|&o| o.to_owned()).collect(),
        conversation: Some(conversation),
    };
    code(client.clone().set_conversations(ctx.request(req)).await)
}

async fn incremental(
    client: &ConversationClient<Channel>,
    known: (&str, u64),
) -> GetIncrementalConversationResp {
    let req = GetIncrementalConversationReq {
        user_id: "u1".to_owned(),
        version_id: known.0.to_owned(),
        version: known.1,
    };
    client
        .clone()
        .get_incremental_conversation(user("u1").request(req))
        .await
        .unwrap()
        .into_inner()
}

async fn all(client: &ConversationClient<Channel>, owner: &str) -> Vec<Conversation> {
    let req = GetAllConversationsReq {
        owner_user_id: owner.to_owned(),
    };
    client
        .clone()
        .get_all_conversations(user(owner).request(req))
        .await
        .unwrap()
        .into_inner()
        .conversations
}
