//! The transfer service: takes messages from the inbound log, numbers and stores them, and hands them to the stored log.
//!
//! The message collection is the sequence allocator: transfer numbers from the last stored message, and the unique key
//! (conversation, seq) fences a stale owner. Everything is a replayable consumer: an offset is committed only after all
//! effects of its records, and every effect may be repeated.
//!
//! - `worker`: the loop. `batch`: one batch through numbering, insert, conflicts and renumbering. `tails`: last seqs.
//! - `membership`: where in a conversation its members come and leave.
//! - `effects`: what follows an insert: heads, read positions, first records of a conversation.

mod batch;
mod config;
mod effects;
mod membership;
mod tails;
mod worker;

use magpie_service::Deps;

pub use config::Config;
pub use worker::GROUP;

/// Starts the worker; it ends with `deps.shutdown`, after the batch under way.
pub fn start(deps: &Deps, config: Config) {
    let worker = worker::Worker::new(deps.clone(), config);
    deps.tasks.spawn(worker.run());
}
