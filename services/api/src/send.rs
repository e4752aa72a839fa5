//! Sending for back ends (rest-api.md 4.5): JSON of its own in, a message of the contract out to the msg service.
//!
//! A defect of the body's form is HTTP status 400 here, as the reference has it; everything else is as on plain routes.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use magpie_discovery::name;
use magpie_proto::{
    json,
    openim::{
        msg::{SendMsgResp, SetSendMsgStatusReq, msg_client::MsgClient},
        sdkws::{MsgData, NotificationElem, OfflinePushInfo, RequestPagination, UserInfo},
        user::{GetAllUserIdReq, GetDesignateUsersReq, user_client::UserClient},
    },
    status::from_status,
};
use magpie_service::{Context, Deps};
use magpie_types::{
    Code, Error, Result, SessionType,
    ids::random_client_msg_id,
    msg::{FROM_SYSTEM, content_type, option, status},
    time::now_ms,
    user::level,
};
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    answer::{Answer, Failure, data},
    call::{Call, MAX_MESSAGE},
    content, openapi,
    routes::Shape,
};

/// Users read at once to send to everybody.
const USERS_PAGE: i32 = 1000;

/// What the routes of this file take and give.
pub(crate) const TAKES: Shape = Shape::Own(|| schema_for!(Message));
pub(crate) const GIVES: Shape = Shape::Own(|| schema_for!(Sent));
pub(crate) const GIVES_BATCH: Shape = Shape::Own(|| schema_for!(Results));

/// The body of `send_msg` and `batch_send_msg`.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase")]
struct Message {
    #[serde(rename = "sendID")]
    send_id: Option<String>,
    #[serde(rename = "recvID")]
    recv_id: Option<String>,
    #[serde(rename = "groupID")]
    group_id: Option<String>,
    sender_nickname: Option<String>,
    #[serde(rename = "senderFaceURL")]
    sender_face_url: Option<String>,
    #[serde(rename = "senderPlatformID")]
    sender_platform_id: Option<i32>,
    content: Option<Map<String, Value>>,
    content_type: Option<i32>,
    session_type: Option<i32>,
    is_online_only: Option<bool>,
    not_offline_push: Option<bool>,
    send_time: Option<i64>,
    #[schemars(schema_with = "openapi::push_info")]
    offline_push_info: Option<OfflinePushInfo>,
    ex: Option<String>,
    #[serde(rename = "recvIDs")]
    recv_ids: Option<Vec<String>>,
    is_send_all: Option<bool>,
}

/// A sent message, as these routes answer.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(crate) struct Sent {
    #[serde(rename = "serverMsgID")]
    server_msg_id: String,
    #[serde(rename = "clientMsgID")]
    client_msg_id: String,
    send_time: i64,
    #[serde(rename = "recvID", skip_serializing_if = "Option::is_none")]
    recv_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "openapi::msg_data")]
    modify: Option<MsgData>,
}

/// What became of the messages of `batch_send_msg`.
#[derive(Debug, Serialize, JsonSchema)]
struct Results {
    results: Option<Vec<Sent>>,
    #[serde(rename = "failedUserIDs")]
    failed: Option<Vec<String>>,
}

impl Sent {
    pub(crate) fn new(sent: SendMsgResp, recv_id: Option<String>) -> Self {
        let SendMsgResp {
            server_msg_id,
            client_msg_id,
            send_time,
            modify,
        } = sent;
        Self {
            server_msg_id,
            client_msg_id,
            send_time,
            recv_id,
            modify,
        }
    }
}

/// `/msg/send_msg`.
pub(crate) async fn one(call: Call) -> Answer {
    let body: Message = call.bind()?;
    check_form(&body, true)?;
    let context = admin(&call)?;
    let msg = build(&call.deps, context, body).await?;
    let sent = send(&call.deps, context, msg).await?;
    note_sent(&call.deps, context).await;
    data(&Sent::new(sent, None))
}

