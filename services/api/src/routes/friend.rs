//! `/friend`: friends, requests, black list (rest-api.md 4.3).

use magpie_discovery::name::FRIEND;
use magpie_proto::openim::relation::friend_client::FriendClient;

use super::Access::{Admin, Any, Own};

super::plain! { ROUTES: FriendClient of FRIEND;
    "/friend/add_friend": Own(&["fromUserID"]) => apply_to_add_friend;
    "/friend/add_friend_response": Own(&["toUserID"]) => respond_friend_apply;
    "/friend/import_friend": Admin => import_friends with "friendUserIDs";
    "/friend/delete_friend": Own(&["ownerUserID"]) => delete_friend;
    "/friend/set_friend_remark": Own(&["ownerUserID"]) => set_friend_remark;
    "/friend/update_friends": Own(&["ownerUserID"]) => update_friends;
    "/friend/get_friend_list": Own(&["userID"]) => get_pagination_friends;
    "/friend/get_designated_friends": Own(&["ownerUserID"]) => get_designated_friends with "friendUserIDs";
    "/friend/get_friend_id": Own(&["userID"]) => get_friend_i_ds;
    "/friend/get_specified_friends_info": Own(&["ownerUserID"]) => get_specified_friends_info;
    "/friend/is_friend": Own(&["userID1", "userID2"]) => is_friend;
    "/friend/get_friend_apply_list": Own(&["userID"]) => get_pagination_friends_apply_to;
    "/friend/get_self_friend_apply_list": Own(&["userID"]) => get_pagination_friends_apply_from;
    "/friend/get_designated_friend_apply": Own(&["fromUserID", "toUserID"]) => get_designated_friends_apply;
    "/friend/get_self_unhandled_apply_count": Own(&["userID"]) => get_self_unhandled_apply_count;
    "/friend/add_black": Own(&["ownerUserID"]) => add_black;
    "/friend/remove_black": Own(&["ownerUserID"]) => remove_black;
    "/friend/get_black_list": Own(&["userID"]) => get_pagination_blacks;
    "/friend/get_specified_blacks": Own(&["ownerUserID"]) => get_specified_blacks;
    "/friend/get_incremental_blacks": Any => get_incremental_blacks;
    "/friend/get_incremental_friends": Own(&["userID"]) => get_incremental_friends;
    "/friend/get_full_friend_user_ids": Own(&["userID"]) => get_full_friend_user_i_ds;
}
