//! The embedded document store: [`Store`](magpie_store::Store) on one SQLite database in WAL mode.
//!
//! - One writer thread takes every waiting write and commits them as one transaction, spaced and fsynced; a write is
//!   answered after its commit (`writer`, `write`).
//! - Point reads and pages run on a few reader threads with their own connections, which never wait for the writer
//!   (`reader`, `read`).
//! - A third kind of thread copies the write-ahead log into the database, so that commits don't (`checkpoint`).
//! - `wal_file` writes that log in large pieces, below SQLite.
//! - `table` turns a schema into tables, indexes and SQL.
//!
//! Nothing SQLite-specific leaves this crate: errors become [`StoreError`](magpie_store::StoreError).

mod checkpoint;
mod connection;
mod error;
mod metrics;
mod options;
mod prepare;
mod read;
mod reader;
mod store;
mod table;
mod wal_file;
mod write;
mod writer;

pub use options::Options;
pub use store::SqliteStore;
