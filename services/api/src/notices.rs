//! What applications and their bots send: business notifications, and answers to the message a webhook told of
//! (rest-api.md 4.5).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use magpie_proto::{
    json,
    openim::sdkws::{MsgData, OfflinePushInfo},
};
use magpie_service::{Context, notification::Notification};
use magpie_types::{
    Error, Platform, Result, SessionType,
    ids::random_client_msg_id,
    msg::{FROM_USER, content_type},
    time::now_ms,
};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};

use crate::{
    answer::{Answer, data},
    call::Call,
    openapi,
    routes::Shape,
    send::{Sent, admin, profile, required, send},
};

/// What the routes of this file take.
pub(crate) const TAKES_BUSINESS: Shape = Shape::Own(|| schema_for!(Business));
pub(crate) const TAKES_SIMPLE: Shape = Shape::Own(|| schema_for!(Simple));

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
struct Business {
    #[serde(rename = "sendUserID")]
    sender: Option<String>,
    #[serde(rename = "recvUserID")]
    user: Option<String>,
    #[serde(rename = "recvGroupID")]
    group: Option<String>,
    key: Option<String>,
    data: Option<String>,
    send_msg: Option<bool>,
    reliability_level: Option<i32>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
struct Simple {
    #[serde(rename = "sendID")]
    send_id: Option<String>,
    content: Option<String>,
    #[schemars(schema_with = "openapi::push_info")]
    offline_push_info: Option<OfflinePushInfo>,
    ex: Option<String>,
}

/// `/msg/send_business_notification`: level 2 is stored, the others reach connected clients only (corrections.md 47).
pub(crate) async fn business(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Tips {
        key: String,
        data: String,
    }

    let body: Business = call.bind()?;
    let sender = required("sendUserID", body.sender)?;
    let context = admin(&call)?;
    let (user, group) = (
        body.user.unwrap_or_default(),
        body.group.unwrap_or_default(),
    );
    let (session, receiver) = match (user.is_empty(), group.is_empty()) {
        (false, true) => (SessionType::Single, user),
        (true, false) => (SessionType::Group, group),
        (true, true) => {
            return Err(
                Error::args("recvUserID and recvGroupID cannot be empty at the same time").into(),
            );
        }
        (false, false) => {
            return Err(
                Error::args("recvUserID and recvGroupID cannot be set at the same time").into(),
            );
        }
    };
    let tips = Tips {
        key: body.key.unwrap_or_default(),
        data: body.data.unwrap_or_default(),
    };
    let notification = Notification {
        session,
        reliable: body.reliability_level == Some(2),
        in_chat: body.send_msg == Some(true),
        ..Notification::to_user(
            content_type::BUSINESS_NOTIFICATION,
            &sender,
            &receiver,
            &tips,
        )?
    };
    let mut msg = notification.into_msg()?;
    msg.offline_push_info = None;
    if session == SessionType::Group {
        msg.recv_id.clear();
    }
    data(&Sent::new(
        send(&call.deps, &context.as_internal(), msg).await?,
        None,
    ))
}

/// `/msg/send_simple_msg`: a bot's answer to the message that a webhook told it of.
pub(crate) async fn simple(call: Call) -> Answer {
    #[derive(Serialize)]
    struct Markdown {
        content: String,
    }

    let body: Simple = call.bind()?;
    let content = required("content", body.content)?;
    let context = call.context()?;
    let key = answer_key(&call.query)?;
    let (sender, receiver, session) = if key.group_id.is_empty() {
        (key.recv_id, key.send_id, SessionType::Single)
    } else {
        (
            body.send_id.unwrap_or_default(),
            String::new(),
            SessionType::Group,
        )
    };
    if sender.is_empty() {
        return Err(Error::args("missing sendID").into());
    }
    context.require_self(&sender)?;
    let context = &Context {
        platform_id: Platform::Admin.number(),
        ..context.clone()
    };
    let profile = profile(&call.deps, context, &sender)
        .await?
        .ok_or_else(|| Error::not_found(format!("record not found: user {sender:?}")))?;
    let text = json::to_vec(&Markdown { content }).map_err(Error::internal)?;
    let msg = MsgData {
        send_id: sender,
        recv_id: receiver,
        group_id: key.group_id,
        client_msg_id: random_client_msg_id(),
        sender_platform_id: Platform::Admin.number(),
        sender_nickname: profile.nickname,
        sender_face_url: profile.face_url,
        session_type: session.number(),
        msg_from: FROM_USER,
        content_type: content_type::MARKDOWN,
        content: text.into(),
        create_time: now_ms(),
        offline_push_info: body.offline_push_info,
        ex: body.ex.unwrap_or_default(),
        ..MsgData::default()
    };
    data(&Sent::new(send(&call.deps, context, msg).await?, None))
}

/// What a webhook's URL says about the message to answer.
#[derive(Default, Deserialize)]
#[serde(default)]
struct AnswerKey {
    #[serde(rename = "sendID")]
    send_id: String,
    #[serde(rename = "recvID")]
    recv_id: String,
    #[serde(rename = "groupID")]
    group_id: String,
}

fn answer_key(query: &str) -> Result<AnswerKey> {
    let key = url::form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| name == "key")
        .map(|(_, value)| value);
    let key = key.ok_or_else(|| Error::args("missing key in query"))?;
    let text = STANDARD
        .decode(key.as_bytes())
        .map_err(|e| Error::args(format!("key: {e}")))?;
    let key: AnswerKey = json::from_slice(&text).map_err(|e| Error::args(format!("key: {e}")))?;
    if key.group_id.is_empty() && (key.recv_id.is_empty() || key.send_id.is_empty()) {
        return Err(Error::args("missing recvID or GroupID"));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_names_whom_to_answer() {
        let key = |text: &str| {
            answer_key(&format!(
                "a=b&key={}",
                STANDARD.encode(text).replace('=', "%3D")
            ))
        };
        assert_eq!(
            key(r#"{"sendID":"u1","recvID":"u2","groupID":""}"#)
                .unwrap()
                .recv_id,
            "u2"
        );
        assert_eq!(
            key(r#"{"sendID":"u1","groupID":"g1"}"#).unwrap().group_id,
            "g1"
        );
        assert!(key(r#"{"recvID":"u2"}"#).is_err());
        assert!(key("nonsense").is_err());
        assert!(answer_key("").is_err());
        assert!(answer_key("key=zzz").is_err());
    }
}
