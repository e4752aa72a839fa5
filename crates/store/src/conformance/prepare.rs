//! Making collections, and what happens when a schema grows or changes.

use super::{Factory, Verdict, counter, find_counter, is_schema, opened, prepare_all};
use crate::{Documents, Index, Kind, Schema, Value, key};

const FIRST: &[(&str, Kind)] = &[("id", Kind::Text), ("size", Kind::Int)];
const GROWN: &[(&str, Kind)] = &[
    ("id", Kind::Text),
    ("size", Kind::Int),
    ("label", Kind::Text),
    ("data", Kind::Blob),
    ("count", Kind::Int),
];
const RENAMED: &[(&str, Kind)] = &[("id", Kind::Text), ("length", Kind::Int)];
const RETYPED: &[(&str, Kind)] = &[("id", Kind::Text), ("size", Kind::Text)];
const ONLY_ID: &[(&str, Kind)] = &[("id", Kind::Text)];

const fn schema(fields: &'static [(&'static str, Kind)], indexes: &'static [Index]) -> Schema {
    let key = Index {
        name: "key",
        fields: &[0],
    };
    Schema {
        collection: "conformance_growing",
        fields,
        key,
        unique: &[],
        indexes,
        revision: None,
    }
}

static V1: Schema = schema(FIRST, &[]);
static V2: Schema = schema(
    GROWN,
    &[Index {
        name: "by_label",
        fields: &[2],
    }],
);
static CHANGED: [Schema; 3] = [
    schema(RENAMED, &[]),
    schema(RETYPED, &[]),
    schema(ONLY_ID, &[]),
];

/// A second time changes nothing, also while the collections are in use.
pub async fn may_be_repeated(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store.add(counter("a", 1)).await?;
    prepare_all(&store).await?;
    prepare_all(&store).await?;
    assert_eq!(find_counter(&store, "a").await?, Some(counter("a", 1)));
    Ok(())
}

/// Fields added at the end read as zero in documents from before; a new index finds those documents.
pub async fn adds_fields_at_the_end(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store.prepare(&[&V1]).await?;
    store.insert(&V1, key!["old", 5]).await?;
    drop(store);
    let store = factory.reopen().await;
    store.prepare(&[&V2]).await?;
    let zero = vec![
        Value::from("old"),
        Value::Int(5),
        Value::from(""),
        Value::Blob(bytes::Bytes::new()),
        Value::Int(0),
    ];
    assert_eq!(store.get(&V2, key!["old"]).await?, Some(zero.clone()));
    assert_eq!(
        store
            .page(&V2, crate::Page::of("by_label", key![""], 9))
            .await?,
        [zero]
    );
    let new = vec![
        Value::from("new"),
        Value::Int(6),
        Value::from("l"),
        Value::Blob("d".into()),
        Value::Int(1),
    ];
    store.insert(&V2, new.clone()).await?;
    assert_eq!(store.get(&V2, key!["new"]).await?, Some(new));
    assert!(
        store
            .update(&V2, key!["old"], vec![crate::Change::Inc(4, 2)])
            .await?
    );
    assert_eq!(
        store
            .get(&V2, key!["old"])
            .await?
            .and_then(|row| row.last().cloned()),
        Some(Value::Int(2))
    );
    Ok(())
}

/// Renamed, retyped and missing fields are refused, and what is stored stays.
pub async fn refuses_changed_fields(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store.prepare(&[&V1]).await?;
    store.insert(&V1, key!["old", 5]).await?;
    for schema in &CHANGED {
        assert!(is_schema(&store.prepare(&[schema]).await), "{schema:?}");
    }
    assert_eq!(store.get(&V1, key!["old"]).await?, Some(key!["old", 5]));
    Ok(())
}
