//! The group service: groups and their members.
//!
//! Owns `documents::Group`, `documents::GroupMember` and the version lists `JoinedGroups` (of a user) and `Members` (of a
//! group). So far it answers what clients ask at login; groups can't be made yet. It calls user for the profiles that fill
//! empty group nicknames and avatars.
//!
//! Order of a user's groups everywhere: name, then time of creation, then id; dismissed groups are left out.

mod config;
mod groups;
mod grpc;
mod members;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

use magpie_proto::openim::group::group_server::GroupServer;
use magpie_service::Deps;
use tonic::service::Routes;

/// The service's routes.
pub fn routes(deps: &Deps, config: Config) -> Routes {
    Routes::new(GroupServer::new(grpc::GroupGrpc::new(groups::Groups::new(
        deps.clone(),
        config,
    ))))
}
