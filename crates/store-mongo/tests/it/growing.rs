//! Schemas that grow while programs of the version before still run.

use magpie_store::{
    Change, Follow, Index, Kind, Outcome, Page, Schema, Store, StoreError, Value, key,
};

use crate::server::{connect, fresh_database, shared_uri};

const fn schema(
    fields: &'static [(&'static str, Kind)],
    unique: &'static [Index],
    indexes: &'static [Index],
) -> Schema {
    Schema {
        collection: "growing",
        fields,
        key: Index {
            name: "key",
            fields: &[0, 1],
        },
        unique,
        indexes,
        revision: Some(2),
    }
}

const OLD_FIELDS: &[(&str, Kind)] = &[("owner", Kind::Text), ("id", Kind::Int), ("rev", Kind::Int)];
const NEW_FIELDS: &[(&str, Kind)] = &[
    ("owner", Kind::Text),
    ("id", Kind::Int),
    ("rev", Kind::Int),
    ("level", Kind::Int),
    ("label", Kind::Text),
];
static OLD: Schema = schema(OLD_FIELDS, &[], &[]);
static NEW: Schema = schema(
    NEW_FIELDS,
    &[],
    &[Index {
        name: "by_label",
        fields: &[0, 4],
    }],
);
const LEVEL: usize = 3;
const LABEL: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_and_new_programs_share_a_collection() {
    let (uri, database) = (shared_uri(), fresh_database());
    let old = connect(&uri, &database).await;
    old.prepare(&[&OLD]).await.unwrap();
    assert_eq!(
        old.insert(&OLD, key!["o", 1, 7]).await.unwrap(),
        Outcome::Inserted
    );

    let new = connect(&uri, &database).await;
    new.prepare(&[&NEW]).await.unwrap();
    assert_eq!(
        new.insert(&NEW, key!["o", 2, 7, 5, "x"]).await.unwrap(),
        Outcome::Inserted
    );

    // The old program goes on: it sees its fields, and leaves the others alone.
    assert_eq!(
        old.get(&OLD, key!["o", 2]).await.unwrap(),
        Some(key!["o", 2, 7])
    );
    assert!(old.compare_and_set(&OLD, key!["o", 2, 8], 7).await.unwrap());
    assert_eq!(
        new.get(&NEW, key!["o", 2]).await.unwrap(),
        Some(key!["o", 2, 8, 5, "x"])
    );
    assert_eq!(
        old.insert(&OLD, key!["o", 3, 7]).await.unwrap(),
        Outcome::Inserted
    );
    assert_eq!(
        new.get(&NEW, key!["o", 3]).await.unwrap(),
        Some(key!["o", 3, 7, 0, ""])
    );
    // Found by the new index although it lacks the field.
    let unlabeled = Page::of("by_label", key!["o", ""], 9);
    let found = new.page(&NEW, unlabeled).await.unwrap();
    assert_eq!(found, [key!["o", 1, 7, 0, ""], key!["o", 3, 7, 0, ""]]);
    // Started again, it says that it is too old.
    assert!(matches!(
        old.prepare(&[&OLD]).await,
        Err(StoreError::Schema { .. })
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_field_counts_as_zero_in_every_change() {
    let (uri, database) = (shared_uri(), fresh_database());
    let store = connect(&uri, &database).await;
    store.prepare(&[&OLD]).await.unwrap();
    for id in 1..=4 {
        store.insert(&OLD, key!["o", id, 7]).await.unwrap();
    }
    store.prepare(&[&NEW]).await.unwrap();
    let level = async |id: i64| {
        store
            .get(&NEW, key!["o", id])
            .await
            .unwrap()
            .map(|row| row[LEVEL].clone())
    };
    let change = async |id: i64, change| {
        store
            .update(&NEW, key!["o", id], vec![change])
            .await
            .unwrap()
    };

    assert!(change(1, Change::Max(LEVEL, -5)).await);
    assert_eq!(level(1).await, Some(Value::Int(0)));
    assert!(change(1, Change::Inc(LEVEL, -9)).await);
    assert!(change(1, Change::Max(LEVEL, -5)).await);
    assert_eq!(level(1).await, Some(Value::Int(-5)));
    let raise = |id: i64| Follow::Max {
        schema: &NEW,
        row: key!["o", id, 1, -3, "new"],
        fields: &[LEVEL],
    };
    store.apply(vec![raise(2), raise(9)]).await.unwrap();
    assert_eq!(level(2).await, Some(Value::Int(0)));
    assert_eq!(
        store.get(&NEW, key!["o", 9]).await.unwrap(),
        Some(key!["o", 9, 1, -3, "new"])
    );
    assert!(change(3, Change::Set(LABEL, Value::from("z"))).await);
    assert_eq!(
        store.get(&NEW, key!["o", 3]).await.unwrap(),
        Some(key!["o", 3, 7, 0, "z"])
    );
}

static TWICE: Schema = schema(
    OLD_FIELDS,
    &[Index {
        name: "by_rev",
        fields: &[0, 2],
    }],
    &[],
);
static OTHER_FIELDS: Schema = schema(
    OLD_FIELDS,
    &[Index {
        name: "by_rev",
        fields: &[2],
    }],
    &[],
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn indexes_follow_the_schema() {
    let store = connect(&shared_uri(), &fresh_database()).await;
    store.prepare(&[&TWICE]).await.unwrap();
    store.insert(&TWICE, key!["o", 1, 7]).await.unwrap();
    assert_eq!(
        store.insert(&TWICE, key!["o", 2, 7]).await.unwrap(),
        Outcome::Conflict("by_rev")
    );
    let changed = store.prepare(&[&OTHER_FIELDS]).await;
    assert!(
        matches!(changed, Err(StoreError::Schema { .. })),
        "{changed:?}"
    );
    // A unique index that is gone from the schema refuses nothing any more, and can't come back over equal values.
    store.prepare(&[&OLD]).await.unwrap();
    assert_eq!(
        store.insert(&OLD, key!["o", 2, 7]).await.unwrap(),
        Outcome::Inserted
    );
    let again = store.prepare(&[&TWICE]).await;
    assert!(matches!(again, Err(StoreError::Schema { .. })), "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_programs_start_at_once() {
    let (uri, database) = (shared_uri(), fresh_database());
    let mut starts = tokio::task::JoinSet::new();
    for schema in [&OLD, &NEW, &NEW, &NEW] {
        let (uri, database) = (uri.clone(), database.clone());
        starts.spawn(async move {
            (
                schema,
                connect(&uri, &database).await.prepare(&[schema]).await,
            )
        });
    }
    for (schema, result) in starts.join_all().await {
        // The old one may come too late.
        assert!(
            result.is_ok() || std::ptr::eq(schema, &raw const OLD),
            "{result:?}"
        );
    }
}
