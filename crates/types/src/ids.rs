//! Ids of users, groups and messages.
//!
//! User and group ids come from outside: they are non-empty, at most [`MAX_ID_LEN`] bytes, and hold no control character,
//! no `:` and no `/`, which would break conversation ids and object names. `ServerMsgId` is derived, never received.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Longest user, group or client message id in bytes.
pub const MAX_ID_LEN: usize = 128;
/// Longest operationID, and longest other name that a client gives a request, in bytes.
pub const MAX_NAME_LEN: usize = 256;
/// Stands for everybody in a list of mentioned users (messages-and-sync.md); nobody's id.
pub const EVERYBODY: &str = "AtAllTag";

/// Why a text is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// The text is empty.
    #[error("{0} is empty")]
    Empty(&'static str),
    /// The text is longer than [`MAX_ID_LEN`].
    #[error("{0} is longer than {MAX_ID_LEN} bytes")]
    TooLong(&'static str),
    /// The text holds a character that ids can't have.
    #[error("{0} has a character that is not allowed")]
    Character(&'static str),
}

impl From<InvalidId> for crate::Error {
    fn from(e: InvalidId) -> Self {
        crate::Error::args(e.to_string())
    }
}

fn check(kind: &'static str, text: &str, banned: fn(char) -> bool) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty(kind));
    }
    if text.len() > MAX_ID_LEN {
        return Err(InvalidId::TooLong(kind));
    }
    if text.chars().any(|c| c.is_control() || banned(c)) {
        return Err(InvalidId::Character(kind));
    }
    Ok(())
}

/// 1001 for an operationID that is longer than [`MAX_NAME_LEN`]: it goes with everything that the operation causes.
pub fn check_operation_id(text: &str) -> crate::Result<()> {
    if text.len() > MAX_NAME_LEN {
        return Err(crate::Error::args(format!(
            "operationID is longer than {MAX_NAME_LEN} bytes"
        )));
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $banned:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text` and takes it over.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                check($kind, &text, $banned)?;
                Ok(Self(text))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(s: &str) -> Result<Self, InvalidId> {
                Self::new(s)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(s: String) -> Result<Self, InvalidId> {
                Self::new(s)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

text_id!(
    /// A user's id, chosen by the application when it registers the user.
    UserId,
    "userID",
    |c| matches!(c, ':' | '/')
);
text_id!(
    /// A group's id. `_` is refused as well: it would make `n_<group>` look like a pair's stream.
    GroupId,
    "groupID",
    |c| matches!(c, ':' | '/' | '_')
);
text_id!(
    /// The id a client gave its message; the key under which a resend is recognised.
    ClientMsgId,
    "clientMsgID",
    |_| false
);

/// The server's id of a message: 128 bits, written as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerMsgId(pub [u8; 16]);

impl ServerMsgId {
    /// Derives the id from what identifies a send: the same (conversation, sender, client id) always gives the same id, so
    /// that a resend and a replay meet the stored message.
    pub fn derive(conversation: &str, sender: &str, client: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [conversation, sender, client] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let digest = hash.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }
}

impl fmt::Display for ServerMsgId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 32];
        hex::encode_to_slice(self.0, &mut text).map_err(|_e| fmt::Error)?;
        f.write_str(std::str::from_utf8(&text).map_err(|_e| fmt::Error)?)
    }
}

/// A random client message id, for senders that gave none.
pub fn random_client_msg_id() -> String {
    hex::encode(random_bytes::<16>())
}

/// Random bytes for ids.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes[..]);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_ids_that_would_break_conversation_ids() {
        assert_eq!(UserId::new(""), Err(InvalidId::Empty("userID")));
        assert_eq!(UserId::new("a:b"), Err(InvalidId::Character("userID")));
        assert_eq!(UserId::new("a\nb"), Err(InvalidId::Character("userID")));
        assert_eq!(GroupId::new("a_b"), Err(InvalidId::Character("groupID")));
        assert!(UserId::new("a_b").is_ok());
        assert!(UserId::new("x".repeat(MAX_ID_LEN + 1)).is_err());
    }

    #[test]
    fn derives_the_same_id_only_for_the_same_parts() {
        let a = ServerMsgId::derive("si_a_b", "a", "1");
        assert_eq!(a, ServerMsgId::derive("si_a_b", "a", "1"));
        assert_ne!(a, ServerMsgId::derive("si_a_", "ba", "1"));
        assert_eq!(a.to_string().len(), 32);
    }
}
