//! Settings of the user service.

use serde::{Deserialize, Serialize};

/// Settings of the user service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Nicknames of the administrators, in the order of their ids; one without a nickname is called by his id.
    pub admin_nicknames: Vec<String>,
    /// Most entries of one page of a list; a request for more gets this many.
    pub max_page: usize,
    /// Most users that one call may name or register.
    pub max_users: usize,
    /// Longest nickname, avatar address or extension of a user, bytes each.
    pub max_field_bytes: usize,
    /// How long a gateway may take to say who is connected to it, in milliseconds.
    pub gateway_timeout_ms: u64,
    /// Most notes (user commands) that one user may have; those that he deleted of late count.
    pub max_commands: u64,
    /// Longest value and longest extension of a note, bytes each. All notes of a user are one answer.
    pub max_command_bytes: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            admin_nicknames: vec!["superAdmin".to_owned()],
            max_page: 10_000,
            max_users: 10_000,
            max_field_bytes: 16 << 10,
            gateway_timeout_ms: 2_000,
            max_commands: 1_000,
            max_command_bytes: 8 << 10,
        }
    }
}
