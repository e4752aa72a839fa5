//! Newest and read positions: 1001, 1006 and their gRPC relatives (messages-and-sync.md 8.2, 8.5).

use std::collections::BTreeMap;

use magpie_discovery::name;
use magpie_proto::{
    openim::{
        conversation::{GetFullOwnerConversationIDsReq, conversation_client::ConversationClient},
        msg::{GetConversationsHasReadAndMaxSeqReq, GetConversationsHasReadAndMaxSeqResp, Seqs},
        sdkws::{GetMaxSeqReq, GetMaxSeqResp},
    },
    status::from_status,
};
use magpie_service::{Context, lists, rpc::filled};
use magpie_store::{
    Documents as _, Page,
    documents::{Conversation, Head, Message, RemovedConversation, UserSeq},
    key,
};
use magpie_types::{ConversationId, Result};

use crate::{
    Service,
    access::{Part, View, empty_head, empty_user_seq},
};

impl Service {
    pub(crate) async fn max_seqs_of_user(
        &self,
        ctx: &Context,
        req: GetMaxSeqReq,
    ) -> Result<GetMaxSeqResp> {
        ctx.require_self(&req.user_id)?;
        let mut ids = vec![ConversationId::notifications(&req.user_id, &req.user_id).to_string()];
        let records = self.records(&req.user_id).await?;
        let chats = records.into_iter().map(|record| record.conversation_id);
        for chat in self.own(&req.user_id, chats.collect()).await? {
            let chat = ConversationId::trusted(chat);
            ids.push(chat.notification_stream().into());
            ids.push(chat.into());
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(GetMaxSeqResp {
            max_seqs: self.heads(&ids).await?,
            min_seqs: BTreeMap::new(),
        })
    }

    /// The newest seqs of these conversations; those without a message are left out.
    pub(crate) async fn heads(&self, ids: &[String]) -> Result<BTreeMap<String, i64>> {
        let keys = ids.iter().map(|id| key![id.as_str()]).collect();
        let heads: Vec<Option<Head>> = self.deps.store.find_many(keys).await?;
        Ok(heads
            .into_iter()
            .flatten()
            .filter(|h| h.max_seq > 0)
            .map(|h| (h.conversation_id, h.max_seq))
            .collect())
    }

    pub(crate) async fn read_seqs(
        &self,
        user: &str,
        ids: &[String],
    ) -> Result<BTreeMap<String, i64>> {
        let keys = ids.iter().map(|id| key![user, id.as_str()]).collect();
        let seqs: Vec<Option<UserSeq>> = self.deps.store.find_many(keys).await?;
        Ok(seqs
            .into_iter()
            .flatten()
            .filter(|s| s.read_seq > 0)
            .map(|s| (s.conversation_id, s.read_seq))
            .collect())
    }

    pub(crate) async fn has_read_and_max(
        &self,
        ctx: &Context,
        req: GetConversationsHasReadAndMaxSeqReq,
    ) -> Result<GetConversationsHasReadAndMaxSeqResp> {
        filled("userID", &req.user_id)?;
        ctx.require_self(&req.user_id)?;
        self.check_count(req.conversation_i_ds.len())?;
        let user = req.user_id.as_str();
        let records = if req.conversation_i_ds.is_empty() || req.return_pinned {
            self.records(user).await?
        } else {
            Vec::new()
        };
        let mut resp = GetConversationsHasReadAndMaxSeqResp::default();
        if req.return_pinned {
            resp.pinned_conversation_i_ds = records
                .iter()
                .filter(|r| r.is_pinned)
                .map(|r| r.conversation_id.clone())
                .collect();
        }
        let listed = !req.conversation_i_ds.is_empty();
        let mut ids: Vec<String> = if listed {
            req.conversation_i_ds
        } else {
            let ids = records.into_iter().map(|r| r.conversation_id);
            self.own(user, ids.collect()).await?
        };
        let mut parts = vec![Part::Takes; ids.len()];
        if listed && !ctx.is_admin() {
            for (part, id) in parts.iter_mut().zip(&ids) {
                *part = self
                    .part(user, &ConversationId::trusted(id.as_str()))
                    .await?;
            }
            let mut keep = parts.iter().map(|part| *part != Part::None);
            ids.retain(|_| keep.next().unwrap_or(false));
            parts.retain(|part| *part != Part::None);
        }
        // Positions before heads, and no more read than there is: a message raises both, in either order.
        let seqs: Vec<Option<UserSeq>> = self
            .deps
            .store
            .find_many(ids.iter().map(|id| key![user, id.as_str()]).collect())
            .await?;
        let heads: Vec<Option<Head>> = self
            .deps
            .store
            .find_many(ids.iter().map(|id| key![id.as_str()]).collect())
            .await?;
        for (((id, head), seqs), part) in ids.into_iter().zip(heads).zip(seqs).zip(parts) {
            let view = View {
                head: head.unwrap_or_else(|| empty_head(&id)),
                seqs: seqs.unwrap_or_else(|| empty_user_seq(user, &id)),
            };
            if !part.admits(&view.seqs) {
                continue;
            }
            // What a leaver had sent may stand, and count as read, behind the end of his time.
            let newest = view.window().high;
            // Nor do the times of what was said without him show.
            let max_seq_time = if newest < view.head.max_seq {
                self.time_of(&id, newest).await?
            } else {
                view.head.max_seq_time
            };
            let entry = Seqs {
                max_seq: newest,
                has_read_seq: view.seqs.read_seq.min(newest),
                max_seq_time,
            };
            resp.seqs.insert(id, entry);
        }
        Ok(resp)
    }

    /// When a message was sent; 0 if there is none with this number.
    async fn time_of(&self, conversation: &str, seq: i64) -> Result<i64> {
        let page = Page::of("by_seq", key![conversation], 1).between(seq, seq);
        let found: Vec<Message> = self.deps.store.list(page).await?;
        Ok(found.first().map_or(0, |message| message.send_time))
    }

    /// The user's conversation records. Where he has removed some, the conversation service first brings those back that have had a
    /// message since.
    pub(crate) async fn records(&self, user: &str) -> Result<Vec<Conversation>> {
        let removed = Page::of("key", key![user], 1);
        let removed: Vec<RemovedConversation> = self.deps.store.list(removed).await?;
        if !removed.is_empty() {
            let request = GetFullOwnerConversationIDsReq {
                user_id: user.to_owned(),
                id_hash: 0,
            };
            ConversationClient::new(self.deps.channel(name::CONVERSATION))
                .get_full_owner_conversation_i_ds(Context::internal("sync").request(request))
                .await
                .map_err(from_status)?;
        }
        let store = self.deps.store.as_ref();
        let mut records: Vec<Conversation> = lists::all(store, "key", key![user]).await?;
        records.retain(Conversation::is_present);
        Ok(records)
    }
}
