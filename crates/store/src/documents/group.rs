//! Groups and their members.

use bytes::Bytes;

crate::document! {
    /// A group: the decisive document of every change of the group and of its membership. Owner: the group service.
    pub struct Group in "groups", revision rev, pending pending {
        /// Id.
        pub group_id: String,
        /// Shown name.
        pub name: String,
        /// Announcement.
        pub notification: String,
        /// When the announcement was set, ms.
        pub notification_update_time: i64,
        /// Who set it.
        pub notification_user_id: String,
        /// Introduction.
        pub introduction: String,
        /// Avatar.
        pub face_url: String,
        /// The application's extension text.
        pub ex: String,
        /// Owner.
        pub owner_id: String,
        /// Who made it.
        pub creator_id: String,
        /// When it was made, ms.
        pub create_time: i64,
        /// Members.
        pub member_count: u32,
        /// 0 normal, 2 dismissed, 3 all members muted.
        pub status: i32,
        /// 2 always.
        pub group_type: i32,
        /// 0 applications need approval, 1 invitations too, 2 everybody joins at once.
        pub need_verification: i32,
        /// 1: members' profiles are hidden; for clients.
        pub look_member_info: i32,
        /// 1: members may not befriend each other; for clients.
        pub apply_member_friend: i32,
        /// Counts changes of the membership; the bounds of members carry it.
        pub member_version: i64,
        /// Intent whose follow-up writes are not finished; empty when there is none.
        pub pending: Bytes,
        /// Revision.
        pub rev: i64,
        /// What `pending` names in full: encoded by the group service, empty with it.
        pub change: Bytes,
    }
    key [group_id];
    index by_pending [pending];
    index by_time [create_time];
}

crate::document! {
    /// A member of a group, or for 24 h the tombstone of one who has left. Owner: the group service.
    pub struct GroupMember in "group_members", revision rev {
        /// Group.
        pub group_id: String,
        /// Member.
        pub user_id: String,
        /// 100 owner, 60 administrator, 20 ordinary.
        pub role_level: i32,
        /// Since when, ms.
        pub join_time: i64,
        /// Name in this group; empty: the user's own.
        pub nickname: String,
        /// Avatar in this group; empty: the user's own.
        pub face_url: String,
        /// 1 by an administrator, 2 invitation, 3 search, 4 QR code.
        pub join_source: i32,
        /// Who let him in.
        pub operator_id: String,
        /// Who invited him.
        pub inviter_id: String,
        /// The application's extension text.
        pub ex: String,
        /// Muted until, ms; 0 or past: not muted.
        pub mute_end_time: i64,
        /// Version of the membership that last let him in or out.
        pub member_version: i64,
        /// When he left, ms; 0: he is a member.
        pub left_time: i64,
        /// Revision.
        pub rev: i64,
        /// Version of the membership that last let him in.
        pub joined_version: i64,
        /// Place in the list: 0 owner, 1 administrator, 2 ordinary, 9 who has left.
        pub rank: i32,
    }
    key [group_id, user_id];
    index by_user [user_id, join_time];
    index by_rank [group_id, rank, join_time];
    index by_left [left_time];
}

crate::document! {
    /// A user's changed profile on its way through his groups, as far as it has come. Owner: the group service.
    pub struct MemberFanout in "member_fanouts", revision rev, pending pending {
        /// Whose profile.
        pub user_id: String,
        /// Who changed it.
        pub operator_id: String,
        /// The operation that did.
        pub operation_id: String,
        /// The last group that was told, in the order of ids.
        pub after: String,
        /// Intent whose follow-up writes are not finished; empty when there is none.
        pub pending: Bytes,
        /// Revision.
        pub rev: i64,
    }
    key [user_id];
    index by_pending [pending];
}

crate::document! {
    /// An application to join a group; a later one of the same user replaces it. Owner: the group service.
    pub struct GroupRequest in "group_requests", revision rev, pending pending {
        /// Group.
        pub group_id: String,
        /// Who is to join.
        pub user_id: String,
        /// 0 open, 1 accepted, -1 refused.
        pub handle_result: i32,
        /// Message of the application.
        pub req_msg: String,
        /// Message of the answer.
        pub handle_msg: String,
        /// When it was made, ms.
        pub req_time: i64,
        /// Who answered.
        pub handle_user_id: String,
        /// When, ms.
        pub handle_time: i64,
        /// 2 invitation, 3 search, 4 QR code.
        pub join_source: i32,
        /// Who invited him; empty if he applied himself.
        pub inviter_id: String,
        /// The application's extension text.
        pub ex: String,
        /// The operation that wrote it last; clients know what they caused by it.
        pub operation_id: String,
        /// Intent whose follow-up writes are not finished; empty when there is none.
        pub pending: Bytes,
        /// Revision.
        pub rev: i64,
        /// When accepted: the revision that the applicant's row had, 0 if there was none.
        pub member_rev: i64,
    }
    key [group_id, user_id];
    index by_group [group_id, req_time];
    index by_user [user_id, req_time];
    index by_pending [pending];
}
