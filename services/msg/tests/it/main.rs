//! The msg service through its generated client, with the real transfer worker behind it, on embedded engines.

#![cfg(test)]

mod access;
mod again;
mod change;
mod groups;
mod pull;
mod read;
mod relations;
mod search;
mod send_state;
mod world;
