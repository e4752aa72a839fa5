//! `/user`: profiles, accounts, presence (rest-api.md 4.2).

use magpie_discovery::name::{GATEWAY, USER};
use magpie_proto::openim::user::user_client::UserClient;

use super::Access::{Admin, Any, Own};
use super::Route;
use crate::online;

super::plain! { ROUTES: UserClient of USER;
    "/user/user_register": Admin => user_register;
    "/user/update_user_info": Own(&["userInfo.userID"]) => update_user_info;
    "/user/update_user_info_ex": Own(&["userInfo.userID"]) => update_user_info_ex;
    "/user/set_global_msg_recv_opt": Any => set_global_recv_message_opt;
    "/user/get_users_info": Any => get_designate_users with "userIDs";
    "/user/get_all_users_uid": Admin => get_all_user_id;
    "/user/account_check": Admin => account_check with "checkUserIDs";
    "/user/get_users": Admin => get_pagination_users;
    "/user/subscribe_users_status": Any => subscribe_or_cancel_users_status with "userIDs";
    "/user/get_users_status": Any => get_user_status;
    "/user/get_subscribe_users_status": Any => get_subscribe_users_status;
    "/user/process_user_command_add": Own(&["userID"]) => process_user_command_add;
    "/user/process_user_command_delete": Own(&["userID"]) => process_user_command_delete;
    "/user/process_user_command_update": Own(&["userID"]) => process_user_command_update;
    "/user/process_user_command_get": Own(&["userID"]) => process_user_command_get;
    "/user/process_user_command_get_all": Own(&["userID"]) => process_user_command_get_all;
    "/user/add_notification_account": Admin => add_notification_account;
    "/user/update_notification_account": Admin => update_notification_account_info;
    "/user/search_notification_account": Admin => search_notification_account;
    "/user/get_user_client_config": Own(&["userID"]) => get_user_client_config;
    "/user/set_user_client_config": Admin => set_user_client_config;
    "/user/del_user_client_config": Admin => del_user_client_config;
    "/user/page_user_client_config": Admin => page_user_client_config;
}

const ONLINE: (&str, &str) = (GATEWAY, "get_users_online_status");

pub(super) const OWN: &[Route] = &[
    Route::own(
        "/user/get_users_online_status",
        Admin,
        (online::TAKES, online::GIVES),
        &[ONLINE],
        |call| Box::pin(online::status(call)),
    ),
    Route::own(
        "/user/get_users_online_token_detail",
        Admin,
        (online::TAKES, online::GIVES_TOKENS),
        &[ONLINE],
        |call| Box::pin(online::tokens(call)),
    ),
];
