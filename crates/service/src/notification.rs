//! Notifications: messages that the server itself sends (messages-and-sync.md 4.3, 12).
//!
//! A service that changed something describes it as a [`Notification`] and [`send`]s it; it takes the same way as a user's
//! message, so order, storage and delivery need no second mechanism.

use std::collections::BTreeMap;

use magpie_discovery::name;
use magpie_proto::openim::{
    msg::msg_client::MsgClient,
    sdkws::{MsgData, NotificationElem, OfflinePushInfo},
};
use magpie_types::{
    Code, Error, Result, SessionType,
    msg::{FROM_SYSTEM, content_type, option},
    time::now_ms,
};

use crate::{Context, Deps};

/// What to tell whom.
#[derive(Debug, Clone)]
pub struct Notification {
    /// Content type, e.g. 1300.
    pub content_type: i32,
    /// Who caused it.
    pub send_id: String,
    /// The user told, or the group.
    pub recv_id: String,
    /// Single or group.
    pub session: SessionType,
    /// The tips message as JSON.
    pub tips: String,
    /// Stored in the `n_` stream with a seq (else only connected clients get it).
    pub reliable: bool,
    /// A copy goes to the chat as a tip line.
    pub in_chat: bool,
    /// Offline push, by default of its kind off.
    pub offline_push: bool,
    /// Derived from the change it tells, so that a repeat is recognised; empty: random.
    pub client_msg_id: String,
}

impl Notification {
    /// An unstored notification from a user to a user (himself, for his other devices).
    pub fn to_user<T: serde::Serialize>(
        content_type: i32,
        send_id: &str,
        recv_id: &str,
        tips: &T,
    ) -> Result<Self> {
        Ok(Self {
            content_type,
            send_id: send_id.to_owned(),
            recv_id: recv_id.to_owned(),
            session: SessionType::Single,
            tips: magpie_proto::json::to_string(tips).map_err(Error::internal)?,
            reliable: false,
            in_chat: false,
            offline_push: false,
            client_msg_id: String::new(),
        })
    }

    /// An unstored notification from a user to the members of a group.
    pub fn to_group<T: serde::Serialize>(
        content_type: i32,
        send_id: &str,
        group_id: &str,
        tips: &T,
    ) -> Result<Self> {
        let to_user = Self::to_user(content_type, send_id, group_id, tips)?;
        Ok(Self {
            session: SessionType::Group,
            ..to_user
        })
    }

    /// Stored with a seq.
    #[must_use]
    pub fn reliable(mut self) -> Self {
        self.reliable = true;
        self
    }

    /// Shown in the chat as well.
    #[must_use]
    pub fn in_chat(mut self) -> Self {
        self.in_chat = true;
        self
    }

    /// With offline push.
    #[must_use]
    pub fn offline_push(mut self) -> Self {
        self.offline_push = true;
        self
    }

    /// With an id that a repeat of the same change gives again.
    #[must_use]
    pub fn client_msg_id(mut self, id: impl Into<String>) -> Self {
        self.client_msg_id = id.into();
        self
    }

    /// The message that tells it.
    pub fn into_msg(self) -> Result<MsgData> {
        let now = now_ms();
        let content = magpie_proto::json::to_vec(&NotificationElem { detail: self.tips })
            .map_err(Error::internal)?;
        let group = self.session == SessionType::Group;
        Ok(MsgData {
            group_id: if group {
                self.recv_id.clone()
            } else {
                String::new()
            },
            send_id: self.send_id,
            recv_id: self.recv_id,
            client_msg_id: if self.client_msg_id.is_empty() {
                magpie_types::ids::random_client_msg_id()
            } else {
                self.client_msg_id
            },
            session_type: self.session.number(),
            msg_from: FROM_SYSTEM,
            content_type: self.content_type,
            content: content.into(),
            send_time: now,
            create_time: now,
            options: options(self.reliable, self.in_chat, self.offline_push),
            offline_push_info: Some(push_info(self.content_type)),
            ..MsgData::default()
        })
    }
}

