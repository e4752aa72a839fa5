//! The servers of these tests, and databases of their own on them.

use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use magpie_store::StoreError;
use magpie_store_mongo::{MongoStore, Options};
use magpie_testdeps::{Kind, Server};

/// Names another server for the tests that harm none: a real replica set, or a second implementation of the protocol. Their
/// databases stay there.
const URI: &str = "MAGPIE_TEST_MONGODB_URI";

/// The URI of the server that all harmless tests share.
pub(crate) fn shared_uri() -> String {
    static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(Kind::Mongo));
    std::env::var(URI).unwrap_or_else(|_unset| SHARED.url())
}

/// The name of a database that nobody else has.
pub(crate) fn fresh_database() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let start = magpie_types::time::now_ms();
    format!("magpie_test_{start}_{}_{number}", std::process::id())
}

/// Settings that give up early.
pub(crate) fn impatient(uri: &str) -> Options {
    Options {
        connect_timeout: Duration::from_millis(500),
        server_selection_timeout: Duration::from_millis(500),
        call_timeout: Duration::from_secs(1),
        heartbeat: Duration::from_millis(500),
        database: fresh_database(),
        ..Options::new(uri)
    }
}

/// Waits until the call succeeds; for servers that come back.
pub(crate) async fn until_available<T, F>(mut call: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T, StoreError>>,
{
    let work = async {
        loop {
            match call().await {
                Ok(answer) => return answer,
                Err(StoreError::Unavailable(_)) => {
                    tokio::time::sleep(Duration::from_millis(10)).await
                }
                Err(e) => panic!("{e}"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .expect("the store is available again")
}

/// A connection to this database. What a call answers is tested, not how soon: a busy machine may take long.
pub(crate) async fn connect(uri: &str, database: &str) -> Arc<MongoStore> {
    let options = Options {
        call_timeout: Duration::from_secs(60),
        database: database.to_owned(),
        ..Options::new(uri)
    };
    MongoStore::connect(options)
        .await
        .expect("the server answers")
}
