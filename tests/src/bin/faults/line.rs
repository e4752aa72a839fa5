//! The lines of a group's chat that tell who came and who left.

use magpie_proto::openim::sdkws::MsgData;
use magpie_tests::evidence::Line;
use magpie_types::msg::content_type;
use serde_json::Value;

/// What a message of a group's chat tells of its membership. That of a new group names its maker alone; who else is in it, knows who
/// made it.
pub(crate) fn line(message: &MsgData) -> Option<Line> {
    let (field, joins) = match message.content_type {
        content_type::GROUP_CREATED => ("groupOwnerUser", true),
        content_type::MEMBER_INVITED => ("invitedUserList", true),
        content_type::MEMBER_ENTER => ("entrantUser", true),
        content_type::MEMBER_KICKED => ("kickedUserList", false),
        content_type::MEMBER_QUIT => ("quitUser", false),
        _ => return None,
    };
    let content: Value = serde_json::from_slice(&message.content).ok()?;
    let mut detail: Value = serde_json::from_str(content["detail"].as_str()?).ok()?;
    let users = match detail[field].take() {
        Value::Array(users) => users,
        user => vec![user],
    };
    let name = |user: &Value| user["userID"].as_str().map(str::to_owned);
    Some(Line {
        seq: message.seq,
        client_msg_id: message.client_msg_id.clone(),
        users: users.iter().filter_map(name).collect(),
        joins,
    })
}
