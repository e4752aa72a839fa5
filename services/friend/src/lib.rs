//! The friend service (relations): friend lists, applications for friendship, black lists.
//!
//! Owns `documents::Friend`, `FriendRequest`, `Black` and `ProfileFanout`, and the version lists `Friends` and `Blacks` of each
//! user. It calls user for profiles and msg to send its notifications, 1201 to 1210.
//!
//! - `requests`: applications, whose acceptance makes friends; `import`: friends without one; `update`: what an owner does to his list;
//!   `blacks`. `records`: what all of these do to a friend's record. `fanout`: a user's changed profile in all lists.
//! - `friends`, `request_lists`, `specified`: what is read.
//!
//! Order of a friend list everywhere: pinned first, then since when, then id. Of a black list: since when, then id. Of
//! applications: the newest first.

mod blacks;
mod config;
mod fanout;
mod friends;
mod grpc;
mod import;
mod records;
mod request_lists;
mod requests;
mod specified;
mod update;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

use std::sync::Arc;

use futures::future::BoxFuture;
use magpie_proto::openim::relation::friend_server::FriendServer;
use magpie_service::{Context, Deps, pending, tombstones, walks::Walks};
use magpie_store::{
    Intends,
    documents::{Black, Friend, FriendRequest, ProfileFanout},
    versions::List,
};
use magpie_types::Result;
use tonic::service::Routes;

/// What all capabilities work with.
pub(crate) struct Relations {
    pub(crate) deps: Deps,
    pub(crate) config: Config,
    walks: Walks<Friend>,
}

/// The service's routes; starts the workers that finish interrupted changes and remove old traces.
pub fn routes(deps: &Deps, config: Config) -> Routes {
    let service = Arc::new(Relations {
        deps: deps.clone(),
        walks: Walks::new(List::Friends, config.kept_elements),
        config,
    });
    roll(deps, &service, |s, ctx, friend: Friend| {
        Box::pin(async move { s.take_over(&ctx, friend).await })
    });
    roll(deps, &service, |s, ctx, request: FriendRequest| {
        Box::pin(async move { s.roll_request(&ctx, request).await })
    });
    roll(deps, &service, |s, ctx, black: Black| {
        Box::pin(async move { s.roll_black(&ctx, black).await })
    });
    roll(deps, &service, |s, ctx, fanout: ProfileFanout| {
        Box::pin(async move { s.walk(&ctx, fanout).await })
    });
    tombstones::spawn_sweeper::<Friend>(deps, "by_deleted", tombstones::done);
    tombstones::spawn_sweeper::<Black>(deps, "by_deleted", tombstones::done);
    Routes::new(FriendServer::new(grpc::FriendGrpc::new(service)))
}

type Rolled = BoxFuture<'static, Result<()>>;

/// The worker that finishes interrupted changes of one collection.
fn roll<D: Intends>(
    deps: &Deps,
    service: &Arc<Relations>,
    forward: fn(Arc<Relations>, Context, D) -> Rolled,
) {
    let service = Arc::clone(service);
    pending::spawn_worker(deps, "by_pending", move |document: D| {
        let ctx = Context::internal("finish-relation-change");
        forward(Arc::clone(&service), ctx, document)
    });
}
