//! Users: who is registered, how he is shown, and where he is online.
//!
//! Owns the collection of users, system accounts among them; makes the application's administrators at the first call
//! after a start. Reads presence, and asks a gateway itself where presence can't be trusted. Publishes nothing yet:
//! profile changes and their notifications are not built.

mod accounts;
mod config;
mod grpc;
mod online;
mod users;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;
use magpie_proto::openim::user::user_server::UserServer;
use magpie_service::Deps;
use tonic::service::Routes;

/// Longest request, bytes: a REST body of registrations fits.
const MAX_REQUEST: usize = 16 << 20;

/// The service, ready to be registered.
pub fn routes(deps: &Deps, config: Config) -> Routes {
    let server = UserServer::new(grpc::UserGrpc::new(deps.clone(), config));
    Routes::new(server.max_decoding_message_size(MAX_REQUEST))
}
