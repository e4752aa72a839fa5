//! What is kept of a user's tokens: one list in the order of issue, encoded into the blob of
//! [`magpie_store::documents::UserTokens`].

use prost::Message;
use sha2::{Digest, Sha256};

/// State of a token, numbered as the contract numbers it.
pub(crate) mod state {
    /// Valid.
    pub(crate) const NORMAL: i32 = 0;
    /// Ended by another login or an administrator.
    pub(crate) const KICKED: i32 = 2;
}

/// One token.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Entry {
    /// SHA-256 of the token.
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) hash: Vec<u8>,
    /// Platform number.
    #[prost(int32, tag = "2")]
    pub(crate) platform: i32,
    /// See [`state`].
    #[prost(int32, tag = "3")]
    pub(crate) state: i32,
    /// When it ends, Unix seconds; earlier than the token itself says for an administrator's replaced one.
    #[prost(int64, tag = "4")]
    pub(crate) expires: i64,
    /// When it was issued, ms.
    #[prost(int64, tag = "5")]
    pub(crate) created: i64,
}

/// All tokens of one user, oldest first.
#[derive(Clone, PartialEq, Eq, Message)]
pub(crate) struct Tokens {
    /// The tokens.
    #[prost(message, repeated, tag = "1")]
    pub(crate) list: Vec<Entry>,
}

impl Tokens {
    /// The token with this hash.
    pub(crate) fn get(&self, hash: &[u8]) -> Option<&Entry> {
        self.list.iter().find(|e| e.hash == hash)
    }

    /// Kicks every valid token that `ends` chooses.
    pub(crate) fn kick(&mut self, ends: impl Fn(&Entry) -> bool) {
        for entry in self.list.iter_mut().filter(|e| e.state == state::NORMAL) {
            if ends(entry) {
                entry.state = state::KICKED;
            }
        }
    }
}

/// The stored form of a token.
pub(crate) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token).to_vec()
}
