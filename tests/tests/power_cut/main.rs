//! The whole way of a message over disks that forget what was not synced, in a process of its own: SQLite's file layer is
//! process-wide. It brings its embedded engines along, so which ones the environment chooses makes no difference.

#[cfg(test)]
mod pipeline;
#[cfg(test)]
#[path = "../../../crates/store-sqlite/tests/power_cut/vfs.rs"]
#[expect(dead_code, reason = "the store's own tests use more of it")]
mod vfs;
#[cfg(test)]
mod world;
