//! The group service: groups, their members, and applications to join.
//!
//! Owns `documents::Group`, `documents::GroupMember`, `documents::GroupRequest` and the version lists `JoinedGroups` (of a user) and
//! `Members` (of a group).
//!
//! - `change`: how a group is changed: one document decides. `follow`: what follows, in which order. `tips`: what is told.
//! - `create`, `info`, `membership`, `mute`, `roles`, `requests`: the changes there are. `fanout`: a user's changed profile in all his
//!   groups.
//! - `groups`, `members`, `lists`, `request_lists`: what is read; by back ends also `search` and `statistics`.
//!
//! It calls user for profiles, conversation for the records of who joins and leaves, and msg for notifications; those that let somebody
//! in or out take effect where they stand in the group's conversation (transfer).
//!
//! Order of a user's groups everywhere: name, then time of creation, then id; dismissed groups are left out.

mod change;
mod config;
mod create;
mod fanout;
mod follow;
mod groups;
mod grpc;
mod info;
mod lists;
mod members;
mod membership;
mod mute;
mod request_lists;
mod requests;
mod roles;
mod search;
mod statistics;
mod tips;

use std::sync::Arc;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

use magpie_proto::openim::group::group_server::GroupServer;
use magpie_service::{Deps, pending, tombstones};
use magpie_store::{
    documents::{Group, GroupMember, GroupRequest, MemberFanout},
    key,
};
use tonic::service::Routes;

/// The service's routes; starts the workers that finish interrupted changes.
pub fn routes(deps: &Deps, config: Config) -> Routes {
    let groups = Arc::new(groups::Groups::new(deps.clone(), config));
    let worker = Arc::clone(&groups);
    pending::spawn_worker(deps, "by_pending", move |group: Group| {
        let groups = Arc::clone(&worker);
        async move { groups.roll_forward(group).await }
    });
    let worker = Arc::clone(&groups);
    pending::spawn_worker(deps, "by_pending", move |request: GroupRequest| {
        let groups = Arc::clone(&worker);
        async move { groups.finish_request(request).await }
    });
    let worker = Arc::clone(&groups);
    pending::spawn_worker(deps, "by_pending", move |fanout: MemberFanout| {
        let groups = Arc::clone(&worker);
        async move { groups.walk(fanout).await }
    });
    tombstones::spawn_sweeper(deps, "by_left", |member: &GroupMember| {
        Some((
            key![member.group_id.as_str(), member.user_id.as_str()],
            member.rev,
        ))
    });
    Routes::new(GroupServer::new(grpc::GroupGrpc(groups)))
}
