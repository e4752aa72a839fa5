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
    Change, Documents as _, Page, Value,
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

use crate::{Service, load::state};

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
        let msg = MsgData::decode(stored.body.clone()).map_err(Error::internal)?;
        if stored.state == state::REVOKED {
            self.tell_again(ctx, &req, &msg, &stored).await?;
            return Err(Error::new(
                Code::REVOKED_ALREADY,
                "the message is revoked already",
            ));
        }
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
        let shown = MessageRevokedContent {
            revoker_id: req.user_id.clone(),
            revoker_role,
            client_msg_id: msg.client_msg_id.clone(),
            revoker_nickname: revoker.nickname,
            revoke_time: now_ms(),
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
                Change::Set(Message::state, state::REVOKED.into()),
                Change::Set(Message::revocation, Value::Blob(content.into())),
            ],
        )
        .await?;
        let by = (ctx.user_id(), by_admin);
        self.tell_revoked(ctx, &stored, &msg, &shown, by).await
    }

    /// Tells of a revocation once more before it is answered with 1404: who stored it may have died before he had told it, and then the
    /// devices that hold the message would show it for ever. The notice has the id of the first one, so a second one is taken for a
    /// repeat, which is neither stored nor pushed.
    async fn tell_again(
        &self,
        ctx: &Context,
        req: &RevokeMsgReq,
        msg: &MsgData,
        stored: &Message,
    ) -> Result<()> {
        let elem: NotificationElem =
            magpie_proto::json::from_slice(&stored.revocation).map_err(Error::internal)?;
        let shown: MessageRevokedContent =
            magpie_proto::json::from_slice(elem.detail.as_bytes()).map_err(Error::internal)?;
        // In whose name an administrator did it is stored, he himself is not: he is named where he repeats his own request.
        let by_caller = ctx.is_admin() && req.user_id == shown.revoker_id;
        let in_pair = msg.session_type != SessionType::Group.number();
        let by_admin = by_caller
            || self.deps.admins.contains(&shown.revoker_id)
            || (in_pair && shown.revoker_id != msg.send_id);
        let revoker = if by_caller {
            ctx.user_id()
        } else {
            shown.revoker_id.as_str()
        };
        let by = (revoker, by_admin);
        match self.tell_revoked(ctx, stored, msg, &shown, by).await {
            // Nobody is there any more to be told.
            Err(e) if e.code() == Code::GROUP_DISMISSED => Ok(()),
            told => told,
        }
    }

    /// Both sides of the chat learn of it, whoever revokes: it travels in the stream of the message.
    async fn tell_revoked(
        &self,
        ctx: &Context,
        stored: &Message,
        msg: &MsgData,
        shown: &MessageRevokedContent,
        (revoker, by_admin): (&str, bool),
    ) -> Result<()> {
        let tips = RevokeMsgTips {
            revoker_user_id: revoker.to_owned(),
            client_msg_id: msg.client_msg_id.clone(),
            revoke_time: shown.revoke_time,
            sesstion_type: msg.session_type,
            seq: stored.seq,
            conversation_id: stored.conversation_id.clone(),
            is_admin_revoke: by_admin,
        };
        let kind = content_type::MSG_REVOKE;
        let notice = if msg.session_type == SessionType::Group.number() {
            Notification::to_group(kind, &shown.revoker_id, &msg.group_id, &tips)?
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
                "only its sender, the owner and administrators of the group may revoke this message, while they are members",
            ))
        }
    }

    /// A stored message that is not deleted, or 1004.
    pub(crate) async fn stored(&self, conversation: &ConversationId, seq: i64) -> Result<Message> {
        let found = self.find_stored(conversation, seq).await?;
        found.ok_or_else(|| Error::not_found("there is no such message"))
    }

    /// A stored message, unless it is deleted.
    pub(crate) async fn find_stored(
        &self,
        conversation: &ConversationId,
        seq: i64,
    ) -> Result<Option<Message>> {
        let page = Page::of("by_seq", key![conversation.as_str()], 1).between(seq, seq);
        let found: Vec<Message> = self.deps.store.list(page).await?;
        Ok(found.into_iter().find(|m| m.state != state::DELETED))
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
