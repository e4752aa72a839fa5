//! Users, what their devices share, their tokens and their offline-push tokens.

use bytes::Bytes;

crate::document! {
    /// A registered user. Owner: the user service.
    pub struct User in "users", revision rev, pending pending {
        /// Id.
        pub user_id: String,
        /// Shown name.
        pub nickname: String,
        /// Avatar.
        pub face_url: String,
        /// The application's extension text.
        pub ex: String,
        /// When he was registered, ms.
        pub create_time: i64,
        /// 0 and 1 ordinary, 2 administrator, 3 notification account, 4 robot.
        pub app_manger_level: i32,
        /// 0 receive, 1 do not receive, 2 receive without offline push.
        pub global_recv_msg_opt: i32,
        /// Revision.
        pub rev: i64,
        /// Intent whose follow-up writes are not finished; empty when there is none.
        pub pending: Bytes,
        /// Who changed the profile last.
        pub operator_id: String,
        /// Hash of the request that registered him, by which its repeat knows what it has left; empty for accounts of the application.
        pub registration: String,
    }
    key [user_id];
    index by_pending [pending];
}

crate::document! {
    /// A note that a user's devices share, such as a favourite. Owner: the user service.
    pub struct UserCommand in "user_commands", revision rev, pending pending {
        /// Whose.
        pub user_id: String,
        /// Class, chosen by the application.
        pub kind: i32,
        /// Key within the class, chosen by the application.
        pub uuid: String,
        /// When it was made, seconds.
        pub create_time: i64,
        /// Payload.
        pub value: String,
        /// The application's extension text.
        pub ex: String,
        /// Intent whose follow-up writes are not finished; empty when there is none.
        pub pending: Bytes,
        /// Revision.
        pub rev: i64,
        /// When it was deleted, ms; 0 while it is there. The row stays for a day, with its revision.
        pub deleted_at: i64,
    }
    key [user_id, kind, uuid];
    index by_pending [pending];
    index by_deleted [deleted_at];
}

impl UserCommand {
    /// Whether it is there, not the trace of one that was.
    pub fn is_present(&self) -> bool {
        self.deleted_at == 0
    }
}

crate::document! {
    /// A setting that clients read. Owner: the user service.
    pub struct ClientConfig in "client_configs" {
        /// Whose clients; empty for everybody's.
        pub user_id: String,
        /// Its name.
        pub name: String,
        /// Its value.
        pub value: String,
    }
    key [user_id, name];
}

crate::document! {
    /// All tokens of one user, live and kicked. Owner: the auth service.
    pub struct UserTokens in "user_tokens", revision rev {
        /// Whose tokens.
        pub user_id: String,
        /// Encoded list of tokens; see the auth service.
        pub tokens: Bytes,
        /// Revision.
        pub rev: i64,
    }
    key [user_id];
}

crate::document! {
    /// Where offline pushes of one user's platform go. Owner: the third service.
    pub struct PushToken in "push_tokens", revision rev {
        /// User.
        pub user_id: String,
        /// Platform number.
        pub platform_id: i32,
        /// The vendor's device token.
        pub token: String,
        /// When it ends, ms.
        pub expire_time: i64,
        /// Revision.
        pub rev: i64,
    }
    key [user_id, platform_id];
}

crate::document! {
    /// The badge number that a user's iOS devices show; offline pushes count on from it. Owner: the third service.
    pub struct AppBadge in "app_badges" {
        /// User.
        pub user_id: String,
        /// Number shown.
        pub unread: i32,
    }
    key [user_id];
}
