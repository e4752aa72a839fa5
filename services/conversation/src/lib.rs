//! The conversation service: every user's settings of his conversations, and the list of them.
//!
//! Owns `documents::Conversation` and the version list `Conversations` of each user. Records are made with the first stored
//! message (by transfer), by `settings` when a user sets something before that, or on another service's request. It calls
//! msg to send its notifications: 1300 to an owner whose record changed, 1701 between the users of a chat whose burn-after-
//! reading was switched. Reading positions belong to msg; records show its bounds (`documents::UserSeq`).
//!
//! - `settings`: what users set; `private`: burn-after-reading, which is of both; `removal`; `of_group`: the records of a group's members;
//!   `mentions`. `records`: what all of these do to a record.
//! - `lists`, `overview`: what is read.
//!
//! Order of a user's conversations everywhere: time of creation, then id.

mod config;
mod grpc;
mod lists;
mod mentions;
mod of_group;
mod overview;
mod private;
mod records;
mod removal;
mod settings;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;

use std::sync::Arc;

use magpie_proto::openim::conversation::conversation_server::ConversationServer;
use magpie_service::{Context, Deps, pending, tombstones};
use magpie_store::documents::{Conversation, Mention};
use tonic::service::Routes;

/// The service's routes; starts the workers that finish interrupted changes and remove old traces.
pub fn routes(deps: &Deps, config: Config) -> Routes {
    let service = Arc::new(records::Records::new(deps.clone(), config));
    let worker = Arc::clone(&service);
    pending::spawn_worker(deps, "by_pending", move |record: Conversation| {
        let service = Arc::clone(&worker);
        async move {
            let ctx = Context::internal("finish-conversation-change");
            service.roll_forward(&ctx, record).await
        }
    });
    tombstones::spawn_sweeper::<Conversation>(deps, "by_deleted", tombstones::done);
    tombstones::spawn_sweeper::<Mention>(deps, "by_done", tombstones::done);
    mentions::start(&service);
    Routes::new(ConversationServer::new(grpc::ConversationGrpc::new(
        service,
    )))
}
