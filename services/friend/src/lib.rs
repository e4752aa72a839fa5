//! The friend service (relations): friend lists and black lists.
//!
//! Owns `documents::Friend`, `documents::Black` and the version list `Friends` of each user. It calls user for profiles and
//! msg to send its notifications: 1201 to new friends, 1207 and 1208 about a black list.
//!
//! Order of a friend list everywhere: pinned first, then since when, then id. Order of a black list: since when, then id.

mod blacks;
mod config;
mod friends;
mod grpc;
mod import;
mod records;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

use std::sync::Arc;

use magpie_proto::openim::relation::friend_server::FriendServer;
use magpie_service::{Context, Deps, pending};
use magpie_store::documents::Friend;
use tonic::service::Routes;

/// Content types of the notifications.
const FRIEND_DELETED: i32 = 1205;
const FRIEND_REMARK_SET: i32 = 1206;
const BLACK_ADDED: i32 = 1207;
const BLACK_DELETED: i32 = 1208;
const FRIENDS_INFO_UPDATE: i32 = 1210;

/// What all capabilities work with.
pub(crate) struct Relations {
    pub(crate) deps: Deps,
    pub(crate) config: Config,
}

/// The service's routes; starts the worker that finishes interrupted changes.
pub fn routes(deps: &Deps, config: Config) -> Routes {
    let service = Arc::new(Relations {
        deps: deps.clone(),
        config,
    });
    let worker = Arc::clone(&service);
    pending::spawn_worker(deps, "by_pending", move |friend: Friend| {
        let service = Arc::clone(&worker);
        async move {
            let ctx = Context::internal("finish-friend-change");
            let named = vec![friend.friend_id.clone()];
            service.roll_forward(&ctx, vec![friend], named).await
        }
    });
    Routes::new(FriendServer::new(grpc::FriendGrpc::new(service)))
}
