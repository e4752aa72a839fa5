//! Changing and deleting stored documents.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    Counter, Factory, Item, Verdict, counter, find_counter, find_item, is_schema, item, opened,
};
use crate::{Change, Document, Documents, Follow, SharedStore, Value, key};

fn max(row: Counter, fields: &'static [usize]) -> Follow {
    Follow::Max {
        schema: Counter::SCHEMA,
        row: row.into_row(),
        fields,
    }
}

async fn two_highs(
    store: &SharedStore,
    name: &str,
) -> Result<Option<(i64, i64, i64)>, crate::StoreError> {
    Ok(find_counter(store, name)
        .await?
        .map(|c| (c.high, c.higher, c.other)))
}

/// Lower values change nothing, higher ones only the named fields.
pub async fn max_never_lowers(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store.add(counter("a", 10)).await?;
    let with = |high, higher| Counter {
        higher,
        other: 99,
        rev: 99,
        ..counter("a", high)
    };
    store
        .apply(vec![max(with(5, 50), &[Counter::high])])
        .await?;
    assert_eq!(two_highs(&store, "a").await?, Some((10, 10, 7)));
    store
        .apply(vec![max(with(5, 50), &[Counter::high, Counter::higher])])
        .await?;
    assert_eq!(two_highs(&store, "a").await?, Some((10, 50, 7)));
    store
        .apply(vec![
            max(with(20, 1), &[Counter::high, Counter::higher]),
            max(with(15, 1), &[Counter::high]),
        ])
        .await?;
    assert_eq!(two_highs(&store, "a").await?, Some((20, 50, 7)));
    store
        .apply(vec![max(
            with(i64::MAX, i64::MIN),
            &[Counter::high, Counter::higher],
        )])
        .await?;
    assert_eq!(two_highs(&store, "a").await?, Some((i64::MAX, 50, 7)));
    assert_eq!(find_counter(&store, "a").await?.map(|c| c.rev), Some(1));
    Ok(())
}

/// A missing document is inserted as it stands, then raised by the other writes of the same call.
pub async fn max_inserts_a_missing_document(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store
        .apply(vec![max(
            Counter {
                other: -3,
                ..counter("a", -5)
            },
            &[Counter::high],
        )])
        .await?;
    assert_eq!(two_highs(&store, "a").await?, Some((-5, -5, -3)));
    let writes = (0..500)
        .map(|n| {
            max(
                counter("b", (n * 7) % 500),
                &[Counter::high, Counter::higher],
            )
        })
        .collect();
    store.apply(writes).await?;
    assert_eq!(two_highs(&store, "b").await?, Some((499, 499, 7)));
    Ok(())
}

/// Fifty writers raise one document.
pub async fn max_of_many_writers_is_the_highest(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let mut tasks = JoinSet::new();
    for writer in 0..50 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for n in 0..10 {
                let value = writer * 10 + n;
                store
                    .apply(vec![max(counter("a", value), &[Counter::high])])
                    .await?;
                let seen = find_counter(&store, "a").await?.map(|c| c.high);
                assert!(seen >= Some(value), "{seen:?} after {value}");
            }
            Ok::<_, crate::StoreError>(())
        });
    }
    tasks
        .join_all()
        .await
        .into_iter()
        .collect::<Result<(), _>>()?;
    assert_eq!(find_counter(&store, "a").await?.map(|c| c.high), Some(499));
    Ok(())
}

/// Sets the named fields at a higher version only, and inserts what is missing as it stands.
pub async fn newer_sets_once(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let newer = |version: i64, other: i64| Follow::Newer {
        schema: Counter::SCHEMA,
        row: Counter {
            higher: 77,
            other,
            ..counter("a", version)
        }
        .into_row(),
        version: Counter::high,
        fields: &[Counter::other],
    };
    store.apply(vec![newer(3, 30)]).await?;
    assert_eq!(two_highs(&store, "a").await?, Some((3, 77, 30)));
    for (version, other) in [(3, 31), (2, 20)] {
        store.apply(vec![newer(version, other)]).await?;
        assert_eq!(two_highs(&store, "a").await?, Some((3, 77, 30)));
    }
    store
        .apply(vec![
            max(
                Counter {
                    higher: 80,
                    ..counter("a", 0)
                },
                &[Counter::higher],
            ),
            newer(4, -1),
        ])
        .await?;
    assert_eq!(two_highs(&store, "a").await?, Some((4, 80, -1)));
    let key_field = Follow::Newer {
        schema: Counter::SCHEMA,
        row: counter("b", 1).into_row(),
        version: Counter::high,
        fields: &[Counter::name],
    };
    assert!(is_schema(&store.apply(vec![key_field]).await));
    Ok(())
}

