//! The push service: takes stored messages to the connections of their receivers.
//!
//! A consumer of the stored log: who receives, where they are connected, one call per gateway and batch. It commits after the
//! gateways have answered, or after the store knows of each one that has missed something. Also forgets offline-push tokens at logout.
//!
//! - `worker`: the consumer. `gateways`: calls of gateways, and giving one up. `counts`: what gateways have missed.
//!   `grpc`: the `openim.push` service.

mod config;
mod counts;
mod gateways;
mod grpc;
mod worker;

use magpie_proto::openim::push::push_msg_service_server::PushMsgServiceServer;
use magpie_service::Deps;
use tonic::service::Routes;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

/// The service's gRPC routes.
pub fn routes(deps: &Deps) -> Routes {
    Routes::new(PushMsgServiceServer::new(grpc::Grpc(deps.clone())))
}

/// Starts the consumer; it ends with `deps.shutdown`.
pub fn start(deps: &Deps, config: Config) {
    deps.tasks
        .spawn(worker::Worker::new(deps.clone(), config).run());
}
