//! What is asked: one body for each route and RPC, about alice and in the group of the place.

use magpie_api::routes::Access::{self, Admin, Any, Member, Own};
use serde_json::{Value, json};

use super::world::{OTHER_ADMIN, Place};

/// Calls that answer the wrong caller without an error, and without what he may not see.
pub(super) const SILENT: &[&str] = &[
    "/user/get_users_online_token_detail",
    "group.batch_get_incremental_group_member",
];

/// Who may call the RPCs that have no route of their own.
pub(super) const UNROUTED: &[(&str, Access)] = &[
    ("auth.invalidate_token", Admin),
    ("auth.kick_tokens", Admin),
    ("auth.get_existing_token", Admin),
    ("user.get_global_recv_message_opt", Any),
    ("user.get_notification_account", Any),
    ("user.set_user_status", Own(&["userID"])),
    ("user.sort_query", Any),
    ("user.set_user_online_status", Admin),
    ("user.get_all_online_users", Admin),
    ("friend.is_black", Own(&["userID1", "userID2"])),
    ("friend.get_friend_info", Own(&["ownerUserID"])),
    ("friend.notification_user_info_update", Own(&["userID"])),
    ("friend.get_incremental_friends_apply_to", Own(&["userID"])),
    (
        "friend.get_incremental_friends_apply_from",
        Own(&["userID"]),
    ),
    ("group.get_group_members_cms", Admin),
    ("group.get_user_in_group_members", Own(&["userID"])),
    ("group.get_group_member_role_level", Member("groupID")),
    ("group.get_group_info_cache", Admin),
    ("group.get_group_member_cache", Admin),
    ("group.notification_user_info_update", Own(&["userID"])),
    (
        "conversation.set_conversation",
        Own(&["conversation.ownerUserID"]),
    ),
    ("conversation.get_recv_msg_not_notify_user_i_ds", Admin),
    ("conversation.create_single_chat_conversations", Admin),
    ("conversation.create_group_chat_conversations", Admin),
    ("conversation.set_conversation_max_seq", Admin),
    ("conversation.set_conversation_min_seq", Admin),
    ("conversation.get_conversation_i_ds", Own(&["userID"])),
    (
        "conversation.get_user_conversation_i_ds_hash",
        Own(&["ownerUserID"]),
    ),
    ("conversation.get_conversations_by_conversation_id", Admin),
    (
        "conversation.get_conversation_offline_push_user_i_ds",
        Admin,
    ),
    (
        "conversation.get_conversation_not_receive_message_user_i_ds",
        Admin,
    ),
    ("conversation.update_conversation", Admin),
    ("conversation.get_conversations_need_clear_msg", Admin),
    ("conversation.clear_user_conversation_msg", Admin),
    ("msg.get_max_seqs", Admin),
    ("msg.get_has_read_seqs", Own(&["userID"])),
    ("msg.get_msg_by_conversation_i_ds", Admin),
    ("msg.get_conversation_max_seq", Admin),
    ("msg.get_seq_message", Own(&["userID"])),
    ("msg.send_msg", Own(&["msgData.sendID"])),
    ("msg.get_last_message", Own(&["userID"])),
    ("msg.send_simple_msg", Own(&["msgData.sendID"])),
    ("msg.set_user_conversations_min_seq", Admin),
    ("msg.set_send_msg_status", Admin),
    ("msg.clear_msg", Admin),
    ("msg.destruct_msgs", Admin),
    ("msg.get_active_conversation", Admin),
    ("msg.set_user_conversation_max_seq", Admin),
    ("msg.set_user_conversation_min_seq", Admin),
    ("msg.get_last_message_seq_by_time", Admin),
    ("third.delete_outdated_data", Admin),
    ("push.push_msg", Admin),
    ("push.del_user_push_token", Own(&["userID"])),
    ("gateway.online_push_msg", Admin),
    ("gateway.get_users_online_status", Admin),
    ("gateway.online_batch_push_one_msg", Admin),
    ("gateway.super_group_online_batch_push_one_msg", Admin),
    ("gateway.kick_user_offline", Admin),
];

