//! Friends, applications, black lists, and the walk that tells friends of a changed profile.

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
    index by_friend [friend_id];
}

impl Friend {
    /// Whether he is a friend, not the trace of one who was.
    pub fn is_present(&self) -> bool {
        self.deleted_at == 0
    }
}

crate::document! {
    /// A user whom another one has blocked. Owner: the friend service.
    pub struct Black in "blacks", revision rev, pending pending {
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
        /// Intent whose follow-up writes are not finished; empty when there is none.
        pub pending: Bytes,
        /// When the owner unblocked him, ms; 0 while he is blocked. The row stays for a day, with its revision.
        pub deleted_at: i64,
    }
    key [owner_id, blocked_id];
    index by_pending [pending];
    index by_deleted [deleted_at];
}

impl Black {
    /// Whether he is blocked, not the trace of one who was.
    pub fn is_present(&self) -> bool {
        self.deleted_at == 0
    }
}

crate::document! {
    /// The application of one user to another one, the last one of each ordered pair. Owner: the friend service.
    pub struct FriendRequest in "friend_requests", revision rev, pending pending {
        /// Who applied.
        pub from_id: String,
        /// Who answers.
        pub to_id: String,
        /// 0 open, 1 accepted, -1 refused.
        pub handle_result: i32,
        /// What the applicant wrote.
        pub req_msg: String,
        /// When he applied, ms.
        pub create_time: i64,
        /// Who accepted.
        pub handler_id: String,
        /// What the answer says.
        pub handle_msg: String,
        /// When it was answered last, ms; 0 never.
        pub handle_time: i64,
        /// The application's extension text.
        pub ex: String,
        /// When accepted: the revision that the applicant's record of the other user had, 0 if there was none, -1 if he had
        /// befriended him already.
        pub from_rev: i64,
        /// The same of the other user's record of the applicant.
        pub to_rev: i64,
        /// The revision that the open application in the other direction had; 0 if there was none.
        pub other_rev: i64,
        /// Intent whose follow-up writes are not finished; empty when there is none.
        pub pending: Bytes,
        /// Revision.
        pub rev: i64,
    }
    key [from_id, to_id];
    index by_from [from_id, create_time];
    index by_to [to_id, create_time];
    index by_open [to_id, handle_result, create_time];
    index by_pending [pending];
}

crate::document! {
    /// The walk through everybody who has a user as friend, after his name or portrait changed. Owner: the friend service.
    pub struct ProfileFanout in "profile_fanouts", revision rev, pending pending {
        /// Whose profile changed.
        pub user_id: String,
        /// Who changed it.
        pub operator_id: String,
        /// The last one told; empty before the first.
        pub after: String,
        /// Intent of the change; empty when everybody is told.
        pub pending: Bytes,
        /// Revision.
        pub rev: i64,
    }
    key [user_id];
    index by_pending [pending];
}
