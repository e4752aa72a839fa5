//! Presence on real Redis servers.

mod conformance;
mod crash;
mod servers;
mod world;
