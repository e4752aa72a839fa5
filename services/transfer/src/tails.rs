//! The last seq of each conversation, as far as this process knows: a bounded cache over the message collection.

use std::collections::HashSet;

use futures::{TryStreamExt as _, stream};
use magpie_store::{Documents as _, Page, SharedStore, documents::Message, key, store::Result};
use moka::sync::Cache;

/// See the module.
pub(crate) struct Tails(Cache<String, i64>);

impl Tails {
    pub(crate) fn new(entries: u64) -> Self {
        Self(Cache::builder().max_capacity(entries).build())
    }

    /// Reads those that are not known, at most so many at the same time.
    pub(crate) async fn read(
        &self,
        store: &SharedStore,
        conversations: HashSet<&str>,
        at_once: usize,
    ) -> Result<()> {
        let unknown = conversations
            .into_iter()
            .filter(|conversation| !self.0.contains_key(*conversation))
            .map(Ok);
        stream::iter(unknown)
            .try_for_each_concurrent(at_once, |conversation| async move {
                self.get(store, conversation).await.map(drop)
            })
            .await
    }

    /// The last stored seq of the conversation, 0 if there is none.
    pub(crate) async fn get(&self, store: &SharedStore, conversation: &str) -> Result<i64> {
        if let Some(seq) = self.0.get(conversation) {
            return Ok(seq);
        }
        let page = Page::of("by_seq", key![conversation], 1).descending();
        let last: Vec<Message> = store.list(page).await?;
        let seq = last.first().map_or(0, |m| m.seq);
        self.set(conversation, seq);
        Ok(seq)
    }

    pub(crate) fn set(&self, conversation: &str, seq: i64) {
        self.0.insert(conversation.to_owned(), seq);
    }

    /// Forgets what may be stale: the next look reads the store.
    pub(crate) fn forget(&self, conversation: &str) {
        self.0.invalidate(conversation);
    }
}