/// RPCs that only services may call.
pub(super) const OF_SERVICES: &[&str] = &["gateway.multi_terminal_login_check"];

const CHAT: &str = "si_alice_fred";

/// The body of a call; empty where nothing is named.
pub(super) fn request(call: &str, at: &Place) -> Value {
    let (service, method) = call.split_once('.').unwrap_or(("api", call));
    match service {
        "auth" => auth(method, at),
        "user" => user(method, at),
        "friend" => friend(method),
        "group" => group(method, at),
        "conversation" => conversation(method, at),
        "msg" => msg(method, at),
        "api" => composed(method),
        _ => other(method),
    }
}

fn page() -> Value {
    json!({"pageNumber": 1, "showNumber": 10})
}

fn auth(method: &str, at: &Place) -> Value {
    match method {
        "get_admin_token" => json!({"secret": at.secret, "userID": OTHER_ADMIN}),
        "parse_token" => json!({"token": at.token}),
        "invalidate_token" => {
            json!({"preservedToken": at.token, "userID": "alice", "platformID": 3})
        }
        "kick_tokens" => json!({"tokens": [at.token]}),
        // A platform that no role is on.
        _ => json!({"userID": "alice", "platformID": 8}),
    }
}

fn user(method: &str, at: &Place) -> Value {
    let command = || json!({"userID": "alice", "type": 1, "uuid": "u", "value": "v", "ex": "e"});
    match method {
        "user_register" => json!({"users": [{"userID": at.unique, "nickname": "n"}]}),
        "update_user_info" | "update_user_info_ex" => {
            json!({"userInfo": {"userID": "alice", "nickname": at.unique}})
        }
        "set_global_recv_message_opt" => json!({"userID": "alice", "globalRecvMsgOpt": 0}),
        "get_designate_users" => json!({"userIDs": ["alice"]}),
        "account_check" => json!({"checkUserIDs": ["alice"]}),
        "get_all_user_id" | "get_pagination_users" => json!({"pagination": page()}),
        "user_register_count" => json!({"start": 1, "end": 2}),
        "subscribe_or_cancel_users_status" => {
            json!({"userID": "alice", "userIDs": ["fred"], "genre": 1})
        }
        "get_user_status" => json!({"userID": "alice", "userIDs": ["fred"]}),
        "set_user_status" => json!({"userID": "alice", "status": 1, "platformID": 5}),
        "process_user_command_add" | "process_user_command_update" => command(),
        "process_user_command_delete" => json!({"userID": "alice", "type": 1, "uuid": "u"}),
        "process_user_command_get" => json!({"userID": "alice", "type": 1}),
        "add_notification_account" => {
            json!({"userID": at.unique, "nickName": "n", "faceURL": "f", "appMangerLevel": 3})
        }
        "update_notification_account_info" => json!({"userID": "alice", "nickName": "n"}),
        "get_notification_account" => json!({"userID": "imAdmin"}),
        "search_notification_account" => json!({"keyword": "", "pagination": page()}),
        "sort_query" => json!({"userIDName": {"alice": "a"}}),
        "set_user_online_status" => json!({"status": []}),
        "get_all_online_users" => json!({"cursor": 0}),
        "set_user_client_config" => json!({"userID": "alice", "configs": {"k": "v"}}),
        "del_user_client_config" => json!({"userID": "alice", "keys": ["k"]}),
        "page_user_client_config" => json!({"userID": "alice", "pagination": page()}),
        _ => json!({"userID": "alice"}),
    }
}

