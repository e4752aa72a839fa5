//! Messages, the newest seq of each conversation, what single users have deleted for themselves, and what became of sends.

use bytes::Bytes;

crate::document! {
    /// A stored message. The collection is the sequence allocator: transfer numbers from the last stored one, and `by_seq`
    /// fences a stale owner. Never deleted while its id may be resent: deletion leaves a tombstone.
    pub struct Message in "messages" {
        /// Conversation id without prefix: chat and notification stream share it.
        pub stem: String,
        /// 128-bit server message id.
        pub server_msg_id: Bytes,
        /// Stream.
        pub conversation_id: String,
        /// Place in the stream, from 1.
        pub seq: i64,
        /// Sender.
        pub sender_id: String,
        /// 0 as sent, 1 revoked, 4 deleted for everybody.
        pub state: i32,
        /// Encoded `openim.sdkws.MsgData`, seq included: what is pulled and pushed. Empty in a tombstone.
        pub body: Bytes,
        /// JSON of the revocation shown instead of the content; empty unless revoked.
        pub revocation: Bytes,
        /// Server time of the message, ms.
        pub send_time: i64,
        /// Log position it came from: incarnation (bits of an u64).
        pub log_incarnation: i64,
        /// Log position: partition.
        pub log_partition: u32,
        /// Log position: offset.
        pub log_offset: i64,
        /// Version of the group's membership at its place; 0 outside groups.
        pub member_version: i64,
    }
    key [stem, server_msg_id];
    unique by_seq [conversation_id, seq];
}

crate::document! {
    /// The newest message of a conversation, raised by max after each insert; read for many conversations at once, never
    /// numbered from.
    pub struct Head in "heads" {
        /// Stream.
        pub conversation_id: String,
        /// Newest seq.
        pub max_seq: i64,
        /// Its time, ms.
        pub max_seq_time: i64,
        /// Smallest seq anybody may see (clear for everybody, retention).
        pub min_seq: i64,
        /// Highest membership version applied.
        pub member_version: i64,
        /// Largest seq anybody may see, 0 = no bound, below 0 = none (a dismissed group).
        pub closed_seq: i64,
    }
    key [conversation_id];
}

crate::document! {
    /// A message that one user has deleted for himself.
    pub struct Hidden in "hidden_messages" {
        /// User.
        pub user_id: String,
        /// Stream.
        pub conversation_id: String,
        /// Message.
        pub seq: i64,
    }
    key [user_id, conversation_id, seq];
}

crate::document! {
    /// What became of the sends of an operation. Kept for a day.
    pub struct SendState in "send_states", revision noted_at {
        /// Of the request that sent.
        pub operation_id: String,
        /// 1 sending, 2 sent, 3 failed.
        pub status: i32,
        /// When that was noted, ms.
        pub noted_at: i64,
    }
    key [operation_id];
    index by_time [noted_at];
}