/// `/msg/batch_send_msg`: one message per receiver; those that could not be sent are named.
pub(crate) async fn batch(call: Call) -> Answer {
    let mut body: Message = call.bind()?;
    check_form(&body, false)?;
    let receivers = body
        .recv_ids
        .take()
        .ok_or_else(|| Failure::Unbound(Error::args("recvIDs is missing")))?;
    let context = admin(&call)?;
    if receivers.len() > call.config.max_batch {
        let text = format!("recvIDs has more than {} users", call.config.max_batch);
        return Err(Error::args(text).into());
    }
    let receivers = if body.is_send_all == Some(true) {
        everybody(&call.deps, context).await?
    } else {
        receivers
    };
    let msg = build(&call.deps, context, body).await?;
    let outcomes: Vec<_> = stream::iter(receivers)
        .map(|receiver| {
            let msg = MsgData {
                recv_id: receiver.clone(),
                ..msg.clone()
            };
            let deps = &call.deps;
            async move { (receiver, send(deps, context, msg).await) }
        })
        .buffered(call.config.batch_parallel.max(1))
        .collect()
        .await;
    let (mut results, mut failed) = (Vec::new(), Vec::new());
    for (receiver, outcome) in outcomes {
        match outcome {
            Ok(sent) => results.push(Sent::new(sent, Some(receiver))),
            Err(error) => {
                tracing::info!(
                    error = error.report(),
                    "one message of a batch was not sent"
                );
                failed.push(receiver);
            }
        }
    }
    data(&Results {
        results: Some(results).filter(|r| !r.is_empty()),
        failed: Some(failed).filter(|f| !f.is_empty()),
    })
}

pub(crate) fn admin(call: &Call) -> Result<&Context> {
    let context = call.context()?;
    context.require_admin()?;
    Ok(context)
}

pub(crate) fn required(field: &str, value: Option<String>) -> Result<String, Failure> {
    value
        .filter(|v| !v.is_empty())
        .ok_or_else(|| Failure::Unbound(Error::args(format!("{field} is missing"))))
}

/// Members that must be there; what is missing is HTTP status 400.
fn check_form(body: &Message, with_receiver: bool) -> Result<(), Failure> {
    let filled = |text: &Option<String>| text.as_ref().is_some_and(|t| !t.is_empty());
    let missing = |field: &str| Err(Failure::Unbound(Error::args(format!("{field} is missing"))));
    let session = body.session_type.unwrap_or(0);
    if !filled(&body.send_id) {
        return missing("sendID");
    }
    if body.content.is_none() {
        return missing("content");
    }
    if body.content_type.unwrap_or(0) == 0 {
        return missing("contentType");
    }
    if session == 0 {
        return missing("sessionType");
    }
    if matches!(session, 2 | 3) && !filled(&body.group_id) {
        return missing("groupID");
    }
    if with_receiver && matches!(session, 1 | 4) && !filled(&body.recv_id) {
        return missing("recvID");
    }
    Ok(())
}

/// The message of a body whose form is right.
async fn build(deps: &Deps, context: &Context, body: Message) -> Result<MsgData> {
    let kind = body.content_type.unwrap_or(0);
    let content = body.content.unwrap_or_default();
    let send_id = body.send_id.unwrap_or_default();
    let mut session_type = body.session_type.unwrap_or(0);
    content::check_type(kind)?;
    if kind == content_type::OA_NOTIFICATION {
        session_type = SessionType::Notification.number();
        let sender = profile(deps, context, &send_id)
            .await?
            .ok_or_else(|| Error::from(Code::USER_ID_NOT_FOUND))?;
        if sender.app_manger_level < level::ADMIN {
            return Err(Error::no_permission(
                "the sender of a notice is a system account",
            ));
        }
    }
    content::check(kind, &content)?;
    let at_user_id_list = if kind == content_type::AT_TEXT {
        content::mentioned(&content)?
    } else {
        Vec::new()
    };
    let mut text = json::to_vec(&content).map_err(Error::internal)?;
    if kind == content_type::OA_NOTIFICATION {
        let detail = String::from_utf8(text).map_err(Error::internal)?;
        text = json::to_vec(&NotificationElem { detail }).map_err(Error::internal)?;
    }
    let mut options = BTreeMap::new();
    if body.is_online_only == Some(true) {
        for off in [
            option::HISTORY,
            option::PERSISTENT,
            option::SENDER_SYNC,
            option::CONVERSATION_UPDATE,
        ] {
            options.insert(off.to_owned(), false);
        }
    }
    if body.not_offline_push == Some(true) {
        options.insert(option::OFFLINE_PUSH.to_owned(), false);
    }
    Ok(MsgData {
        send_id,
        recv_id: body.recv_id.unwrap_or_default(),
        group_id: body.group_id.unwrap_or_default(),
        client_msg_id: random_client_msg_id(),
        sender_platform_id: body.sender_platform_id.unwrap_or(0),
        sender_nickname: body.sender_nickname.unwrap_or_default(),
        sender_face_url: body.sender_face_url.unwrap_or_default(),
        session_type,
        msg_from: FROM_SYSTEM,
        content_type: kind,
        content: text.into(),
        send_time: body.send_time.unwrap_or(0),
        create_time: now_ms(),
        options,
        offline_push_info: body.offline_push_info,
        at_user_id_list,
        ex: body.ex.unwrap_or_default(),
        ..MsgData::default()
    })
}

