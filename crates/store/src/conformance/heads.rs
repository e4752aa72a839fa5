//! Version heads: a counter and the newest entries in one document, written after the data they speak of.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Factory, Item, Verdict, VersionedList, item, opened};
use crate::{Documents, Outcome, Page, SharedStore, Value, key};

/// Entries that a head keeps; fewer than there are writers, so that a slow reader must read everything at times.
const KEPT: usize = 20;
const WRITERS: i64 = 50;
const WRITES: i64 = 4;

/// Fifty writers append to one head by compare-and-set; a reader who follows it step by step ends with every element.
pub async fn reader_of_a_version_head_misses_nothing(factory: &impl Factory) -> Verdict {
    let store = opened(factory).await?;
    let head = VersionedList {
        owner: "o".to_owned(),
        dropped: 0,
        entries: Bytes::new(),
        rev: 0,
    };
    assert_eq!(store.add(head).await?, Outcome::Inserted);
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            for n in 0..WRITES {
                let place = writer * WRITES + n;
                store.add(item("o", &format!("e{place}"), place)).await?;
                append(&store, &format!("e{place}")).await?;
            }
            Verdict::Ok(())
        });
    }
    let reader = tokio::spawn(follow(Arc::clone(&store)));
    writers.join_all().await.into_iter().collect::<Verdict>()?;
    let seen = reader.await??;
    assert_eq!(
        seen,
        (0..WRITERS * WRITES)
            .map(|n| format!("e{n}"))
            .collect::<BTreeSet<_>>()
    );
    Ok(())
}

async fn append(store: &SharedStore, name: &str) -> Verdict {
    loop {
        let head = store
            .find::<VersionedList>(key!["o"])
            .await?
            .ok_or("no head")?;
        let version = head.rev + 1;
        let mut entries = parse(&head.entries)?;
        entries.push((version, name.to_owned()));
        let surplus = entries.len().saturating_sub(KEPT);
        let dropped = entries
            .drain(..surplus)
            .next_back()
            .map_or(head.dropped, |(version, _)| version);
        let lines: Vec<String> = entries
            .iter()
            .map(|(version, name)| format!("{version} {name}"))
            .collect();
        let next = VersionedList {
            dropped,
            entries: Bytes::from(lines.join("\n")),
            rev: version,
            ..head
        };
        if store.replace(next, version - 1).await? {
            return Ok(());
        }
    }
}

type Seen = Result<BTreeSet<String>, Box<dyn std::error::Error + Send + Sync>>;

async fn follow(store: SharedStore) -> Seen {
    let (mut version, mut seen) = (0, BTreeSet::new());
    while version < WRITERS * WRITES {
        let head = store
            .find::<VersionedList>(key!["o"])
            .await?
            .ok_or("no head")?;
        assert!(
            head.rev >= version,
            "the version fell from {version} to {}",
            head.rev
        );
        if version < head.dropped {
            let all = store
                .list::<Item>(Page::of("key", vec![Value::from("o")], 1_000))
                .await?;
            seen.extend(all.into_iter().map(|item| item.name));
        } else {
            let entries = parse(&head.entries)?;
            for (_, name) in entries.into_iter().filter(|(v, _)| *v > version) {
                let found = store.find::<Item>(key!["o", name.as_str()]).await?;
                assert!(found.is_some(), "{name} is in the head but not stored");
                seen.insert(name);
            }
        }
        version = head.rev;
    }
    Ok(seen)
}

fn parse(entries: &[u8]) -> Result<Vec<(i64, String)>, Box<dyn std::error::Error + Send + Sync>> {
    let mut parsed = Vec::new();
    for line in std::str::from_utf8(entries)?.lines() {
        let (version, name) = line.split_once(' ').ok_or("an entry without a version")?;
        parsed.push((version.parse()?, name.to_owned()));
    }
    Ok(parsed)
}
