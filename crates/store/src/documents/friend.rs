//! Friends and black lists.

use bytes::Bytes;

crate::document! {
    /// One direction of a friendship. Owner: the friend service.
    pub struct Friend in "friends", revision rev {
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
    }
    key [owner_id, friend_id];
    index by_pending [pending];
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
