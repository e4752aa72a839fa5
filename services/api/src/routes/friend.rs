//! `/friend`: friends, requests, black list (rest-api.md 4.3).

use magpie_discovery::name::FRIEND;
use magpie_proto::openim::relation::friend_client::FriendClient;

super::plain! { ROUTES: FriendClient of FRIEND;
    "/friend/add_friend" => apply_to_add_friend;
    "/friend/add_friend_response" => respond_friend_apply;
    "/friend/import_friend" => import_friends with "friendUserIDs";
    "/friend/delete_friend" => delete_friend;
    "/friend/set_friend_remark" => set_friend_remark;
    "/friend/update_friends" => update_friends;
    "/friend/get_friend_list" => get_pagination_friends;
    "/friend/get_designated_friends" => get_designated_friends with "friendUserIDs";
    "/friend/get_friend_id" => get_friend_i_ds;
    "/friend/get_specified_friends_info" => get_specified_friends_info;
    "/friend/is_friend" => is_friend;
    "/friend/get_friend_apply_list" => get_pagination_friends_apply_to;
    "/friend/get_self_friend_apply_list" => get_pagination_friends_apply_from;
    "/friend/get_designated_friend_apply" => get_designated_friends_apply;
    "/friend/get_self_unhandled_apply_count" => get_self_unhandled_apply_count;
    "/friend/add_black" => add_black;
    "/friend/remove_black" => remove_black;
    "/friend/get_black_list" => get_pagination_blacks;
    "/friend/get_specified_blacks" => get_specified_blacks;
    "/friend/get_incremental_blacks" => get_incremental_blacks;
    "/friend/get_incremental_friends" => get_incremental_friends;
    "/friend/get_full_friend_user_ids" => get_full_friend_user_i_ds;
}
