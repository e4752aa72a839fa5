//! What one gateway has in one bucket, and what of it is in Redis. No I/O.
//!
//! Writes of a gateway in a bucket are numbered. An *epoch* begins with all entries written anew; its writes have the numbers 1, 2,
//! 3 …, and Redis takes a write only if it has the one before. So if the mark in Redis names the last number, everything is there:
//! it may be renewed. If not, because Redis was emptied, lost its newest writes, or a write failed on the way, the next epoch begins
//! and entries of the old one stop counting at once.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use magpie_presence::Platforms;
use magpie_types::{UserId, time::now_ms};
use tokio::time::Instant;

use crate::keys::LIFETIME;

/// Users per write.
const CHUNK: usize = 128;

/// Delay of a message that is no reason to refuse it.
const SLACK: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(crate) struct Bucket {
    /// Everybody connected, and departures that are not written yet.
    users: HashMap<UserId, Entry>,
    /// Whose entry is to be written.
    dirty: HashSet<UserId>,
    epoch: u64,
    /// Epoch and number of the last write that was answered.
    answered: (u64, u64),
    /// Whether all but the dirty are in Redis, as of the last write.
    whole: bool,
    /// Whether lookups may have trusted a mark while entries were missing.
    doubtful: bool,
    /// Whether the last write failed.
    pub(crate) failing: bool,
    /// A time of Redis that had come at this moment here.
    clock: Option<(u64, Instant)>,
    /// Until when a mark in Redis may count.
    pub(crate) trusted_until: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    platforms: Platforms,
    /// Whether it has been in Redis.
    known: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Begin,
    Next,
    Sweep,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Next => "next",
            Self::Sweep => "sweep",
        }
    }
}

/// One write.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) step: Step,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) users: Vec<(UserId, Platforms)>,
    /// Whether it belongs to the beginning of an epoch.
    fresh: bool,
}

/// How Redis answered a write or a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    NoMark,
    Mismatch,
    TooLate,
}

/// An answer of Redis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    /// Its time, in milliseconds.
    pub(crate) now: u64,
    /// Epoch and number of the last write that it had then; zeros if it had no mark.
    pub(crate) found: (u64, u64),
    /// Users of the write, by number, who had no entry.
    pub(crate) missing: Vec<usize>,
}

impl Bucket {
    /// What is connected for a user now.
    pub(crate) fn set(&mut self, user: &UserId, platforms: Platforms) {
        let known = self.users.get(user).is_some_and(|entry| entry.known);
        let known = known && !platforms.is_empty();
        self.users.insert(user.clone(), Entry { platforms, known });
        self.dirty.insert(user.clone());
    }

    /// Ends all entries.
    pub(crate) fn clear(&mut self) {
        for (user, entry) in &mut self.users {
            entry.platforms = Platforms::default();
            entry.known = false;
            self.dirty.insert(user.clone());
        }
    }

    pub(crate) fn is_written(&self, user: &UserId) -> bool {
        self.whole && !self.dirty.contains(user)
    }

    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The writes that bring Redis up to date; with `sweep` everything is looked over. Until all are done the bucket is not whole.
    pub(crate) fn plan(&mut self, sweep: bool) -> Vec<Chunk> {
        let step = match (self.whole, sweep) {
            (false, _) => Step::Begin,
            (true, true) => Step::Sweep,
            (true, false) => Step::Next,
        };
        self.whole = false;
        if step == Step::Begin {
            self.users.retain(|_, entry| !entry.platforms.is_empty());
            // Above what an earlier process of the same id has used.
            let now = u64::try_from(now_ms()).unwrap_or_default();
            self.epoch = now.max(self.epoch + 1);
        }
        let dirty = std::mem::take(&mut self.dirty);
        let with_platforms = |user: &UserId| {
            let entry = self.users.get(user)?;
            Some((user.clone(), entry.platforms))
        };
        let users: Vec<(UserId, Platforms)> = match step {
            Step::Next => dirty.iter().filter_map(with_platforms).collect(),
            Step::Begin | Step::Sweep => self.users.keys().filter_map(with_platforms).collect(),
        };
        let mut groups: Vec<_> = users.chunks(CHUNK).map(<[_]>::to_vec).collect();
        if groups.is_empty() {
            groups.push(Vec::new());
        }
        let last = match step {
            Step::Begin => 0,
            Step::Next | Step::Sweep => self.answered.1,
        };
        let chunk = |(seq, users)| Chunk {
            step: if seq == last + 1 { step } else { Step::Next },
            epoch: self.epoch,
            seq,
            users,
            fresh: step == Step::Begin,
        };
        (last + 1..).zip(groups).map(chunk).collect()
    }

    /// Takes note of an answer to a write or a renewal. Gives the users among those of the `chunk` who were taken for offline.
    pub(crate) fn answered(&mut self, chunk: Option<&Chunk>, answer: &Answer) -> Vec<UserId> {
        self.clock = Some((answer.now, Instant::now()));
        self.doubtful |= answer.found.0 > 0 && answer.found < self.answered;
        match answer.verdict {
            Verdict::Done | Verdict::TooLate => {}
            Verdict::NoMark | Verdict::Mismatch => {
                self.whole = false;
                self.epoch = self.epoch.max(answer.found.0);
                return Vec::new();
            }
        }
        let Some(chunk) = chunk else {
            return Vec::new();
        };
        self.answered = (chunk.epoch, chunk.seq);
        // If an epoch began because there was no mark, nobody trusted one.
        let overlooked = self.doubtful || !chunk.fresh;
        let mut lost = Vec::new();
        for (n, (user, platforms)) in chunk.users.iter().enumerate() {
            let Some(entry) = self.users.get_mut(user) else {
                continue;
            };
            if overlooked && entry.known && answer.missing.contains(&n) {
                lost.push(user.clone());
            }
            match (platforms.is_empty(), entry.platforms.is_empty()) {
                (true, true) => drop(self.users.remove(user)),
                (false, false) => entry.known = true,
                _ => {}
            }
        }
        lost
    }

