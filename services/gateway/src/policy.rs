//! Which connections and tokens a new connection ends (gateway.md 8.3).
//!
//! A connection with the same token is never ended: a client may be back before its old connection is known to be dead.

use magpie_types::{Class, MultiLogin, Platform};

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

/// What a new connection does to the others of its user.
pub(crate) fn decide(policy: MultiLogin, new: Login<'_>, others: &[Login<'_>]) -> Decision {
    let pc = |p: Platform| p.class() == Class::Pc;
    let rival = |other: &Login<'_>| match policy {
        MultiLogin::Unlimited => false,
        MultiLogin::OnePerPlatform => other.platform == new.platform,
        MultiLogin::OnePerClass => other.platform.class() == new.platform.class(),
        MultiLogin::PcAndOneOther => !pc(new.platform) && !pc(other.platform),
    };
    let kick = others
        .iter()
        .enumerate()
        .filter(|(_, o)| rival(o) && o.token != new.token)
        .map(|(i, _)| i)
        .collect();
    let tokens = match policy {
        _ if others.is_empty() => Tokens::Keep,
        MultiLogin::Unlimited => Tokens::Keep,
        MultiLogin::OnePerPlatform if others.iter().any(rival) => Tokens::OfPlatform,
        MultiLogin::OnePerPlatform => Tokens::Keep,
        MultiLogin::OnePerClass => Tokens::OfKicked,
        MultiLogin::PcAndOneOther if pc(new.platform) => Tokens::Keep,
        MultiLogin::PcAndOneOther => Tokens::OfPlatform,
    };
    Decision { kick, tokens }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(platform: Platform, token: &str) -> Login<'_> {
        Login { platform, token }
    }

    /// The tokens of those who are ended.
    fn kicked<'a>(number: u8, new: Login<'_>, others: &[Login<'a>]) -> (Vec<&'a str>, Tokens) {
        let decision = decide(MultiLogin::try_from(number).unwrap(), new, others);
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
