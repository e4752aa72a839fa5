//! Lists that clients page through or synchronise by version (rest-api.md 1.7, 5): the parts that friends, groups and
//! conversations share.
//!
//! Answers are computed after the version was read, so that a client that stores the version has at least what it stands
//! for.

use magpie_proto::openim::sdkws::RequestPagination;
use magpie_store::{
    Document, Documents as _, Key, Store, Value,
    store::{MAX_PAGE, Page, order_of},
    versions::{self, Delta, List},
};
use magpie_types::{Error, Result};
use md5::{Digest as _, Md5};
use serde::Serialize;

/// Longest list that is read as a whole.
pub const MAX_LIST: usize = 100_000;

/// Every document whose index starts with `prefix`, in the order of the index; at most [`MAX_LIST`] and what a page has beyond.
pub async fn all<D: Document>(
    store: &dyn Store,
    index: &'static str,
    prefix: Vec<Value>,
) -> Result<Vec<D>> {
    let mut found = Vec::new();
    let whole = each(store, index, prefix, |rows| {
        found.extend(rows);
        found.len() < MAX_LIST
    });
    if !whole.await? {
        metrics::counter!("magpie_list_truncated_total", "collection" => D::SCHEMA.collection)
            .increment(1);
        tracing::warn!(
            collection = D::SCHEMA.collection,
            "a list is longer than {MAX_LIST}; the rest is left out"
        );
    }
    Ok(found)
}

/// Shows every document whose index starts with `prefix`, in the order of the index and a page at a time, while `f` says yes.
/// Returns whether it has shown all.
pub async fn each<D: Document>(
    store: &dyn Store,
    index: &'static str,
    prefix: Vec<Value>,
    mut f: impl FnMut(Vec<D>) -> bool,
) -> Result<bool> {
    let order = D::SCHEMA
        .index(index)
        .map_or_else(Vec::new, |i| order_of(D::SCHEMA, i));
    let mut page = Page::of(index, prefix, MAX_PAGE);
    loop {
        let rows = store.page(D::SCHEMA, page.clone()).await?;
        let last = rows.len() < MAX_PAGE;
        page.after = rows.last().map(|row| {
            let rest = order.iter().skip(page.prefix.len());
            rest.filter_map(|&field| row.get(field).cloned()).collect()
        });
        let rows: Vec<D> = rows
            .into_iter()
            .map(D::from_row)
            .collect::<Result<_, _>>()?;
        let more = f(rows);
        if last || !more {
            return Ok(last);
        }
    }
}

/// Checks a pagination that a route requires: missing or before page 1 is 1001.
pub fn required(pagination: Option<RequestPagination>) -> Result<RequestPagination> {
    match pagination {
        None => Err(Error::args("pagination is empty")),
        Some(p) if p.page_number < 1 => Err(Error::args("pageNumber is invalid")),
        Some(p) => Ok(p),
    }
}

/// The asked-for part of a list, at most `max` elements of it; none for a page beyond the end.
pub fn page<T>(
    items: impl IntoIterator<Item = T>,
    pagination: RequestPagination,
    max: usize,
) -> Vec<T> {
    let size = usize::try_from(pagination.show_number)
        .unwrap_or(0)
        .min(max);
    let before = usize::try_from(i64::from(pagination.page_number) - 1)
        .unwrap_or(usize::MAX)
        .saturating_mul(size);
    items.into_iter().skip(before).take(size).collect()
}

/// What a client sends to say which list it has: 0 for an empty one, else the start of the MD5 of the ids as a JSON array.
pub fn id_hash(ids: &[String]) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    json_hash(ids)
}

/// The start of the MD5 of a value as JSON.
pub fn json_hash<T: Serialize + ?Sized>(value: &T) -> Result<u64> {
    let digest = Md5::digest(magpie_proto::json::to_vec(value).map_err(Error::internal)?);
    Ok(digest
        .iter()
        .take(8)
        .fold(0, |hash, byte| (hash << 8) | u64::from(*byte)))
}

/// The answer to a full-id request.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FullIds {
    /// Server's version.
    pub version: u64,
    /// Server's version line.
    pub version_id: String,
    /// The client has this list.
    pub equal: bool,
    /// The list; empty if the client has it.
    pub ids: Vec<String>,
}

impl FullIds {
    /// Compares the list with the hash of what the client has; `version` was read before `ids`.
    pub fn new(version: versions::Version, ids: Vec<String>, client_hash: u64) -> Result<Self> {
        let equal = id_hash(&ids)? == client_hash;
        let ids = if equal { Vec::new() } else { ids };
        Ok(Self {
            version: unsigned(version.number),
            version_id: version.id,
            equal,
            ids,
        })
    }
}

