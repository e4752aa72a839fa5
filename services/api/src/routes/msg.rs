//! `/msg`: sending for back ends, reading, revoking, deleting (rest-api.md 4.5).

use magpie_discovery::name::{MSG, USER};
use magpie_proto::openim::msg::msg_client::MsgClient;

use super::Access::{Admin, Any, Own};
use super::Route;
use crate::{notices, send};

super::plain! { ROUTES: MsgClient of MSG;
    "/msg/check_msg_is_send_success": Any => get_send_msg_status;
    "/msg/search_msg": Admin => search_message;
    "/msg/get_server_time": Any => get_server_time;
    "/msg/newest_seq": Own(&["userID"]) => get_max_seq;
    "/msg/pull_msg_by_seq": Own(&["userID"]) => pull_message_by_seqs;
    "/msg/revoke_msg": Own(&["userID"]) => revoke_msg;
    "/msg/mark_msgs_as_read": Own(&["userID"]) => mark_msgs_as_read with "seqs";
    "/msg/mark_conversation_as_read": Own(&["userID"]) => mark_conversation_as_read;
    "/msg/get_conversations_has_read_and_max_seq": Own(&["userID"]) => get_conversations_has_read_and_max_seq;
    "/msg/set_conversation_has_read_seq": Own(&["userID"]) => set_conversation_has_read_seq;
    "/msg/clear_conversation_msg": Own(&["userID"]) => clear_conversations_msg with "conversationIDs";
    "/msg/user_clear_all_msg": Own(&["userID"]) => user_clear_all_msg;
    "/msg/delete_msgs": Own(&["userID"]) => delete_msgs with "seqs";
    "/msg/delete_msg_phsical_by_seq": Admin => delete_msg_physical_by_seq;
    "/msg/delete_msg_physical": Admin => delete_msg_physical with "conversationIDs";
}

const SEND: (&str, &str) = (MSG, "send_msg");
const PROFILE: (&str, &str) = (USER, "get_designate_users");
const EVERYBODY: (&str, &str) = (USER, "get_all_user_id");

pub(super) const OWN: &[Route] = &[
    Route::own(
        "/msg/send_msg",
        Admin,
        (send::TAKES, send::GIVES),
        &[SEND, PROFILE],
        |call| Box::pin(send::one(call)),
    ),
    Route::own(
        "/msg/batch_send_msg",
        Admin,
        (send::TAKES, send::GIVES_BATCH),
        &[SEND, PROFILE, EVERYBODY],
        |call| Box::pin(send::batch(call)),
    ),
    Route::own(
        "/msg/send_business_notification",
        Admin,
        (notices::TAKES_BUSINESS, send::GIVES),
        &[SEND],
        |call| Box::pin(notices::business(call)),
    ),
    Route::own(
        "/msg/send_simple_msg",
        Own(&["key"]),
        (notices::TAKES_SIMPLE, send::GIVES),
        &[SEND, PROFILE],
        |call| Box::pin(notices::simple(call)),
    ),
];
