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

use crate::{Service, access::Part};

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
        let ids = if listed {
            req.conversation_i_ds
        } else {
            let ids = records.into_iter().map(|r| r.conversation_id);
            self.own(user, ids.collect()).await?
        };
        let conversations: Vec<_> = ids.into_iter().map(ConversationId::trusted).collect();
        let views = if listed {
            self.views(ctx, user, &conversations).await?
        } else {
            let parts = vec![Part::Takes; conversations.len()];
            self.views_of(user, &conversations, parts).await?
        };
        for (conversation, view) in conversations.into_iter().zip(views) {
            let Some(view) = view else { continue };
            // What a leaver had sent may stand, and count as read, behind the end of his time.
            let newest = view.window().high;
            // Nor do the times of what was said without him show.
            let max_seq_time = if newest < view.head.max_seq {
                self.time_of(conversation.as_str(), newest).await?
            } else {
                view.head.max_seq_time
            };
            let entry = Seqs {
                max_seq: newest,
                has_read_seq: view.seqs.read_seq.min(newest),
                max_seq_time,
            };
            resp.seqs.insert(conversation.into(), entry);
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
