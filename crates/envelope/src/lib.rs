//! The envelope of the WebSocket gateway: what one binary frame holds, and the handshake that decides how it is written.
//!
//! A connection picks its [`Codec`] once, in the query of its [`handshake`]: gob or JSON, with or without gzip. From then on
//! every binary frame is exactly one [`Request`] or [`Response`] in that codec. All functions here are pure: bytes in, bytes
//! out, no sockets and no clock, so the gateway, the test clients and the load generator share them.
//!
//! Input comes from strangers. A decoder checks the size of a frame before it looks at it and the unpacked size before it
//! unpacks ([`Limits`]), bounds nesting and the number of type descriptions, and answers with a [`DecodeError`], never a panic.

mod codec;
mod envelope;
mod gob;
mod gzip;
pub mod handshake;
mod json;
pub mod reqs;

pub use codec::{Codec, DecodeError, Encoding, Limits};
pub use envelope::{Request, Response};
pub use gob::GobError;
pub use gzip::GzipError;
