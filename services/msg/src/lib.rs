//! The msg service: checks messages and appends them to the log; reads, marks, revokes and deletes what is stored.
//!
//! - `memberships`: what the group service asks besides.
//! - `send`: the way of a message from its sender to the inbound log. The acknowledgement waits for the log, never for the
//!   store. Numbers are given by transfer.
//! - `access`: who takes part in a conversation, and which seqs a user may see.
//! - `pull`: 1002, 1005, 1007; `load` reads for it, `quotes` hides what was revoked. `seqs`: 1001, 1006.
//! - `read_positions`, with receipts; `revoke`, `delete`.
//! - For back ends: `search`, and `send_state`, what became of a send.
//!
//! Calls no service for a message: it reads users and conversation settings from the store through caches that learn of
//! every change (`cache`).

mod access;
mod cache;
mod config;
mod delete;
mod grpc;
mod load;
mod memberships;
mod pull;
mod quotes;
mod read_positions;
mod revoke;
mod search;
mod send;
mod send_state;
mod seqs;

use std::sync::Arc;

use magpie_proto::{
    magpie::msg::memberships_server::MembershipsServer, openim::msg::msg_server::MsgServer,
};
use magpie_service::{Deps, tombstones};
use magpie_store::{documents::SendState, key};
use tonic::service::Routes;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

/// What the capabilities share.
pub(crate) struct Service {
    pub(crate) deps: Deps,
    pub(crate) config: Config,
    pub(crate) cache: cache::Caches,
}

/// The service's gRPC routes.
pub fn routes(deps: &Deps, config: Config) -> Routes {
    let cache = cache::Caches::new(deps, &config);
    let limit = config.max_request_bytes;
    tombstones::spawn_sweeper(deps, "by_time", |state: &SendState| {
        Some((key![state.operation_id.as_str()], state.noted_at))
    });
    let service = Arc::new(Service {
        deps: deps.clone(),
        config,
        cache,
    });
    let memberships = MembershipsServer::new(memberships::Announcer(Arc::clone(&service)));
    Routes::new(
        MsgServer::new(grpc::Grpc(service))
            .max_decoding_message_size(limit)
            .max_encoding_message_size(usize::MAX),
    )
    .add_service(memberships.max_decoding_message_size(limit))
}
