//! Tokens: who may act as whom, on which platform, until when.
//!
//! Owns one document per user with all of his tokens, live and kicked; what is stored is a token's hash, never the token.
//! Calls the user service (does the user exist, may he log in) and, for a forced logout, every gateway. Publishes
//! nothing: a gateway that closes connections asks for the tokens to be kicked, not the other way round.

mod config;
mod grpc;
mod jwt;
mod policy;
mod record;
mod tokens;

use std::sync::Arc;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;
use magpie_proto::openim::auth::auth_server::AuthServer;
use magpie_service::Deps;
use secrecy::SecretString;
use tonic::service::Routes;

/// The service, ready to be registered. `secret` signs the tokens and is what an application's back end must know.
pub fn routes(deps: &Deps, config: Config, secret: Arc<SecretString>) -> Routes {
    Routes::new(AuthServer::new(grpc::AuthGrpc::new(
        deps.clone(),
        config,
        secret,
    )))
}
