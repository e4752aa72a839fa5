//! Users: who is registered, how he is shown, what his devices share, and where he is online.
//!
//! Owns the collection of users, system accounts among them, `documents::UserCommand` and `ClientConfig`; makes the application's
//! administrators at the first call after a start. Reads presence, and asks a gateway itself where presence can't be trusted.
//! - `users`: who is registered; `profile`: how he is shown; `accounts`: notification accounts; `commands`, `client_config`: what his
//!   devices share; `online`; `statistics`.
//!
//! Sends 1303 and 1305 to 1307 through msg; friend and group are told of a changed name or avatar.

mod accounts;
mod client_config;
mod commands;
mod config;
mod grpc;
mod online;
mod profile;
mod statistics;
mod users;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

use std::sync::Arc;

use magpie_proto::openim::user::user_server::UserServer;
use magpie_service::{Context, Deps, pending, tombstones};
use magpie_store::documents::{User, UserCommand};
use tonic::service::Routes;

use crate::users::Users;

/// Longest request, bytes: a REST body of registrations fits.
const MAX_REQUEST: usize = 16 << 20;

/// The service, ready to be registered; starts the workers that finish interrupted changes and remove old traces.
pub fn routes(deps: &Deps, config: Config) -> Routes {
    let users = Arc::new(Users::new(deps, config));
    let worker = Arc::clone(&users);
    pending::spawn_worker(deps, "by_pending", move |user: User| {
        let users = Arc::clone(&worker);
        async move {
            let ctx = Context::internal("finish-profile-change");
            users.roll_profile(&ctx, user).await
        }
    });
    let worker = Arc::clone(&users);
    pending::spawn_worker(deps, "by_pending", move |command: UserCommand| {
        let users = Arc::clone(&worker);
        async move {
            let ctx = Context::internal("finish-command-change");
            users.roll_command(&ctx, command).await
        }
    });
    tombstones::spawn_sweeper::<UserCommand>(deps, "by_deleted", tombstones::done);
    let server = UserServer::new(grpc::UserGrpc::new(deps.clone(), users));
    Routes::new(server.max_decoding_message_size(MAX_REQUEST))
}
