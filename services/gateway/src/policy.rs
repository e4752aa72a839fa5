//! Which connections and tokens a new connection ends (gateway.md 8.3).
//!
//! A connection with the same token is never ended: a client may be back before its old connection is known to be dead.

use magpie_types::{Class, Platform};

/// How a user's connections are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Nobody is ended.
    Free,
    /// One connection per platform.
    PerPlatform,
    /// One connection per class of platforms.
    PerClass,
    /// PCs are free; all others together have one connection.
    PcFree,
}

/// A connection, as far as policies look at it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Login<'a> {
    pub(crate) platform: Platform,
    pub(crate) token: &'a str,
}

/// Which tokens become "kicked".
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Tokens {
    Keep,
    /// Those of the connections that are ended.
    OfKicked,
    /// All of the user and the new connection's platform, but its own.
    OfPlatform,
}

/// What a new connection does to the others.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Places in the list of the others.
    pub(crate) kick: Vec<usize>,
    pub(crate) tokens: Tokens,
}

impl Policy {
    /// The policy with this number. Unknown numbers are refused when tokens are issued, so nobody is ended here.
    pub(crate) fn from_number(number: i32) -> Self {
        match number {
            1 => Self::PerPlatform,
            4 => Self::PerClass,
            5 => Self::PcFree,
            _ => Self::Free,
        }
    }

    pub(crate) fn decide(self, new: Login<'_>, others: &[Login<'_>]) -> Decision {
        let pc = |p: Platform| p.class() == Class::Pc;
        let rival = |other: &Login<'_>| match self {
            Self::Free => false,
            Self::PerPlatform => other.platform == new.platform,
            Self::PerClass => other.platform.class() == new.platform.class(),
            Self::PcFree => !pc(new.platform) && !pc(other.platform),
        };
        let kick = others
            .iter()
            .enumerate()
            .filter(|(_, o)| rival(o) && o.token != new.token)
            .map(|(i, _)| i)
            .collect();
        let tokens = match self {
            _ if others.is_empty() => Tokens::Keep,
            Self::Free => Tokens::Keep,
            Self::PerPlatform if others.iter().any(rival) => Tokens::OfPlatform,
            Self::PerPlatform => Tokens::Keep,
            Self::PerClass => Tokens::OfKicked,
            Self::PcFree if pc(new.platform) => Tokens::Keep,
            Self::PcFree => Tokens::OfPlatform,
        };
        Decision { kick, tokens }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(platform: Platform, token: &str) -> Login<'_> {
        Login { platform, token }
    }

    /// The tokens of those who are ended.
    fn kicked<'a>(number: i32, new: Login<'_>, others: &[Login<'a>]) -> (Vec<&'a str>, Tokens) {
        let decision = Policy::from_number(number).decide(new, others);
        (
            decision.kick.iter().map(|i| others[*i].token).collect(),
            decision.tokens,
        )
    }

    const OTHERS: &[(Platform, &str)] = &[
        (Platform::Ios, "ios"),
        (Platform::Android, "android"),
        (Platform::Web, "web"),
        (Platform::Windows, "windows"),
        (Platform::Osx, "osx"),
        (Platform::IPad, "ipad"),
    ];

    fn others() -> Vec<Login<'static>> {
        OTHERS.iter().map(|(p, t)| login(*p, t)).collect()
    }

    #[test]
    fn policy_0_ends_nobody() {
        assert_eq!(
            kicked(0, login(Platform::Ios, "new"), &others()),
            (vec![], Tokens::Keep)
        );
    }

    #[test]
    fn policy_1_ends_the_platform() {
        assert_eq!(
            kicked(1, login(Platform::Ios, "new"), &others()),
            (vec!["ios"], Tokens::OfPlatform)
        );
        assert_eq!(
            kicked(1, login(Platform::Linux, "new"), &others()),
            (vec![], Tokens::Keep)
        );
    }

    #[test]
    fn policy_4_ends_the_class() {
        assert_eq!(
            kicked(4, login(Platform::Ios, "new"), &others()),
            (vec!["ios", "android"], Tokens::OfKicked)
        );
        assert_eq!(
            kicked(4, login(Platform::Linux, "new"), &others()),
            (vec!["windows", "osx"], Tokens::OfKicked)
        );
        assert_eq!(
            kicked(4, login(Platform::MiniWeb, "new"), &others()),
            (vec![], Tokens::OfKicked)
        );
    }

    #[test]
    fn policy_5_ends_all_but_pcs() {
        let (ended, tokens) = kicked(5, login(Platform::Web, "new"), &others());
        assert_eq!(
            (ended, tokens),
            (vec!["ios", "android", "web", "ipad"], Tokens::OfPlatform)
        );
        assert_eq!(
            kicked(5, login(Platform::Windows, "new"), &others()),
            (vec![], Tokens::Keep)
        );
    }

    #[test]
    fn a_connection_with_the_same_token_is_never_ended() {
        for number in [0, 1, 4, 5] {
            assert_eq!(
                kicked(number, login(Platform::Ios, "ios"), &others()[..1]).0,
                Vec::<&str>::new()
            );
        }
    }

    #[test]
    fn a_first_connection_changes_nothing() {
        for number in [0, 1, 4, 5] {
            assert_eq!(
                kicked(number, login(Platform::Ios, "new"), &[]),
                (vec![], Tokens::Keep)
            );
        }
    }
}
