//! Pages and counts over indexes.

use bytes::Bytes;

use super::{Factory, Item, Stamped, Verdict, is_schema, item, opened};
use crate::{Document, Documents, Page, SharedStore, StoreError, Value, key, store::MAX_PAGE};

async fn names(store: &SharedStore, page: Page) -> Result<Vec<String>, StoreError> {
    Ok(store
        .list::<Item>(page)
        .await?
        .into_iter()
        .map(|i| i.name)
        .collect())
}

async fn places(store: &SharedStore, page: Page) -> Result<Vec<i64>, StoreError> {
    Ok(store
        .list::<Item>(page)
        .await?
        .into_iter()
        .map(|i| i.place)
        .collect())
}

/// A shelf `a` of places 1 to 20 between two other shelves.
async fn shelf(factory: &impl Factory) -> Result<SharedStore, StoreError> {
    let store = opened(factory).await?;
    for place in (1..=20).rev() {
        store
            .add(item("a", &format!("n{:02}", 21 - place), place))
            .await?;
    }
    for other in ["", "A", "aa", "b"] {
        store.add(item(other, "n00", 10)).await?;
    }
    Ok(store)
}

/// By key: first by shelf, then by name, bytewise.
pub async fn walks_the_key_in_order(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let mut expected = ["", "A", "B", "a", "a b", "aa", "b", "e", "é", "鹊", "🐦"];
    for (place, name) in (0..).zip(expected.iter().rev()) {
        store.add(item("s", name, place)).await?;
    }
    store.add(item("r", "x", 0)).await?;
    store.add(item("t", "x", 0)).await?;
    assert_eq!(
        names(&store, Page::of("key", key!["s"], 100)).await?,
        expected
    );
    expected.reverse();
    assert_eq!(
        names(&store, Page::of("key", key!["s"], 100).descending()).await?,
        expected
    );
    let all = store.list::<Item>(Page::of("key", Vec::new(), 100)).await?;
    assert_eq!(all.first().map(|i| i.shelf.as_str()), Some("r"));
    assert_eq!(all.last().map(|i| i.shelf.as_str()), Some("t"));
    assert_eq!(all.len(), 13);
    Ok(())
}

/// By unique index, ascending and descending, with a full prefix and with an empty page.
pub async fn walks_a_unique_index_both_ways(factory: &impl Factory) -> Verdict {
    let store = shelf(factory).await?;
    assert_eq!(
        places(&store, Page::of("by_place", key!["a"], 5)).await?,
        [1, 2, 3, 4, 5]
    );
    assert_eq!(
        places(&store, Page::of("by_place", key!["a"], 3).descending()).await?,
        [20, 19, 18]
    );
    assert_eq!(
        places(&store, Page::of("by_place", key!["a", 7], 10)).await?,
        [7]
    );
    assert_eq!(
        places(&store, Page::of("by_place", key!["a", 77], 10)).await?,
        [0; 0]
    );
    assert_eq!(
        places(&store, Page::of("by_place", key!["nobody"], 10)).await?,
        [0; 0]
    );
    assert_eq!(
        places(&store, Page::of("by_place", key!["a"], 0)).await?,
        [0; 0]
    );
    Ok(())
}

/// Bounds are inclusive; an empty range is an empty page.
pub async fn restricts_the_next_field(factory: &impl Factory) -> Verdict {
    let store = shelf(factory).await?;
    let between = |from: i64, to: i64| Page::of("by_place", key!["a"], 100).between(from, to);
    assert_eq!(places(&store, between(3, 6)).await?, [3, 4, 5, 6]);
    assert_eq!(
        places(&store, between(3, 6).descending()).await?,
        [6, 5, 4, 3]
    );
    assert_eq!(places(&store, between(19, i64::MAX)).await?, [19, 20]);
    assert_eq!(places(&store, between(i64::MIN, 2)).await?, [1, 2]);
    assert_eq!(places(&store, between(6, 3)).await?, [0; 0]);
    assert_eq!(
        places(
            &store,
            Page {
                limit: 2,
                ..between(3, 6).descending()
            }
        )
        .await?,
        [6, 5]
    );
    let from = Page {
        from: Some(Value::Int(18)),
        ..Page::of("by_place", key!["a"], 100)
    };
    assert_eq!(places(&store, from).await?, [18, 19, 20]);
    let to = Page {
        to: Some(Value::Int(3)),
        ..Page::of("by_place", key!["a"], 100).descending()
    };
    assert_eq!(places(&store, to).await?, [3, 2, 1]);
    let names_between = Page::of("key", key!["a"], 100).between("n02", "n04");
    assert_eq!(names(&store, names_between).await?, ["n02", "n03", "n04"]);
    Ok(())
}

/// Page after page of every size gives each document once, in order, both ways and within bounds.
pub async fn continues_without_gap(factory: &impl Factory) -> Verdict {
    let store = shelf(factory).await?;
    for index in ["key", "by_place", "by_color"] {
        for descending in [false, true] {
            for limit in [1, 3, 7, 19, 20, 21] {
                let start = Page {
                    descending,
                    limit,
                    ..Page::of(index, key!["a"], 0)
                };
                let walked = walk(&store, start.clone()).await?;
                let whole = store
                    .list::<Item>(Page {
                        limit: 100,
                        ..start
                    })
                    .await?;
                assert_eq!(whole.len(), 20);
                assert_eq!(walked, whole, "{index} {descending} {limit}");
            }
        }
    }
    let bounded = Page {
        limit: 2,
        ..Page::of("by_place", key!["a"], 0).between(4, 10)
    };
    let walked = walk(&store, bounded).await?;
    assert_eq!(
        walked.iter().map(|i| i.place).collect::<Vec<_>>(),
        (4..=10).collect::<Vec<_>>()
    );
    let everything = walk(&store, Page::of("key", Vec::new(), 5)).await?;
    assert_eq!(everything.len(), 24);
    Ok(())
}

