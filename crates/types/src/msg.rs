//! Message options, content types and statuses (messages-and-sync.md 2.3, 4, 5.1).

/// Keys of the `options` map. An absent key means true.
pub mod option {
    /// False: the message gets no seq and is not stored.
    pub const HISTORY: &str = "history";
    /// False: legacy twin of `history`.
    pub const PERSISTENT: &str = "persistent";
    /// False: no offline push.
    pub const OFFLINE_PUSH: &str = "offlinePush";
    /// False: the unread counter stays.
    pub const UNREAD_COUNT: &str = "unreadCount";
    /// False: the receiver's conversation list stays.
    pub const CONVERSATION_UPDATE: &str = "conversationUpdate";
    /// False: the sender's connections don't get it.
    pub const SENDER_SYNC: &str = "senderSync";
    /// False: the sender's conversation list stays.
    pub const SENDER_CONVERSATION_UPDATE: &str = "senderConversationUpdate";
    /// False: the message belongs to a private chat.
    pub const NOT_PRIVATE: &str = "notPrivate";
    /// Legacy.
    pub const REACTION_FROM_CACHE: &str = "reactionFromCache";
    /// False: a notification; it goes to the `n_` stream.
    pub const IS_NOT_NOTIFICATION: &str = "isNotNotification";
    /// True on a notification: a copy goes to the chat.
    pub const IS_SEND_MSG: &str = "isSendMsg";
}

/// Content types the server itself treats specially.
pub mod content_type {
    /// Text.
    pub const TEXT: i32 = 101;
    /// Text with mentions.
    pub const AT_TEXT: i32 = 106;
    /// Revoke of generation 2.
    pub const REVOKE_V2: i32 = 111;
    /// Typing.
    pub const TYPING: i32 = 113;
    /// Quote.
    pub const QUOTE: i32 = 114;
    /// Markdown.
    pub const MARKDOWN: i32 = 118;
    /// A system notice of a notification account.
    pub const OA_NOTIFICATION: i32 = 1400;
    /// Friend application approved.
    pub const FRIEND_APPLICATION_APPROVED: i32 = 1201;
    /// Friend application rejected.
    pub const FRIEND_APPLICATION_REJECTED: i32 = 1202;
    /// Friend application.
    pub const FRIEND_APPLICATION: i32 = 1203;
    /// Friend deleted.
    pub const FRIEND_DELETED: i32 = 1205;
    /// Friend's remark set by the older route.
    pub const FRIEND_REMARK_SET: i32 = 1206;
    /// User blocked.
    pub const BLACK_ADDED: i32 = 1207;
    /// User unblocked.
    pub const BLACK_DELETED: i32 = 1208;
    /// A friend's profile changed.
    pub const FRIEND_INFO_UPDATED: i32 = 1209;
    /// Records of friends changed.
    pub const FRIENDS_INFO_UPDATE: i32 = 1210;
    /// Conversations changed.
    pub const CONVERSATION_CHANGE: i32 = 1300;
    /// Own profile changed.
    pub const USER_INFO_UPDATED: i32 = 1303;
    /// Group made.
    pub const GROUP_CREATED: i32 = 1501;
    /// Group changed.
    pub const GROUP_INFO_SET: i32 = 1502;
    /// Somebody wants to join a group.
    pub const JOIN_GROUP_APPLICATION: i32 = 1503;
    /// A member left.
    pub const MEMBER_QUIT: i32 = 1504;
    /// Application to join accepted.
    pub const GROUP_APPLICATION_ACCEPTED: i32 = 1505;
    /// Application to join refused.
    pub const GROUP_APPLICATION_REJECTED: i32 = 1506;
    /// Group has another owner.
    pub const GROUP_OWNER_TRANSFERRED: i32 = 1507;
    /// Members were removed.
    pub const MEMBER_KICKED: i32 = 1508;
    /// Members came by invitation.
    pub const MEMBER_INVITED: i32 = 1509;
    /// A member came.
    pub const MEMBER_ENTER: i32 = 1510;
    /// Group dissolved.
    pub const GROUP_DISMISSED: i32 = 1511;
    /// A member may not speak.
    pub const GROUP_MEMBER_MUTED: i32 = 1512;
    /// A member may speak again.
    pub const GROUP_MEMBER_CANCEL_MUTED: i32 = 1513;
    /// Members may not speak.
    pub const GROUP_MUTED: i32 = 1514;
    /// Members may speak again.
    pub const GROUP_CANCEL_MUTED: i32 = 1515;
    /// A member's name, avatar or text changed.
    pub const GROUP_MEMBER_INFO_SET: i32 = 1516;
    /// A member became administrator.
    pub const GROUP_MEMBER_SET_TO_ADMIN: i32 = 1517;
    /// An administrator became ordinary.
    pub const GROUP_MEMBER_SET_TO_ORDINARY: i32 = 1518;
    /// Announcement set.
    pub const GROUP_ANNOUNCEMENT_SET: i32 = 1519;
    /// Group renamed.
    pub const GROUP_NAME_SET: i32 = 1520;
    /// User command added.
    pub const USER_COMMAND_ADD: i32 = 1305;
    /// User command deleted.
    pub const USER_COMMAND_DELETE: i32 = 1306;
    /// User command changed.
    pub const USER_COMMAND_UPDATE: i32 = 1307;
    /// Private chat switched.
    pub const CONVERSATION_PRIVATE_CHAT: i32 = 1701;
    /// Conversations cleared.
    pub const CLEAR_CONVERSATION: i32 = 1703;
    /// Application-defined notification.
    pub const BUSINESS_NOTIFICATION: i32 = 2001;
    /// Message revoked.
    pub const MSG_REVOKE: i32 = 2101;
    /// Messages deleted.
    pub const DELETE_MSGS: i32 = 2102;
    /// Read receipt.
    pub const HAS_READ_RECEIPT: i32 = 2200;
}

/// Message status numbers.
pub mod status {
    /// As clients send it.
    pub const SENDING: i32 = 1;
    /// Stored or pushed.
    pub const SENT: i32 = 2;
    /// Could not be sent.
    pub const FAILED: i32 = 3;
    /// Deleted, or a placeholder for what is not there.
    pub const DELETED: i32 = 4;
}

/// `msgFrom` of users' messages.
pub const FROM_USER: i32 = 100;
/// `msgFrom` of the server's messages.
pub const FROM_SYSTEM: i32 = 200;
