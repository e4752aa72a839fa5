//! `/user`: profiles, accounts, presence (rest-api.md 4.2).

use magpie_discovery::name::{GATEWAY, USER};
use magpie_proto::openim::user::user_client::UserClient;

use super::Route;
use crate::online;

super::plain! { ROUTES: UserClient of USER;
    "/user/user_register" => user_register;
    "/user/update_user_info" => update_user_info;
    "/user/update_user_info_ex" => update_user_info_ex;
    "/user/set_global_msg_recv_opt" => set_global_recv_message_opt;
    "/user/get_users_info" => get_designate_users with "userIDs";
    "/user/get_all_users_uid" => get_all_user_id;
    "/user/account_check" => account_check with "checkUserIDs";
    "/user/get_users" => get_pagination_users;
    "/user/subscribe_users_status" => subscribe_or_cancel_users_status with "userIDs";
    "/user/get_users_status" => get_user_status;
    "/user/get_subscribe_users_status" => get_subscribe_users_status;
    "/user/process_user_command_add" => process_user_command_add;
    "/user/process_user_command_delete" => process_user_command_delete;
    "/user/process_user_command_update" => process_user_command_update;
    "/user/process_user_command_get" => process_user_command_get;
    "/user/process_user_command_get_all" => process_user_command_get_all;
    "/user/add_notification_account" => add_notification_account;
    "/user/update_notification_account" => update_notification_account_info;
    "/user/search_notification_account" => search_notification_account;
    "/user/get_user_client_config" => get_user_client_config;
    "/user/set_user_client_config" => set_user_client_config;
    "/user/del_user_client_config" => del_user_client_config;
    "/user/page_user_client_config" => page_user_client_config;
}

const ONLINE: (&str, &str) = (GATEWAY, "get_users_online_status");

pub(super) const OWN: &[Route] = &[
    Route::own("/user/get_users_online_status", &[ONLINE], |call| {
        Box::pin(online::status(call))
    }),
    Route::own("/user/get_users_online_token_detail", &[ONLINE], |call| {
        Box::pin(online::tokens(call))
    }),
];
