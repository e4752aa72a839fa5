//! The message log on Kafka, for clusters.
//!
//! - `appender` holds the producer: idempotent, acknowledged by all in-sync replicas, in the order of the calls. On Kafka a
//!   deferred topic promises what a synced one does.
//! - `consumer` and `reader` are the two sides of a group's member, `group` the callbacks of the group protocol, `start` the
//!   decision where a partition starts.
//! - `topics` makes and checks the topics at the start, `durability` says what their settings are worth; `native` is the one
//!   call that rdkafka lacks.
//! - `backlog` asks the brokers what a group has not done. `repartition` has the steps to topics with other partitions.
//!
//! At least once: an append whose future errs may be in the log all the same, and two consumers may hold one partition for a
//! moment (a process that was stopped and goes on). The pipeline recognises both by the store's unique keys.
//!
//! This is the only crate that may depend on rdkafka.

mod appender;
mod backlog;
mod consumer;
mod context;
mod durability;
mod group;
mod metrics;
mod native;
mod offsets;
mod options;
mod reader;
mod repartition;
mod start;
mod topic;
mod topics;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::{BoxFuture, join_all, ready};
use magpie_log::{
    Backlog, BatchLimits, Consumer, LogError, MessageLog, Position, Result, Topic, partition_of,
};

use crate::{
    appender::Appender,
    backlog::Lookup,
    consumer::{KafkaConsumer, Member},
    topic::TopicHandle,
};
pub use crate::{
    options::{Options, StartOffset},
    repartition::Repartition,
    topics::{Remembered, TopicState},
};

const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Groups whose backlog may be asked for; each holds a client.
const MAX_LOOKUPS: usize = 16;

/// The log of a cluster, as one process sees it.
pub struct KafkaLog {
    options: Options,
    topics: [Arc<TopicHandle>; 4],
    warnings: Vec<String>,
    appender: Appender,
    members: Mutex<Vec<Weak<Member>>>,
    lookups: Mutex<HashMap<(Topic, String), Arc<Lookup>>>,
    /// Why the inbound topic takes nothing.
    refusing: RwLock<Option<&'static str>>,
    closed: AtomicBool,
}

impl KafkaLog {
    /// Connects, makes the topics that are missing and checks those that are there.
    ///
    /// `Unavailable` says that no broker answers or what it refuses; `Damaged` that a topic is not as it must be. Both say
    /// what to do. Settings that are less than safe are logged, and answered by [`warnings`](Self::warnings).
    pub async fn open(options: Options) -> Result<Arc<Self>> {
        options.check().map_err(LogError::Unavailable)?;
        let found = topics::prepare(&options).await?;
        for warning in &found.warnings {
            tracing::warn!("{warning}");
        }
        let appender = Appender::start(&options)?;
        let log = Arc::new(Self {
            topics: found
                .topics
                .map(|state| Arc::new(TopicHandle::new(state, &options))),
            warnings: found.warnings,
            appender,
            members: Mutex::default(),
            lookups: Mutex::default(),
            refusing: RwLock::new(None),
            closed: AtomicBool::new(false),
            options,
        });
        if !log.options.watched.is_empty() {
            tokio::spawn(watch(Arc::downgrade(&log)));
        }
        Ok(log)
    }

    /// What the topics are: to be kept in the store, and compared by [`TopicState::compare`] at the next start.
    pub fn topics(&self) -> [TopicState; 4] {
        self.topics.each_ref().map(|topic| topic.state)
    }

