//! Conversations: who takes part, each user's record of it, and each user's positions in it.

use bytes::Bytes;

crate::document! {
    /// Who takes part in the streams of one stem (chat and notifications alike). Written once, before the first append; access
    /// is checked against it, never by taking an id apart. Owner: the msg service.
    pub struct Participants in "participants" {
        /// Conversation id without prefix.
        pub stem: String,
        /// The smaller user id of a pair; empty for a group.
        pub first: String,
        /// The greater user id of a pair; empty for a group.
        pub second: String,
        /// The group; empty for a pair.
        pub group_id: String,
    }
    key [stem];
}

crate::document! {
    /// One user's settings of one conversation. Owner: the conversation service; transfer creates it with the first message.
    pub struct Conversation in "conversations", revision rev, pending pending {
        /// Whose record.
        pub owner_id: String,
        /// Conversation.
        pub conversation_id: String,
        /// 1 single, 3 group, 4 notification.
        pub conversation_type: i32,
        /// The other user of a pair.
        pub user_id: String,
        /// The group.
        pub group_id: String,
        /// 0 receive, 1 do not receive, 2 receive without offline push.
        pub recv_msg_opt: i32,
        /// Pinned.
        pub is_pinned: bool,
        /// The application's text.
        pub attached_info: String,
        /// Burn after reading.
        pub is_private_chat: bool,
        /// 0 none, 1 me, 2 all, 3 both, 4 announcement.
        pub group_at_type: i32,
        /// The application's extension text.
        pub ex: String,
        /// Seconds a private message stays.
        pub burn_duration: i32,
        /// Smallest seq the user may see; a mirror of [`UserSeq`].
        pub min_seq: i64,
        /// Largest seq the user may see, 0 = no bound; a mirror of [`UserSeq`].
        pub max_seq: i64,
        /// Seconds until messages are destroyed.
        pub msg_destruct_time: i64,
        /// When they last were, ms.
        pub latest_msg_destruct_time: i64,
        /// Whether they are.
        pub is_msg_destruct: bool,
        /// When the record was made, ms.
        pub create_time: i64,
        /// Intent whose follow-up writes are not finished; empty when there is none.
        pub pending: Bytes,
        /// Revision.
        pub rev: i64,
        /// When its owner removed it, ms; 0 while it is there. The row stays for a day, with its revision.
        pub deleted_at: i64,
        /// Place of the decision that `is_private_chat` is of among those of both users: the higher one is the later one.
        pub private_place: i64,
    }
    key [owner_id, conversation_id];
    index by_conversation [conversation_id];
    index by_pending [pending];
    index by_peer [user_id];
    index by_deleted [deleted_at];
}

impl Conversation {
    /// A record in which nothing is set, of a conversation with a user or a group (the other one is empty), made at this time, ms.
    pub fn blank(
        owner_id: String,
        conversation_id: String,
        conversation_type: i32,
        (user_id, group_id): (String, String),
        create_time: i64,
    ) -> Self {
        Self {
            owner_id,
            conversation_id,
            conversation_type,
            user_id,
            group_id,
            recv_msg_opt: 0,
            is_pinned: false,
            attached_info: String::new(),
            is_private_chat: false,
            group_at_type: 0,
            ex: String::new(),
            burn_duration: 0,
            min_seq: 0,
            max_seq: 0,
            msg_destruct_time: 0,
            latest_msg_destruct_time: 0,
            is_msg_destruct: false,
            create_time,
            pending: Bytes::new(),
            rev: 0,
            deleted_at: 0,
            private_place: 0,
        }
    }

    /// Whether it is there, not the trace of one that was.
    pub fn is_present(&self) -> bool {
        self.deleted_at == 0
    }
}

crate::document! {
    /// What an owner has removed until a message follows, which brings it back as a new record. Owner: the conversation service.
    pub struct RemovedConversation in "removed_conversations", revision seq {
        /// Whose record it was.
        pub owner_id: String,
        /// Conversation.
        pub conversation_id: String,
        /// As in the record.
        pub conversation_type: i32,
        /// As in the record.
        pub user_id: String,
        /// As in the record.
        pub group_id: String,
        /// The newest seq when it was removed; after a return and another removal a higher one, so it serves as the revision.
        pub seq: i64,
    }
    key [owner_id, conversation_id];
}

crate::document! {
    /// Members of a group whose attention a message or an announcement asks for. Made by transfer with the message, by the group service
    /// with the announcement; the conversation service works it off: their records say so then. The row stays for a day, so that a
    /// replay of the message makes no new one.
    pub struct Mention in "mentions", revision rev, pending pending {
        /// Group.
        pub group_id: String,
        /// Seq of the message, or id of the announcement.
        pub source: String,
        /// Who asks; he is left out.
        pub sender_id: String,
        /// Encoded ids of users, `AtAllTag` for everybody.
        pub mentioned: Bytes,
        /// It is an announcement, for everybody.
        pub is_announcement: bool,
        /// The last member who was told, in the order of ids.
        pub after: String,
        /// Intent that is not finished.
        pub pending: Bytes,
        /// Revision.
        pub rev: i64,
        /// When it was worked off, ms; 0 until then.
        pub done_at: i64,
    }
    key [group_id, source];
    index by_pending [pending];
    index by_done [done_at];
}

impl Mention {
    /// Mark of the intent of one that nobody works at yet.
    pub const NEW: u8 = 1;
}

crate::document! {
    /// One user's positions in one conversation. Every field only grows, but `max_seq`. Owner: the msg service; transfer sets the
    /// bounds of a group's members where the log says that they came or left.
    pub struct UserSeq in "user_seqs" {
        /// User.
        pub user_id: String,
        /// Conversation.
        pub conversation_id: String,
        /// Read up to here.
        pub read_seq: i64,
        /// Smallest seq he may see.
        pub min_seq: i64,
        /// Largest seq he may see, 0 = no bound, below 0 = none.
        pub max_seq: i64,
        /// Version of the group's membership that set the bounds; 0 in a group: he has never been a member.
        pub member_version: i64,
        /// Marked as read up to here by the user himself; `read_seq` also rises with what he sends.
        pub marked_seq: i64,
    }
    key [user_id, conversation_id];
}
