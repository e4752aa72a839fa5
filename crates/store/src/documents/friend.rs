//! Friends and black lists.

use bytes::Bytes;

crate::document! {
    /// One direction of a friendship. Owner: the friend service.
    pub struct Friend in "friends", revision rev, pending pending {
        /// Whose list.
        pub owner_id: String,
        /// The friend.
        pub friend_id: String,
        /// The owner's name for him.
        pub remark: String,
        /// Since when, ms.
        pub create_time: i64,
        /// 1 import, 2 application.
        pub add_source: i32,
        /// Who made it.
        pub operator_id: String,
        /// The application's extension text.
        pub ex: String,
        /// Pinned.
        pub is_pinned: bool,
        /// Revision.
        pub rev: i64,
        /// Intent whose follow-up writes are not finished; empty when there is none.
        pub pending: Bytes,
        /// Of an intent that befriends: the revision that the friend's record of the owner had, 0 if there was none, -1 if he
        /// was befriended already.
        pub mirror_rev: i64,
        /// When the owner deleted him, ms; 0 while he is a friend. The row stays for a day, with its revision.
        pub deleted_at: i64,
    }
    key [owner_id, friend_id];
    index by_pending [pending];
    index by_deleted [deleted_at];
}

impl Friend {
    /// Whether he is a friend, not the trace of one who was.
    pub fn is_present(&self) -> bool {
        self.deleted_at == 0
    }
}

crate::document! {
    /// A user whom another one has blocked. Owner: the friend service.
    pub struct Black in "blacks", revision rev {
        /// Whose list.
        pub owner_id: String,
        /// Who is blocked.
        pub blocked_id: String,
        /// Since when, ms.
        pub create_time: i64,
        /// How it came about; 0.
        pub add_source: i32,
        /// Who did it.
        pub operator_id: String,
        /// The application's extension text.
        pub ex: String,
        /// Revision.
        pub rev: i64,
    }
    key [owner_id, blocked_id];
}
