//! Version heads as operations: record a change, read what changed since (messages-and-sync.md 13, rest-api.md 5).
//!
//! Writers first write the data, then call [`record`]: whoever has read version v then finds everything up to v. A reader
//! computes the delta from the data: an element that is there was inserted or updated, one that is not was deleted.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use prost::Message as _;

use crate::{
    Document, Documents, Outcome, Store,
    documents::VersionHead,
    key,
    store::{Result, StoreError},
};

/// How many entries a head keeps; a client further behind reads the whole list.
pub const MAX_ENTRIES: usize = 200;
/// Tries of one compare-and-set loop before the store counts as unavailable.
const MAX_TRIES: usize = 1000;
/// The element that stands for "the order of the list changed".
pub const SORT_ELEMENT: &str = "____S_O_R_T_I_D____";

/// What happened to an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It came.
    Insert,
    /// It went.
    Delete,
    /// It changed.
    Update,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, tag = "1")]
    element: String,
    #[prost(int32, tag = "2")]
    state: i32,
    #[prost(int64, tag = "3")]
    version: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entries {
    #[prost(message, repeated, tag = "1")]
    list: Vec<Entry>,
}

/// The versioned lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// A user's conversations.
    Conversations,
    /// A user's friends.
    Friends,
    /// A user's black list.
    Blacks,
    /// A user's groups.
    JoinedGroups,
    /// A group's members.
    Members,
}

impl List {
    fn name(self) -> &'static str {
        match self {
            Self::Conversations => "conversations",
            Self::Friends => "friends",
            Self::Blacks => "blacks",
            Self::JoinedGroups => "joined_groups",
            Self::Members => "members",
        }
    }
}

/// The version a list has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// 24 hex digits.
    pub id: String,
    /// Counter.
    pub number: i64,
}

/// What changed since a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// The client must read the whole list.
    Full(Version),
    /// Nothing.
    Same(Version),
    /// These elements, by what happened to them last, in no particular order.
    Changes {
        /// What the client has after it.
        version: Version,
        /// Came.
        insert: Vec<String>,
        /// Changed.
        update: Vec<String>,
        /// Went.
        delete: Vec<String>,
        /// Version at which the order last changed, 0 if it did not.
        sort_version: i64,
    },
}

fn fresh_id() -> String {
    use std::fmt::Write as _;
    let mut id = String::with_capacity(24);
    for byte in magpie_types::ids::random_bytes::<12>() {
        if write!(id, "{byte:02x}").is_err() {
            break;
        }
    }
    id
}

/// Records that these elements changed in one step and returns the version reached.
pub async fn record<S: Store + ?Sized>(
    store: &S,
    owner: &str,
    list: List,
    changes: &[(&str, State)],
) -> Result<Version> {
    write(store, owner, list, &[changes]).await
}

/// Records that these elements changed, each in a step of its own, in one write, and returns the version reached.
pub async fn record_each<S: Store + ?Sized>(
    store: &S,
    owner: &str,
    list: List,
    changes: &[(&str, State)],
) -> Result<Version> {
    let steps: Vec<_> = changes.chunks(1).collect();
    write(store, owner, list, &steps).await
}

async fn write<S: Store + ?Sized>(
    store: &S,
    owner: &str,
    list: List,
    steps: &[&[(&str, State)]],
) -> Result<Version> {
    for _ in 0..MAX_TRIES {
        let found: Option<VersionHead> = store.find(key![owner, list.name()]).await?;
        let old_rev = found.as_ref().map(|h| h.rev);
        let mut head = found.unwrap_or_else(|| empty(owner, list));
        let mut entries: BTreeMap<String, Entry> = decode(&head)?
            .into_iter()
            .map(|e| (e.element.clone(), e))
            .collect();
        for changes in steps {
            head.version += 1;
            for (element, state) in *changes {
                let entry = Entry {
                    element: (*element).to_owned(),
                    state: *state as i32,
                    version: head.version,
                };
                entries.insert(entry.element.clone(), entry);
            }
        }
        let mut newest: Vec<Entry> = entries.into_values().collect();
        newest.sort_by_key(|e| std::cmp::Reverse(e.version));
        if newest.len() > MAX_ENTRIES {
            head.dropped = newest
                .get(MAX_ENTRIES)
                .map_or(head.dropped, |e| e.version.max(head.dropped));
            newest.truncate(MAX_ENTRIES);
        }
        head.entries = Bytes::from(Entries { list: newest }.encode_to_vec());
        head.rev += 1;
        let version = Version {
            id: head.version_id.clone(),
            number: head.version,
        };
        let written = match old_rev {
            Some(rev) => store.replace(head, rev).await?,
            None => store.add(head).await? == Outcome::Inserted,
        };
        if written {
            return Ok(version);
        }
    }
    Err(StoreError::Unavailable(
        "too many writers of one version head".to_owned(),
    ))
}

