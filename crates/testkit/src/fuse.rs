//! A store that dies in the middle of a change, as a process does: after a number of writes, nothing is written any more. Or one
//! that can't be read for a while.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use async_trait::async_trait;
use magpie_service::Deps;
use magpie_store::{
    Change, Documents as _, Follow, Intends, Key, Outcome, Page, Row, RunItem, Schema, SharedStore,
    Store, StoreError, Value, store::Result,
};

/// Writes left without end.
const WHOLE: i64 = i64::MAX;

/// A store that stops writing after a number of writes, and can be mended.
pub struct Fuse {
    inner: SharedStore,
    left: AtomicI64,
    blind: AtomicBool,
    listless: AtomicBool,
}

impl Fuse {
    /// A store that is whole, and `deps` with it.
    pub fn new(deps: &Deps) -> (Arc<Self>, Deps) {
        let fuse = Arc::new(Self {
            inner: Arc::clone(&deps.store),
            left: AtomicI64::new(WHOLE),
            blind: AtomicBool::new(false),
            listless: AtomicBool::new(false),
        });
        let store = Arc::clone(&fuse);
        (
            fuse,
            Deps {
                store,
                ..deps.clone()
            },
        )
    }

    /// From now on `writes` writes succeed and then none.
    pub fn blow_after(&self, writes: i64) {
        self.left.store(writes, Ordering::SeqCst);
    }

    /// Writes succeed again. Whether the fuse had blown.
    pub fn mend(&self) -> bool {
        self.left.swap(WHOLE, Ordering::SeqCst) < 0
    }

    /// Whether documents can't be read from now on.
    pub fn go_blind(&self, blind: bool) {
        self.blind.store(blind, Ordering::SeqCst);
    }

    /// Whether lists can't be read from now on; single documents can.
    pub fn lose_lists(&self, lost: bool) {
        self.listless.store(lost, Ordering::SeqCst);
    }

    fn look(&self) -> Result<()> {
        if self.blind.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("nothing can be read".to_owned()));
        }
        Ok(())
    }

    fn burn(&self) -> Result<()> {
        let left = self.left.load(Ordering::SeqCst);
        if left == WHOLE || self.left.fetch_sub(1, Ordering::SeqCst) > 0 {
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
        self.look()?;
        self.inner.get(schema, key).await
    }

    async fn get_many(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<Vec<Option<Row>>> {
        self.look()?;
        self.inner.get_many(schema, keys).await
    }

    async fn page(&self, schema: &'static Schema, page: Page) -> Result<Vec<Row>> {
        self.look()?;
        if self.listless.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("no list can be read".to_owned()));
        }
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

    async fn delete_at(&self, schema: &'static Schema, key: Key, expected: i64) -> Result<bool> {
        self.burn()?;
        self.inner.delete_at(schema, key, expected).await
    }

    async fn delete(&self, schema: &'static Schema, keys: Vec<Key>) -> Result<u64> {
        self.burn()?;
        self.inner.delete(schema, keys).await
    }
}

/// Makes all intents of a collection so old that a worker that starts now takes them over. How many there were.
///
/// # Panics
/// The store fails.
pub async fn age_intents<D: Intends>(store: &dyn Store) -> usize {
    let all = store.list::<D>(Page::of("key", Vec::new(), 1000)).await;
    let mut aged = 0;
    for mut document in all.expect("the collection can be read") {
        if document.pending().is_empty() {
            continue;
        }
        let mut old = vec![0; 8];
        old.extend(document.pending().iter().skip(8));
        let rev = document.rev();
        document.set(rev + 1, old.into());
        let set = store.replace(document, rev).await;
        assert!(set.expect("the document can be written"));
        aged += 1;
    }
    aged
}
