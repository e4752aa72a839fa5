//! Removing records, and bringing them back; and the text that every owner's record of a user gets. None of this is announced but a
//! return: clients learn of it when they synchronise.
//!
//! What is removed stays noted with its newest seq. Whoever reads the owner's list next after a further message finds the record made
//! anew, so that no message is in a conversation that its receiver can't see.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use magpie_proto::openim::conversation::DeleteConversationsReq;
use magpie_service::{Context, lists, pending};
use magpie_store::{
    Document as _, Documents as _, Follow,
    documents::{Conversation, Head, RemovedConversation, UserSeq},
    key,
};
use magpie_types::{Error, Result, time::now_ms};

use crate::{
    records::{self, Identity, Records},
    settings::Patch,
};

const REMOVED_AT: &[usize] = &[RemovedConversation::seq];

const DAY_MS: i64 = 24 * 3600 * 1000;

/// Notes a removal, or leaves the note of a later one.
fn noted(note: RemovedConversation) -> Follow {
    Follow::Max {
        schema: RemovedConversation::SCHEMA,
        row: note.into_row(),
        fields: REMOVED_AT,
    }
}

impl Records {
    /// Removes the named records of an owner, or those without a message of the last days. Messages and positions stay; a
    /// setting or the next message makes the record anew.
    pub(crate) async fn remove(
        self: &Arc<Self>,
        ctx: &Context,
        req: DeleteConversationsReq,
    ) -> Result<()> {
        let owner = &req.owner_user_id;
        let records = if req.conversation_i_ds.is_empty() {
            self.older(ctx, owner, req.need_delete_time).await?
        } else {
            self.find_many(owner, &req.conversation_i_ds).await?
        };
        let ids: Vec<String> = records.iter().map(|r| r.conversation_id.clone()).collect();
        let notes = self.notes(records).await?;
        self.deps.store.apply(notes.clone()).await?;
        let now = now_ms();
        let writes = stream::iter(ids.into_iter().zip(notes)).map(|(id, note)| async move {
            let key = key![owner.as_str(), id.as_str()];
            let removed = pending::change(self.deps.store.as_ref(), key, |found| {
                let record = found.filter(Conversation::is_present);
                let record = record.map(|record| Conversation {
                    deleted_at: now,
                    ..record
                });
                Ok(record.map(|record| (record, records::Follow::QUIET.mark())))
            })
            .await?;
            // Whoever found a message after the note and the record still there has taken the note away.
            self.deps.store.apply(vec![note]).await?;
            Ok::<_, Error>(removed)
        });
        self.write_all(ctx, writes).await
    }

    /// The owner's conversations without a message, and without having been made, in the last `days`.
    async fn older(
        self: &Arc<Self>,
        ctx: &Context,
        owner: &str,
        days: i64,
    ) -> Result<Vec<Conversation>> {
        let before = now_ms().saturating_sub(days.saturating_mul(DAY_MS));
        let records = self.of_owner(owner).await?;
        let seqs = self.seqs(ctx, owner, &records).await?;
        let old = records.into_iter().filter(|record| {
            let newest = seqs
                .get(&record.conversation_id)
                .map_or(0, |s| s.max_seq_time);
            newest.max(record.create_time) < before
        });
        Ok(old.collect())
    }

    /// What is noted of records that are about to be removed, in their order.
    async fn notes(&self, records: Vec<Conversation>) -> Result<Vec<Follow>> {
        let keys = records.iter().map(|r| key![r.conversation_id.as_str()]);
        let heads = self.deps.store.find_many::<Head>(keys.collect()).await?;
        let notes = records.into_iter().zip(heads).map(|(record, head)| {
            let note = RemovedConversation {
                owner_id: record.owner_id,
                conversation_id: record.conversation_id,
                conversation_type: record.conversation_type,
                user_id: record.user_id,
                group_id: record.group_id,
                seq: head.map_or(0, |head| head.max_seq),
            };
            noted(note)
        });
        Ok(notes.collect())
    }

    /// Makes those records of an owner anew that he has removed and that have had a message for him since.
    pub(crate) async fn revive(self: &Arc<Self>, owner: &str) -> Result<()> {
        let store = &self.deps.store;
        let removed: Vec<RemovedConversation> =
            lists::all(store.as_ref(), "key", key![owner]).await?;
        if removed.is_empty() {
            return Ok(());
        }
        let keys = removed.iter().map(|r| key![r.conversation_id.as_str()]);
        let heads = store.find_many::<Head>(keys.collect()).await?;
        let keys = removed
            .iter()
            .map(|r| key![owner, r.conversation_id.as_str()]);
        let bounds = store.find_many::<UserSeq>(keys.collect()).await?;
        let (mut records, mut done) = (Vec::new(), Vec::new());
        for ((removed, head), bounds) in removed.into_iter().zip(heads).zip(bounds) {
            let newest = head.map_or(0, |head| head.max_seq);
            // Who has left a group sees nothing beyond that, and who has never been in it nothing at all.
            let (bound, version) = bounds.map_or((0, 0), |b| (b.max_seq, b.member_version));
            let is_stranger = !removed.group_id.is_empty() && version == 0;
            if is_stranger || newest <= removed.seq || bound != 0 && bound <= removed.seq {
                continue;
            }
            done.push(removed.clone());
            let about = Identity {
                conversation_id: removed.conversation_id,
                conversation_type: removed.conversation_type,
                peer: removed.user_id,
                group_id: removed.group_id,
            };
            let patch = Patch::default();
            let made = self.write(owner, &about, &patch, records::Follow::TELL_OWNER);
            records.extend(made.await?);
        }
        if !records.is_empty() {
            let ctx = Context::internal("revive-conversations");
            self.follow_up(&ctx, records).await;
        }
        for note in done {
            let key = key![owner, note.conversation_id.as_str()];
            // Another removal meanwhile stays noted, with a higher seq.
            let taken = store.remove_at::<RemovedConversation>(key.clone(), note.seq);
            if !taken.await? {
                continue;
            }
            // One that was under way had noted the same: either it notes it again after this look, or its trace is seen.
            let record: Option<Conversation> = store.find(key).await?;
            if record.is_some_and(|record| !record.is_present()) {
                store.apply(vec![noted(note)]).await?;
            }
        }
        Ok(())
    }

    /// Sets the extension text of every record about this user.
    pub(crate) async fn set_ex_of_peer(
        self: &Arc<Self>,
        ctx: &Context,
        peer: &str,
        ex: String,
    ) -> Result<()> {
        let records: Vec<Conversation> =
            lists::all(self.deps.store.as_ref(), "by_peer", key![peer]).await?;
        let patch = Patch {
            ex: Some(ex),
            ..Patch::default()
        };
        let records = records.into_iter().filter(Conversation::is_present);
        let writes = stream::iter(records).map(|record| {
            let patch = &patch;
            async move {
                let about = records::identity(&record);
                self.write(&record.owner_id, &about, patch, records::Follow::QUIET)
                    .await
            }
        });
        self.write_all(ctx, writes).await
    }
}
