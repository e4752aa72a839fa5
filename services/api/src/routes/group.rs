//! `/group`: groups, members, applications (rest-api.md 4.4).

use magpie_discovery::name::GROUP;
use magpie_proto::openim::group::group_client::GroupClient;

use super::Access::{Admin, Any, Manager, Member, Own, Owner};

super::plain! { ROUTES: GroupClient of GROUP;
    "/group/create_group": Own(&["ownerUserID"]) => create_group;
    "/group/set_group_info": Manager("groupInfoForSet.groupID") => set_group_info;
    "/group/set_group_info_ex": Manager("groupID") => set_group_info_ex;
    "/group/join_group": Own(&["inviterUserID"]) => join_group;
    "/group/invite_user_to_group": Member("groupID") => invite_user_to_group;
    "/group/group_application_response": Manager("groupID") => group_application_response;
    "/group/quit_group": Own(&["userID"]) => quit_group;
    "/group/kick_group": Manager("groupID") => kick_group_member;
    "/group/transfer_group": Owner("groupID") => transfer_group_owner;
    "/group/dismiss_group": Owner("groupID") => dismiss_group;
    "/group/mute_group_member": Manager("groupID") => mute_group_member;
    "/group/cancel_mute_group_member": Manager("groupID") => cancel_mute_group_member;
    "/group/mute_group": Manager("groupID") => mute_group;
    "/group/cancel_mute_group": Manager("groupID") => cancel_mute_group;
    "/group/set_group_member_info": Member("members.groupID") => set_group_member_info;
    "/group/get_groups_info": Any => get_groups_info;
    "/group/get_group_members_info": Member("groupID") => get_group_members_info;
    "/group/get_group_member_list": Member("groupID") => get_group_member_list;
    "/group/get_joined_group_list": Own(&["fromUserID"]) => get_joined_group_list;
    "/group/get_recv_group_applicationList": Own(&["fromUserID"]) => get_group_application_list;
    "/group/get_user_req_group_applicationList": Own(&["userID"]) => get_user_req_application_list;
    "/group/get_group_users_req_application_list": Manager("groupID") => get_group_users_req_application_list with "userIDs";
    "/group/get_specified_user_group_request_info": Own(&["userID"]) => get_specified_user_group_request_info;
    "/group/get_group_application_unhandled_count": Own(&["userID"]) => get_group_application_unhandled_count;
    "/group/get_groups": Admin => get_groups;
    "/group/get_group_member_user_id": Member("groupID") => get_group_member_user_i_ds;
    "/group/get_group_abstract_info": Member("groupIDs") => get_group_abstract_info;
    "/group/get_incremental_join_groups": Own(&["userID"]) => get_incremental_join_group;
    "/group/get_incremental_group_members": Member("groupID") => get_incremental_group_member;
    "/group/get_incremental_group_members_batch": Member("reqList.groupID") => batch_get_incremental_group_member;
    "/group/get_full_group_member_user_ids": Member("groupID") => get_full_group_member_user_i_ds;
    "/group/get_full_join_group_ids": Own(&["userID"]) => get_full_join_group_i_ds;
}