    /// What an operator should change so that no acknowledged message can be lost.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    fn topic(&self, topic: Topic) -> &Arc<TopicHandle> {
        let [inbound, stored, offline, parked] = &self.topics;
        match topic {
            Topic::Inbound => inbound,
            Topic::Stored => stored,
            Topic::Offline => offline,
            Topic::Parked => parked,
        }
    }

    fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Relaxed) {
            true => Err(LogError::Closed),
            false => Ok(()),
        }
    }

    fn try_append(
        &self,
        topic: Topic,
        key: &[u8],
        value: &Bytes,
    ) -> Result<BoxFuture<'static, Result<Position>>> {
        self.check_open()?;
        let size = key.len() + value.len();
        let limit = self.options.max_record;
        if size > limit {
            return Err(LogError::TooLarge { size, limit });
        }
        let handle = self.topic(topic);
        if topic == Topic::Inbound
            && let Some(why) = *self.refusing.read().unwrap_or_else(PoisonError::into_inner)
        {
            handle.metrics.refused.increment(1);
            return Err(LogError::Unavailable(why.to_owned()));
        }
        let partition = partition_of(key, handle.state.partitions);
        self.appender.append(handle, partition, key, value)
    }

    fn members(&self) -> MutexGuard<'_, Vec<Weak<Member>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live_members(&self) -> Vec<Arc<Member>> {
        self.members().iter().filter_map(Weak::upgrade).collect()
    }

    /// What consumers of this process have committed.
    fn committed_here(&self, topic: Topic, group: &str) -> BTreeMap<u32, u64> {
        let mut all = BTreeMap::new();
        for member in self.live_members() {
            if member.topic.state.topic == topic && member.group == group {
                member.with_owned(|owned| {
                    all.extend(owned.iter().filter_map(|(p, o)| Some((*p, o.committed?))));
                });
            }
        }
        all
    }

    fn lookup(&self, topic: Topic, group: &str) -> Result<Arc<Lookup>> {
        let mut lookups = self.lookups.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (topic, group.to_owned());
        if let Some(found) = lookups.get(&key) {
            return Ok(Arc::clone(found));
        }
        if lookups.len() >= MAX_LOOKUPS {
            return Err(LogError::Unavailable(format!(
                "the backlogs of {MAX_LOOKUPS} groups are asked for already"
            )));
        }
        let lookup = Arc::new(Lookup::new(
            Arc::clone(self.topic(topic)),
            group,
            &self.options,
        )?);
        lookups.insert(key, Arc::clone(&lookup));
        Ok(lookup)
    }

    /// Looks at the watched groups; answers why the inbound topic should take nothing.
    async fn look(&self) -> Result<Option<&'static str>> {
        let mut why = None;
        for (topic, group) in &self.options.watched {
            let Backlog { bytes, age, .. } = self.backlog(*topic, group).await?;
            self.topic(*topic)
                .metrics
                .backlog(group, bytes, age.as_secs_f64());
            if *topic != Topic::Inbound {
                continue;
            }
            if bytes > self.options.max_backlog_bytes {
                why = Some("busy: the backlog has reached its size limit");
            } else if age > self.options.max_backlog_age {
                why = Some("busy: the backlog has reached its age limit");
            }
        }
        Ok(why)
    }
}

/// Looks at the backlogs until the log is gone. While they can't be read, the last answer holds.
async fn watch(log: Weak<KafkaLog>) {
    let mut tick = tokio::time::interval(WATCH_INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let Some(log) = log.upgrade() else {
            return;
        };
        match log.look().await {
            Ok(why) => *log.refusing.write().unwrap_or_else(PoisonError::into_inner) = why,
            Err(LogError::Closed) => return,
            Err(e) => tracing::warn!(error = %e, "backlogs can't be watched"),
        }
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        for member in self.live_members() {
            member.close();
        }
    }
}

#[async_trait]
impl MessageLog for KafkaLog {
    fn partitions(&self, topic: Topic) -> u32 {
        self.topic(topic).state.partitions
    }

    fn append(
        &self,
        topic: Topic,
        key: &[u8],
        value: Bytes,
    ) -> BoxFuture<'static, Result<Position>> {
        self.try_append(topic, key, &value)
            .unwrap_or_else(|e| Box::pin(ready(Err(e))))
    }

    async fn subscribe(
        &self,
        topic: Topic,
        group: &str,
        limits: BatchLimits,
    ) -> Result<Box<dyn Consumer>> {
        self.check_open()?;
        let topic = Arc::clone(self.topic(topic));
        let consumer = KafkaConsumer::join(topic, group, limits, &self.options)?;
        let mut members = self.members();
        members.retain(|member| member.strong_count() > 0);
        members.push(Arc::downgrade(consumer.member()));
        drop(members);
        // A close in between has not seen it.
        self.check_open()?;
        Ok(Box::new(consumer))
    }

    async fn backlog(&self, topic: Topic, group: &str) -> Result<Backlog> {
        self.check_open()?;
        let lookup = self.lookup(topic, group)?;
        let committed = self.committed_here(topic, group);
        tokio::task::spawn_blocking(move || lookup.ask(&committed))
            .await
            .map_err(|_stopping| LogError::Closed)?
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Relaxed);
        let members = self.live_members();
        for member in &members {
            member.close();
        }
        let left = join_all(members.iter().map(|member| member.ended()));
        let left = tokio::time::timeout(self.options.close_timeout, left);
        let (left, appended) = futures::future::join(left, self.appender.close()).await;
        let lookups =
            std::mem::take(&mut *self.lookups.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(move || drop(lookups));
        appended?;
        left.map_err(|_elapsed| {
            LogError::Unavailable(
                "consumers could not commit in time; what is not committed will be handed out again".to_owned(),
            )
        })?;
        Ok(())
    }
}
