//! The conformance suite of the trait.

use async_trait::async_trait;
use magpie_store::{SharedStore, conformance::Factory};
use magpie_store_sqlite::{Options, SqliteStore};
use tempfile::TempDir;

struct InFolder(TempDir);

impl InFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }
}

#[async_trait]
impl Factory for InFolder {
    async fn open(&self) -> SharedStore {
        SqliteStore::open(self.0.path().join("store.db"), Options::default())
            .expect("the store opens")
    }

    async fn reopen(&self) -> SharedStore {
        self.open().await
    }
}

magpie_store::store_conformance!(InFolder::new());