fn friend(method: &str) -> Value {
    match method {
        "apply_to_add_friend" => json!({"fromUserID": "alice", "toUserID": "otto"}),
        "respond_friend_apply" => {
            json!({"fromUserID": "otto", "toUserID": "alice", "handleResult": 1})
        }
        "get_designated_friends_apply" => json!({"fromUserID": "alice", "toUserID": "kit"}),
        "get_pagination_friends_apply_to"
        | "get_pagination_friends_apply_from"
        | "get_pagination_friends"
        | "get_pagination_blacks" => json!({"userID": "alice", "pagination": page()}),
        "add_black" | "remove_black" => json!({"ownerUserID": "alice", "blackUserID": "otto"}),
        "is_friend" | "is_black" => json!({"userID1": "alice", "userID2": "kit"}),
        "get_specified_blacks" | "get_specified_friends_info" => {
            json!({"ownerUserID": "alice", "userIDList": ["kit"]})
        }
        // Somebody who is none: the friendship of fred stays.
        "delete_friend" => json!({"ownerUserID": "alice", "friendUserID": "kit"}),
        "set_friend_remark" => {
            json!({"ownerUserID": "alice", "friendUserID": "fred", "remark": "r"})
        }
        "import_friends" | "update_friends" | "get_designated_friends" | "get_friend_info" => {
            json!({"ownerUserID": "alice", "friendUserIDs": ["fred"]})
        }
        "notification_user_info_update" => json!({"userID": "alice"}),
        _ => json!({"userID": "alice"}),
    }
}

fn group(method: &str, at: &Place) -> Value {
    let id = &at.group;
    match method {
        "create_group" => json!({
            "ownerUserID": "alice", "memberUserIDs": ["kit"],
            "groupInfo": {"groupName": "g", "groupType": 2},
        }),
        "join_group" => json!({"groupID": id, "inviterUserID": "alice", "joinSource": 3}),
        "quit_group" | "get_specified_user_group_request_info" => {
            json!({"groupID": id, "userID": "alice"})
        }
        "set_group_info" => json!({"groupInfoForSet": {"groupID": id, "groupName": "n"}}),
        "set_group_info_ex" => json!({"groupID": id, "groupName": "n"}),
        "invite_user_to_group" => json!({"groupID": id, "invitedUserIDs": ["otto"]}),
        "group_application_response" => {
            json!({"groupID": id, "fromUserID": "ann", "handleResult": 1})
        }
        "kick_group_member" => json!({"groupID": id, "kickedUserIDs": ["kit"]}),
        "transfer_group_owner" => {
            json!({"groupID": id, "oldOwnerUserID": "olga", "newOwnerUserID": "kit"})
        }
        "mute_group_member" => json!({"groupID": id, "userID": "kit", "mutedSeconds": 60}),
        "cancel_mute_group_member" => json!({"groupID": id, "userID": "kit"}),
        "set_group_member_info" => {
            // An ordinary member may change himself only; that is in the tests of the service.
            json!({"members": [{"groupID": id, "userID": "mia", "nickname": "n"}]})
        }
        "get_groups_info" | "get_group_abstract_info" => json!({"groupIDs": [id]}),
        "get_group_members_info" | "get_group_users_req_application_list" => {
            json!({"groupID": id, "userIDs": ["kit"]})
        }
        "get_group_member_list" | "get_group_members_cms" => {
            json!({"groupID": id, "pagination": page()})
        }
        "get_joined_group_list" | "get_group_application_list" => {
            json!({"fromUserID": "alice", "pagination": page()})
        }
        "get_user_req_application_list" => json!({"userID": "alice", "pagination": page()}),
        "get_groups" => json!({"pagination": page()}),
        "get_user_in_group_members" => json!({"userID": "alice", "groupIDs": [id]}),
        "get_group_member_role_level" => json!({"groupID": id, "roleLevels": [20]}),
        "get_group_member_cache" => json!({"groupID": id, "groupMemberID": "kit"}),
        "group_create_count" => json!({"start": 1, "end": 2}),
        "batch_get_incremental_group_member" => {
            json!({"userID": "alice", "reqList": [{"groupID": id, "versionID": "", "version": 0}]})
        }
        "get_incremental_join_group" | "get_full_join_group_i_ds" => json!({"userID": "alice"}),
        "get_group_application_unhandled_count" => json!({"userID": "alice"}),
        "notification_user_info_update" => json!({"userID": "alice"}),
        _ => json!({"groupID": id}),
    }
}

