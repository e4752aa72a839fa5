//! Conversation ids and session types (messages-and-sync.md 2.1, 2.2).
//!
//! Every conversation has a *stem*: its id without the prefix. A chat, its notification stream and its unstored messages
//! share the stem, which is the key in the log: one partition, one order. User ids may hold `_`, so a stem is never split.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::InvalidId;

/// Longest conversation id: two ids, the prefix and the separator.
pub const MAX_CONVERSATION_ID_LEN: usize = 2 * crate::ids::MAX_ID_LEN + 8;

/// What kind of conversation a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SessionType {
    /// Two users.
    Single,
    /// A group whose messages are stored once (the only kind of group there is).
    Group,
    /// A notification account and a user.
    Notification,
}

impl SessionType {
    /// The number on the wire.
    pub fn number(self) -> i32 {
        match self {
            Self::Single => 1,
            Self::Group => 3,
            Self::Notification => 4,
        }
    }

    /// The type with this number.
    pub fn from_number(n: i32) -> Option<Self> {
        match n {
            1 => Some(Self::Single),
            3 => Some(Self::Group),
            4 => Some(Self::Notification),
            _ => None,
        }
    }
}

/// The id of a message stream, e.g. `si_alice_bob` or `n_alice_bob`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConversationId(String);

impl ConversationId {
    /// The chat of two users.
    pub fn single(a: &str, b: &str) -> Self {
        Self::pair("si_", a, b)
    }

    /// The chat of a notification account and a user.
    pub fn notification_chat(a: &str, b: &str) -> Self {
        Self::pair("sn_", a, b)
    }

    /// The chat of a group.
    pub fn group(group: &str) -> Self {
        Self(format!("sg_{group}"))
    }

    /// The notification stream of two users, or of one with himself.
    pub fn notifications(a: &str, b: &str) -> Self {
        Self::pair("n_", a, b)
    }

    fn pair(prefix: &str, a: &str, b: &str) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self(format!("{prefix}{low}_{high}"))
    }

    /// Checks an id that came from outside: a known prefix, bounded, no control characters.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        const KIND: &str = "conversationID";
        if text.is_empty() {
            return Err(InvalidId::Empty(KIND));
        }
        if text.len() > MAX_CONVERSATION_ID_LEN {
            return Err(InvalidId::TooLong(KIND));
        }
        let known = ["si_", "sn_", "sg_", "n_"]
            .iter()
            .any(|p| text.strip_prefix(p).is_some_and(|stem| !stem.is_empty()));
        if !known || text.chars().any(|c| c.is_control() || c == ':' || c == '/') {
            return Err(InvalidId::Character(KIND));
        }
        Ok(Self(text.to_owned()))
    }

    /// Takes an id that this server made before.
    pub fn trusted(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id without its prefix: what chat, notification stream and unstored messages have in common.
    pub fn stem(&self) -> &str {
        self.0
            .split_once('_')
            .map_or(self.0.as_str(), |(_, stem)| stem)
    }

    /// The notification stream beside this chat (itself, if it is one).
    pub fn notification_stream(&self) -> Self {
        Self(format!("n_{}", self.stem()))
    }

    /// Whether this is a notification stream.
    pub fn is_notification_stream(&self) -> bool {
        self.0.starts_with("n_")
    }

    /// Whether this is a group's chat.
    pub fn is_group_chat(&self) -> bool {
        self.0.starts_with("sg_")
    }
}

impl fmt::Display for ConversationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ConversationId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl From<ConversationId> for String {
    fn from(id: ConversationId) -> String {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_the_users_of_a_pair() {
        assert_eq!(ConversationId::single("u2", "u1").as_str(), "si_u1_u2");
        assert_eq!(
            ConversationId::notifications("u1", "u1").as_str(),
            "n_u1_u1"
        );
    }

    #[test]
    fn chat_and_notifications_share_a_stem() {
        let chat = ConversationId::single("a_b", "c");
        assert_eq!(chat.stem(), "a_b_c");
        assert_eq!(chat.notification_stream().stem(), chat.stem());
    }

    #[test]
    fn refuses_foreign_conversation_ids() {
        for bad in ["", "si_", "xx_a_b", "si_a\u{0}b", "n_a:b"] {
            assert!(ConversationId::parse(bad).is_err(), "{bad:?}");
        }
        assert!(ConversationId::parse("sg_g1").is_ok());
    }
}
