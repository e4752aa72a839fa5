//! The push worker between a real store, presence and gateways that keep what they get.

#![cfg(test)]

mod deliveries;
mod groups;
mod world;