fn conversation(method: &str, at: &Place) -> Value {
    let record = || {
        json!({
            "conversationID": CHAT, "conversationType": 1, "userID": "fred", "isPinned": true,
        })
    };
    match method {
        "get_conversation" => json!({"ownerUserID": "alice", "conversationID": CHAT}),
        "get_conversations" => json!({"ownerUserID": "alice", "conversationIDs": [CHAT]}),
        "set_conversations" => json!({"userIDs": ["alice"], "conversation": record()}),
        "set_conversation" => {
            let mut record = record();
            record["ownerUserID"] = json!("alice");
            json!({"conversation": record})
        }
        "update_conversation" => {
            json!({"conversationID": CHAT, "userIDs": ["alice"], "isPinned": true})
        }
        "get_owner_conversation" | "get_sorted_conversation_list" => {
            json!({"userID": "alice", "pagination": page()})
        }
        "get_recv_msg_not_notify_user_i_ds" => json!({"groupID": at.group}),
        "create_single_chat_conversations" => {
            json!({"sendID": "alice", "recvID": "fred", "conversationID": CHAT, "conversationType": 1})
        }
        "create_group_chat_conversations" => json!({"groupID": at.group, "userIDs": ["kit"]}),
        "set_conversation_max_seq" => {
            json!({"conversationID": CHAT, "ownerUserID": ["alice"], "maxSeq": 0})
        }
        "set_conversation_min_seq" => {
            json!({"conversationID": CHAT, "ownerUserID": ["alice"], "minSeq": 0})
        }
        "get_conversations_by_conversation_id" => json!({"conversationIDs": [CHAT]}),
        "get_conversation_offline_push_user_i_ds" => {
            json!({"conversationID": CHAT, "userIDs": ["alice"]})
        }
        "get_conversation_not_receive_message_user_i_ds" => json!({"conversationID": CHAT}),
        "get_conversations_need_clear_msg" => json!({}),
        "clear_user_conversation_msg" => json!({"timestamp": 1, "limit": 1}),
        "delete_conversations" => json!({"ownerUserID": "alice", "conversationIDs": [CHAT]}),
        "update_conversations_by_user" => json!({"userID": "alice", "ex": "e"}),
        "get_all_conversations" | "get_user_conversation_i_ds_hash" => {
            json!({"ownerUserID": "alice"})
        }
        _ => json!({"userID": "alice"}),
    }
}

