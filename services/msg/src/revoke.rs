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
use magpie_types::{
    Code, ConversationId, Error, Result, SessionType,
    group::{role, status},
    msg::content_type,
    time::now_ms,
};
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
        let in_group = msg.session_type == SessionType::Group.number();
        let mut revoker_role = 0;
        if in_group {
            let role = self.role(&msg.group_id, &req.user_id).await?;
            if !by_admin {
                self.check_group_revoke(&msg, &req.user_id, role).await?;
            }
            revoker_role = role.unwrap_or(0);
        } else if msg.send_id != req.user_id && !by_admin {
            return Err(Error::no_permission("only the sender may revoke a message"));
        }
        let now = now_ms();
        let shown = MessageRevokedContent {
            revoker_id: req.user_id.clone(),
            revoker_role,
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
            revoker_user_id: ctx.user_id().to_owned(),
            client_msg_id: msg.client_msg_id.clone(),
            revoke_time: now,
            sesstion_type: msg.session_type,
            seq: req.seq,
            conversation_id: conversation.to_string(),
            is_admin_revoke: by_admin,
        };
        // Both sides of the chat learn of it, whoever revokes: it travels in the stream of the message.
        let kind = content_type::MSG_REVOKE;
        let notice = if in_group {
            Notification::to_group(kind, &req.user_id, &msg.group_id, &tips)?
        } else {
            Notification::to_user(kind, &msg.send_id, &msg.recv_id, &tips)?
        };
        let notice = notice
            .reliable()
            .client_msg_id(format!("revoke-{}", msg.server_msg_id));
        notification::send(&self.deps, ctx, notice).await
    }

    /// A member's role; `None`: he is no member.
    pub(crate) async fn role(&self, group: &str, user: &str) -> Result<Option<i32>> {
        let member = self.cache.member(&self.deps, group, user).await?;
        Ok(member.map(|m| m.role))
    }

    /// In a group: its sender, the owner every message, an administrator those of ordinary members and of who has left.
    pub(crate) async fn check_group_revoke(
        &self,
        msg: &MsgData,
        revoker: &str,
        own_role: Option<i32>,
    ) -> Result<()> {
        let status = self.cache.group_status(&self.deps, &msg.group_id).await?;
        if status == Some(status::DISMISSED) {
            return Err(Error::new(Code::GROUP_DISMISSED, "the group is dismissed"));
        }
        let may = match own_role {
            None => false,
            Some(_) if msg.send_id == revoker => true,
            Some(role::OWNER) => true,
            Some(role::ADMIN) => self
                .role(&msg.group_id, &msg.send_id)
                .await?
                .is_none_or(|sender| sender == role::ORDINARY),
            Some(_) => false,
        };
        if may {
            Ok(())
        } else {
            Err(Error::no_permission(
                "only the sender while he is a member, and those above him, may take a group's message from all",
            ))
        }
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
