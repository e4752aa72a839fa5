//! The `options` map: what the server forces, what users may not say (messages-and-sync.md 4).

use magpie_proto::openim::sdkws::MsgData;
use magpie_types::msg::{content_type, option};

/// The attached info that a private message must have (messages-and-sync.md 5.4): without it the Go core fails.
const MINIMAL_ATTACHED_INFO: &str = r#"{"isPrivateChat":false,"burnDuration":0}"#;

/// Whether the option is there and false; an absent one means true.
pub(super) fn is_off(msg: &MsgData, key: &str) -> bool {
    msg.options.get(key) == Some(&false)
}

/// Removes what only the server may say.
pub(super) fn drop_server_keys(msg: &mut MsgData) {
    msg.options.remove(option::IS_NOT_NOTIFICATION);
    msg.options.remove(option::IS_SEND_MSG);
}

/// Options that follow from the content type, whatever the client said.
pub(super) fn force(msg: &mut MsgData) {
    let off: &[&str] = match msg.content_type {
        content_type::REVOKE_V2 => &[
            option::HISTORY,
            option::PERSISTENT,
            option::UNREAD_COUNT,
            option::OFFLINE_PUSH,
        ],
        content_type::TYPING => &[
            option::HISTORY,
            option::PERSISTENT,
            option::SENDER_SYNC,
            option::CONVERSATION_UPDATE,
            option::SENDER_CONVERSATION_UPDATE,
            option::UNREAD_COUNT,
            option::OFFLINE_PUSH,
        ],
        content_type::HAS_READ_RECEIPT => &[
            option::CONVERSATION_UPDATE,
            option::SENDER_CONVERSATION_UPDATE,
            option::UNREAD_COUNT,
            option::OFFLINE_PUSH,
        ],
        _ => &[],
    };
    for key in off {
        msg.options.insert((*key).to_owned(), false);
    }
    if off.is_empty()
        && is_off(msg, option::NOT_PRIVATE)
        && msg.attached_info.is_empty()
        && !is_off(msg, option::IS_NOT_NOTIFICATION)
    {
        MINIMAL_ATTACHED_INFO.clone_into(&mut msg.attached_info);
    }
}

/// The copy of a notification that goes to the chat; the notification itself then neither counts nor pushes
/// (messages-and-sync.md 4.3).
pub(super) fn chat_copy(notification: &mut MsgData) -> MsgData {
    let mut copy = notification.clone();
    let push = !is_off(notification, option::OFFLINE_PUSH);
    copy.options = [
        (option::OFFLINE_PUSH.to_owned(), push),
        (option::UNREAD_COUNT.to_owned(), true),
    ]
    .into();
    notification
        .options
        .insert(option::OFFLINE_PUSH.to_owned(), false);
    notification
        .options
        .insert(option::UNREAD_COUNT.to_owned(), false);
    copy
}