fn msg(method: &str, at: &Place) -> Value {
    let message = || {
        json!({"msgData": {
            "sendID": "alice", "recvID": "fred", "clientMsgID": at.unique, "senderPlatformID": 5,
            "sessionType": 1, "contentType": 101, "content": "eyJjb250ZW50IjoiaGkifQ==",
        }})
    };
    match method {
        "send_msg" | "send_simple_msg" => message(),
        "get_max_seqs" => json!({"conversationIDs": [CHAT]}),
        "get_has_read_seqs" | "get_last_message" => {
            json!({"userID": "alice", "conversationIDs": [CHAT]})
        }
        "get_msg_by_conversation_i_ds" => json!({"conversationIDs": [CHAT], "maxSeqs": {CHAT: 1}}),
        "get_conversation_max_seq" => json!({"conversationID": CHAT}),
        "pull_message_by_seqs" => {
            json!({"userID": "alice", "seqRanges": [{"conversationID": CHAT, "begin": 1, "end": 2, "num": 2}]})
        }
        "get_seq_message" => {
            json!({"userID": "alice", "conversations": [{"conversationID": CHAT, "seqs": [1]}]})
        }
        "search_message" => json!({"sendID": "alice", "recvID": "fred", "pagination": page()}),
        "set_user_conversations_min_seq" => {
            json!({"userIDs": ["alice"], "conversationID": CHAT, "seq": 0})
        }
        "clear_conversations_msg" => json!({"userID": "alice", "conversationIDs": []}),
        "delete_msgs" => json!({"userID": "alice", "conversationID": CHAT, "seqs": [1]}),
        "delete_msg_physical_by_seq" => json!({"conversationID": CHAT, "seqs": [1]}),
        "delete_msg_physical" => json!({"conversationIDs": [CHAT], "timestamp": 1}),
        "set_send_msg_status" => json!({"status": 1}),
        "get_send_msg_status" | "get_server_time" => json!({}),
        "revoke_msg" => json!({"userID": "alice", "conversationID": CHAT, "seq": at.seq}),
        "mark_msgs_as_read" => json!({"userID": "alice", "conversationID": CHAT, "seqs": [1]}),
        "mark_conversation_as_read" | "set_conversation_has_read_seq" => {
            json!({"userID": "alice", "conversationID": CHAT, "hasReadSeq": 1})
        }
        "get_active_user" | "get_active_group" => {
            json!({"start": 1, "end": 2, "pagination": page()})
        }
        "clear_msg" => json!({"conversations": []}),
        "destruct_msgs" => json!({"timestamp": 1, "limit": 1}),
        "get_active_conversation" => json!({"conversationIDs": [CHAT], "limit": 1}),
        "set_user_conversation_max_seq" => {
            json!({"conversationID": CHAT, "ownerUserID": ["alice"], "maxSeq": 0})
        }
        "set_user_conversation_min_seq" => {
            json!({"conversationID": CHAT, "ownerUserID": ["alice"], "minSeq": 0})
        }
        "get_last_message_seq_by_time" => json!({"conversationID": CHAT, "time": 1}),
        _ => json!({"userID": "alice"}),
    }
}

/// Routes that are put together from several RPCs, or have bodies of their own.
fn composed(path: &str) -> Value {
    let message = |more: Value| {
        let mut body = json!({
            "sendID": "alice", "recvID": "fred", "senderPlatformID": 10, "sessionType": 1,
            "contentType": 101, "content": {"content": "hi"},
        });
        if let (Some(body), Value::Object(more)) = (body.as_object_mut(), more) {
            body.extend(more);
        }
        body
    };
    match path {
        "/msg/send_msg" => message(json!({})),
        "/msg/batch_send_msg" => message(json!({"recvIDs": ["fred"]})),
        "/msg/send_business_notification" => {
            json!({"sendUserID": "alice", "recvUserID": "fred", "key": "k", "data": "d"})
        }
        "/msg/send_simple_msg" => json!({"sendID": "alice", "content": "hi"}),
        "/user/get_users_online_status" | "/user/get_users_online_token_detail" => {
            json!({"userIDs": ["alice"]})
        }
        "/jssdk/get_conversations" => json!({"conversationIDs": [CHAT]}),
        _ => json!({}),
    }
}

fn other(method: &str) -> Value {
    match method {
        "fcm_update_token" => json!({"platformID": 2, "fcmToken": "t", "account": "alice"}),
        "set_app_badge" => json!({"userID": "alice", "appUnreadCount": 1}),
        "get_users_online_status" => json!({"userIDs": ["alice"]}),
        "kick_user_offline" => json!({"platformID": 8, "kickUserIDList": ["alice"]}),
        "multi_terminal_login_check" => json!({"userID": "alice", "platformID": 8, "token": "t"}),
        "del_user_push_token" => json!({"userID": "alice", "platformID": 2}),
        _ => json!({}),
    }
}
