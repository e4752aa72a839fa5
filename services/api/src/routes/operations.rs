//! `/jssdk`, `/statistics`, `/config` and what other tools fetch by GET (rest-api.md 4.9 to 4.11).

use magpie_discovery::name::{CONVERSATION, FRIEND, GROUP, MSG, USER};
use magpie_proto::openim::{
    group::group_client::GroupClient, msg::msg_client::MsgClient, user::user_client::UserClient,
};

use super::Access::{Admin, Any, Open};
use super::{Method, Route, Shape::Message};
use crate::jssdk;

const SEQS: (&str, &str) = (MSG, "get_conversations_has_read_and_max_seq");
const LAST: (&str, &str) = (MSG, "get_last_message");
const IDS: (&str, &str) = (CONVERSATION, "get_conversation_i_ds");
const RECORDS: (&str, &str) = (CONVERSATION, "get_conversations");
const USERS: (&str, &str) = (USER, "get_designate_users");
const FRIENDS: (&str, &str) = (FRIEND, "get_friend_info");
const GROUPS: (&str, &str) = (GROUP, "get_groups_info");

pub(super) const JSSDK: &[Route] = &[
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

super::plain! { STATISTICS_USERS: UserClient of USER;
    "/statistics/user/register": Admin => user_register_count;
}

super::plain! { STATISTICS_GROUPS: GroupClient of GROUP;
    "/statistics/group/create": Admin => group_create_count;
}

super::plain! { STATISTICS_MESSAGES: MsgClient of MSG;
    "/statistics/user/active": Admin => get_active_user;
    "/statistics/group/active": Admin => get_active_group;
}

pub(super) const LATER: &[Route] = &[
    Route::later(Method::Post, "/config/get_config_list", Admin),
    Route::later(Method::Post, "/config/get_config", Admin),
    Route::later(Method::Post, "/config/set_config", Admin),
    Route::later(Method::Post, "/config/reset_config", Admin),
    Route::later(Method::Post, "/config/set_enable_config_manager", Admin),
    Route::later(Method::Post, "/config/get_enable_config_manager", Admin),
    Route::later(Method::Post, "/restart", Admin),
    Route::later(Method::Get, "/third/prometheus", Open),
    Route::later(Method::Get, "/object/*", Open),
    Route::later(Method::Get, "/prometheus_discovery/*", Open),
];
