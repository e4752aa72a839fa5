//! `/group`: groups, members, applications (rest-api.md 4.4).

use magpie_discovery::name::GROUP;
use magpie_proto::openim::group::group_client::GroupClient;

super::plain! { ROUTES: GroupClient of GROUP;
    "/group/create_group" => create_group;
    "/group/set_group_info" => set_group_info;
    "/group/set_group_info_ex" => set_group_info_ex;
    "/group/join_group" => join_group;
    "/group/invite_user_to_group" => invite_user_to_group;
    "/group/group_application_response" => group_application_response;
    "/group/quit_group" => quit_group;
    "/group/kick_group" => kick_group_member;
    "/group/transfer_group" => transfer_group_owner;
    "/group/dismiss_group" => dismiss_group;
    "/group/mute_group_member" => mute_group_member;
    "/group/cancel_mute_group_member" => cancel_mute_group_member;
    "/group/mute_group" => mute_group;
    "/group/cancel_mute_group" => cancel_mute_group;
    "/group/set_group_member_info" => set_group_member_info;
    "/group/get_groups_info" => get_groups_info;
    "/group/get_group_members_info" => get_group_members_info;
    "/group/get_group_member_list" => get_group_member_list;
    "/group/get_joined_group_list" => get_joined_group_list;
    "/group/get_recv_group_applicationList" => get_group_application_list;
    "/group/get_user_req_group_applicationList" => get_user_req_application_list;
    "/group/get_group_users_req_application_list" => get_group_users_req_application_list with "userIDs";
    "/group/get_specified_user_group_request_info" => get_specified_user_group_request_info;
    "/group/get_group_application_unhandled_count" => get_group_application_unhandled_count;
    "/group/get_groups" => get_groups;
    "/group/get_group_member_user_id" => get_group_member_user_i_ds;
    "/group/get_group_abstract_info" => get_group_abstract_info;
    "/group/get_incremental_join_groups" => get_incremental_join_group;
    "/group/get_incremental_group_members" => get_incremental_group_member;
    "/group/get_incremental_group_members_batch" => batch_get_incremental_group_member;
    "/group/get_full_group_member_user_ids" => get_full_group_member_user_i_ds;
    "/group/get_full_join_group_ids" => get_full_join_group_i_ds;
}
