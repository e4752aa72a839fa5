//! `/conversation`: per-user conversation records (rest-api.md 4.6).

use magpie_discovery::name::CONVERSATION;
use magpie_proto::openim::conversation::conversation_client::ConversationClient;

use super::Access::Own;

super::plain! { ROUTES: ConversationClient of CONVERSATION;
    "/conversation/get_conversation": Own(&["ownerUserID"]) => get_conversation;
    "/conversation/get_conversations": Own(&["ownerUserID"]) => get_conversations with "conversationIDs";
    "/conversation/get_all_conversations": Own(&["ownerUserID"]) => get_all_conversations;
    "/conversation/get_owner_conversation": Own(&["userID"]) => get_owner_conversation;
    "/conversation/get_sorted_conversation_list": Own(&["userID"]) => get_sorted_conversation_list;
    "/conversation/set_conversations": Own(&["userIDs"]) => set_conversations with "userIDs";
    "/conversation/get_incremental_conversations": Own(&["userID"]) => get_incremental_conversation;
    "/conversation/get_full_conversation_ids": Own(&["userID"]) => get_full_owner_conversation_i_ds;
    "/conversation/get_not_notify_conversation_ids": Own(&["userID"]) => get_not_notify_conversation_i_ds;
    "/conversation/get_pinned_conversation_ids": Own(&["userID"]) => get_pinned_conversation_i_ds;
    "/conversation/delete_conversations": Own(&["ownerUserID"]) => delete_conversations;
    "/conversation/update_conversations_by_user": Own(&["userID"]) => update_conversations_by_user;
}
