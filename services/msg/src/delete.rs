//! Deleting and clearing (messages-and-sync.md 11.2, 11.3).
//!
//! For oneself: a hidden mark, or a raised lower bound. For everybody: the row stays as a tombstone, so that its number and
//! its id are never given again. In a group the latter is for those who may revoke a message, and clearing for its owner and
//! administrators; the other of a pair can be spared it by blocking.
//!
//! Done first, told afterwards: a request that failed in between does and tells all of it again when its client repeats it.

use std::collections::HashSet;

use bytes::Bytes;
use magpie_proto::openim::{
    msg::{
        ClearConversationsMsgReq, DeleteMsgPhysicalReq, DeleteMsgsReq, DeleteSyncOpt,
        UserClearAllMsgReq,
    },
    sdkws::{ClearConversationTips, ConversationUpdateTips, DeleteMsgsTips, MsgData},
};
use magpie_service::{
    Context,
    notification::{self, Notification},
};
use magpie_store::{
    Change, Document as _, Follow, Page, Value,
    documents::{Head, Hidden, Message},
    key,
    versions::{self, List, State},
};
use magpie_types::{
    Code, ConversationId, Error, Result, group::role, msg::content_type, time::now_ms,
};
use prost::Message as _;

use crate::{Service, access, load::state, read_positions::raise};

/// Messages read at once to erase old ones.
const ERASED_AT_ONCE: usize = 500;

impl Service {
    pub(crate) async fn delete_msgs(&self, ctx: &Context, req: DeleteMsgsReq) -> Result<()> {
        if req.conversation_id.is_empty() || req.user_id.is_empty() {
            return Err(Error::args("conversationID and userID are needed"));
        }
        if req.seqs.len() > self.config.max_pull {
            return Err(Error::args(format!(
                "at most {} seqs",
                self.config.max_pull
            )));
        }
        ctx.require_self(&req.user_id)?;
        let highest = req.seqs.iter().copied().max().unwrap_or(0);
        let (conversation, view) = self
            .view_up_to(ctx, &req.user_id, &req.conversation_id, highest)
            .await?;
        let opt = req.delete_sync_opt.unwrap_or_default();
        let user = req.user_id.as_str();
        let (mut low, mut high) = (1, view.head.max_seq);
        if opt.is_sync_other && !ctx.is_admin() {
            let window = view.window();
            (low, high) = (window.low, window.high);
        }
        let mut seqs = req.seqs;
        seqs.retain(|seq| (low..=high).contains(seq));
        if opt.is_sync_other {
            self.check_erase(ctx, user, &conversation, &seqs).await?;
            self.erase(&conversation, &seqs).await?;
        } else {
            let hide = seqs.iter().map(|seq| Follow::InsertIfAbsent {
                schema: Hidden::SCHEMA,
                row: magpie_store::Document::into_row(Hidden {
                    user_id: user.to_owned(),
                    conversation_id: conversation.to_string(),
                    seq: *seq,
                }),
            });
            self.deps.store.apply(hide.collect()).await?;
        }
        let tips = DeleteMsgsTips {
            user_id: user.to_owned(),
            conversation_id: conversation.to_string(),
            seqs,
        };
        let kind = content_type::DELETE_MSGS;
        let notice = match (opt.is_sync_other, opt.is_sync_self) {
            (true, _) => self.to_others(kind, user, &conversation, &tips).await?,
            (false, true) => Notification::to_user(kind, user, user, &tips)?,
            (false, false) => return Ok(()),
        };
        notification::send(&self.deps, ctx, notice.reliable()).await
    }

    /// 1002 or 1302 unless the user may delete these messages for everybody.
    async fn check_erase(
        &self,
        ctx: &Context,
        user: &str,
        conversation: &ConversationId,
        seqs: &[i64],
    ) -> Result<()> {
        if ctx.is_admin() {
            return Ok(());
        }
        if conversation.is_notification_stream() {
            return Err(Error::no_permission(
                "a notification can be deleted for oneself only",
            ));
        }
        if !conversation.is_group_chat() {
            return self.check_pair(user, conversation).await;
        }
        let role = self.role(conversation.stem(), user).await?;
        if role.is_none() {
            return Err(Error::no_permission(
                "only a member may delete messages of a group for everybody",
            ));
        }
        for seq in seqs {
            if let Some(message) = self.find_stored(conversation, *seq).await? {
                let msg = MsgData::decode(message.body).map_err(Error::internal)?;
                self.check_group_revoke(&msg, user, role).await?;
            }
        }
        Ok(())
    }

