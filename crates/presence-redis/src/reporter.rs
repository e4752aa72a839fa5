//! The writing side: brings to Redis what one gateway has told, and keeps its marks.
//!
//! Reports that come while a round trip is under way share the next one. What a gateway has told is kept here, so that after any
//! failure it is written again without asking anybody.

use std::{
    collections::{HashSet, VecDeque},
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use magpie_presence::{GatewayId, Platforms, PresenceError, Result};
use magpie_types::UserId;
use redis::{RedisResult, Value, from_redis_value};
use tokio::time::{Instant, sleep};

use crate::{
    bucket::{Answer, Bucket, Chunk, Verdict, trust_of_unanswered},
    keys::{BUCKETS, KEEP, Keys, LIFETIME, bucket},
    link::{Code, Failure, Link, Run},
};

static WRITE: LazyLock<Code> = LazyLock::new(|| Code::new(include_str!("lua/write.lua")));
static RENEW: LazyLock<Code> = LazyLock::new(|| Code::new(include_str!("lua/renew.lua")));
static FORGET: LazyLock<Code> =
    LazyLock::new(|| Code::new("return redis.call('HDEL', KEYS[1], ARGV[1])"));

/// How often a bucket whose write was refused begins anew before that counts as a failure.
const BEGINNINGS: usize = 3;
/// Pause before a report is tried again.
const PAUSE: Duration = Duration::from_millis(250);

pub(crate) struct Reporter {
    gateway: GatewayId,
    deadline: Duration,
    state: Mutex<State>,
    /// Held for a round.
    turn: tokio::sync::Mutex<()>,
}

struct State {
    buckets: Vec<Bucket>,
    /// Users whose connections are to be closed.
    lost: HashSet<UserId>,
    /// Rounds begun.
    rounds: u64,
    /// The last round that failed.
    failed: Option<(u64, PresenceError)>,
    /// The bucket that the next renewal looks over.
    sweep: usize,
}

/// Which buckets a round writes, besides those that it must.
#[derive(Clone, Copy)]
enum Scope<'a> {
    /// With something to write; failing ones only if they hold these users.
    Report(&'a [(UserId, Platforms)]),
    /// All that are not as they should be, and this one.
    Renewal { sweep: Option<usize> },
}

impl Reporter {
    pub(crate) fn new(gateway: GatewayId, deadline: Duration) -> Self {
        Self {
            gateway,
            deadline,
            state: Mutex::new(State {
                buckets: (0..BUCKETS).map(|_| Bucket::default()).collect(),
                lost: HashSet::new(),
                rounds: 0,
                failed: None,
                sweep: 0,
            }),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// See [`Presence::report`](magpie_presence::Presence::report).
    pub(crate) async fn report(
        &self,
        link: &Link,
        keys: &Keys,
        users: &[(UserId, Platforms)],
    ) -> Result<()> {
        {
            let mut state = self.state();
            for (user, platforms) in users {
                state.buckets[bucket(user)].set(user, *platforms);
            }
        }
        loop {
            let Err(error) = self.attempt(link, keys, users).await else {
                return Ok(());
            };
            let end = self.state().trusted_until(users);
            let now = Instant::now();
            let Some(end) = end.filter(|end| *end > now) else {
                return Err(error);
            };
            sleep(PAUSE.min(end - now)).await;
        }
    }

    async fn attempt(&self, link: &Link, keys: &Keys, users: &[(UserId, Platforms)]) -> Result<()> {
        let rounds = self.state().rounds;
        let _turn = self.turn.lock().await;
        {
            let state = self.state();
            if state.is_written(users) {
                return Ok(());
            }
            // A round that began after this report was known has failed for it too.
            if let Some((_, error)) = state.failed.as_ref().filter(|(round, _)| *round > rounds) {
                return Err(error.clone());
            }
        }
        let result = self.round(link, keys, Scope::Report(users)).await;
        if self.state().is_written(users) {
            return Ok(());
        }
        result.and_then(|()| {
            let why = "the user was reported again meanwhile, and that failed";
            Err(PresenceError::Unavailable(why.to_owned()))
        })
    }

    /// See [`Presence::renew`](magpie_presence::Presence::renew).
    pub(crate) async fn renew(&self, link: &Link, keys: &Keys) -> Result<Vec<UserId>> {
        let _turn = self.turn.lock().await;
        let sweep = {
            let mut state = self.state();
            let sweep = state.sweep;
            state.sweep = (sweep + 1) % BUCKETS;
            sweep
        };
        let mut result = self.renew_once(link, keys, Some(sweep)).await;
        // What was found wrong is put right at once.
        if result.is_ok() && !self.state().buckets.iter().all(Bucket::is_whole) {
            result = self.renew_once(link, keys, None).await;
        }
        let mut state = self.state();
        let lost = std::mem::take(&mut state.lost);
        // A failure is told next time: these must be told now.
        if lost.is_empty() {
            result?;
        }
        Ok(lost.into_iter().collect())
    }

    async fn renew_once(&self, link: &Link, keys: &Keys, sweep: Option<usize>) -> Result<()> {
        let written = self.round(link, keys, Scope::Renewal { sweep }).await;
        let whole = |state: &State| -> Vec<usize> {
            let whole = |n: &usize| state.buckets[*n].is_whole();
            (0..BUCKETS).filter(whole).collect()
        };
        let all = whole(&self.state());
        let renewed = self.renew_marks(link, keys, &all).await;
        written.and(renewed)
    }

    /// See [`Presence::leave`](magpie_presence::Presence::leave).
    pub(crate) async fn leave(&self, link: &Link, keys: &Keys) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.state().buckets.iter_mut().for_each(Bucket::clear);
        let written = self.round(link, keys, Scope::Report(&[])).await;
        let forgotten = forget(link, keys, &self.gateway).await;
        written.and(forgotten)
    }

    /// Writes, one chunk per bucket and round trip, and renews the marks of buckets that begin an epoch.
    async fn round(&self, link: &Link, keys: &Keys, scope: Scope<'_>) -> Result<()> {
        let (round, mut plans) = {
            let mut state = self.state();
            state.rounds += 1;
            (state.rounds, state.plans(scope))
        };
        let mut begun = Vec::new();
        let mut failure = None;
        while !plans.is_empty() {
            let runs: Vec<Run> = plans.iter().filter_map(|p| self.write(keys, p)).collect();
            let results = match link.run(&runs).await {
                Ok(results) => results,
                Err(why) => {
                    self.state().fail(plans.iter().map(|p| p.bucket));
                    failure = Some(why.into());
                    break;
                }
            };
            let mut state = self.state();
            let mut kept = Vec::with_capacity(plans.len());
            for (mut plan, result) in plans.into_iter().zip(results) {
                match state.apply(&mut plan, result) {
                    Ok(()) if plan.chunks.is_empty() => {
                        begun.extend(plan.begins.then_some(plan.bucket))
                    }
                    Ok(()) => kept.push(plan),
                    Err(error) => {
                        state.fail([plan.bucket].into_iter());
                        failure = Some(error);
                    }
                }
            }
            plans = kept;
        }
        if failure.is_none() && !begun.is_empty() {
            failure = self.renew_marks(link, keys, &begun).await.err();
        }
        match failure {
            None => Ok(()),
            Some(error) => {
                self.state().failed = Some((round, error.clone()));
                Err(error)
            }
        }
    }

    async fn renew_marks(&self, link: &Link, keys: &Keys, buckets: &[usize]) -> Result<()> {
        let mut before = Vec::new();
        let runs: Vec<Run> = {
            let mut state = self.state();
            let mut run = |n: &usize| {
                let bucket = &mut state.buckets[*n];
                let ((epoch, seq), latest) = bucket.renewal(self.deadline);
                let unanswered = Some(trust_of_unanswered(self.deadline));
                before.push(std::mem::replace(&mut bucket.trusted_until, unanswered));
                Run {
                    code: &RENEW,
                    keys: vec![keys.bucket(*n)],
                    arguments: vec![
                        self.gateway.as_ref().to_owned(),
                        epoch.to_string(),
                        seq.to_string(),
                        latest.to_string(),
                        KEEP.as_millis().to_string(),
                    ],
                }
            };
            buckets.iter().map(&mut run).collect()
        };
        let results = link.run(&runs).await;
        let mut state = self.state();
        let results = match results {
            Ok(results) => results,
            Err(failure) => {
                if matches!(failure, Failure::NotSent(_)) {
                    for (n, before) in buckets.iter().zip(before) {
                        state.buckets[*n].trusted_until = before;
                    }
                }
                return Err(failure.into());
            }
        };
        let mut outcome = Ok(());
        for (n, result) in buckets.iter().zip(results) {
            match result.map_err(unavailable).and_then(answer) {
                Ok(answer) => {
                    let bucket = &mut state.buckets[*n];
                    bucket.answered(None, &answer);
                    bucket.trusted_until = match answer.verdict {
                        Verdict::Done | Verdict::TooLate => Some(Instant::now() + LIFETIME),
                        Verdict::NoMark | Verdict::Mismatch => None,
                    };
                    if answer.verdict == Verdict::TooLate {
                        outcome = Err(PresenceError::Unavailable("redis is slow".to_owned()));
                    }
                }
                Err(error) => outcome = Err(error),
            }
        }
        outcome
    }

    fn write(&self, keys: &Keys, plan: &Plan) -> Option<Run> {
        let chunk = plan.chunks.front()?;
        let names = chunk
            .users
            .iter()
            .map(|(user, _)| keys.user(plan.bucket, user));
        let mut arguments = vec![
            self.gateway.as_ref().to_owned(),
            chunk.epoch.to_string(),
            chunk.seq.to_string(),
            chunk.step.name().to_owned(),
            LIFETIME.as_millis().to_string(),
            KEEP.as_millis().to_string(),
            keys.channel(),
        ];
        for (user, platforms) in &chunk.users {
            arguments.push(platforms.bits().to_string());
            arguments.push(user.as_str().to_owned());
        }
        Some(Run {
            code: &WRITE,
            keys: std::iter::once(keys.bucket(plan.bucket))
                .chain(names)
                .collect(),
            arguments,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writes of one bucket in a round.
struct Plan {
    bucket: usize,
    chunks: VecDeque<Chunk>,
    begins: bool,
    beginnings: usize,
}

impl State {
    fn plans(&mut self, scope: Scope<'_>) -> Vec<Plan> {
        let mut plans = Vec::new();
        for (n, b) in self.buckets.iter_mut().enumerate() {
            let wanted = match scope {
                Scope::Report(users) => {
                    b.is_dirty() && (!b.failing || users.iter().any(|(u, _)| bucket(u) == n))
                }
                Scope::Renewal { sweep } => b.is_dirty() || !b.is_whole() || sweep == Some(n),
            };
            if wanted {
                let begins = !b.is_whole();
                let sweep = matches!(scope, Scope::Renewal { sweep } if sweep == Some(n));
                plans.push(Plan {
                    bucket: n,
                    chunks: b.plan(sweep).into(),
                    begins,
                    beginnings: usize::from(begins),
                });
            }
        }
        plans
    }

    /// Takes note of the answer to the first chunk of a plan. One that was refused is planned anew.
    fn apply(&mut self, plan: &mut Plan, result: RedisResult<Value>) -> Result<()> {
        let answer = answer(result.map_err(unavailable)?)?;
        let bucket = &mut self.buckets[plan.bucket];
        let chunk = plan.chunks.pop_front();
        let lost = bucket.answered(chunk.as_ref(), &answer);
        metrics::counter!("magpie_presence_lost_total").increment(lost.len() as u64);
        self.lost.extend(lost);
        match answer.verdict {
            Verdict::Done if plan.chunks.is_empty() => bucket.finish(),
            Verdict::Done => {}
            _ if plan.beginnings == BEGINNINGS => {
                let why = "another process writes for the same gateway id";
                return Err(PresenceError::Unavailable(why.to_owned()));
            }
            _ => {
                metrics::counter!("magpie_presence_epochs_total").increment(1);
                plan.chunks = bucket.plan(false).into();
                plan.begins = true;
                plan.beginnings += 1;
            }
        }
        Ok(())
    }

    fn fail(&mut self, buckets: impl Iterator<Item = usize>) {
        for bucket in buckets {
            self.buckets[bucket].failing = true;
        }
    }

    fn is_written(&self, users: &[(UserId, Platforms)]) -> bool {
        let mut users = users.iter();
        users.all(|(user, _)| self.buckets[bucket(user)].is_written(user))
    }

    /// Until when lookups may take one of these users for offline, who is not.
    fn trusted_until(&self, users: &[(UserId, Platforms)]) -> Option<Instant> {
        users
            .iter()
            .filter(|(_, platforms)| !platforms.is_empty())
            .map(|(user, _)| (user, &self.buckets[bucket(user)]))
            .filter(|(user, bucket)| !bucket.is_written(user))
            .filter_map(|(_, bucket)| bucket.trusted_until)
            .max()
    }
}

/// Ends the marks of a gateway, and with them all its entries.
pub(crate) async fn forget(link: &Link, keys: &Keys, gateway: &GatewayId) -> Result<()> {
    let run = |n| Run {
        code: &FORGET,
        keys: vec![keys.bucket(n)],
        arguments: vec![gateway.as_ref().to_owned()],
    };
    let runs: Vec<Run> = (0..BUCKETS).map(run).collect();
    for result in link.run(&runs).await? {
        result.map_err(unavailable)?;
    }
    Ok(())
}

pub(crate) fn unavailable(error: impl std::fmt::Display) -> PresenceError {
    metrics::counter!("magpie_presence_failures_total").increment(1);
    PresenceError::Unavailable(error.to_string())
}

fn answer(value: Value) -> Result<Answer> {
    let numbers: Vec<u64> = from_redis_value(value).map_err(unavailable)?;
    let [state, now, epoch, seq, missing @ ..] = &*numbers else {
        return Err(unavailable("redis answered a script with too little"));
    };
    Ok(Answer {
        verdict: match state {
            0 => Verdict::NoMark,
            1 => Verdict::Done,
            2 => Verdict::Mismatch,
            _ => Verdict::TooLate,
        },
        now: *now,
        found: (*epoch, *seq),
        missing: missing
            .iter()
            .filter_map(|n| usize::try_from(*n).ok())
            .collect(),
    })
}
