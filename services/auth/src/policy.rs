//! What a new token does to the user's other tokens (gateway.md 8.3, "When a token is issued").

use magpie_types::{Class, MultiLogin, Platform};

use crate::record::{Entry, Tokens, state};

/// How long an administrator's replaced token stays valid, in seconds.
const ADMIN_GRACE: i64 = 300;

/// Most tokens kept of one user; beyond it the oldest are forgotten.
const MAX_TOKENS: usize = 512;

/// Adds `new` and ends what the policy says. Tokens that ended earlier are forgotten. `now` in Unix seconds.
pub(crate) fn issue(
    tokens: &mut Tokens,
    new: Entry,
    platform: Platform,
    policy: MultiLogin,
    per_platform: usize,
    now: i64,
) {
    tokens
        .list
        .retain(|e| e.state == state::NORMAL && e.expires > now);
    if platform == Platform::Admin {
        for earlier in tokens
            .list
            .iter_mut()
            .filter(|e| e.platform == new.platform)
        {
            earlier.expires = earlier.expires.min(now + ADMIN_GRACE);
        }
    } else {
        kick(tokens, platform, policy, per_platform);
    }
    tokens.list.push(new);
    let surplus = tokens.list.len().saturating_sub(MAX_TOKENS);
    tokens.list.drain(..surplus);
}

fn kick(tokens: &mut Tokens, new: Platform, policy: MultiLogin, per_platform: usize) {
    let mut groups: Vec<(Group, usize)> = Vec::new();
    let preferred = prefers_android(tokens, new, policy);
    for entry in tokens.list.iter_mut().rev() {
        let Some(platform) =
            Platform::from_number(entry.platform).filter(|p| *p != Platform::Admin)
        else {
            continue;
        };
        let group = group_of(platform, policy);
        let room = room(group, new, policy, per_platform);
        let at = groups
            .iter()
            .position(|(g, _)| *g == group)
            .unwrap_or_else(|| {
                groups.push((group, 0));
                groups.len() - 1
            });
        let Some((_, kept)) = groups.get_mut(at) else {
            continue;
        };
        let passed_over = preferred && group == Group::Others && platform != Platform::Android;
        if *kept < room && !passed_over {
            *kept += 1;
        } else {
            entry.state = state::KICKED;
        }
    }
}

/// Tokens that share one limit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Group {
    Platform(Platform),
    Class(Class),
    Desktop,
    Others,
}

fn group_of(platform: Platform, policy: MultiLogin) -> Group {
    match policy {
        MultiLogin::Unlimited | MultiLogin::OnePerPlatform => Group::Platform(platform),
        MultiLogin::OnePerClass => Group::Class(platform.class()),
        MultiLogin::PcAndOneOther if platform.class() == Class::Pc => Group::Desktop,
        MultiLogin::PcAndOneOther => Group::Others,
    }
}

/// How many earlier tokens of a group stay.
fn room(group: Group, new: Platform, policy: MultiLogin, per_platform: usize) -> usize {
    let concerned = group == group_of(new, policy);
    match policy {
        MultiLogin::Unlimited => per_platform.saturating_sub(usize::from(concerned)),
        _ if group == Group::Desktop => usize::MAX,
        _ => usize::from(!concerned),
    }
}

