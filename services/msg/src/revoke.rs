//! Revoking a message (messages-and-sync.md 11.1).

use magpie_proto::openim::{
    msg::RevokeMsgReq,
    sdkws::{MessageRevokedContent, MsgData, NotificationElem, RevokeMsgTips},
};
use magpie_service::{
    Context,
    notification::{self, Notification},
};
use magpie_store::{
    Change, Document as _, Documents as _, Page, Value,
    documents::{Message, User},
    key,
};
use magpie_types::{Code, ConversationId, Error, Result, msg::content_type, time::now_ms};
use prost::Message as _;

use crate::{Service, read_msgs::state};

impl Service {
    pub(crate) async fn revoke(&self, ctx: &Context, req: RevokeMsgReq) -> Result<()> {
        if req.conversation_id.is_empty() || req.user_id.is_empty() || req.seq < 1 {
            return Err(Error::args(
                "conversationID, userID and a seq above 0 are needed",
            ));
        }
        ctx.require_self(&req.user_id)?;
        let revoker: Option<User> = self.deps.store.find(key![req.user_id.as_str()]).await?;
        let revoker = revoker.ok_or_else(|| Error::not_found("userID is not registered"))?;
        let (conversation, _) = self
            .view_up_to(ctx, &req.user_id, &req.conversation_id, req.seq)
            .await?;
        let stored = self.stored(&conversation, req.seq).await?;
        if stored.state == state::REVOKED {
            return Err(Error::new(
                Code::REVOKED_ALREADY,
                "the message is revoked already",
            ));
        }
        let msg = MsgData::decode(stored.body.clone()).map_err(Error::internal)?;
        let by_admin = ctx.is_admin() || self.deps.admins.contains(&req.user_id);
        if msg.send_id != req.user_id && !by_admin {
            return Err(Error::no_permission("only the sender may revoke a message"));
        }
        let now = now_ms();
        let shown = MessageRevokedContent {
            revoker_id: req.user_id.clone(),
            revoker_role: 0,
            client_msg_id: msg.client_msg_id.clone(),
            revoker_nickname: revoker.nickname,
            revoke_time: now,
            source_message_send_time: msg.send_time,
            source_message_send_id: msg.send_id.clone(),
            source_message_sender_nickname: msg.sender_nickname.clone(),
            session_type: msg.session_type,
            seq: req.seq,
            ..MessageRevokedContent::default()
        };
        let detail = magpie_proto::json::to_string(&shown).map_err(Error::internal)?;
        let content =
            magpie_proto::json::to_vec(&NotificationElem { detail }).map_err(Error::internal)?;
        self.change(
            &stored,
            vec![
                Change::Set(position("state"), state::REVOKED.into()),
                Change::Set(position("revocation"), Value::Blob(content.into())),
            ],
        )
        .await?;
        let tips = RevokeMsgTips {
            revoker_user_id: req.user_id.clone(),
            client_msg_id: msg.client_msg_id.clone(),
            revoke_time: now,
            sesstion_type: msg.session_type,
            seq: req.seq,
            conversation_id: conversation.to_string(),
            is_admin_revoke: by_admin,
        };
        // Both sides of the chat learn of it, whoever revokes: it travels in the stream of the message.
        let notice =
            Notification::to_user(content_type::MSG_REVOKE, &msg.send_id, &msg.recv_id, &tips)?
                .reliable()
                .client_msg_id(format!("revoke-{}", msg.server_msg_id));
        notification::send(&self.deps, ctx, notice).await
    }

    /// A stored message that is not deleted, or 1004.
    pub(crate) async fn stored(&self, conversation: &ConversationId, seq: i64) -> Result<Message> {
        let page = Page::of("by_seq", key![conversation.as_str()], 1).between(seq, seq);
        let found: Vec<Message> = self.deps.store.list(page).await?;
        found
            .into_iter()
            .find(|m| m.state != state::DELETED)
            .ok_or_else(|| Error::not_found("there is no such message"))
    }

    pub(crate) async fn change(&self, message: &Message, changes: Vec<Change>) -> Result<()> {
        let key = vec![
            Value::from(message.stem.as_str()),
            Value::Blob(message.server_msg_id.clone()),
        ];
        self.deps.store.change::<Message>(key, changes).await?;
        Ok(())
    }
}

/// Position of a field of [`Message`].
pub(crate) fn position(field: &str) -> usize {
    Message::SCHEMA.position(field).unwrap_or(usize::MAX)
}
