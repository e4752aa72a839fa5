//! The server is away or hangs: calls end with `Unavailable`, and the same store works again when it is back.

use std::{sync::Arc, time::Duration};

use magpie_store::{
    Change, Document, Documents, Follow, Outcome, Page, Store, StoreError,
    conformance::{Counter, Item},
    key,
};
use magpie_store_mongo::MongoStore;
use magpie_testdeps::{Kind, Server};

use crate::server::{impatient, until_available};

fn counter(name: &str) -> Counter {
    Counter {
        name: name.to_owned(),
        high: 1,
        higher: 1,
        other: 1,
        rev: 1,
    }
}

async fn started() -> (Server, Arc<MongoStore>) {
    let server = tokio::task::spawn_blocking(|| Server::start(Kind::Mongo))
        .await
        .unwrap();
    let store = MongoStore::connect(impatient(&server.url())).await.unwrap();
    store
        .prepare(&[Counter::SCHEMA, Item::SCHEMA])
        .await
        .unwrap();
    assert_eq!(
        store.add(counter("before")).await.unwrap(),
        Outcome::Inserted
    );
    (server, store)
}

/// Every kind of call; a call that hangs fails the test.
async fn assert_unavailable(store: &MongoStore) {
    let calls = async {
        let item = Follow::InsertIfAbsent {
            schema: Counter::SCHEMA,
            row: counter("followed").into_row(),
        };
        let results = [
            store.prepare(&[Counter::SCHEMA]).await.err(),
            store.find::<Counter>(key!["before"]).await.err(),
            store
                .list::<Item>(Page::of("by_place", key!["a"], 5))
                .await
                .err(),
            store.count(Counter::SCHEMA, "key", Vec::new()).await.err(),
            store.add(counter("during")).await.err(),
            store.apply(vec![item]).await.err(),
            store.replace(counter("before"), 1).await.err(),
            store
                .change::<Counter>(key!["before"], vec![Change::Inc(Counter::other, 0)])
                .await
                .err(),
            store.remove::<Counter>(vec![key!["nobody"]]).await.err(),
        ];
        for (number, result) in results.into_iter().enumerate() {
            assert!(
                matches!(result, Some(StoreError::Unavailable(_))),
                "call {number}: {result:?}"
            );
        }
    };
    tokio::time::timeout(Duration::from_secs(60), calls)
        .await
        .expect("calls end");
}

async fn assert_works_again(store: &MongoStore) {
    let found: Option<Counter> = until_available(|| store.find(key!["before"])).await;
    assert_eq!(found, Some(counter("before")));
    // The insert that was not answered may have happened; then it is known by its content.
    let outcome = until_available(|| store.add(counter("during"))).await;
    assert!(
        matches!(outcome, Outcome::Inserted | Outcome::Conflict("key")),
        "{outcome:?}"
    );
    let found: Option<Counter> = until_available(|| store.find(key!["during"])).await;
    assert_eq!(found, Some(counter("during")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_server_is_unavailable_until_it_is_back() {
    let (server, store) = started().await;
    server.kill();
    assert_unavailable(&store).await;
    let same = server.clone();
    tokio::task::spawn_blocking(move || same.restart())
        .await
        .unwrap();
    assert_works_again(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_server_is_unavailable_until_it_goes_on() {
    let (server, store) = started().await;
    server.stop();
    assert_unavailable(&store).await;
    server.cont();
    assert_works_again(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_there_is_unavailable() {
    let refused =
        MongoStore::connect(impatient("mongodb://127.0.0.1:1/?directConnection=true")).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))));
}
