//! Intents: what a change still has to do after its decisive document was written.
//!
//! The document's `pending` field is written in the same step as the change: a stamp (when the follow-up began), a random id
//! and a mark (what to do, chosen by the owner). The request itself does the rest and empties the field; what a crash or an
//! unavailable service left is found through the index over `pending` and rolled forward by [`spawn_worker`].

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use magpie_store::{Document, Documents as _, Store, store::Page};
use magpie_types::{Result, ids::ServerMsgId, time::now_ms};

use crate::Deps;

/// Bytes of the stamp.
const STAMP: usize = 8;
/// Bytes of the random id and of the mark.
const REST: usize = 8 + 1;
/// How old an intent is when the worker takes it over.
const TAKE_OVER_AFTER: Duration = Duration::from_secs(30);
/// Time between two looks for intents.
const INTERVAL: Duration = Duration::from_secs(10);
/// Intents taken over in one look.
const BATCH: usize = 100;

/// An intent that begins now.
pub fn begin(mark: u8) -> Bytes {
    let mut bytes = BytesMut::from(stamp(now_ms()).as_ref());
    bytes.put_slice(&magpie_types::ids::random_bytes::<8>());
    bytes.put_u8(mark);
    bytes.freeze()
}

/// The same intent, begun again by whoever takes it over.
pub fn renew(pending: &[u8]) -> Bytes {
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
    let intent = pending.get(STAMP..).unwrap_or_default();
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

/// The oldest intents that were begun before the given time. `index` is an index over `pending` alone.
async fn due<D: Document>(store: &dyn Store, index: &'static str, before: i64) -> Result<Vec<D>> {
    Ok(store
        .list(Page::of(index, Vec::new(), BATCH).between(bound(0), bound(before)))
        .await?)
}

/// Rolls forward what requests have left, until shutdown. `roll` claims the document by compare-and-set before it acts; what
/// it returns an error for is tried again later.
pub fn spawn_worker<D, F>(
    deps: &Deps,
    index: &'static str,
    roll: impl Fn(D) -> F + Send + Sync + 'static,
) where
    D: Document,
    F: Future<Output = Result<()>> + Send,
{
    let (store, shutdown) = (Arc::clone(&deps.store), deps.shutdown.clone());
    deps.tasks.spawn(async move {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(INTERVAL) => {}
            }
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
                if let Err(e) = roll(document).await {
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
}
