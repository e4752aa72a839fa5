//! Inserting single documents and runs.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{
    Counter, Factory, Item, Verdict, counter, find_counter, find_item, is_schema, item, opened,
};
use crate::{
    Document, Documents, Follow, Outcome, Page, RunItem, SharedStore, Value, store::MAX_ROW,
};

fn run_item(shelf: &str, name: &str, place: i64) -> RunItem {
    RunItem {
        row: item(shelf, name, place).into_row(),
        then: Vec::new(),
    }
}

fn followed(shelf: &str, name: &str, place: i64) -> RunItem {
    let raise = Follow::Max {
        schema: Counter::SCHEMA,
        row: counter(shelf, place).into_row(),
        fields: &[Counter::high],
    };
    let mark = Follow::InsertIfAbsent {
        schema: Counter::SCHEMA,
        row: counter(&format!("{shelf}/{name}"), place).into_row(),
    };
    RunItem {
        then: vec![raise, mark],
        ..run_item(shelf, name, place)
    }
}

async fn stored(store: &SharedStore, shelf: &str) -> Result<Vec<(String, i64)>, crate::StoreError> {
    let items = store
        .list::<Item>(Page::of("by_place", vec![Value::from(shelf)], 10_000))
        .await?;
    Ok(items.into_iter().map(|i| (i.name, i.place)).collect())
}

/// A conflict names the index, the key first, and changes nothing.
pub async fn names_the_violated_index(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    assert_eq!(store.add(item("a", "x", 1)).await?, Outcome::Inserted);
    assert_eq!(
        store.add(item("a", "x", 2)).await?,
        Outcome::Conflict("key")
    );
    assert_eq!(
        store.add(item("a", "y", 1)).await?,
        Outcome::Conflict("by_place")
    );
    assert_eq!(
        store.add(item("a", "x", 1)).await?,
        Outcome::Conflict("key")
    );
    assert_eq!(store.add(item("b", "x", 1)).await?, Outcome::Inserted);
    assert_eq!(stored(&store, "a").await?, [("x".to_owned(), 1)]);
    Ok(())
}

/// Twenty equal inserts at once: one is stored, the others conflict.
pub async fn stores_one_of_many_equal_ones(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        let store = Arc::clone(&store);
        tasks.spawn(async move { store.add(item("a", "x", 1)).await });
    }
    let outcomes = tasks
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    assert_eq!(
        outcomes.iter().filter(|o| **o == Outcome::Inserted).count(),
        1
    );
    assert_eq!(
        outcomes
            .iter()
            .filter(|o| **o == Outcome::Conflict("key"))
            .count(),
        19
    );
    Ok(())
}

/// Item 5 fails: items 6 and 7 of the run are not tried, the other run is not touched by it.
pub async fn ends_a_run_at_its_first_failure(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store.add(item("a", "taken", 5)).await?;
    let runs = ["a", "b"].map(|shelf| {
        (1..=7)
            .map(|n| run_item(shelf, &format!("n{n}"), n))
            .collect()
    });
    let outcomes = store.insert_runs(Item::SCHEMA, runs.into()).await?;
    let mut expected = vec![Outcome::Inserted; 4];
    expected.extend([
        Outcome::Conflict("by_place"),
        Outcome::Skipped,
        Outcome::Skipped,
    ]);
    assert_eq!(outcomes, [expected, vec![Outcome::Inserted; 7]]);
    let places =
        |rows: Vec<(String, i64)>| rows.into_iter().map(|(_, place)| place).collect::<Vec<_>>();
    assert_eq!(places(stored(&store, "a").await?), [1, 2, 3, 4, 5]);
    assert_eq!(find_item(&store, "a", "n5").await?, None);
    assert_eq!(find_item(&store, "a", "n6").await?, None);
    assert_eq!(places(stored(&store, "b").await?), [1, 2, 3, 4, 5, 6, 7]);
    Ok(())
}

