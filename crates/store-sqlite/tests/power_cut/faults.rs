//! The store on the file layer of [`crate::vfs`].

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
};

use crate::vfs::{Fault, cut_power, install, kill, set_fault};
use magpie_store::{
    Document, Documents, Follow, Outcome, Page, RunItem, SharedStore, Store, StoreError,
    conformance::{Counter, Item},
    key,
};
use magpie_store_sqlite::{Options, SqliteStore};
use tokio::task::JoinSet;

async fn open(folder: &Path) -> SharedStore {
    install();
    // Short logs, so that cuts also meet checkpoints and restarts of the log.
    let options = Options {
        wal_soft_limit: 64 << 10,
        ..Options::default()
    };
    let store = SqliteStore::open(folder.join("store.db"), options).unwrap();
    store
        .prepare(&[Item::SCHEMA, Counter::SCHEMA])
        .await
        .unwrap();
    store
}

fn place(shelf: &str, place: i64) -> RunItem {
    let item = Item {
        shelf: shelf.to_owned(),
        name: format!("n{place}"),
        place,
        color: "c".repeat(40),
        body: vec![1; 300].into(),
        rev: 1,
    };
    let counter = Counter {
        name: shelf.to_owned(),
        high: place,
        higher: 0,
        other: 0,
        rev: 1,
    };
    let then = vec![Follow::Max {
        schema: Counter::SCHEMA,
        row: counter.into_row(),
        fields: &[Counter::high],
    }];
    RunItem {
        row: item.into_row(),
        then,
    }
}

async fn stored(store: &SharedStore, shelf: &str) -> Vec<i64> {
    let items = store
        .list::<Item>(Page::of("by_place", key![shelf], 10_000))
        .await
        .unwrap();
    items.into_iter().map(|item| item.place).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_a_power_cut() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let acknowledged = Arc::new(Mutex::new(BTreeMap::<String, i64>::new()));
    let mut writers = JoinSet::new();
    for shelf in 0..6 {
        let (store, acknowledged) = (Arc::clone(&store), Arc::clone(&acknowledged));
        writers.spawn(async move {
            let shelf = format!("s{shelf}");
            for first in (1..).step_by(2) {
                let run = vec![place(&shelf, first), place(&shelf, first + 1)];
                let outcomes = store.insert_runs(Item::SCHEMA, vec![run]).await.unwrap();
                assert_eq!(outcomes, [[Outcome::Inserted, Outcome::Inserted]]);
                acknowledged
                    .lock()
                    .unwrap()
                    .insert(shelf.clone(), first + 1);
            }
        });
    }
    let total = || acknowledged.lock().unwrap().values().sum::<i64>();
    let mut random = 88_172_645_463_325_252_u64;
    for cut in 0..40 {
        // Each cut comes after some progress; every third one keeps none of the unsynced bytes.
        let enough = total() + 60;
        while total() < enough {
            tokio::task::yield_now().await;
        }
        let promised = acknowledged.lock().unwrap().clone();
        let after = tempfile::tempdir().unwrap();
        cut_power(folder.path(), after.path(), || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            cut % 3 != 0 && random.is_multiple_of(2)
        });
        let reopened = open(after.path()).await;
        for (shelf, promised) in promised {
            let places = stored(&reopened, &shelf).await;
            let last = places.last().copied().unwrap_or(0);
            assert!(
                last >= promised,
                "cut {cut}: {shelf} has {last} of {promised}"
            );
            assert_eq!(last % 2, 0, "cut {cut}: half a request");
            assert_eq!(places, (1..=last).collect::<Vec<_>>(), "cut {cut}");
            let counter = reopened
                .find::<Counter>(key![shelf.as_str()])
                .await
                .unwrap();
            assert_eq!(counter.map(|c| c.high), Some(last), "cut {cut}");
        }
    }
    writers.abort_all();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_refuses_writes_and_nothing_else() {
    let text = refused_while(Fault::Full).await;
    assert!(text.contains("the disk is full"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_sync_is_never_acknowledged() {
    let text = refused_while(Fault::NoSync).await;
    assert!(text.contains("i/o error"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_process_left_unsynced_is_synced_before_anybody_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let write = async |first: i64| {
        let run = vec![vec![place("s", first)]];
        store.insert_runs(Item::SCHEMA, run).await
    };
    write(1).await.unwrap();
    set_fault(folder.path(), Some(Fault::NoSync));
    let refused = write(2).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    let (killed, after) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    kill(folder.path(), killed.path());
    let survivor = open(killed.path()).await;
    let seen = stored(&survivor, "s").await;
    assert_eq!(seen, [1, 2], "the write was not in the page cache");
    cut_power(killed.path(), after.path(), || false);
    assert_eq!(stored(&open(after.path()).await, "s").await, seen);
}

/// Writes meet the fault and say so; afterwards the same writes work, and what was refused left nothing behind.
async fn refused_while(fault: Fault) -> String {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path()).await;
    let write = async |first: i64| {
        let runs = (first..first + 20).map(|n| vec![place("s", n)]).collect();
        store.insert_runs(Item::SCHEMA, runs).await
    };
    write(1).await.unwrap();
    let mut text = String::new();
    for round in 1..=5 {
        set_fault(folder.path(), Some(fault));
        for _ in 0..3 {
            match write(round * 20 + 1).await {
                Err(StoreError::Unavailable(reason)) => text = reason,
                other => panic!("{other:?}"),
            }
            assert_eq!(stored(&store, "s").await.len() as i64, round * 20);
        }
        set_fault(folder.path(), None);
        let outcomes = write(round * 20 + 1).await.unwrap();
        assert!(
            outcomes.iter().flatten().all(|o| *o == Outcome::Inserted),
            "{outcomes:?}"
        );
    }
    drop(store);
    let store = open(folder.path()).await;
    assert_eq!(stored(&store, "s").await, (1..=120).collect::<Vec<_>>());
    text
}
