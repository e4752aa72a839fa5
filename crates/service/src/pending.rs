//! Intents: what a change still has to do after its decisive document was written.
//!
//! One recipe for every service (design.md "Changes that others must learn of"):
//!
//! 1. [`change`] writes the decisive document by compare-and-set, and in the same step its `pending` field: a stamp (when the
//!    follow-up began), a random id and a mark (what to do, bits chosen by the owner).
//! 2. [`follow_up`] rolls it forward: derived rows, version heads, notifications with the id of [`message_id`].
//! 3. [`finish`] empties the field, unless the document was changed again: then that change has taken over what was left.
//!
//! What a crash or an unavailable service left is found through the index over `pending`, claimed and rolled forward by
//! [`spawn_worker`]. Every step may therefore happen twice and is written so that this changes nothing.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{StreamExt as _, stream};
use magpie_store::{
    Documents as _, Intends, Key, Outcome, Store,
    store::{Page, StoreError},
};
use magpie_types::{Result, ids::ServerMsgId, time::now_ms};

use tokio::time::MissedTickBehavior;

use crate::Deps;

/// Bytes of the stamp.
const STAMP: usize = 8;
/// Bytes of the random id and of the mark.
const REST: usize = 8 + 1;
/// Tries of one compare-and-set loop.
const MAX_TRIES: usize = 100;
/// How long a request waits for what follows its change.
const WAIT: Duration = Duration::from_secs(5);
/// How old an intent is when the worker takes it over.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(30);
/// Time between two looks for intents; the first is at the start.
const INTERVAL: Duration = Duration::from_secs(10);
/// Intents taken over in one look.
const BATCH: usize = 100;

/// Changes or makes a document and notes what follows. `apply` is given what is stored and answers the new document with its
/// mark, or None to leave everything as it is; it may be called several times. The document is answered as it was written.
pub async fn change<D: Intends>(
    store: &dyn Store,
    key: Key,
    mut apply: impl FnMut(Option<D>) -> Result<Option<(D, u8)>>,
) -> Result<Option<D>> {
    for _ in 0..MAX_TRIES {
        let found = store.find::<D>(key.clone()).await?;
        let old = found.as_ref().map(|d| (d.rev(), d.pending().clone()));
        let Some((mut document, mark)) = apply(found)? else {
            return Ok(None);
        };
        let written = match old {
            Some((rev, left)) => {
                document.set(rev + 1, begin_after(&left, mark));
                store.replace(document.clone(), rev).await?
            }
            None => {
                document.set(1, begin(mark));
                store.add(document.clone()).await? == Outcome::Inserted
            }
        };
        if written {
            return Ok(Some(document));
        }
    }
    Err(contended::<D>().into())
}

/// The error of a compare-and-set loop that has ended.
pub fn contended<D: Intends>() -> StoreError {
    StoreError::Unavailable(format!(
        "too many writers of one document of {}",
        D::SCHEMA.collection
    ))
}

/// Takes over what another one has left; None if somebody else was faster or nothing is left.
pub async fn claim<D: Intends>(store: &dyn Store, mut document: D) -> Result<Option<D>> {
    if document.pending().is_empty() {
        return Ok(None);
    }
    let rev = document.rev();
    let pending = renew(document.pending());
    document.set(rev + 1, pending);
    Ok(store
        .replace(document.clone(), rev)
        .await?
        .then_some(document))
}

/// Nothing is left to do, unless the document was changed again: then its writer has noted what is left.
pub async fn finish<D: Intends>(store: &dyn Store, mut document: D) -> Result<()> {
    let rev = document.rev();
    document.set(rev + 1, Bytes::new());
    store.replace(document, rev).await?;
    Ok(())
}

/// Rolls changes forward, at most `limit` of them at a time. They stand, so their request is answered when this is done, or has
/// failed (then the worker does it), or after five seconds; the rest then goes on.
pub async fn follow_up<T, F>(
    deps: &Deps,
    limit: usize,
    changes: impl IntoIterator<Item = T, IntoIter: Send> + Send + 'static,
    roll: impl Fn(T) -> F + Send + Sync + 'static,
) where
    T: Send + 'static,
    F: Future<Output = Result<()>> + Send,
{
    let task = deps.tasks.spawn(async move {
        let work = stream::iter(changes)
            .map(roll)
            .buffer_unordered(limit.max(1));
        work.for_each(async |rolled| {
            if let Err(e) = rolled {
                tracing::warn!(error = e.report(), "a change can't be finished yet");
            }
        })
        .await;
    });
    if tokio::time::timeout(WAIT, task).await.is_err() {
        metrics::counter!("magpie_changes_late_total").increment(1);
    }
}

/// An intent that begins now.
pub fn begin(mark: u8) -> Bytes {
    let mut bytes = BytesMut::from(stamp(now_ms()).as_ref());
    bytes.put_slice(&magpie_types::ids::random_bytes::<8>());
    bytes.put_u8(mark);
    bytes.freeze()
}

