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

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

use std::sync::Arc;

use magpie_proto::openim::relation::friend_server::FriendServer;
use magpie_service::{Deps, pending};
use magpie_store::documents::Friend;
use tonic::service::Routes;

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
        async move { service.take_over(friend).await }
    });
    Routes::new(FriendServer::new(grpc::FriendGrpc::new(service)))
}