    /// 1002 or 1302 unless the user may clear the conversation for everybody.
    async fn check_clear(
        &self,
        ctx: &Context,
        user: &str,
        conversation: &ConversationId,
    ) -> Result<()> {
        if ctx.is_admin() {
            return Ok(());
        }
        if !conversation.is_group_chat() {
            return self.check_pair(user, conversation).await;
        }
        match self.role(conversation.stem(), user).await? {
            Some(role::OWNER | role::ADMIN) => Ok(()),
            _ => Err(Error::no_permission(
                "only a group's owner and administrators clear it for everybody",
            )),
        }
    }

    /// 1302 if this is a pair's chat and the other one has blocked the user.
    async fn check_pair(&self, user: &str, conversation: &ConversationId) -> Result<()> {
        match self.peer(user, conversation).await? {
            Some(peer) => self.check_not_blocked(&peer, user).await,
            None => Ok(()),
        }
    }

    /// A notification for everybody in the conversation: the partner of a single chat, the members of a group.
    async fn to_others<T: serde::Serialize + Sync>(
        &self,
        kind: i32,
        user: &str,
        conversation: &ConversationId,
        tips: &T,
    ) -> Result<Notification> {
        if conversation.is_group_chat() {
            return Notification::to_group(kind, user, conversation.stem(), tips);
        }
        let peer = self.peer(user, conversation).await?;
        Notification::to_user(kind, user, peer.as_deref().unwrap_or(user), tips)
    }

    /// Turns messages into tombstones for everybody.
    pub(crate) async fn erase(&self, conversation: &ConversationId, seqs: &[i64]) -> Result<()> {
        for seq in seqs {
            let Some(message) = self.find_stored(conversation, *seq).await? else {
                continue;
            };
            let tombstone = vec![
                Change::Set(Message::state, state::DELETED.into()),
                Change::Set(Message::body, Value::Blob(Bytes::new())),
                Change::Set(Message::revocation, Value::Blob(Bytes::new())),
            ];
            self.change(&message, tombstone).await?;
        }
        Ok(())
    }

    /// Turns what is older than so many seconds into tombstones, oldest first. Repeating it goes on where it was cut off.
    pub(crate) async fn erase_older(&self, ctx: &Context, req: DeleteMsgPhysicalReq) -> Result<()> {
        ctx.require_admin()?;
        self.check_count(req.conversation_i_ds.len())?;
        if req.timestamp < 0 {
            return Err(Error::args("timestamp is an age in seconds"));
        }
        let before = now_ms().saturating_sub(req.timestamp.saturating_mul(1000));
        for id in &req.conversation_i_ds {
            let conversation = ConversationId::parse(id)?;
            let mut page = Page::of("by_seq", key![id.as_str()], ERASED_AT_ONCE);
            loop {
                let rows = self.deps.store.page(Message::SCHEMA, page.clone()).await?;
                let Some(last) = rows.last() else { break };
                page = page.after_row(Message::SCHEMA, last);
                let messages: Vec<Message> = rows
                    .into_iter()
                    .map(Message::from_row)
                    .collect::<Result<_, _>>()?;
                let old = messages.iter().filter(|m| m.send_time < before);
                let seqs: Vec<i64> = old
                    .clone()
                    .filter(|m| m.state != state::DELETED)
                    .map(|m| m.seq)
                    .collect();
                // Times follow the seqs, but for messages that a back end sends with a time of its own.
                if old.count() == 0 {
                    break;
                }
                self.erase(&conversation, &seqs).await?;
            }
        }
        Ok(())
    }

