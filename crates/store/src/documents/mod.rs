//! Every collection that Magpie keeps, one file each; [`SCHEMAS`] lists them for [`Store::prepare`](crate::Store::prepare).

mod conversation;
mod friend;
mod gateway;
mod group;
mod log;
mod message;
mod user;
mod version;

pub use conversation::{Conversation, Mention, Participants, RemovedConversation, UserSeq};
pub use friend::{Black, Friend, FriendRequest, ProfileFanout};
pub use gateway::Missed;
pub use group::{Group, GroupMember, GroupRequest, MemberFanout};
pub use log::{AppliedOffset, LogTopic};
pub use message::{Head, Hidden, Message, SendState};
pub use user::{AppBadge, ClientConfig, PushToken, User, UserCommand, UserTokens};
pub use version::VersionHead;

use crate::{Document, Schema};

/// All schemas.
pub const SCHEMAS: &[&Schema] = &[
    User::SCHEMA,
    UserTokens::SCHEMA,
    UserCommand::SCHEMA,
    ClientConfig::SCHEMA,
    PushToken::SCHEMA,
    AppBadge::SCHEMA,
    Participants::SCHEMA,
    Mention::SCHEMA,
    Conversation::SCHEMA,
    RemovedConversation::SCHEMA,
    UserSeq::SCHEMA,
    Message::SCHEMA,
    Head::SCHEMA,
    Hidden::SCHEMA,
    SendState::SCHEMA,
    Friend::SCHEMA,
    Black::SCHEMA,
    FriendRequest::SCHEMA,
    ProfileFanout::SCHEMA,
    Group::SCHEMA,
    GroupMember::SCHEMA,
    GroupRequest::SCHEMA,
    MemberFanout::SCHEMA,
    VersionHead::SCHEMA,
    Missed::SCHEMA,
    LogTopic::SCHEMA,
    AppliedOffset::SCHEMA,
];
