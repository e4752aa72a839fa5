//! The wire contract: messages, gRPC clients and servers of the `openim.*` packages that clients know and of the
//! internal `magpie.*` packages, their JSON form, and how errors travel in gRPC.
//!
//! Everything but [`json`] and [`status`] is generated from the `.proto` files in the repository's `proto/` folder.
//! Clients and servers bring no transport: they work over any tower service.

mod generated;
pub mod json;
pub mod status;

pub use generated::{magpie, openim};

/// Encoded `FileDescriptorSet` of all packages, for reflection and contract tests.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// Version of the records of the message log. A change that old readers would misunderstand raises it; during an update two
/// versions run side by side.
pub const RECORD_VERSION: u32 = 1;

/// Whether records of this version can be taken: up to the next one.
pub fn is_readable(version: u32) -> bool {
    version <= RECORD_VERSION + 1
}