async fn walk(store: &SharedStore, start: Page) -> Result<Vec<Item>, StoreError> {
    let mut walked: Vec<Item> = Vec::new();
    let mut page = start;
    loop {
        let part = store.list::<Item>(page.clone()).await?;
        let Some(last) = part.last().cloned() else {
            return Ok(walked);
        };
        page = page.after_row(Item::SCHEMA, &last.into_row());
        walked.extend(part);
    }
}

/// An index that is not unique: equal documents are in key order.
pub async fn orders_ties_by_key(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    for (place, name) in (0..).zip(["d", "b", "a", "c", "e"]) {
        let color = if name == "b" { "blue" } else { "red" }.to_owned();
        store
            .add(Item {
                color,
                ..item("s", name, place)
            })
            .await?;
    }
    assert_eq!(
        names(&store, Page::of("by_color", key!["s"], 9)).await?,
        ["b", "a", "c", "d", "e"]
    );
    assert_eq!(
        names(&store, Page::of("by_color", key!["s", "red"], 9)).await?,
        ["a", "c", "d", "e"]
    );
    assert_eq!(
        names(&store, Page::of("by_color", key!["s"], 9).descending()).await?,
        ["e", "d", "c", "a", "b"]
    );
    let after = Page {
        after: Some(key!["c"]),
        ..Page::of("by_color", key!["s", "red"], 9)
    };
    assert_eq!(names(&store, after).await?, ["d", "e"]);
    let after = Page {
        after: Some(key!["red", "c"]),
        ..Page::of("by_color", key!["s"], 9).descending()
    };
    assert_eq!(names(&store, after).await?, ["a", "b"]);
    Ok(())
}

/// Bytes sort unsigned, and a range leaves out the empty ones.
pub async fn orders_blobs_of_one_length(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let stamps: [&'static [u8]; 5] = [b"", b"\0\x01", b"\x7f\xff", b"\x80\0", b"\xff\0"];
    for (name, stamp) in stamps.into_iter().enumerate().rev() {
        let name = format!("n{name}");
        let stamp = Bytes::from_static(stamp);
        store
            .add(Stamped {
                name,
                stamp,
                rev: 1,
            })
            .await?;
    }
    let between = |from: &'static [u8], to: &'static [u8]| {
        let page = Page::of("by_stamp", Vec::new(), 100);
        page.between(Bytes::from_static(from), Bytes::from_static(to))
    };
    let names = async |page| -> Result<Vec<String>, StoreError> {
        let found = store.list::<Stamped>(page).await?;
        Ok(found.into_iter().map(|s| s.name).collect())
    };
    assert_eq!(
        names(between(b"\0\0", b"\x80\0")).await?,
        ["n1", "n2", "n3"]
    );
    let from_above = between(b"\x7f\xff", b"\xff\xff").descending();
    assert_eq!(names(from_above).await?, ["n4", "n3", "n2"]);
    Ok(())
}

/// A limit above the largest page gives at most that.
pub async fn caps_the_limit(factory: &impl Factory) -> Verdict {
    let store = shelf(factory).await?;
    assert_eq!(
        places(&store, Page::of("by_place", key!["a"], usize::MAX))
            .await?
            .len(),
        20
    );
    assert_eq!(
        places(&store, Page::of("by_place", key!["a"], MAX_PAGE + 1))
            .await?
            .len(),
        20
    );
    Ok(())
}

/// Counts by no, some and all fields of an index.
pub async fn counts_by_prefix(factory: &impl Factory) -> Verdict {
    let store = shelf(factory).await?;
    assert_eq!(store.count(Item::SCHEMA, "key", Vec::new()).await?, 24);
    assert_eq!(store.count(Item::SCHEMA, "key", key!["a"]).await?, 20);
    assert_eq!(
        store.count(Item::SCHEMA, "by_place", key!["a", 3]).await?,
        1
    );
    assert_eq!(
        store
            .count(Item::SCHEMA, "by_color", key!["a", "red"])
            .await?,
        20
    );
    assert_eq!(
        store
            .count(Item::SCHEMA, "by_color", key!["a", "blue"])
            .await?,
        0
    );
    Ok(())
}

/// Unknown indexes, values of other types and cursors of other lengths are errors.
pub async fn refuses_pages_that_do_not_fit(factory: &impl Factory) -> Verdict {
    let store = shelf(factory).await?;
    for page in [
        Page::of("by_nothing", Vec::new(), 1),
        Page::of("by_place", key![1], 1),
        Page::of("by_place", key!["a", 1, 1], 1),
        Page::of("by_place", key!["a"], 1).between("x", "y"),
        Page::of("by_place", key!["a", 1], 1).between(1, 2),
        Page {
            after: Some(key![1, 2]),
            ..Page::of("by_place", key!["a"], 1)
        },
        Page {
            after: Some(key!["x"]),
            ..Page::of("by_place", key!["a"], 1)
        },
    ] {
        assert!(
            is_schema(&store.page(Item::SCHEMA, page.clone()).await),
            "{page:?}"
        );
    }
    assert!(is_schema(
        &store.count(Item::SCHEMA, "by_nothing", Vec::new()).await
    ));
    assert!(is_schema(
        &store.count(Item::SCHEMA, "by_place", key![1]).await
    ));
    Ok(())
}