    pub(crate) async fn clear_conversations(
        &self,
        ctx: &Context,
        req: ClearConversationsMsgReq,
    ) -> Result<()> {
        if req.user_id.is_empty() {
            return Err(Error::args("userID is empty"));
        }
        ctx.require_self(&req.user_id)?;
        self.check_count(req.conversation_i_ds.len())?;
        let known = self.records(&req.user_id).await?;
        let named: HashSet<String> = req.conversation_i_ds.into_iter().collect();
        let ids = known
            .into_iter()
            .map(|r| r.conversation_id)
            .filter(|id| named.contains(id))
            .collect();
        let opt = req.delete_sync_opt.unwrap_or_default();
        let own = self.own(&req.user_id, ids).await?;
        if opt.is_sync_other {
            for id in &own {
                let conversation = ConversationId::trusted(id.as_str());
                self.check_clear(ctx, &req.user_id, &conversation).await?;
            }
        }
        self.clear(ctx, &req.user_id, own, opt).await
    }

    /// Clears what the user takes part in; for everybody those of it that he may clear so, for himself the rest.
    pub(crate) async fn clear_all(&self, ctx: &Context, req: UserClearAllMsgReq) -> Result<()> {
        if req.user_id.is_empty() {
            return Err(Error::args("userID is empty"));
        }
        ctx.require_self(&req.user_id)?;
        let ids = self
            .records(&req.user_id)
            .await?
            .into_iter()
            .map(|r| r.conversation_id)
            .collect();
        let user = req.user_id.as_str();
        let mut opt = req.delete_sync_opt.unwrap_or_default();
        let mut own = self.own(user, ids).await?;
        if opt.is_sync_other {
            let mut open = Vec::new();
            for id in std::mem::take(&mut own) {
                let conversation = ConversationId::trusted(id.as_str());
                match self.check_clear(ctx, user, &conversation).await {
                    Ok(()) => open.push(id),
                    Err(e)
                        if e.code() == Code::NO_PERMISSION || e.code() == Code::BLOCKED_BY_PEER =>
                    {
                        own.push(id);
                    }
                    Err(e) => return Err(e),
                }
            }
            self.clear(ctx, user, open, opt).await?;
            opt.is_sync_other = false;
        }
        self.clear(ctx, user, own, opt).await
    }

    async fn clear(
        &self,
        ctx: &Context,
        user: &str,
        ids: Vec<String>,
        opt: DeleteSyncOpt,
    ) -> Result<()> {
        let heads = self.heads(&ids).await?;
        for id in &ids {
            let max = heads.get(id).copied().unwrap_or(0);
            let mut seqs = access::empty_user_seq(user, id);
            seqs.read_seq = max;
            if !opt.is_sync_other {
                seqs.min_seq = max + 1;
            }
            let mut writes = vec![raise(seqs)];
            if opt.is_sync_other {
                let mut head = access::empty_head(id);
                head.min_seq = max + 1;
                writes.push(Follow::Max {
                    schema: Head::SCHEMA,
                    row: magpie_store::Document::into_row(head),
                    fields: HEAD_MIN_SEQ,
                });
            }
            self.deps.store.apply(writes).await?;
            if !opt.is_sync_other {
                versions::record(
                    &*self.deps.store,
                    user,
                    List::Conversations,
                    &[(id.as_str(), State::Update)],
                )
                .await?;
                let tips = ConversationUpdateTips {
                    user_id: user.to_owned(),
                    conversation_id_list: vec![id.clone()],
                };
                let notice =
                    Notification::to_user(content_type::CONVERSATION_CHANGE, user, user, &tips)?;
                notification::send(&self.deps, ctx, notice).await?;
            }
        }
        self.announce_clear(ctx, user, ids, opt).await
    }

    async fn announce_clear(
        &self,
        ctx: &Context,
        user: &str,
        ids: Vec<String>,
        opt: DeleteSyncOpt,
    ) -> Result<()> {
        let kind = content_type::CLEAR_CONVERSATION;
        let tips = |conversation_i_ds| ClearConversationTips {
            user_id: user.to_owned(),
            conversation_i_ds,
        };
        if opt.is_sync_other {
            for id in ids {
                let conversation = ConversationId::trusted(id.as_str());
                let tips = tips(vec![id]);
                let notice = self.to_others(kind, user, &conversation, &tips).await?;
                notification::send(&self.deps, ctx, notice).await?;
            }
        } else if opt.is_sync_self && !ids.is_empty() {
            let notice = Notification::to_user(kind, user, user, &tips(ids))?;
            notification::send(&self.deps, ctx, notice).await?;
        }
        Ok(())
    }
}

const HEAD_MIN_SEQ: &[usize] = &[Head::min_seq];
