//! What every service shares: the identity of a call, the engines and channels it works with, notifications, configuration,
//! telemetry, tasks and shutdown.

pub mod bodies;
pub mod caller;
pub mod config;
pub mod deps;
pub mod gateways;
pub mod grpc;
pub mod health;
pub mod internal;
pub mod invalidation;
pub mod listen;
pub mod lists;
pub mod members;
pub mod notification;
pub mod ops;
pub mod pending;
pub mod profiles;
pub mod rpc;
pub mod run;
pub mod send;
pub mod serve;
pub mod telemetry;
pub mod tombstones;
pub mod trace;
pub mod unimplemented;
pub mod walks;

pub use caller::{Caller, Context, IntoStatus};
pub use deps::Deps;