    /// All planned writes are done.
    pub(crate) fn finish(&mut self) {
        self.whole = true;
        self.doubtful = false;
        self.failing = false;
    }

    /// Epoch and number that a renewal names, and the latest time of Redis at which it may happen: one that lay in a queue of a
    /// stopped Redis must not count when this bucket is not whole any more.
    pub(crate) fn renewal(&self, deadline: Duration) -> ((u64, u64), u64) {
        let latest = self.clock.map_or(0, |(now, then)| {
            let since = then.elapsed() + deadline + SLACK;
            now + u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        });
        (self.answered, latest)
    }
}

/// Until when a mark counts whose renewal is sent now and has no answer yet.
pub(crate) fn trust_of_unanswered(deadline: Duration) -> Instant {
    Instant::now() + deadline + SLACK + LIFETIME
}

#[cfg(test)]
mod tests {
    use magpie_types::Platform;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(1);

    fn user(n: usize) -> UserId {
        UserId::new(format!("u{n}")).unwrap()
    }

    fn answer(verdict: Verdict, found: (u64, u64), missing: &[usize]) -> Answer {
        Answer {
            verdict,
            now: 1_000_000,
            found,
            missing: missing.to_vec(),
        }
    }

    /// Does all planned writes against a Redis that has what was written last and misses no entry. Gives their steps.
    fn write(bucket: &mut Bucket, sweep: bool) -> Vec<(Step, u64, usize)> {
        let mut steps = Vec::new();
        for chunk in bucket.plan(sweep) {
            let done = answer(Verdict::Done, bucket.answered, &[]);
            assert_eq!(bucket.answered(Some(&chunk), &done), []);
            steps.push((chunk.step, chunk.seq, chunk.users.len()));
        }
        bucket.finish();
        steps
    }

    fn with_users(count: usize) -> Bucket {
        let mut bucket = Bucket::default();
        for n in 0..count {
            bucket.set(&user(n), [Platform::Ios].into_iter().collect());
        }
        bucket
    }

    #[test]
    fn writes_are_numbered_in_chunks() {
        let mut bucket = with_users(CHUNK + 1);
        let begun = [(Step::Begin, 1, CHUNK), (Step::Next, 2, 1)];
        assert_eq!(write(&mut bucket, false), begun);
        bucket.set(&user(0), Platforms::default());
        assert!(bucket.is_dirty() && !bucket.is_written(&user(0)));
        assert_eq!(write(&mut bucket, false), [(Step::Next, 3, 1)]);
        assert!(bucket.is_written(&user(0)));
        // Who left is forgotten.
        assert_eq!(write(&mut bucket, true), [(Step::Sweep, 4, CHUNK)]);
        assert_eq!(Bucket::default().plan(false).len(), 1);
    }

    #[test]
    fn a_write_without_an_answer_begins_an_epoch_without_those_who_left() {
        let mut bucket = with_users(3);
        write(&mut bucket, false);
        let epoch = bucket.epoch;
        bucket.set(&user(0), Platforms::default());
        drop(bucket.plan(false));
        assert!(!bucket.is_whole() && !bucket.is_written(&user(1)));
        assert_eq!(write(&mut bucket, false), [(Step::Begin, 1, 2)]);
        assert!(bucket.epoch > epoch);
    }

    #[test]
    fn entries_that_are_missing_without_a_mark_were_not_overlooked() {
        let mut bucket = with_users(2);
        write(&mut bucket, false);
        bucket.answered(None, &answer(Verdict::NoMark, (0, 0), &[]));
        let chunks = bucket.plan(false);
        let done = answer(Verdict::Done, (0, 0), &[0, 1]);
        assert_eq!(bucket.answered(Some(&chunks[0]), &done), []);
    }

    #[test]
    fn entries_that_are_missing_under_an_older_mark_were_overlooked() {
        let mut bucket = with_users(2);
        write(&mut bucket, false);
        let first = bucket.answered;
        bucket.set(&user(2), [Platform::Web].into_iter().collect());
        write(&mut bucket, false);
        // Not known to have been in Redis: nobody can have looked for it.
        bucket.set(&user(3), [Platform::Web].into_iter().collect());
        bucket.answered(None, &answer(Verdict::Mismatch, first, &[]));
        let chunks = bucket.plan(false);
        let missing: Vec<usize> = (0..4)
            .filter(|n| [user(2), user(3)].contains(&chunks[0].users[*n].0))
            .collect();
        let done = answer(Verdict::Done, first, &missing);
        assert_eq!(bucket.answered(Some(&chunks[0]), &done), [user(2)]);
    }

    #[test]
    fn the_next_epoch_is_above_what_redis_has() {
        let mut bucket = with_users(1);
        drop(bucket.plan(false));
        let found = (bucket.epoch + 1_000_000, 5);
        bucket.answered(None, &answer(Verdict::Mismatch, found, &[]));
        assert!(bucket.plan(false)[0].epoch > found.0);
    }

    #[test]
    fn a_renewal_may_happen_until_a_deadline_on_the_clock_of_redis() {
        let mut bucket = with_users(1);
        write(&mut bucket, false);
        let (write, latest) = bucket.renewal(DEADLINE);
        assert_eq!(write, bucket.answered);
        let least = 1_000_000 + 1_200;
        assert!((least..least + 60_000).contains(&latest), "{latest}");
    }
}
