//! The vocabulary of Magpie: ids, platforms, sessions, message options, error codes and time.
//!
//! No I/O and no async, so that every crate can depend on it and it compiles in seconds. Ids are checked when they are
//! made: a value of an id type is valid wherever it turns up later.

pub mod conversation;
pub mod error;
pub mod group;
pub mod ids;
pub mod login;
pub mod msg;
pub mod platform;
pub mod time;
pub mod user;

pub use conversation::{ConversationId, SessionType};
pub use error::{Code, Error, Result};
pub use ids::{ClientMsgId, EVERYBODY, GroupId, InvalidId, ServerMsgId, UserId};
pub use login::MultiLogin;
pub use platform::{Class, Platform};