/// Under policy 5 a desktop login leaves one other token, an Android one if there is any.
fn prefers_android(tokens: &Tokens, new: Platform, policy: MultiLogin) -> bool {
    policy == MultiLogin::PcAndOneOther
        && new.class() == Class::Pc
        && tokens
            .list
            .iter()
            .any(|e| e.platform == Platform::Android.number())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Issues one token after the other and says which survive, by position.
    fn survivors(policy: MultiLogin, max: usize, platforms: &[Platform]) -> Vec<usize> {
        let mut tokens = Tokens::default();
        for (i, platform) in platforms.iter().enumerate() {
            let hash = vec![u8::try_from(i).unwrap()];
            let new = Entry {
                hash,
                platform: platform.number(),
                state: 0,
                expires: 1000,
                created: 0,
            };
            issue(&mut tokens, new, *platform, policy, max, 0);
        }
        tokens
            .list
            .iter()
            .filter(|e| e.state == state::NORMAL)
            .map(|e| usize::from(e.hash[0]))
            .collect()
    }

    use Platform::{APad, Android, HarmonyOs, IPad, Ios, MiniWeb, Osx, Web, Windows};

    #[test]
    fn policy_0_keeps_the_newest_of_each_platform() {
        assert_eq!(
            survivors(MultiLogin::Unlimited, 2, &[Web, Web, Android, Web]),
            [1, 2, 3]
        );
    }

    #[test]
    fn policy_1_keeps_one_per_platform() {
        assert_eq!(
            survivors(
                MultiLogin::OnePerPlatform,
                30,
                &[Web, Web, Android, Ios, Osx, Web, Android]
            ),
            [3, 4, 5, 6]
        );
    }

    #[test]
    fn policy_4_keeps_one_per_class() {
        let logins = [
            Web, Android, Windows, Ios, Osx, MiniWeb, APad, HarmonyOs, IPad,
        ];
        assert_eq!(
            survivors(MultiLogin::OnePerClass, 30, &logins),
            [0, 3, 4, 5, 7, 8]
        );
    }

    #[test]
    fn policy_5_never_ends_desktop_logins_and_keeps_one_other() {
        assert_eq!(
            survivors(
                MultiLogin::PcAndOneOther,
                30,
                &[Windows, Osx, Windows, Web, Ios]
            ),
            [0, 1, 2, 4]
        );
    }

    #[test]
    fn policy_5_prefers_android_when_a_desktop_logs_in() {
        let entry = |n: u8, p: Platform| Entry {
            hash: vec![n],
            platform: p.number(),
            state: 0,
            expires: 1000,
            created: 0,
        };
        let mut tokens = Tokens {
            list: vec![entry(0, Android), entry(1, Web)],
        };
        issue(
            &mut tokens,
            entry(2, Osx),
            Osx,
            MultiLogin::PcAndOneOther,
            30,
            0,
        );
        let states: Vec<_> = tokens.list.iter().map(|e| e.state).collect();
        assert_eq!(states, [state::NORMAL, state::KICKED, state::NORMAL]);
    }

    #[test]
    fn kicked_tokens_are_forgotten_at_the_next_issue() {
        let entry = |n: u8| Entry {
            hash: vec![n],
            platform: 5,
            state: 0,
            expires: 1000,
            created: 0,
        };
        let mut tokens = Tokens::default();
        for n in 0..2 {
            issue(
                &mut tokens,
                entry(n),
                Web,
                MultiLogin::OnePerPlatform,
                30,
                0,
            );
        }
        assert_eq!(tokens.get(&[0]).map(|e| e.state), Some(state::KICKED));
        issue(
            &mut tokens,
            entry(2),
            Web,
            MultiLogin::OnePerPlatform,
            30,
            0,
        );
        assert_eq!(tokens.get(&[0]), None);
    }

    #[test]
    fn an_administrators_replaced_token_lives_five_more_minutes() {
        let entry = |n: u8| Entry {
            hash: vec![n],
            platform: 10,
            state: 0,
            expires: 10_000,
            created: 0,
        };
        let mut tokens = Tokens::default();
        issue(
            &mut tokens,
            entry(0),
            Platform::Admin,
            MultiLogin::OnePerPlatform,
            30,
            100,
        );
        issue(
            &mut tokens,
            entry(1),
            Platform::Admin,
            MultiLogin::OnePerPlatform,
            30,
            200,
        );
        issue(
            &mut tokens,
            entry(2),
            Platform::Admin,
            MultiLogin::OnePerPlatform,
            30,
            300,
        );
        let ends: Vec<_> = tokens.list.iter().map(|e| e.expires).collect();
        assert_eq!(ends, [500, 600, 10_000]);
    }

    #[test]
    fn the_list_is_bounded() {
        let logins = vec![Windows; 600];
        let mut tokens = Tokens::default();
        for _ in &logins {
            let new = Entry {
                hash: vec![],
                platform: 3,
                state: 0,
                expires: 1000,
                created: 0,
            };
            issue(&mut tokens, new, Windows, MultiLogin::PcAndOneOther, 30, 0);
        }
        assert_eq!(tokens.list.len(), MAX_TOKENS);
    }
}
