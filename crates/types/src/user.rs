//! Users: levels of their accounts, and what they receive (rest-api.md 4.2, 4.6).

/// Levels of accounts (`appMangerLevel`); those of ordinary users are lower.
pub mod level {
    /// An administrator. From here on accounts may send notices, and write to whoever has blocked them.
    pub const ADMIN: i32 = 2;
    /// An account of the application itself, which never logs in.
    pub const SYSTEM: i32 = 3;
}

/// Receive options, of a user for all that he is sent and of each of his conversations.
pub mod recv_opt {
    /// Messages come, with offline push.
    pub const RECEIVE: i32 = 0;
    /// None come.
    pub const DO_NOT_RECEIVE: i32 = 1;
    /// They come without offline push.
    pub const DO_NOT_NOTIFY: i32 = 2;
}
