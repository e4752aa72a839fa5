//! What end-to-end tests are written with: a real `magpie` process, clients that see every byte, and the replayer.
//!
//! [`Server`] starts the binary on free ports over a data directory of its own and can kill, drain and restart it. [`Rest`]
//! speaks to the API; [`Conn`] is a WebSocket connection that records raw frames and can send any, valid or not; [`Client`]
//! puts envelopes and messages on top. [`golden`] plays recorded exchanges and compares every line. Nothing here sleeps or
//! retries to make a test pass: every wait is for a state and has a bound, and running into the bound is an error.

mod bystanders;
mod client;
mod decode;
mod disk;
pub mod evidence;
pub mod golden;
mod handshake;
pub mod load;
pub mod proxy;
mod rest;
mod server;
mod token;
pub mod trace;
mod ws;

pub use bystanders::Bystanders;
pub use client::{Client, Push, text_message};
pub use decode::{decode_message, response_type};
pub use disk::Disk;
pub use handshake::{Handshake, Query, Refusal};
pub use rest::{Answer, Rest};
pub use server::{
    Cluster, Engines, Options, Server, env, needs_cluster, needs_embedded, on_cluster,
};
pub use token::{Claims, Signature, mint, verify};
pub use ws::{Arrival, Conn, Event, Opcode};
