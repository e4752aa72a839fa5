//! The conformance suite of the trait.

use async_trait::async_trait;
use magpie_store::{SharedStore, conformance::Factory};

use crate::server::{connect, fresh_database, shared_uri};

struct OwnDatabase {
    uri: String,
    database: String,
}

impl OwnDatabase {
    fn new() -> Self {
        Self {
            uri: shared_uri(),
            database: fresh_database(),
        }
    }
}

#[async_trait]
impl Factory for OwnDatabase {
    async fn open(&self) -> SharedStore {
        connect(&self.uri, &self.database).await
    }

    async fn reopen(&self) -> SharedStore {
        self.open().await
    }
}

magpie_store::store_conformance!(OwnDatabase::new());