/// The version of a list; makes the head if there is none.
pub async fn current<S: Store + ?Sized>(store: &S, owner: &str, list: List) -> Result<Version> {
    let head = head(store, owner, list).await?;
    Ok(Version {
        id: head.version_id,
        number: head.version,
    })
}

/// The version of a list that has been recorded or read before.
pub async fn known<S: Store + ?Sized>(
    store: &S,
    owner: &str,
    list: List,
) -> Result<Option<Version>> {
    let head: Option<VersionHead> = store.find(key![owner, list.name()]).await?;
    Ok(head.map(|head| Version {
        id: head.version_id,
        number: head.version,
    }))
}

/// The heads of several owners' lists of one kind, by owner; without those that nobody has recorded or read yet.
pub async fn heads<S: Store + ?Sized>(
    store: &S,
    owners: impl Iterator<Item = &str>,
    list: List,
) -> Result<HashMap<String, VersionHead>> {
    let keys = owners.map(|owner| key![owner, list.name()]).collect();
    let found: Vec<Option<VersionHead>> = store.find_many(keys).await?;
    let found = found.into_iter().flatten();
    Ok(found.map(|head| (head.owner_id.clone(), head)).collect())
}

/// What changed in a list since the version a client has.
pub async fn since<S: Store + ?Sized>(
    store: &S,
    owner: &str,
    list: List,
    id: &str,
    number: i64,
) -> Result<Delta> {
    delta(&head(store, owner, list).await?, id, number)
}

/// What changed in the list of a head since the version a client has.
pub fn delta(head: &VersionHead, id: &str, number: i64) -> Result<Delta> {
    let version = Version {
        id: head.version_id.clone(),
        number: head.version,
    };
    if number <= 0 || id != head.version_id || number > head.version || number < head.dropped {
        return Ok(Delta::Full(version));
    }
    if number == head.version {
        return Ok(Delta::Same(version));
    }
    let (mut insert, mut update, mut delete, mut sort_version) =
        (Vec::new(), Vec::new(), Vec::new(), 0);
    for entry in decode(head)?.into_iter().filter(|e| e.version > number) {
        match entry.state {
            _ if entry.element == SORT_ELEMENT => sort_version = entry.version,
            s if s == State::Insert as i32 => insert.push(entry.element),
            s if s == State::Delete as i32 => delete.push(entry.element),
            _ => update.push(entry.element),
        }
    }
    Ok(Delta::Changes {
        version,
        insert,
        update,
        delete,
        sort_version,
    })
}

/// The head of a list; makes it if there is none.
pub async fn head<S: Store + ?Sized>(store: &S, owner: &str, list: List) -> Result<VersionHead> {
    for _ in 0..MAX_TRIES {
        if let Some(head) = store.find::<VersionHead>(key![owner, list.name()]).await? {
            return Ok(head);
        }
        let mut head = empty(owner, list);
        head.version = 1;
        if store.add(head.clone()).await? == Outcome::Inserted {
            return Ok(head);
        }
    }
    Err(StoreError::Unavailable(
        "a version head can't be made".to_owned(),
    ))
}

fn empty(owner: &str, list: List) -> VersionHead {
    VersionHead {
        owner_id: owner.to_owned(),
        list: list.name().to_owned(),
        version_id: fresh_id(),
        version: 0,
        entries: Bytes::new(),
        dropped: 0,
        rev: 0,
    }
}

fn decode(head: &VersionHead) -> Result<Vec<Entry>> {
    Entries::decode(head.entries.clone())
        .map(|e| e.list)
        .map_err(|e| StoreError::Corrupt {
            collection: VersionHead::SCHEMA.collection,
            reason: e.to_string(),
        })
}
