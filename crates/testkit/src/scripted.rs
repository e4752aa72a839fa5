//! A message log that hands out the batches a test feeds it and keeps what is appended.
//!
//! With it a consumer can be shown what a real log shows only after a crash or a takeover: the same record again at the same
//! position, a batch in a chosen cut, or nothing new while another owner works on the same store.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use magpie_log::{
    Backlog, Batch, BatchLimits, Consumer, LogError, MessageLog, Position, Record, Result, Topic,
};
use tokio::sync::{Mutex as AsyncMutex, mpsc};

use crate::until;

/// See the module; a clone is the same log.
#[derive(Clone)]
pub struct ScriptedLog(Arc<Inner>);

struct Inner {
    feed: mpsc::UnboundedSender<Batch>,
    batches: AsyncMutex<mpsc::UnboundedReceiver<Batch>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    appended: Vec<(Topic, Bytes, Bytes)>,
    fed: usize,
    committed: usize,
    /// Appends to refuse before the next one succeeds.
    refusals: usize,
    /// Largest value that is taken.
    limit: Option<usize>,
}

impl Default for ScriptedLog {
    fn default() -> Self {
        let (feed, batches) = mpsc::unbounded_channel();
        Self(Arc::new(Inner {
            feed,
            batches: AsyncMutex::new(batches),
            state: Mutex::default(),
        }))
    }
}

impl ScriptedLog {
    /// Hands out a batch of (offset, key, value), all of one partition, and waits until the consumer has committed it.
    ///
    /// # Panics
    /// The consumer does not commit it in time.
    pub async fn feed(&self, records: impl IntoIterator<Item = (u64, &str, Vec<u8>)>) {
        self.feed_old(records, 0).await;
    }

    /// Like [`feed`](Self::feed), with records that were appended `age_ms` ago.
    ///
    /// # Panics
    /// The consumer does not commit it in time.
    pub async fn feed_old(
        &self,
        records: impl IntoIterator<Item = (u64, &str, Vec<u8>)>,
        age_ms: i64,
    ) {
        let appended_at = magpie_types::time::now_ms() - age_ms;
        let records = records
            .into_iter()
            .map(|(offset, key, value)| Record {
                position: Position {
                    incarnation: 7,
                    partition: 0,
                    offset,
                },
                appended_at,
                key: Bytes::copy_from_slice(key.as_bytes()),
                value: value.into(),
            })
            .collect();
        let fed = self.0.lock(|state| {
            state.fed += 1;
            state.fed
        });
        self.0
            .feed
            .send(Batch { records })
            .expect("the log keeps its receiver");
        let committed = async || (self.0.lock(|state| state.committed) >= fed).then_some(());
        until("the batch is committed", committed).await;
    }

    /// Takes what was appended to a topic since the last call: keys and values.
    #[must_use]
    pub fn take(&self, topic: Topic) -> Vec<(Bytes, Bytes)> {
        self.0.lock(|state| {
            let all = std::mem::take(&mut state.appended);
            let (taken, left) = all.into_iter().partition(|(of, _, _)| *of == topic);
            state.appended = left;
            let taken: Vec<(Topic, Bytes, Bytes)> = taken;
            taken
                .into_iter()
                .map(|(_, key, value)| (key, value))
                .collect()
        })
    }

    /// Refuses the next `count` appends.
    pub fn refuse(&self, count: usize) {
        self.0.lock(|state| state.refusals = count);
    }

    /// Takes no value larger than this from now on.
    pub fn limit(&self, bytes: usize) {
        self.0.lock(|state| state.limit = Some(bytes));
    }
}

impl Inner {
    fn lock<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl MessageLog for ScriptedLog {
    fn partitions(&self, _topic: Topic) -> u32 {
        1
    }

    fn append(
        &self,
        topic: Topic,
        key: &[u8],
        value: Bytes,
    ) -> BoxFuture<'static, Result<Position>> {
        let key = Bytes::copy_from_slice(key);
        let result = self.0.lock(|state| {
            if state.refusals > 0 {
                state.refusals -= 1;
                return Err(LogError::Unavailable("refused by the test".to_owned()));
            }
            if let Some(limit) = state.limit.filter(|limit| value.len() > *limit) {
                let size = value.len();
                return Err(LogError::TooLarge { size, limit });
            }
            state.appended.push((topic, key, value));
            Ok(Position {
                incarnation: 7,
                partition: 0,
                offset: state.appended.len() as u64,
            })
        });
        Box::pin(std::future::ready(result))
    }

    async fn subscribe(
        &self,
        _topic: Topic,
        _group: &str,
        _limits: BatchLimits,
    ) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(self.clone()))
    }

    async fn backlog(&self, _topic: Topic, _group: &str) -> Result<Backlog> {
        Ok(Backlog::default())
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Consumer for ScriptedLog {
    async fn next(&mut self) -> Result<Batch> {
        let mut batches = self.0.batches.lock().await;
        batches.recv().await.ok_or(LogError::Closed)
    }

    async fn commit(&mut self, _positions: &[Position]) -> Result<()> {
        self.0.lock(|state| state.committed += 1);
        Ok(())
    }
}
