//! The gateway: the one stateful edge, where clients hold their WebSocket connections (gateway.md).
//!
//! It owns the connections of its process, what they subscribe to, and their presence; nothing of it outlives the process.
//! It asks `auth` whether a token is good and to mark those of replaced logins, `msg` for everything about messages, `push` to
//! forget a push token, and other gateways to apply the multi-terminal policy. It publishes presence. Push workers call its
//! `magpie.gateway.Delivery`.
//!
//! An idle connection is cheap: one task, one timer, no buffers. Frames are written by whoever has them, straight to the
//! socket, and wait only when the socket is full or when they would overtake an answer (`outgoing.rs`, `lanes.rs`).

mod config;
mod conn;
mod deliver;
mod frame;
mod grpc;
mod handshake;
mod head;
mod hub;
mod lanes;
mod metrics;
mod missed;
mod outgoing;
mod policy;
mod rate;
mod registry;
mod requests;
mod sends;
mod server;
mod subscriptions;
mod task;
mod text;

pub use config::Config;
pub use grpc::UNIMPLEMENTED;
pub use server::Gateway;
