//! The call service: invitations, their state machine and tokens for the media server.
//!
//! Not built yet: every call answers `UNIMPLEMENTED` with a text that says so.

mod config;
mod grpc;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

use magpie_proto::openim::rtc::rtc_service_server::RtcServiceServer;
use magpie_service::Deps;
use tonic::service::Routes;

/// The service's routes.
pub fn routes(_deps: &Deps, _config: Config) -> Routes {
    Routes::new(RtcServiceServer::new(grpc::RtcGrpc))
}
