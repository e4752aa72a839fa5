//! A member of a consumer group, as its worker sees it; `reader` is the thread behind it.
//!
//! The thread talks to librdkafka only while the worker waits in [`next`](Consumer::next). So partitions never go to another
//! member while a batch of them is being worked on (the group waits, up to `max_batch_time`), a worker that hangs loses
//! its partitions by that same limit, and no lock is held across the two.

use std::{
    collections::BTreeMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use magpie_log::{Batch, BatchLimits, Consumer, LogError, Position, Record, Result};
use tokio::sync::Notify;

use crate::{options::Options, reader::Reader, topic::TopicHandle};

/// What worker and thread share.
pub(crate) struct Member {
    pub(crate) topic: Arc<TopicHandle>,
    /// The group, as Magpie calls it.
    pub(crate) group: String,
    pub(crate) limits: BatchLimits,
    state: Mutex<State>,
    /// The thread waits here for work.
    wanted: Condvar,
    /// The worker waits here for a batch.
    ready: Notify,
    /// Told when the thread has ended.
    ended: tokio::sync::watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    wanted: bool,
    batch: Option<Result<Vec<Record>>>,
    closing: bool,
    /// The partitions of this member.
    owned: BTreeMap<u32, Owned>,
}

/// A partition of this member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Owned {
    /// Where it started.
    pub(crate) start: u64,
    /// The next offset that is not committed, and whether librdkafka has been told.
    pub(crate) committed: Option<u64>,
    pub(crate) told: bool,
}

impl Member {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the membership; the thread commits and leaves the group.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.wanted.notify_all();
        self.ready.notify_one();
    }

    pub(crate) fn closing(&self) -> bool {
        self.lock().closing
    }

    /// Waits until the thread has left the group.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.subscribe();
        // An error would mean that the sender is gone, which `self` holds.
        drop(ended.wait_for(|ended| *ended).await);
    }

    pub(crate) fn set_ended(&self) {
        self.ended.send_replace(true);
    }

    /// Blocks the thread until the worker wants a batch; false when it is time to leave.
    pub(crate) fn wait_wanted(&self) -> bool {
        let state = self
            .wanted
            .wait_while(self.lock(), |s| {
                !s.closing && (!s.wanted || s.batch.is_some())
            })
            .unwrap_or_else(PoisonError::into_inner);
        !state.closing
    }

    pub(crate) fn publish(&self, batch: Result<Vec<Record>>) {
        self.lock().batch = Some(batch);
        self.ready.notify_one();
    }

    /// Reads or changes the partitions of this member.
    pub(crate) fn with_owned<T>(&self, with: impl FnOnce(&mut BTreeMap<u32, Owned>) -> T) -> T {
        with(&mut self.lock().owned)
    }
}

/// The worker's side. Dropping it leaves the group in the background.
pub(crate) struct KafkaConsumer(Arc<Member>);

impl KafkaConsumer {
    pub(crate) fn join(
        topic: Arc<TopicHandle>,
        group: &str,
        limits: BatchLimits,
        options: &Options,
    ) -> Result<Self> {
        let member = Arc::new(Member {
            topic,
            group: group.to_owned(),
            limits,
            state: Mutex::default(),
            wanted: Condvar::new(),
            ready: Notify::new(),
            ended: tokio::sync::watch::Sender::new(false),
        });
        Reader::start(Arc::clone(&member), options)?;
        Ok(Self(member))
    }

    pub(crate) fn member(&self) -> &Arc<Member> {
        &self.0
    }
}

#[async_trait]
impl Consumer for KafkaConsumer {
    async fn next(&mut self) -> Result<Batch> {
        loop {
            {
                let mut state = self.0.lock();
                if state.closing {
                    return Err(LogError::Closed);
                }
                if let Some(batch) = state.batch.take() {
                    state.wanted = false;
                    return batch.map(|records| Batch { records });
                }
                state.wanted = true;
            }
            self.0.wanted.notify_all();
            self.0.ready.notified().await;
        }
    }

    async fn commit(&mut self, positions: &[Position]) -> Result<()> {
        let incarnation = self.0.topic.state.incarnation;
        let mut state = self.0.lock();
        if state.closing {
            return Err(LogError::Closed);
        }
        for position in positions {
            match state.owned.get_mut(&position.partition) {
                Some(owned) if position.incarnation == incarnation => {
                    let next = position.offset + 1;
                    if owned.committed.is_none_or(|committed| committed < next) {
                        owned.committed = Some(next);
                        owned.told = false;
                    }
                }
                // Another member has it: it starts at what was committed before, the effects are repeated.
                _ => self.0.topic.metrics.not_owned.increment(1),
            }
        }
        Ok(())
    }
}

impl Drop for KafkaConsumer {
    fn drop(&mut self) {
        self.0.close();
    }
}
