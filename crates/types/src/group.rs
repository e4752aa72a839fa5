//! Groups: roles of members, states, and who joins how (rest-api.md 3, 4.4).

/// Role levels of members.
pub mod role {
    /// The one owner.
    pub const OWNER: i32 = 100;
    /// An administrator of the group.
    pub const ADMIN: i32 = 60;
    /// Everybody else.
    pub const ORDINARY: i32 = 20;
}

/// States of a group.
pub mod status {
    /// As it should be.
    pub const NORMAL: i32 = 0;
    /// Dissolved for good.
    pub const DISMISSED: i32 = 2;
    /// Only the owner and administrators may speak.
    pub const MUTED: i32 = 3;
}

/// The only type of group there is.
pub const WORK_GROUP: i32 = 2;

/// What joining needs.
pub mod verification {
    /// Applications are answered, invitations are not.
    pub const APPLICATIONS: i32 = 0;
    /// Both are answered, but what owner and administrators invite.
    pub const ALL: i32 = 1;
    /// Everybody joins at once.
    pub const NONE: i32 = 2;
}

/// How a member came.
pub mod join_source {
    /// A user who knows the group entered it.
    pub const UNSAID: i32 = 0;
    /// By invitation.
    pub const INVITATION: i32 = 2;
    /// Highest number that clients send.
    pub const MAX: i32 = 4;
}
