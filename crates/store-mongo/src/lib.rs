//! The document store of the cluster: [`Store`](magpie_store::Store) on MongoDB 6.0 to 8.0 (or what speaks its protocol).
//!
//! - A document has its schema's field names, and all key fields once more as one string, its `_id`, which sorts as they do
//!   (`id`, `table`). The key needs no index of its own, and a collection can be sharded by ranges of `_id`: what belongs to
//!   one owner (the first key field) stays together. Shard `messages` by `conversation_id` instead: its unique `by_seq`
//!   starts with it, and an id belongs to one conversation.
//! - Every write waits for the journals of a majority, every read is a majority read from the primary: no sequence number
//!   and no revision is seen that a failover can take back (`connect`).
//! - Runs are one ordered insert, their follow-up writes one command per collection after it (`insert`, `follow`).
//! - Nothing needs a transaction, a change stream, `findAndModify` or an update pipeline.
//!
//! **When the answer is lost.** The driver repeats an insert or a single update once, and a replica set recognises the repeat
//! and answers as it did before; so `Conflict` is never about what the same call stored. What goes wrong for longer is
//! `Unavailable`, and then the write may have happened or may happen still: whoever tries again meets his own document as
//! `Conflict("key")` and tells it by its content. The transfer service does so by the log position in the message: its retry
//! is a replay, which also repeats the follow-up writes that this call did not come to.

mod connect;
mod error;
mod follow;
mod id;
mod insert;
mod metrics;
mod options;
mod prepare;
mod read;
mod store;
mod table;
mod write;

pub use options::Options;
pub use store::MongoStore;