/// The second insert changes nothing, whichever unique index is taken.
pub async fn insert_if_absent_keeps_the_first(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let insert = |item: Item| Follow::InsertIfAbsent {
        schema: Item::SCHEMA,
        row: item.into_row(),
    };
    store.apply(vec![insert(item("a", "x", 1))]).await?;
    store
        .apply(vec![
            insert(item("a", "x", 2)),
            insert(item("a", "y", 1)),
            insert(item("a", "z", 3)),
        ])
        .await?;
    assert_eq!(find_item(&store, "a", "x").await?, Some(item("a", "x", 1)));
    assert_eq!(find_item(&store, "a", "y").await?, None);
    assert_eq!(find_item(&store, "a", "z").await?, Some(item("a", "z", 3)));
    Ok(())
}

/// More writes than an engine takes in one transaction.
pub async fn applies_long_lists(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store.apply(Vec::new()).await?;
    store
        .apply(
            (0..1_500)
                .map(|n| max(counter(&format!("c{n}"), n), &[Counter::high]))
                .collect(),
        )
        .await?;
    assert_eq!(
        store.count(Counter::SCHEMA, "key", Vec::new()).await?,
        1_500
    );
    assert_eq!(
        find_counter(&store, "c1499").await?,
        Some(counter("c1499", 1_499))
    );
    Ok(())
}

/// A max write that could fail after its document was stored is refused beforehand.
pub async fn refuses_a_max_that_could_fail(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let unique = Follow::Max {
        schema: Item::SCHEMA,
        row: item("a", "x", 1).into_row(),
        fields: &[Item::place],
    };
    for write in [
        unique,
        max(counter("a", 1), &[Counter::name]),
        max(counter("a", 1), &[99]),
    ] {
        assert!(is_schema(
            &store
                .apply(vec![max(counter("b", 1), &[Counter::high]), write])
                .await
        ));
    }
    assert_eq!(find_counter(&store, "a").await?, None);
    Ok(())
}

/// Replaces at the expected revision only, and only what exists.
pub async fn compare_and_set_compares(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let next = Item {
        color: "blue".to_owned(),
        rev: 2,
        ..item("a", "x", 5)
    };
    assert!(!store.replace(next.clone(), 1).await?, "missing");
    store.add(item("a", "x", 1)).await?;
    assert!(!store.replace(next.clone(), 0).await?);
    assert!(!store.replace(next.clone(), 2).await?);
    assert!(store.replace(next.clone(), 1).await?);
    assert!(
        !store.replace(next.clone(), 1).await?,
        "the revision has moved on"
    );
    assert_eq!(find_item(&store, "a", "x").await?, Some(next));
    Ok(())
}

/// Fifty tasks increment one document by read and compare-and-set: each increment is there.
pub async fn compare_and_set_loses_no_update(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store
        .add(Counter {
            rev: 0,
            ..counter("a", 0)
        })
        .await?;
    let mut tasks = JoinSet::new();
    for _ in 0..50 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for _ in 0..4 {
                loop {
                    let found = find_counter(&store, "a").await?.ok_or("missing")?;
                    let next = Counter {
                        high: found.high + 1,
                        rev: found.rev + 1,
                        ..found.clone()
                    };
                    if store.replace(next, found.rev).await? {
                        break;
                    }
                }
            }
            Verdict::Ok(())
        });
    }
    tasks.join_all().await.into_iter().collect::<Verdict>()?;
    assert_eq!(
        find_counter(&store, "a").await?.map(|c| (c.high, c.rev)),
        Some((200, 200))
    );
    Ok(())
}

/// A replacement that would break another unique index is an error and changes nothing.
pub async fn compare_and_set_keeps_unique_indexes(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store.add(item("a", "x", 1)).await?;
    store.add(item("a", "y", 2)).await?;
    assert!(is_schema(
        &store
            .replace(
                Item {
                    rev: 2,
                    ..item("a", "y", 1)
                },
                1
            )
            .await
    ));
    assert!(is_schema(
        &store
            .change::<Item>(
                key!["a", "y"],
                vec![Change::Set(Item::place, Value::Int(1))]
            )
            .await
    ));
    assert_eq!(find_item(&store, "a", "y").await?, Some(item("a", "y", 2)));
    assert!(
        store
            .replace(
                Item {
                    rev: 2,
                    ..item("a", "y", 3)
                },
                1
            )
            .await?
    );
    Ok(())
}