pub(crate) async fn send(deps: &Deps, context: &Context, msg: MsgData) -> Result<SendMsgResp> {
    Ok(MsgClient::new(deps.channel(name::MSG))
        .send_msg(magpie_service::send::request(context, msg))
        .await
        .map_err(from_status)?
        .into_inner())
}

/// Notes for `check_msg_is_send_success` that the operation has sent. The message is on its way whether or not this works.
async fn note_sent(deps: &Deps, context: &Context) {
    let request = context.request(SetSendMsgStatusReq {
        status: status::SENT,
    });
    if let Err(error) = MsgClient::new(deps.channel(name::MSG))
        .set_send_msg_status(request)
        .await
    {
        tracing::debug!(error = error.message(), "the state of a send was not noted");
    }
}

pub(crate) async fn profile(
    deps: &Deps,
    context: &Context,
    user_id: &str,
) -> Result<Option<UserInfo>> {
    let request = context.request(GetDesignateUsersReq {
        user_i_ds: vec![user_id.to_owned()],
    });
    let users = UserClient::new(deps.channel(name::USER))
        .get_designate_users(request)
        .await
        .map_err(from_status)?;
    Ok(users.into_inner().users_info.pop())
}

async fn everybody(deps: &Deps, context: &Context) -> Result<Vec<String>> {
    let mut users = Vec::new();
    let mut client =
        UserClient::new(deps.channel(name::USER)).max_decoding_message_size(MAX_MESSAGE);
    for page_number in 1.. {
        let pagination = Some(RequestPagination {
            page_number,
            show_number: USERS_PAGE,
        });
        let page = client
            .get_all_user_id(context.request(GetAllUserIdReq { pagination }))
            .await
            .map_err(from_status)?;
        let page = page.into_inner().user_i_ds;
        let last = i32::try_from(page.len()).is_ok_and(|n| n < USERS_PAGE);
        users.extend(page);
        if last {
            break;
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_content_has_its_keys_in_order() {
        let body: Message =
            json::from_slice(br#"{"content":{"b":1,"a":{"d":2,"c":"<"}}}"#).unwrap();
        assert_eq!(
            json::to_string(&body.content.unwrap()).unwrap(),
            r#"{"a":{"c":"\u003c","d":2},"b":1}"#
        );
    }

    #[test]
    fn the_form_is_checked_before_anything_else() {
        let form = |text: &str| check_form(&json::from_slice(text.as_bytes()).unwrap(), true);
        assert!(
            form(r#"{"SendID":"u1","recvID":"u2","content":{},"contentType":101,"sessionType":1}"#)
                .is_ok()
        );
        for text in [
            r#"{"recvID":"u2","content":{},"contentType":101,"sessionType":1}"#,
            r#"{"sendID":"u1","content":{},"contentType":101,"sessionType":1}"#,
            r#"{"sendID":"u1","recvID":"u2","content":null,"contentType":101,"sessionType":1}"#,
            r#"{"sendID":"u1","recvID":"u2","content":{},"contentType":0,"sessionType":1}"#,
            r#"{"sendID":"u1","recvID":"u2","content":{},"contentType":101}"#,
            r#"{"sendID":"u1","content":{},"contentType":101,"sessionType":3}"#,
        ] {
            assert!(matches!(form(text), Err(Failure::Unbound(_))), "{text}");
        }
        assert!(json::from_slice::<Message>(br#"{"content":"text"}"#).is_err());
    }
}
