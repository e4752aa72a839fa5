//! Removing records, and the text that every owner's record of a user gets. Neither is announced: clients learn of it when they
//! synchronise.

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use magpie_proto::openim::conversation::DeleteConversationsReq;
use magpie_service::{Context, lists, pending};
use magpie_store::{documents::Conversation, key};
use magpie_types::{Result, time::now_ms};

use crate::{
    records::{Follow, Records},
    settings::Patch,
};

const DAY_MS: i64 = 24 * 3600 * 1000;

impl Records {
    /// Removes the named records of an owner, or those without a message of the last days. Messages and positions stay; a
    /// setting makes the record anew.
    pub(crate) async fn remove(
        self: &Arc<Self>,
        ctx: &Context,
        req: DeleteConversationsReq,
    ) -> Result<()> {
        let owner = &req.owner_user_id;
        let ids = if req.conversation_i_ds.is_empty() {
            self.older(ctx, owner, req.need_delete_time).await?
        } else {
            req.conversation_i_ds
        };
        let now = now_ms();
        let writes = stream::iter(ids).map(|id| async move {
            let key = key![owner.as_str(), id.as_str()];
            pending::change(self.deps.store.as_ref(), key, |found| {
                let record = found.filter(Conversation::is_present);
                let record = record.map(|record| Conversation {
                    deleted_at: now,
                    ..record
                });
                Ok(record.map(|record| (record, Follow::QUIET.mark())))
            })
            .await
        });
        self.write_all(ctx, writes).await
    }

    /// The owner's conversations without a message, and without having been made, in the last `days`.
    async fn older(&self, ctx: &Context, owner: &str, days: i64) -> Result<Vec<String>> {
        let before = now_ms().saturating_sub(days.saturating_mul(DAY_MS));
        let records = self.of_owner(owner).await?;
        let seqs = self.seqs(ctx, owner, &records).await?;
        let old = records.into_iter().filter(|record| {
            let newest = seqs
                .get(&record.conversation_id)
                .map_or(0, |s| s.max_seq_time);
            newest.max(record.create_time) < before
        });
        Ok(old.map(|record| record.conversation_id).collect())
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
                let about = crate::records::identity(&record);
                self.write(&record.owner_id, &about, patch, Follow::QUIET)
                    .await
            }
        });
        self.write_all(ctx, writes).await
    }
}