/// Max, Inc and Set in one call; a missing document stays missing.
pub async fn updates_change_named_fields_only(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store.add(counter("a", 10)).await?;
    let changes = || {
        vec![
            Change::Max(Counter::high, 5),
            Change::Max(Counter::higher, 11),
            Change::Inc(Counter::other, -9),
        ]
    };
    assert!(store.change::<Counter>(key!["a"], changes()).await?);
    assert_eq!(two_highs(&store, "a").await?, Some((10, 11, -2)));
    assert!(
        store
            .change::<Counter>(key!["a"], vec![Change::Set(Counter::high, Value::Int(1))])
            .await?
    );
    assert_eq!(
        find_counter(&store, "a").await?,
        Some(Counter {
            high: 1,
            higher: 11,
            other: -2,
            ..counter("a", 1)
        })
    );
    assert!(store.change::<Counter>(key!["a"], Vec::new()).await?);
    assert!(!store.change::<Counter>(key!["b"], Vec::new()).await?);
    assert!(!store.change::<Counter>(key!["b"], changes()).await?);
    assert_eq!(find_counter(&store, "b").await?, None);
    Ok(())
}

/// Increments, maxima and settings of many tasks at once.
pub async fn concurrent_updates_all_count(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store
        .add(Counter {
            other: 0,
            ..counter("a", 0)
        })
        .await?;
    let mut tasks = JoinSet::new();
    for task in 0..50 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            for n in 0..4 {
                let changes = vec![
                    Change::Inc(Counter::other, 1),
                    Change::Max(Counter::high, task * 4 + n),
                ];
                assert!(store.change::<Counter>(key!["a"], changes).await?);
                assert!(
                    store
                        .change::<Counter>(
                            key!["a"],
                            vec![Change::Set(Counter::higher, Value::Int(task))]
                        )
                        .await?
                );
            }
            Ok::<_, crate::StoreError>(())
        });
    }
    tasks
        .join_all()
        .await
        .into_iter()
        .collect::<Result<(), _>>()?;
    let found = find_counter(&store, "a").await?.ok_or("missing")?;
    assert_eq!((found.high, found.other), (199, 200));
    assert!((0..50).contains(&found.higher));
    Ok(())
}

/// Key fields, unknown fields, other types, one field twice, and sums past the range of the type.
pub async fn refuses_wrong_updates(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store.add(counter("a", i64::MAX)).await?;
    for changes in [
        vec![Change::Set(Counter::name, Value::from("b"))],
        vec![Change::Set(99, Value::Int(1))],
        vec![Change::Set(Counter::high, Value::from("b"))],
        vec![
            Change::Inc(Counter::other, 1),
            Change::Max(Counter::other, 1),
        ],
        vec![
            Change::Inc(Counter::other, 1),
            Change::Inc(Counter::high, 1),
        ],
    ] {
        let result = store.change::<Counter>(key!["a"], changes.clone()).await;
        assert!(is_schema(&result), "{changes:?}: {result:?}");
    }
    assert_eq!(
        find_counter(&store, "a").await?,
        Some(counter("a", i64::MAX))
    );
    Ok(())
}

/// Deletes at the expected revision only, once, and only where there are revisions.
pub async fn deletes_at_the_expected_revision(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    assert!(
        !store.remove_at::<Item>(key!["a", "x"], 1).await?,
        "missing"
    );
    store.add(item("a", "x", 1)).await?;
    store.add(item("a", "y", 2)).await?;
    assert!(!store.remove_at::<Item>(key!["a", "x"], 0).await?);
    assert!(!store.remove_at::<Item>(key!["a", "x"], 2).await?);
    assert_eq!(find_item(&store, "a", "x").await?, Some(item("a", "x", 1)));
    let mut tasks = JoinSet::new();
    for _ in 0..10 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.remove_at::<Item>(key!["a", "x"], 1).await });
    }
    let deleted = tasks.join_all().await;
    let deleted: Vec<bool> = deleted.into_iter().collect::<Result<_, _>>()?;
    assert_eq!(deleted.iter().filter(|d| **d).count(), 1);
    assert_eq!(find_item(&store, "a", "x").await?, None);
    assert_eq!(find_item(&store, "a", "y").await?, Some(item("a", "y", 2)));
    assert!(is_schema(&store.remove_at::<Item>(key!["a"], 1).await));
    Ok(())
}

/// Deleting many, some missing; the place is free afterwards.
pub async fn deletes_and_counts(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    for place in 0..500 {
        store.add(item("a", &format!("n{place}"), place)).await?;
    }
    assert_eq!(store.remove::<Item>(Vec::new()).await?, 0);
    let keys = (100..600).map(|n| key!["a", format!("n{n}")]).collect();
    assert_eq!(store.remove::<Item>(keys).await?, 400);
    assert_eq!(
        store
            .count(Item::SCHEMA, "key", vec![Value::from("a")])
            .await?,
        100
    );
    assert_eq!(
        store
            .remove::<Item>(vec![key!["a", "n1"], key!["a", "n1"]])
            .await?,
        1
    );
    assert_eq!(
        store.add(item("a", "again", 1)).await?,
        crate::Outcome::Inserted
    );
    Ok(())
}