/// An intent that begins now and includes what is left of the one before. It keeps its id, so that nothing is announced twice,
/// unless both have to do the same: then the newer one is announced again.
fn begin_after(left: &Bytes, new: u8) -> Bytes {
    let old = mark(left).unwrap_or(0);
    if left.is_empty() || old & new != 0 {
        return begin(old | new);
    }
    let id = left.get(STAMP..STAMP + 8).unwrap_or_default();
    let mut bytes = BytesMut::from(stamp(now_ms()).as_ref());
    bytes.put_slice(id);
    bytes.put_u8(old | new);
    bytes.freeze()
}

/// The same intent, begun again by whoever takes it over.
fn renew(pending: &[u8]) -> Bytes {
    let mut bytes = BytesMut::from(stamp(now_ms()).as_ref());
    bytes.put_slice(pending.get(STAMP..).unwrap_or_default());
    bytes.freeze()
}

/// The mark of an intent; none if nothing is pending.
pub fn mark(pending: &[u8]) -> Option<u8> {
    pending.last().copied()
}

/// How long ago an intent was begun, milliseconds.
pub fn age_ms(pending: &[u8]) -> u64 {
    let begun = pending
        .first_chunk::<STAMP>()
        .map_or(0, |at| i64::from_be_bytes(*at));
    u64::try_from(now_ms() - begun).unwrap_or(0)
}

/// The id of a message that an intent causes: the same however often it is rolled forward.
pub fn message_id(pending: &[u8], owner: &str, kind: i32) -> String {
    let intent = pending.get(STAMP..STAMP + 8).unwrap_or_default();
    ServerMsgId::derive(owner, &kind.to_string(), &hex::encode(intent)).to_string()
}

fn stamp(at: i64) -> Bytes {
    Bytes::copy_from_slice(&at.to_be_bytes())
}

/// Lower than every intent that began then, and as long: an index orders blobs of one length only.
fn bound(at: i64) -> Bytes {
    let mut bytes = BytesMut::from(stamp(at).as_ref());
    bytes.put_bytes(0, REST);
    bytes.freeze()
}

/// The oldest intents, whoever works at them. `index` is one over `pending` alone.
pub async fn oldest<D: Intends>(store: &dyn Store, index: &'static str) -> Result<Vec<D>> {
    due(store, index, i64::MAX).await
}

/// The oldest intents that were begun before the given time. `index` is an index over `pending` alone.
async fn due<D: Intends>(store: &dyn Store, index: &'static str, before: i64) -> Result<Vec<D>> {
    Ok(store
        .list(Page::of(index, Vec::new(), BATCH).between(bound(0), bound(before)))
        .await?)
}

/// Rolls forward what requests have left, until shutdown: `roll` is given each document that this worker has claimed; what it
/// returns an error for is tried again later. `index` is one over `pending` alone.
pub fn spawn_worker<D, F>(
    deps: &Deps,
    index: &'static str,
    roll: impl Fn(D) -> F + Send + Sync + 'static,
) where
    D: Intends,
    F: Future<Output = Result<()>> + Send,
{
    let (store, shutdown) = (Arc::clone(&deps.store), deps.shutdown.clone());
    deps.tasks.spawn(async move {
        let mut looks = tokio::time::interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(looks.tick()).await.is_some() {
            let before = now_ms() - i64::try_from(TAKE_OVER_AFTER.as_millis()).unwrap_or(i64::MAX);
            let documents = match due::<D>(store.as_ref(), index, before).await {
                Ok(documents) => documents,
                Err(e) => {
                    tracing::warn!(
                        collection = D::SCHEMA.collection,
                        error = e.report(),
                        "unfinished changes can't be read"
                    );
                    continue;
                }
            };
            for document in documents {
                let rolled = match claim(store.as_ref(), document).await {
                    Ok(Some(document)) => roll(document).await,
                    Ok(None) => continue,
                    Err(e) => Err(e),
                };
                if let Err(e) = rolled {
                    tracing::warn!(
                        collection = D::SCHEMA.collection,
                        error = e.report(),
                        "a change could not be finished"
                    );
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_sort_by_time_and_are_as_long_as_intents() {
        assert!(bound(5) < bound(6));
        let before = now_ms();
        let intent = begin(0);
        assert_eq!(intent.len(), bound(0).len());
        assert!(bound(before) <= intent && intent < bound(now_ms() + 1));
    }

    #[test]
    fn a_renewed_intent_causes_the_same_messages() {
        let intent = begin(7);
        let renewed = renew(&intent);
        assert_eq!(mark(&renewed), Some(7));
        assert_eq!(
            message_id(&renewed, "u1", 1300),
            message_id(&intent, "u1", 1300)
        );
        assert_ne!(
            message_id(&begin(7), "u1", 1300),
            message_id(&intent, "u1", 1300)
        );
        assert_eq!(mark(&[]), None);
    }

    #[test]
    fn a_later_intent_includes_the_one_before() {
        let first = begin(1);
        let both = begin_after(&first, 2);
        assert_eq!(mark(&both), Some(3));
        assert_eq!(message_id(&both, "u1", 1), message_id(&first, "u1", 1));
        let again = begin_after(&both, 2);
        assert_eq!(mark(&again), Some(3));
        assert_ne!(message_id(&again, "u1", 1), message_id(&both, "u1", 1));
        assert_eq!(mark(&begin_after(&Bytes::new(), 4)), Some(4));
    }
}
