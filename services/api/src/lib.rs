//! REST for back ends, administration and the client SDKs: a table of route → gRPC method.
//!
//! Owns nothing and keeps no state. A request's token is checked once, by the auth service; then its JSON body becomes the
//! request of an RPC and the RPC's answer the JSON of the envelope. Rules on fields and on who may do what live in the
//! services, so that gRPC callers get them too. A few routes have JSON of their own (`send`, `notices`, `online`) or are put
//! together from several RPCs (`jssdk`). The same table is served as an OpenAPI document (`openapi`).

mod answer;
mod call;
mod config;
mod content;
pub mod contract;
mod jssdk;
mod notices;
mod online;
mod openapi;
mod request;
pub mod routes;
mod send;
mod server;

pub use config::Config;
pub use server::serve;
