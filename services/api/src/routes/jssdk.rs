//! `/jssdk` (rest-api.md 4.10).

use magpie_discovery::name::{CONVERSATION, FRIEND, GROUP, MSG, USER};

use super::Access::Any;
use super::{Route, Shape::Message};
use crate::jssdk;

const SEQS: (&str, &str) = (MSG, "get_conversations_has_read_and_max_seq");
const LAST: (&str, &str) = (MSG, "get_last_message");
const IDS: (&str, &str) = (CONVERSATION, "get_conversation_i_ds");
const RECORDS: (&str, &str) = (CONVERSATION, "get_conversations");
const USERS: (&str, &str) = (USER, "get_designate_users");
const FRIENDS: (&str, &str) = (FRIEND, "get_friend_info");
const GROUPS: (&str, &str) = (GROUP, "get_groups_info");

pub(super) const ROUTES: &[Route] = &[
    Route::own(
        "/jssdk/get_active_conversations",
        Any,
        (
            Message("openim.jssdk.GetActiveConversationsReq"),
            Message("openim.jssdk.GetActiveConversationsResp"),
        ),
        &[SEQS, LAST, IDS, RECORDS, USERS, FRIENDS, GROUPS],
        |call| Box::pin(jssdk::active(call)),
    ),
    Route::own(
        "/jssdk/get_conversations",
        Any,
        (
            Message("openim.jssdk.GetConversationsReq"),
            Message("openim.jssdk.GetConversationsResp"),
        ),
        &[SEQS, LAST, RECORDS, USERS, FRIENDS, GROUPS],
        |call| Box::pin(jssdk::given(call)),
    ),
];