/// A document that comes twice in one call is stored once, in one run or in two.
pub async fn sees_duplicates_inside_one_call(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let runs = vec![
        vec![
            run_item("a", "x", 1),
            run_item("a", "x", 2),
            run_item("a", "y", 3),
        ],
        vec![run_item("a", "z", 1), run_item("a", "u", 4)],
        vec![],
        vec![run_item("a", "v", 9)],
    ];
    let outcomes = store.insert_runs(Item::SCHEMA, runs).await?;
    // Which run comes first is the engine's choice; within the call each key and place is stored once.
    let inserted = outcomes
        .iter()
        .flatten()
        .filter(|o| **o == Outcome::Inserted)
        .count();
    assert_eq!(inserted, stored(&store, "a").await?.len());
    assert_eq!(
        outcomes.iter().map(Vec::len).collect::<Vec<_>>(),
        [3, 2, 0, 1]
    );
    match (
        outcomes.first().map(Vec::as_slice),
        outcomes.get(1).map(Vec::as_slice),
    ) {
        (
            Some(
                [
                    Outcome::Inserted,
                    Outcome::Conflict("key"),
                    Outcome::Skipped,
                ],
            ),
            Some([Outcome::Conflict("by_place"), Outcome::Skipped]),
        )
        | (
            Some(
                [
                    Outcome::Conflict("by_place"),
                    Outcome::Skipped,
                    Outcome::Skipped,
                ],
            ),
            Some([Outcome::Inserted, Outcome::Inserted]),
        ) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(
        outcomes.last().map(Vec::as_slice),
        Some(&[Outcome::Inserted][..])
    );
    Ok(())
}

/// Follow-up writes happen for inserted documents, and are there when the call returns.
pub async fn follows_only_inserted_documents(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    store.add(item("a", "taken", 3)).await?;
    let run = (1..=5)
        .map(|n| followed("a", &format!("n{n}"), n))
        .collect();
    let other = (1..=300)
        .map(|n| followed("b", &format!("n{n}"), n))
        .collect();
    store.insert_runs(Item::SCHEMA, vec![run, other]).await?;
    assert_eq!(find_counter(&store, "a").await?.map(|c| c.high), Some(2));
    assert_eq!(
        find_counter(&store, "b")
            .await?
            .map(|c| (c.high, c.higher, c.other)),
        Some((300, 1, 7))
    );
    for n in 1..=5 {
        assert_eq!(
            find_counter(&store, &format!("a/n{n}")).await?.is_some(),
            n <= 2,
            "n{n}"
        );
        assert!(find_counter(&store, &format!("b/n{n}")).await?.is_some());
    }
    Ok(())
}

/// A document that can never be stored is refused; requests and runs beside it are not.
pub async fn refuses_what_does_not_fit_and_nothing_else(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let short = RunItem {
        row: vec![Value::from("a")],
        then: Vec::new(),
    };
    let mut wrong = run_item("b", "x", 2);
    wrong.row.swap(1, 2);
    let mut follow = followed("c", "x", 1);
    follow.then.push(Follow::InsertIfAbsent {
        schema: Counter::SCHEMA,
        row: Vec::new(),
    });
    let mut large = run_item("d", "x", 1);
    large.row.splice(
        Item::body..=Item::body,
        [Value::from(bytes::Bytes::from(vec![0; MAX_ROW + 1]))],
    );
    let runs = vec![
        vec![run_item("a", "x", 1), short.clone(), run_item("a", "y", 3)],
        vec![wrong, run_item("b", "y", 3)],
        vec![follow],
        vec![large],
        vec![run_item("e", "x", 1), run_item("e", "y", 2)],
    ];
    let mut tasks = JoinSet::new();
    for n in 0..20 {
        let (store, short) = (Arc::clone(&store), short.clone());
        tasks.spawn(async move {
            assert!(is_schema(&store.insert(Item::SCHEMA, short.row).await));
            store.add(item("beside", &format!("n{n}"), n)).await
        });
    }
    let outcomes = store.insert_runs(Item::SCHEMA, runs).await?;
    let plain: Vec<Vec<char>> = outcomes
        .iter()
        .map(|run| run.iter().map(letter).collect())
        .collect();
    assert_eq!(
        plain,
        [
            vec!['I', 'R', 'S'],
            vec!['R', 'S'],
            vec!['R'],
            vec!['R'],
            vec!['I', 'I']
        ]
    );
    assert!(
        tasks
            .join_all()
            .await
            .into_iter()
            .all(|o| matches!(o, Ok(Outcome::Inserted)))
    );
    for (shelf, count) in [
        ("a", 1),
        ("b", 0),
        ("c", 0),
        ("d", 0),
        ("e", 2),
        ("beside", 20),
    ] {
        assert_eq!(stored(&store, shelf).await?.len(), count, "{shelf}");
    }
    assert_eq!(find_counter(&store, "c").await?, None);
    Ok(())
}

fn letter(outcome: &Outcome) -> char {
    match outcome {
        Outcome::Inserted => 'I',
        Outcome::Conflict(_) => 'C',
        Outcome::Skipped => 'S',
        Outcome::Refused(_) => 'R',
    }
}

/// A thousand runs in one call, some of which fail.
pub async fn inserts_many_runs_at_once(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    for shelf in (0..1_000).step_by(10) {
        store.add(item(&format!("s{shelf}"), "taken", 2)).await?;
    }
    let run = |shelf: i32| {
        (1..=3)
            .map(|n| followed(&format!("s{shelf}"), &format!("n{n}"), n))
            .collect()
    };
    let outcomes = store
        .insert_runs(Item::SCHEMA, (0..1_000).map(run).collect())
        .await?;
    for (shelf, run) in outcomes.iter().enumerate() {
        let expected = if shelf % 10 == 0 {
            ['I', 'C', 'S']
        } else {
            ['I'; 3]
        };
        assert_eq!(
            run.iter().map(letter).collect::<Vec<_>>(),
            expected,
            "s{shelf}"
        );
        let high = find_counter(&store, &format!("s{shelf}"))
            .await?
            .map(|c| c.high);
        assert_eq!(high, Some(if shelf % 10 == 0 { 1 } else { 3 }), "s{shelf}");
    }
    Ok(())
}

/// Eight writers number the same shelf; each place is taken once and there is no gap.
pub async fn concurrent_runs_store_each_place_once(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let mut tasks = JoinSet::new();
    for writer in 0..8 {
        let store = Arc::clone(&store);
        tasks.spawn(async move {
            let mut written = 0;
            while written < 30 {
                let last = store
                    .list::<Item>(Page::of("by_place", vec![Value::from("a")], 1).descending())
                    .await?;
                let next = last.first().map_or(0, |item| item.place) + 1;
                let run = (0..3)
                    .map(|n| run_item("a", &format!("w{writer}-{}", written + n), next + n))
                    .collect();
                let outcomes = store.insert_runs(Item::SCHEMA, vec![run]).await?;
                written += outcomes
                    .iter()
                    .flatten()
                    .take_while(|o| **o == Outcome::Inserted)
                    .count() as i64;
            }
            Ok::<_, crate::StoreError>(written)
        });
    }
    let written: i64 = tasks.join_all().await.into_iter().sum::<Result<i64, _>>()?;
    let places: Vec<i64> = stored(&store, "a")
        .await?
        .into_iter()
        .map(|(_, place)| place)
        .collect();
    assert_eq!(places, (1..=written).collect::<Vec<_>>());
    Ok(())
}