fn options(reliable: bool, in_chat: bool, offline_push: bool) -> BTreeMap<String, bool> {
    [
        (option::IS_NOT_NOTIFICATION, false),
        (option::IS_SEND_MSG, in_chat),
        (option::HISTORY, reliable),
        (option::PERSISTENT, reliable),
        (option::OFFLINE_PUSH, offline_push),
        (option::UNREAD_COUNT, in_chat),
        (option::CONVERSATION_UPDATE, false),
        (option::NOT_PRIVATE, false),
        (option::SENDER_CONVERSATION_UPDATE, false),
        (option::REACTION_FROM_CACHE, false),
        (option::SENDER_SYNC, true),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

/// The text of an offline push of a notification; clients get it attached even where no push is sent.
fn push_info(kind: i32) -> OfflinePushInfo {
    let text = match kind {
        content_type::FRIEND_APPLICATION_APPROVED => {
            "Someone applies to add your friend application"
        }
        content_type::FRIEND_APPLICATION_REJECTED => "Someone rejected your friend application",
        content_type::FRIEND_APPLICATION => "Somebody applies to add you as a friend",
        content_type::FRIEND_DELETED => "deleted a friend",
        content_type::FRIEND_REMARK_SET => "Your friend's profile has been changed",
        content_type::BLACK_ADDED => "blocked a user",
        content_type::BLACK_DELETED => "Remove a blocked user",
        content_type::FRIEND_INFO_UPDATED | content_type::FRIENDS_INFO_UPDATE => {
            "friend info updated"
        }
        content_type::USER_INFO_UPDATED => "userInfo updated",
        content_type::CONVERSATION_CHANGE => "conversation changed",
        content_type::CONVERSATION_PRIVATE_CHAT => "burn after reading",
        _ => return group_push_info(kind),
    };
    OfflinePushInfo {
        title: text.to_owned(),
        desc: text.to_owned(),
        ex: text.to_owned(),
        ..OfflinePushInfo::default()
    }
}

/// Texts for notifications of groups; those of a changed role are empty.
fn group_push_info(kind: i32) -> OfflinePushInfo {
    let name = match kind {
        content_type::GROUP_CREATED => "create group",
        content_type::GROUP_INFO_SET => "groupInfoSet",
        content_type::JOIN_GROUP_APPLICATION => "joinGroupApplication",
        content_type::MEMBER_QUIT => "memberQuit",
        content_type::GROUP_APPLICATION_ACCEPTED => "groupApplicationAccepted",
        content_type::GROUP_APPLICATION_REJECTED => "groupApplicationRejected",
        content_type::GROUP_OWNER_TRANSFERRED => "groupOwnerTransferred",
        content_type::MEMBER_KICKED => "memberKicked",
        content_type::MEMBER_INVITED => "memberInvited",
        content_type::MEMBER_ENTER => "memberEnter",
        content_type::GROUP_DISMISSED => "groupDismissed",
        content_type::GROUP_MEMBER_MUTED => "groupMemberMuted",
        content_type::GROUP_MEMBER_CANCEL_MUTED => "groupMemberCancelMuted",
        content_type::GROUP_MUTED => "groupMuted",
        content_type::GROUP_CANCEL_MUTED => "groupCancelMuted",
        content_type::GROUP_MEMBER_INFO_SET => "groupMemberInfoSet",
        content_type::GROUP_ANNOUNCEMENT_SET => "groupInfoSetAnnouncement",
        content_type::GROUP_NAME_SET => "groupInfoSetName",
        _ => return OfflinePushInfo::default(),
    };
    OfflinePushInfo {
        title: format!("{name} title"),
        desc: format!("{name} desc"),
        ex: format!("{name} ext"),
        ..OfflinePushInfo::default()
    }
}

/// Sends a notification as the cluster itself, under the operation that caused it; answers when the log has it.
pub async fn send(deps: &Deps, ctx: &Context, notification: Notification) -> Result<()> {
    send_msg(deps, ctx, notification.into_msg()?).await
}

/// Sends a ready notification. What can never be sent (1001: it is too large, or others have its conversation id) is logged and counted:
/// the change that it tells stands, and must not wait for it for ever.
pub async fn send_msg(deps: &Deps, ctx: &Context, msg: MsgData) -> Result<()> {
    let kind = msg.content_type;
    let request = crate::send::request(&ctx.as_internal(), msg);
    let sent = MsgClient::new(deps.channel(name::MSG))
        .send_msg(request)
        .await;
    match sent.map_err(magpie_proto::status::from_status) {
        Err(e) if e.code() == Code::ARGS => {
            tracing::error!(kind, error = e.report(), "a notification can't be sent");
            metrics::counter!("magpie_notifications_refused_total").increment(1);
            Ok(())
        }
        sent => sent.map(drop),
    }
}
