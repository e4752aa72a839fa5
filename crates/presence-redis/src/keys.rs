//! What is in Redis: names and values.
//!
//! Users are spread over [`BUCKETS`] buckets by a hash of their id. All keys of a bucket have its number as hash tag, so in a cluster
//! they are on one node and a script sees them at one moment:
//!
//! - `PREFIX:{pN}` is the bucket: gateway → *mark* `valid:touched:epoch:seq`
//! - `PREFIX:{pN}:USER` is a user: gateway → *entry* `platforms:epoch`
//!
//! An entry counts while its gateway's mark of the same epoch is valid and was touched less than [`LIFETIME`] ago.

use std::time::Duration;

use magpie_presence::Platforms;
use magpie_types::UserId;

/// Never to be changed while gateways of both sorts run.
pub(crate) const BUCKETS: usize = 64;

/// How long a mark counts after its last renewal.
pub(crate) const LIFETIME: Duration = Duration::from_secs(5);

/// How long keys stay that nobody writes any more. Entries are written again by every round of sweeps, a few minutes.
pub(crate) const KEEP: Duration = Duration::from_secs(3600);

/// The bucket of a user.
pub(crate) fn bucket(user: &UserId) -> usize {
    crc32fast::hash(user.as_str().as_bytes()) as usize % BUCKETS
}

/// Names of keys.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
}

impl Keys {
    /// None if the prefix would be taken for a hash tag.
    pub(crate) fn new(prefix: &str) -> Option<Self> {
        let good = !prefix.is_empty() && !prefix.contains(['{', '}']);
        good.then(|| Self {
            prefix: prefix.to_owned(),
        })
    }

    pub(crate) fn bucket(&self, bucket: usize) -> String {
        format!("{}:{{p{bucket}}}", self.prefix)
    }

    pub(crate) fn user(&self, bucket: usize, user: &UserId) -> String {
        format!("{}:{{p{bucket}}}:{user}", self.prefix)
    }

    pub(crate) fn channel(&self) -> String {
        format!("{}:changes", self.prefix)
    }

    pub(crate) fn notices(&self) -> String {
        format!("{}:notices", self.prefix)
    }
}

/// What a gateway says about its entries in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    valid: bool,
    touched: u64,
    pub(crate) epoch: u64,
}

impl Mark {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let mark = Self {
            valid: parts.next()? == "1",
            touched: parts.next()?.parse().ok()?,
            epoch: parts.next()?.parse().ok()?,
        };
        parts.next().map(|_seq| mark)
    }

    /// Whether it counts at this time of Redis, in milliseconds.
    pub(crate) fn is_live(&self, now: u64) -> bool {
        let age = now.checked_sub(self.touched);
        self.valid && age.is_some_and(|age| u128::from(age) < LIFETIME.as_millis())
    }
}

/// Platforms and epoch of an entry.
pub(crate) fn entry(text: &str) -> Option<(Platforms, u64)> {
    let (bits, epoch) = text.split_once(':')?;
    Some((
        Platforms::from_bits(bits.parse().ok()?),
        epoch.parse().ok()?,
    ))
}

/// An announcement.
pub(crate) fn change(text: &str) -> Option<(UserId, Platforms)> {
    let (bits, user) = text.split_once(':')?;
    Some((
        UserId::new(user).ok()?,
        Platforms::from_bits(bits.parse().ok()?),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_lives_while_it_is_valid_and_young() {
        let mark = Mark::parse("1:10000:7:3").unwrap();
        assert_eq!(mark.epoch, 7);
        assert!(mark.is_live(10_000) && mark.is_live(14_999));
        assert!(!mark.is_live(15_000));
        // The clock of Redis was set back.
        assert!(!mark.is_live(9_999));
        assert!(!Mark::parse("0:10000:7:3").unwrap().is_live(10_000));
        for text in ["", "1", "1:2:3", "1:x:3:4"] {
            assert_eq!(Mark::parse(text), None);
        }
    }

    #[test]
    fn users_are_spread_evenly() {
        let mut buckets = [0; BUCKETS];
        for n in 0..6400 {
            buckets[bucket(&UserId::new(format!("user{n}")).unwrap())] += 1;
        }
        assert!(buckets.iter().all(|n| (50..200).contains(n)), "{buckets:?}");
    }

    #[test]
    fn braces_in_a_prefix_are_refused() {
        assert!(Keys::new("a{b}").is_none() && Keys::new("").is_none());
        let keys = Keys::new("m").unwrap();
        let user = UserId::new("{x}").unwrap();
        assert_eq!(keys.user(3, &user), "m:{p3}:{x}");
    }
}
