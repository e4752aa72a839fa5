//! Caches learn of changes, and the worker of mentions of its work: every write to a watched collection is announced, after it, before its
//! caller is answered.
//!
//! [`Observed`] wraps the store, so that no service can forget it. Within a process a change is therefore enforced at once.
//! Between processes it travels as a notice of presence ([`relay`]), in batches, bounded: who may have missed one forgets
//! everything, and caches end by themselves after 30 s.

use std::{
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use magpie_presence::{Notice, SharedPresence};
use magpie_store::{
    Change, Document as _, Follow, Key, Outcome, Page, Row, RunItem, Schema, SharedStore, Store,
    Value,
    documents::{Black, Conversation, Friend, Group, GroupMember, Mention, SCHEMAS, User},
    store::Result,
};
use tokio::sync::{broadcast::error::RecvError, mpsc};

use crate::Deps;

/// What is no longer as caches have it.
#[derive(Debug, Clone, Copy)]
pub enum Stale<'a> {
    /// A document: its collection and key.
    Document(&'static Schema, &'a [Value]),
    /// Nobody knows what.
    Everything,
}

type Listener = Box<dyn Fn(Stale<'_>) + Send + Sync>;

/// Who wants to know of changes.
#[derive(Default)]
pub struct Invalidations {
    listeners: RwLock<Vec<Listener>>,
    /// The way to other processes, once there is one.
    outbound: OnceLock<mpsc::Sender<Words>>,
    /// A change did not fit into `outbound`.
    overflow: AtomicBool,
}

/// Collection and key of a document.
type Words = Vec<String>;

/// Changes that wait for the relay.
const WAITING: usize = 4096;
/// Changes in one notice.
const BATCH: usize = 100;
/// Pause after a notice that could not be sent.
const PAUSE: Duration = Duration::from_millis(200);

impl Invalidations {
    /// Calls `listener` with every changed document of a watched collection.
    pub fn listen(&self, listener: impl Fn(Stale<'_>) + Send + Sync + 'static) {
        self.listeners
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(listener));
    }

    fn announce(&self, schema: &'static Schema, key: &[Value]) {
        self.tell(Stale::Document(schema, key));
        let Some(outbound) = self.outbound.get() else {
            return;
        };
        let fits = words(schema, key).is_some_and(|words| outbound.try_send(words).is_ok());
        if !fits {
            self.overflow.store(true, Ordering::Release);
        }
    }

    fn tell(&self, stale: Stale<'_>) {
        let listeners = self.listeners.read();
        for listener in listeners.unwrap_or_else(PoisonError::into_inner).iter() {
            listener(stale);
        }
    }

    fn hear(&self, notice: &str) {
        let Ok(documents) = serde_json::from_str::<Vec<Words>>(notice) else {
            return self.tell(Stale::Everything);
        };
        for words in documents {
            let mut words = words.into_iter();
            let collection = words.next();
            let schema = SCHEMAS
                .iter()
                .find(|s| Some(s.collection) == collection.as_deref());
            match schema {
                Some(schema) => {
                    let key: Key = words.map(Value::from).collect();
                    self.tell(Stale::Document(schema, &key));
                }
                None => self.tell(Stale::Everything),
            }
        }
    }
}

/// Keys of watched collections are texts.
fn words(schema: &'static Schema, key: &[Value]) -> Option<Words> {
    let text = |value: &Value| match value {
        Value::Text(text) => Some(text.clone()),
        _ => None,
    };
    std::iter::once(Some(schema.collection.to_owned()))
        .chain(key.iter().map(text))
        .collect()
}

/// Says changes of this process to the others, and hears of theirs, until the shutdown.
pub fn relay(deps: &Deps) {
    let (outbound, waiting) = mpsc::channel(WAITING);
    if deps.invalidations.outbound.set(outbound).is_err() {
        return;
    }
    let all = Arc::clone(&deps.invalidations);
    let (presence, shutdown) = (Arc::clone(&deps.presence), deps.shutdown.clone());
    deps.tasks.spawn(async move {
        shutdown
            .run_until_cancelled(say(&all, &presence, waiting))
            .await
    });
    let all = Arc::clone(&deps.invalidations);
    let (mut notices, shutdown) = (deps.presence.notices(), deps.shutdown.clone());
    deps.tasks.spawn(async move {
        while let Some(notice) = shutdown.run_until_cancelled(notices.recv()).await {
            match notice {
                Ok(Notice::Said(words)) => all.hear(&words),
                Ok(Notice::Missed) | Err(RecvError::Lagged(_)) => all.tell(Stale::Everything),
                Err(RecvError::Closed) => return,
            }
        }
    });
}

async fn say(all: &Invalidations, presence: &SharedPresence, mut waiting: mpsc::Receiver<Words>) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        if all.overflow.swap(false, Ordering::AcqRel) {
            // No list: everybody forgets everything.
            batch.clear();
        }
        let notice = if batch.is_empty() {
            "everything".to_owned()
        } else {
            serde_json::to_string(&batch).unwrap_or_default()
        };
        batch.clear();
        if let Err(e) = presence.announce(notice).await {
            // Redis has forgotten us, or we it: the others hear that they missed something when they are back. Who is not
            // cut off hears it now, as soon as it can be said.
            tracing::debug!(error = %e, "changes were not announced; caches of other processes end by themselves");
            all.overflow.store(true, Ordering::Release);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

fn watched(schema: &'static Schema) -> bool {
    [
        User::SCHEMA.collection,
        Conversation::SCHEMA.collection,
        Friend::SCHEMA.collection,
        Group::SCHEMA.collection,
        GroupMember::SCHEMA.collection,
        Black::SCHEMA.collection,
        Mention::SCHEMA.collection,
    ]
    .contains(&schema.collection)
}

/// A store whose changes are announced.
pub struct Observed {
    inner: SharedStore,
    invalidations: Arc<Invalidations>,
}

impl Observed {
    /// Wraps `inner`.
    pub fn new(inner: SharedStore, invalidations: Arc<Invalidations>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            invalidations,
        })
    }

    fn changed(&self, schema: &'static Schema, key: &[Value]) {
        if watched(schema) {
            self.invalidations.announce(schema, key);
        }
    }

    fn follow_keys<'a>(writes: impl Iterator<Item = &'a Follow>) -> Vec<(&'static Schema, Key)> {
        writes
            .filter_map(|w| {
                let schema = w.schema();
                watched(schema).then(|| (schema, schema.key_of(w.row())))
            })
            .collect()
    }
}

