//! The third service: push tokens and badge numbers of devices; objects and client logs come later.
//!
//! Owns `documents::PushToken` and `documents::AppBadge`; calls nobody and publishes nothing. The push service deletes a
//! token at logout.

mod config;
mod devices;
mod grpc;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

use magpie_proto::openim::third::third_server::ThirdServer;
use magpie_service::Deps;
use tonic::service::Routes;

/// The service's routes.
pub fn routes(deps: &Deps, config: Config) -> Routes {
    Routes::new(ThirdServer::new(grpc::ThirdGrpc::new(
        devices::Devices::new(deps.clone(), config),
    )))
}
