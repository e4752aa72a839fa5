//! Settings of the auth service.

use magpie_types::MultiLogin;
use serde::{Deserialize, Serialize};

/// Settings of the auth service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many logins of one user exist side by side: 0 as many as `max_num_one_end` per platform, 1 one per platform,
    /// 4 one per class of platforms, 5 any number of desktop ones and one other.
    pub multi_login_policy: MultiLogin,
    /// Tokens of one platform that stay valid under policy 0.
    pub max_num_one_end: usize,
    /// Life of a token in days.
    pub token_expire_days: u32,
    /// How long a user's tokens are kept in memory, in milliseconds; several auth processes read them each time.
    pub cache_ms: u64,
    /// Users whose tokens are kept in memory.
    pub cache_users: u64,
    /// How long a gateway may take to close a user's connections, in milliseconds.
    pub kick_timeout_ms: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            multi_login_policy: MultiLogin::default(),
            max_num_one_end: 30,
            token_expire_days: 90,
            cache_ms: 1_000,
            cache_users: 100_000,
            kick_timeout_ms: 5_000,
        }
    }
}
