//! The write-ahead log stays short, under load and afterwards.

use std::{path::Path, sync::Arc, time::Duration};

use magpie_store::{Document, Documents, Outcome, Store, conformance::Item, key};
use magpie_store_sqlite::{Options, SqliteStore};
use tokio::task::JoinSet;

fn log_bytes(folder: &Path) -> u64 {
    std::fs::metadata(folder.join("store.db-wal"))
        .unwrap()
        .len()
}

fn item(shelf: &str, place: i64) -> Item {
    let (shelf, name) = (shelf.to_owned(), format!("n{place}"));
    Item {
        shelf,
        name,
        place,
        color: String::new(),
        body: vec![3; 2_000].into(),
        rev: 1,
    }
}

async fn fill(store: &Arc<SqliteStore>, rows: i64) {
    let mut tasks = JoinSet::new();
    for shelf in 0..8 {
        let store = Arc::clone(store);
        tasks.spawn(async move {
            let shelf = format!("s{shelf}");
            for place in 0..rows {
                assert_eq!(
                    store.add(item(&shelf, place)).await.unwrap(),
                    Outcome::Inserted
                );
                let found = store
                    .find::<Item>(key![shelf.as_str(), format!("n{place}")])
                    .await
                    .unwrap();
                assert!(found.is_some(), "written and acknowledged, but not read");
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_bounded_while_writers_and_readers_are_busy() {
    let folder = tempfile::tempdir().unwrap();
    let (soft, hard) = (64 << 10, 256 << 10);
    let options = Options {
        wal_soft_limit: soft,
        wal_hard_limit: hard,
        ..Options::default()
    };
    let store = SqliteStore::open(folder.path().join("store.db"), options).unwrap();
    store.prepare(&[Item::SCHEMA]).await.unwrap();
    fill(&store, 150).await;
    // One transaction may pass the limit before the writer stops for it.
    let bytes = log_bytes(folder.path());
    assert!(bytes < 3 * hard, "{bytes} bytes of log for 3 MB of data");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn log_is_cut_when_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options {
        idle_checkpoint: Duration::from_millis(10),
        ..Options::default()
    };
    let store = SqliteStore::open(folder.path().join("store.db"), options).unwrap();
    store.prepare(&[Item::SCHEMA]).await.unwrap();
    for round in 0..3 {
        store.add(item("a", round)).await.unwrap();
        let cut = async {
            while log_bytes(folder.path()) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), cut)
            .await
            .unwrap();
        assert!(
            store
                .find::<Item>(key!["a", format!("n{round}")])
                .await
                .unwrap()
                .is_some()
        );
    }
}
