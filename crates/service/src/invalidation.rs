//! Caches learn of changes: every write to a watched collection is announced, after it, before its caller is answered.
//!
//! [`Observed`] wraps the store, so that no service can forget it. Within a process a change is therefore enforced at once;
//! between processes the announcement travels with presence and caches end by themselves after 30 s.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use magpie_store::{
    Change, Document as _, Follow, Key, Outcome, Page, Row, RunItem, Schema, SharedStore, Store,
    Value,
    documents::{Conversation, Friend, User},
    store::Result,
};

type Listener = Box<dyn Fn(&'static Schema, &[Value]) + Send + Sync>;

/// Who wants to know of changes.
#[derive(Default)]
pub struct Invalidations(RwLock<Vec<Listener>>);

impl Invalidations {
    /// Calls `listener` with collection and key of every changed document of a watched collection.
    pub fn listen(&self, listener: impl Fn(&'static Schema, &[Value]) + Send + Sync + 'static) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Box::new(listener));
    }

    fn announce(&self, schema: &'static Schema, key: &[Value]) {
        for listener in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            listener(schema, key);
        }
    }
}

fn watched(schema: &'static Schema) -> bool {
    [
        User::SCHEMA.collection,
        Conversation::SCHEMA.collection,
        Friend::SCHEMA.collection,
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
            .filter_map(|w| match w {
                Follow::Max { schema, row, .. } | Follow::InsertIfAbsent { schema, row } => {
                    watched(schema).then(|| (*schema, schema.key_of(row)))
                }
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
        let keys = Self::follow_keys(runs.iter().flatten().flat_map(|item| &item.then));
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

    async fn delete(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<u64> {
        let done = self.inner.delete(schema, keys.clone()).await;
        keys.iter().for_each(|key| self.changed(schema, key));
        done
    }
}
