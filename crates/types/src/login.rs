//! How many logins of one user exist side by side (gateway.md 8.3): the auth service ends tokens by it, the gateway connections.

use serde::{Deserialize, Serialize};

/// What a new login ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum MultiLogin {
    /// 0: nothing, up to a number of tokens per platform.
    Unlimited,
    /// 1: those of the same platform.
    #[default]
    OnePerPlatform,
    /// 4: those of the same class of platforms.
    OnePerClass,
    /// 5: all that are not desktop ones, if the new one is none either.
    PcAndOneOther,
}

impl TryFrom<u8> for MultiLogin {
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

impl From<MultiLogin> for u8 {
    fn from(policy: MultiLogin) -> Self {
        match policy {
            MultiLogin::Unlimited => 0,
            MultiLogin::OnePerPlatform => 1,
            MultiLogin::OnePerClass => 4,
            MultiLogin::PcAndOneOther => 5,
        }
    }
}