#[async_trait]
impl Store for Observed {
    async fn prepare(&self, schemas: &[&'static Schema]) -> Result<()> {
        self.inner.prepare(schemas).await
    }

    async fn get(&self, schema: &'static Schema, key: Key) -> Result<Option<Row>> {
        self.inner.get(schema, key).await
    }

    async fn get_many(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<Vec<Option<Row>>> {
        self.inner.get_many(schema, keys).await
    }

    async fn page(&self, schema: &'static Schema, page: Page) -> Result<Vec<Row>> {
        self.inner.page(schema, page).await
    }

    async fn count(
        &self,
        schema: &'static Schema,
        index: &'static str,
        prefix: Vec<Value>,
    ) -> Result<u64> {
        self.inner.count(schema, index, prefix).await
    }

    async fn insert(&self, schema: &'static Schema, row: Row) -> Result<Outcome> {
        let key = schema.key_of(&row);
        let outcome = self.inner.insert(schema, row).await;
        self.changed(schema, &key);
        outcome
    }

    async fn insert_runs(
        &self,
        schema: &'static Schema,
        runs: Vec<Vec<RunItem>>,
    ) -> Result<Vec<Vec<Outcome>>> {
        let mut keys = Self::follow_keys(runs.iter().flatten().flat_map(|item| &item.then));
        if watched(schema) {
            let rows = runs.iter().flatten().map(|item| &item.row);
            keys.extend(rows.map(|row| (schema, schema.key_of(row))));
        }
        let outcomes = self.inner.insert_runs(schema, runs).await;
        keys.iter()
            .for_each(|(schema, key)| self.changed(schema, key));
        outcomes
    }

    async fn apply(&self, writes: Vec<Follow>) -> Result<()> {
        let keys = Self::follow_keys(writes.iter());
        let done = self.inner.apply(writes).await;
        keys.iter()
            .for_each(|(schema, key)| self.changed(schema, key));
        done
    }

    async fn compare_and_set(
        &self,
        schema: &'static Schema,
        row: Row,
        expected: i64,
    ) -> Result<bool> {
        let key = schema.key_of(&row);
        let done = self.inner.compare_and_set(schema, row, expected).await;
        self.changed(schema, &key);
        done
    }

    async fn update(
        &self,
        schema: &'static Schema,
        key: Key,
        changes: Vec<Change>,
    ) -> Result<bool> {
        let done = self.inner.update(schema, key.clone(), changes).await;
        self.changed(schema, &key);
        done
    }

    async fn delete_at(&self, schema: &'static Schema, key: Key, expected: i64) -> Result<bool> {
        let done = self.inner.delete_at(schema, key.clone(), expected).await;
        self.changed(schema, &key);
        done
    }

    async fn delete(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<u64> {
        let done = self.inner.delete(schema, keys.clone()).await;
        keys.iter().for_each(|key| self.changed(schema, key));
        done
    }
}
