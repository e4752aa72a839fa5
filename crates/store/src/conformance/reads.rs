//! Reading by key.

use bytes::Bytes;

use super::{Factory, Item, Verdict, find_item, is_schema, item, opened, prepare_all};
use crate::{Document, Documents, Outcome, Value, key};

/// A missing document is `None`, a stored one is read as it was written.
pub async fn finds_only_what_was_stored(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    assert_eq!(find_item(&store, "a", "x").await?, None);
    assert_eq!(store.add(item("a", "x", 1)).await?, Outcome::Inserted);
    assert_eq!(find_item(&store, "a", "x").await?, Some(item("a", "x", 1)));
    assert_eq!(
        find_item(&store, "a", "X").await?,
        None,
        "keys are compared bytewise"
    );
    assert_eq!(find_item(&store, "x", "a").await?, None);
    Ok(())
}

/// Many keys: the order asked for, missing ones marked, repeated ones repeated.
pub async fn keeps_the_order_of_many_keys(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    for place in 0..700 {
        store.add(item("a", &format!("n{place}"), place)).await?;
    }
    let keys = (0..1_500)
        .rev()
        .map(|n| key!["a", format!("n{}", n % 1_000)])
        .collect();
    let found: Vec<Option<i64>> = store
        .find_many::<Item>(keys)
        .await?
        .into_iter()
        .map(|i| i.map(|i| i.place))
        .collect();
    let expected: Vec<Option<i64>> = (0..1_500)
        .rev()
        .map(|n| Some(n % 1_000).filter(|n| *n < 700))
        .collect();
    assert_eq!(found, expected);
    assert!(store.find_many::<Item>(Vec::new()).await?.is_empty());
    Ok(())
}

/// Unicode, empty values, the smallest and largest numbers, a blob of 1 MiB.
pub async fn keeps_values_of_every_size(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let names = [
        "",
        " ",
        "鹊桥",
        "e\u{301}",
        "é",
        "🐦\u{200d}⬛",
        "a\0b",
        "a'b\"c$d.e",
        "%_\\",
    ];
    let mut items = Vec::new();
    for (place, name) in (0..).zip(names) {
        items.push(item("sizes", name, place));
    }
    items.push(item("", "", i64::MAX));
    items.push(item("", "min", i64::MIN));
    let large: Vec<u8> = (0..1u32 << 20)
        .map(|i| i.to_le_bytes()[usize::from(i % 3 == 0)])
        .collect();
    items.push(Item {
        body: Bytes::from(large),
        color: "x".repeat(10_000),
        ..item("", "large", 0)
    });
    for item in &items {
        assert_eq!(
            store.add(item.clone()).await?,
            Outcome::Inserted,
            "{:?}",
            item.name
        );
    }
    for item in items {
        assert!(find_item(&store, &item.shelf, &item.name).await? == Some(item));
    }
    Ok(())
}

/// What was written is there after closing and opening, and its unique indexes still hold.
pub async fn reopening_keeps_everything(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    for place in 0..50 {
        store.add(item("a", &format!("n{place}"), place)).await?;
    }
    store.remove::<Item>(vec![key!["a", "n7"]]).await?;
    drop(store);
    let store = factory.reopen().await;
    prepare_all(&store).await?;
    for place in 0..50 {
        assert_eq!(
            find_item(&store, "a", &format!("n{place}"))
                .await?
                .is_some(),
            place != 7
        );
    }
    assert_eq!(
        store.add(item("a", "n3", 100)).await?,
        Outcome::Conflict("key")
    );
    assert_eq!(
        store.add(item("a", "new", 3)).await?,
        Outcome::Conflict("by_place")
    );
    assert_eq!(store.add(item("a", "new", 7)).await?, Outcome::Inserted);
    Ok(())
}

/// A key of other length or types is an error, not an absent document.
pub async fn refuses_a_key_that_does_not_fit(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    assert!(is_schema(&store.get(Item::SCHEMA, key!["a"]).await));
    assert!(is_schema(
        &store.get(Item::SCHEMA, key!["a", "b", "c"]).await
    ));
    assert!(is_schema(
        &store
            .get(Item::SCHEMA, vec![Value::from("a"), Value::Int(1)])
            .await
    ));
    assert!(is_schema(
        &store
            .get_many(Item::SCHEMA, vec![key!["a", "b"], key!["a"]])
            .await
    ));
    assert!(is_schema(
        &store.delete(Item::SCHEMA, vec![key!["a"]]).await
    ));
    Ok(())
}
