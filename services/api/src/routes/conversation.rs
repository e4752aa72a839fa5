//! `/conversation`: per-user conversation records (rest-api.md 4.6).

use magpie_discovery::name::CONVERSATION;
use magpie_proto::openim::conversation::conversation_client::ConversationClient;

super::plain! { ROUTES: ConversationClient of CONVERSATION;
    "/conversation/get_conversation" => get_conversation;
    "/conversation/get_conversations" => get_conversations with "conversationIDs";
    "/conversation/get_all_conversations" => get_all_conversations;
    "/conversation/get_owner_conversation" => get_owner_conversation;
    "/conversation/get_sorted_conversation_list" => get_sorted_conversation_list;
    "/conversation/set_conversations" => set_conversations with "userIDs";
    "/conversation/get_incremental_conversations" => get_incremental_conversation;
    "/conversation/get_full_conversation_ids" => get_full_owner_conversation_i_ds;
    "/conversation/get_not_notify_conversation_ids" => get_not_notify_conversation_i_ds;
    "/conversation/get_pinned_conversation_ids" => get_pinned_conversation_i_ds;
    "/conversation/delete_conversations" => delete_conversations;
    "/conversation/update_conversations_by_user" => update_conversations_by_user;
}
