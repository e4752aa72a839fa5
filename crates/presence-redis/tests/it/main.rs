//! Presence on real Redis servers.

mod chaos;
mod conformance;
mod crash;
mod servers;
mod world;