/// What changed in a list since the client's version.
#[derive(Debug)]
pub struct Incremental<D> {
    /// Server's version.
    pub version: u64,
    /// Server's version line.
    pub version_id: String,
    /// The client has to read the whole list.
    pub full: bool,
    /// Elements that are gone.
    pub delete: Vec<String>,
    /// Elements that came.
    pub insert: Vec<D>,
    /// Elements that changed.
    pub update: Vec<D>,
    /// Version at which the order changed, 0 if it did not.
    pub sort_version: u64,
    /// Anything was recorded since, also what is no element.
    pub changed: bool,
}

/// Answers an incremental request: `key` names an element's document, `present` says whether a stored document counts as an
/// element. An empty element id stands for the list's owner and is not reported.
pub async fn incremental<D: Document>(
    store: &dyn Store,
    (owner, list): (&str, List),
    (version_id, version): (&str, u64),
    key: impl Fn(&str) -> Key,
    present: impl Fn(&D) -> bool,
) -> Result<Incremental<D>> {
    let known = i64::try_from(version).unwrap_or(i64::MAX);
    let delta = versions::since(store, owner, list, version_id, known).await?;
    resolve(store, delta, key, present).await
}

/// The documents of a delta; see [`incremental`].
pub async fn resolve<D: Document>(
    store: &dyn Store,
    delta: Delta,
    key: impl Fn(&str) -> Key,
    present: impl Fn(&D) -> bool,
) -> Result<Incremental<D>> {
    let answer = |v: versions::Version, full| Incremental {
        version: unsigned(v.number),
        version_id: v.id,
        full,
        delete: Vec::new(),
        insert: Vec::new(),
        update: Vec::new(),
        sort_version: 0,
        changed: full,
    };
    let (version, insert, update, delete, sort_version) = match delta {
        Delta::Full(v) => return Ok(answer(v, true)),
        Delta::Same(v) => return Ok(answer(v, false)),
        Delta::Changes {
            version,
            insert,
            update,
            delete,
            sort_version,
        } => (version, insert, update, delete, sort_version),
    };
    let mut answer = answer(version, false);
    answer.changed = true;
    answer.sort_version = unsigned(sort_version);
    let mut ids: Vec<(String, bool)> = insert
        .into_iter()
        .chain(delete)
        .map(|id| (id, true))
        .collect();
    ids.extend(update.into_iter().map(|id| (id, false)));
    ids.retain(|(id, _)| !id.is_empty());
    ids.sort_unstable();
    let documents = store
        .find_many::<D>(ids.iter().map(|(id, _)| key(id)).collect())
        .await?;
    for ((id, is_new), document) in ids.into_iter().zip(documents) {
        match document.filter(&present) {
            None => answer.delete.push(id),
            Some(document) if is_new => answer.insert.push(document),
            Some(document) => answer.update.push(document),
        }
    }
    Ok(answer)
}

/// A version as the wire has it.
pub fn unsigned(version: i64) -> u64 {
    u64::try_from(version).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pagination(page_number: i32, show_number: i32) -> RequestPagination {
        RequestPagination {
            page_number,
            show_number,
        }
    }

    #[test]
    fn a_page_beyond_the_end_is_empty() {
        let items = || (0..5).collect::<Vec<_>>();
        assert_eq!(page(items(), pagination(1, 2), 100), [0, 1]);
        assert_eq!(page(items(), pagination(3, 2), 100), [4]);
        assert!(page(items(), pagination(4, 2), 100).is_empty());
        assert!(page(items(), pagination(1, 0), 100).is_empty());
        assert!(page(items(), pagination(i32::MAX, i32::MAX), 100).is_empty());
        assert_eq!(page(items(), pagination(1, i32::MAX), 3), [0, 1, 2]);
    }

    #[test]
    fn a_required_pagination_starts_at_page_one() {
        assert!(required(None).is_err());
        assert!(required(Some(pagination(0, 10))).is_err());
        assert!(required(Some(pagination(1, 0))).is_ok());
    }

    #[test]
    fn hashes_a_list_as_clients_do() {
        assert_eq!(id_hash(&[]).unwrap(), 0);
        // The first half of `printf '["u2","u3"]' | md5sum`.
        assert_eq!(
            id_hash(&["u2".to_owned(), "u3".to_owned()]).unwrap(),
            HASH_OF_U2_U3
        );
    }

    const HASH_OF_U2_U3: u64 = 0x1d55_ec1c_46d4_e110;
}
