//! Settings of the auth service.

use serde::{Deserialize, Serialize};

/// Settings of the auth service.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How many logins of one user exist side by side: 0 as many as `max_num_one_end` per platform, 1 one per platform,
    /// 4 one per class of platforms, 5 any number of desktop ones and one other.
    pub multi_login_policy: Policy,
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
            multi_login_policy: Policy::OnePerPlatform,
            max_num_one_end: 30,
            token_expire_days: 90,
            cache_ms: 1_000,
            cache_users: 100_000,
            kick_timeout_ms: 5_000,
        }
    }
}

/// Which earlier tokens end when a new one is issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Policy {
    /// 0: none, up to a number per platform.
    Unlimited,
    /// 1: those of the same platform.
    OnePerPlatform,
    /// 4: those of the same class of platforms.
    OnePerClass,
    /// 5: all that are not desktop ones, if the new one is none either.
    PcAndOneOther,
}

impl TryFrom<u8> for Policy {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Self::Unlimited),
            1 => Ok(Self::OnePerPlatform),
            4 => Ok(Self::OnePerClass),
            5 => Ok(Self::PcAndOneOther),
            _ => Err(format!("multi_login_policy is 0, 1, 4 or 5, not {number}")),
        }
    }
}

impl From<Policy> for u8 {
    fn from(policy: Policy) -> Self {
        match policy {
            Policy::Unlimited => 0,
            Policy::OnePerPlatform => 1,
            Policy::OnePerClass => 4,
            Policy::PcAndOneOther => 5,
        }
    }
}
