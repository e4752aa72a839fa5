//! Who may send what to whom (messages-and-sync.md 6.2, 6.3, 6.4).

use magpie_proto::openim::sdkws::MsgData;
use magpie_types::{
    Code, ConversationId, Error, Result,
    group::{role, status},
    msg::{content_type, option},
    time::now_ms,
    user::{level, recv_opt},
};

use crate::Service;

/// Content types that ordinary users may send: 100 to 999. The numbers above belong to the server and to notification
/// accounts; a user who could send them would bypass the checks and forge events.
pub(super) fn user_may_send(msg: &MsgData) -> Result<()> {
    match msg.content_type {
        100..=999 => Ok(()),
        1000.. => Err(Error::no_permission("users can't send this contentType")),
        _ => Err(Error::args("contentType is not a message's")),
    }
}

impl Service {
    /// The group and the sender's place in it. Administrators and the server's own notifications skip the sender.
    pub(super) async fn check_group(&self, msg: &MsgData) -> Result<()> {
        let refused = |code, why| Err(Error::new(code, why));
        let group = msg.group_id.as_str();
        let Some(status) = self.cache.group_status(&self.deps, group).await? else {
            return refused(Code::GROUP_ID_NOT_FOUND, "there is no such group");
        };
        if status == status::DISMISSED && msg.content_type != content_type::GROUP_DISMISSED {
            return refused(Code::GROUP_DISMISSED, "the group is dismissed");
        }
        let server_made = (1000..=5000).contains(&msg.content_type);
        if server_made || self.deps.admins.contains(&msg.send_id) {
            return Ok(());
        }
        let member = self.cache.member(&self.deps, group, &msg.send_id).await?;
        match member {
            None => refused(
                Code::NOT_IN_GROUP,
                "the sender is not a member of the group",
            ),
            Some(member) if member.role == role::OWNER => Ok(()),
            Some(member) if member.mute_end >= now_ms() => {
                refused(Code::MUTED_IN_GROUP, "the sender is muted")
            }
            Some(member) if status == status::MUTED && member.role != role::ADMIN => {
                refused(Code::MUTED_GROUP, "the group is muted")
            }
            Some(_) => Ok(()),
        }
    }

    /// Blocks, friendship and the receiver's options, for single chats. Administrators and the server's own notifications
    /// skip the relation checks.
    pub(super) async fn check_single(
        &self,
        msg: &mut MsgData,
        chat: &ConversationId,
        is_notification: bool,
    ) -> Result<()> {
        let server_made = (1000..=5000).contains(&msg.content_type);
        let is_admin = self.deps.admins.contains(&msg.send_id);
        if !server_made && !is_admin {
            let sender = self.cache.profile(&self.deps, &msg.send_id).await?;
            let sender = sender.ok_or_else(|| Error::not_found("sendID is not registered"))?;
            if sender.level < level::ADMIN {
                self.check_relation(msg).await?;
            }
        }
        if is_notification {
            return Ok(());
        }
        let receiver = self.cache.profile(&self.deps, &msg.recv_id).await?;
        let receiver = receiver.ok_or_else(|| Error::not_found("recvID is not registered"))?;
        let conversation_opt = self
            .cache
            .recv_opt(&self.deps, &msg.recv_id, chat.as_str())
            .await?;
        if receiver.recv_opt == recv_opt::DO_NOT_RECEIVE
            || (conversation_opt == recv_opt::DO_NOT_RECEIVE
                && msg.content_type != content_type::HAS_READ_RECEIPT)
        {
            return Err(Error::args(
                "the receiver does not take messages: message is not sent",
            ));
        }
        if [receiver.recv_opt, conversation_opt].contains(&recv_opt::DO_NOT_NOTIFY) {
            msg.options.insert(option::OFFLINE_PUSH.to_owned(), false);
        }
        Ok(())
    }

    /// 1302 if the other of a pair has blocked the user.
    pub(crate) async fn check_not_blocked(&self, other: &str, user: &str) -> Result<()> {
        if self.cache.has_blocked(&self.deps, other, user).await? {
            return Err(Error::new(
                Code::BLOCKED_BY_PEER,
                "the other user has blocked this one",
            ));
        }
        Ok(())
    }

    /// The receiver may have blocked the sender, and the configuration may demand that he has befriended him.
    async fn check_relation(&self, msg: &MsgData) -> Result<()> {
        let (receiver, sender) = (&*msg.recv_id, &*msg.send_id);
        self.check_not_blocked(receiver, sender).await?;
        if self.config.friend_verify && !self.cache.is_friend(&self.deps, receiver, sender).await? {
            return Err(Error::new(
                Code::NOT_PEERS_FRIEND,
                "the receiver has not befriended the sender",
            ));
        }
        Ok(())
    }
}
