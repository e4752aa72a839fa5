//! The group service with the real user, conversation, msg and transfer services, on SQLite and a local log.

#![cfg(test)]

mod access;
mod crash;
mod lists;
mod membership;
mod mentions;
mod races;
mod requests;
mod roles;
mod world;
