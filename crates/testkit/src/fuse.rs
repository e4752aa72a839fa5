//! A store that can fail: after so many writes every further one is refused, as if the process had died there.

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use async_trait::async_trait;
use magpie_store::{
    Change, Follow, Key, Outcome, Page, Row, RunItem, Schema, SharedStore, Store, StoreError,
    store::Result,
};

/// See the module; reads always work.
pub struct Fuse {
    inner: SharedStore,
    /// Writes that still succeed.
    left: AtomicI64,
}

impl Fuse {
    /// A store that does not fail yet.
    #[must_use]
    pub fn new(inner: SharedStore) -> Arc<Self> {
        Arc::new(Self {
            inner,
            left: AtomicI64::new(i64::MAX),
        })
    }

    /// Fails after so many more writes.
    pub fn after(&self, writes: i64) {
        self.left.store(writes, Ordering::SeqCst);
    }

    /// Works again; whether a write was refused.
    pub fn mend(&self) -> bool {
        self.left.swap(i64::MAX, Ordering::SeqCst) < 0
    }

    fn burn(&self) -> Result<()> {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        Err(StoreError::Unavailable("the fuse has blown".to_owned()))
    }
}

#[async_trait]
impl Store for Fuse {
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
        prefix: Key,
    ) -> Result<u64> {
        self.inner.count(schema, index, prefix).await
    }

    async fn insert(&self, schema: &'static Schema, row: Row) -> Result<Outcome> {
        self.burn()?;
        self.inner.insert(schema, row).await
    }

    async fn insert_runs(
        &self,
        schema: &'static Schema,
        runs: Vec<Vec<RunItem>>,
    ) -> Result<Vec<Vec<Outcome>>> {
        self.burn()?;
        self.inner.insert_runs(schema, runs).await
    }

    async fn apply(&self, writes: Vec<Follow>) -> Result<()> {
        self.burn()?;
        self.inner.apply(writes).await
    }

    async fn compare_and_set(
        &self,
        schema: &'static Schema,
        row: Row,
        expected: i64,
    ) -> Result<bool> {
        self.burn()?;
        self.inner.compare_and_set(schema, row, expected).await
    }

    async fn update(
        &self,
        schema: &'static Schema,
        key: Key,
        changes: Vec<Change>,
    ) -> Result<bool> {
        self.burn()?;
        self.inner.update(schema, key, changes).await
    }

    async fn delete(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<u64> {
        self.burn()?;
        self.inner.delete(schema, keys).await
    }

    async fn delete_at(&self, schema: &'static Schema, key: Key, expected: i64) -> Result<bool> {
        self.burn()?;
        self.inner.delete_at(schema, key, expected).await
    }
}
