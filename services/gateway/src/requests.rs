//! The requests of a connection other than sends (gateway.md 5): who may ask, whom the gateway asks, how it is answered.
//!
//! They run one after the other, so their answers come in the order of the requests. A body that is no protobuf is the
//! caller's mistake (1001), and a caller who names somebody else is refused (1002) before any other service is asked.

use std::sync::Arc;

use bytes::Bytes;
use magpie_envelope::{Encoding, Request, Response, reqs};
use magpie_proto::openim::{msg, push, sdkws};
use magpie_service::rpc::at_most;
use magpie_types::{Code, Error, Platform, Result, UserId};
use prost::Message;

use crate::conn::Conn;
use crate::frame;
use crate::hub::Hub;

/// Users whose presence one request asks for.
const MAX_ASKED: usize = 5000;

/// A finished request.
pub(crate) struct Answer {
    /// The complete frame.
    pub(crate) frame: Bytes,
    /// Why the connection ends after it, if it does.
    pub(crate) end: Option<&'static str>,
}

/// Does what the client asks for.
pub(crate) async fn answer(hub: Arc<Hub>, conn: Arc<Conn>, request: Request) -> Answer {
    let is_pull = matches!(
        request.req_identifier,
        reqs::PULL_MSG_BY_RANGE | reqs::PULL_MSG_BY_SEQS | reqs::GET_LAST_MSG
    );
    let turn = if is_pull {
        hub.pull_turn().await.map(Some)
    } else {
        Ok(None)
    };
    let result = match &turn {
        Ok(_) => handle(&hub, &conn, &request).await,
        Err(busy) => Err(busy.clone()),
    };
    let response = match result {
        Ok(data) => echo(&request, data),
        Err(e) => refusal(&request, &e),
    };
    Answer {
        frame: frame::binary(&conn.codec.encode_response(&response)),
        end: (request.req_identifier == reqs::LOGOUT).then_some("logout"),
    }
}

/// The success answer of a request.
pub(crate) fn echo(request: &Request, data: Option<Bytes>) -> Response {
    Response {
        req_identifier: request.req_identifier,
        msg_incr: request.msg_incr.clone(),
        operation_id: request.operation_id.clone(),
        err_code: 0,
        err_msg: String::new(),
        data,
    }
}

/// The error answer of a request.
pub(crate) fn refusal(request: &Request, error: &Error) -> Response {
    log(error);
    let message = match error.message() {
        "" => error.detail(),
        message => message,
    };
    Response {
        err_code: error.code().number(),
        err_msg: message.to_owned(),
        ..echo(request, None)
    }
}

/// The error of a body that can't be decoded.
pub(crate) fn undecodable(error: prost::DecodeError) -> Error {
    Error::args("the body is not the protobuf message of this request").with_source(error)
}

/// Refusals are the client's business; failures are ours. Without a cause here, the service that failed has logged it.
pub(crate) fn log(error: &Error) {
    if error.code() == Code::INTERNAL && std::error::Error::source(error).is_some() {
        tracing::warn!(error = error.report(), "request failed");
    }
}

async fn handle(hub: &Hub, conn: &Arc<Conn>, request: &Request) -> Result<Option<Bytes>> {
    let context = hub.context(conn, &request.operation_id);
    let mut client = hub.msg();
    match request.req_identifier {
        reqs::GET_MAX_SEQ => {
            let body: sdkws::GetMaxSeqReq = decode(request)?;
            context.require_self(&body.user_id)?;
            encode(
                &hub.bounded(client.get_max_seq(context.request(body)))
                    .await?,
            )
        }
        reqs::PULL_MSG_BY_RANGE => {
            let body: sdkws::PullMessageBySeqsReq = decode(request)?;
            context.require_self(&body.user_id)?;
            encode(
                &hub.bounded(client.pull_message_by_seqs(context.request(body)))
                    .await?,
            )
        }
        reqs::PULL_MSG_BY_SEQS => {
            let body: msg::GetSeqMessageReq = decode(request)?;
            context.require_self(&body.user_id)?;
            encode(
                &hub.bounded(client.get_seq_message(context.request(body)))
                    .await?,
            )
        }
        reqs::GET_READ_AND_MAX_SEQ => {
            let body: msg::GetConversationsHasReadAndMaxSeqReq = decode(request)?;
            context.require_self(&body.user_id)?;
            encode(
                &hub.bounded(client.get_conversations_has_read_and_max_seq(context.request(body)))
                    .await?,
            )
        }
        reqs::GET_LAST_MSG => {
            let body: msg::GetLastMessageReq = decode(request)?;
            context.require_self(&body.user_id)?;
            encode(
                &hub.bounded(client.get_last_message(context.request(body)))
                    .await?,
            )
        }
        reqs::LOGOUT => {
            let mut body: push::DelUserPushTokenReq = decode(request)?;
            if body.user_id.is_empty() || Platform::from_number(body.platform_id).is_none() {
                return Err(Error::args("userID or platformID is missing"));
            }
            // Clients may name anybody, but only their own push token is forgotten.
            if !context.is_admin() {
                conn.user.as_ref().clone_into(&mut body.user_id);
            }
            encode(
                &hub.bounded(hub.push().del_user_push_token(context.request(body)))
                    .await?,
            )
        }
        reqs::SUBSCRIBE_PRESENCE => encode(&subscribe(hub, conn, decode(request)?).await?),
        _ => Err(Error::args("this request is not supported")),
    }
}

/// Unsubscribes, then subscribes, and answers with the present state of those subscribed to, in the order of the request
/// (gateway.md 9). TypeScript clients take an empty answer for a failure, so they get an element for an unsubscription too.
async fn subscribe(
    hub: &Hub,
    conn: &Arc<Conn>,
    body: sdkws::SubUserOnlineStatus,
) -> Result<sdkws::SubUserOnlineStatusTips> {
    at_most("subscribeUserID", &body.subscribe_user_id, MAX_ASKED)?;
    at_most("unsubscribeUserID", &body.unsubscribe_user_id, MAX_ASKED)?;
    hub.subscriptions.remove(conn, &body.unsubscribe_user_id);
    let wanted = body.subscribe_user_id;
    hub.subscriptions
        .add(conn, &wanted, hub.config.max_subscriptions);
    let mut asked = wanted;
    if asked.is_empty() && conn.codec.encoding == Encoding::Json {
        asked.extend(body.unsubscribe_user_id.into_iter().next());
    }
    let known: Vec<UserId> = asked
        .iter()
        .filter_map(|id| UserId::new(id.as_str()).ok())
        .collect();
    let found = hub
        .deps
        .presence
        .lookup(&known)
        .await
        .map_err(Error::internal)?;
    let mut places = found.users.iter();
    let subscribers = asked
        .into_iter()
        .map(|user_id| {
            let here = if UserId::new(user_id.as_str()).is_ok() {
                places.next()
            } else {
                None
            };
            let platforms = here.map(|p| p.platforms()).unwrap_or_default();
            hub.subscriptions.answered(conn, &user_id, platforms);
            sdkws::SubUserOnlineStatusElem {
                user_id,
                online_platform_i_ds: platforms.iter().map(Platform::number).collect(),
            }
        })
        .collect();
    Ok(sdkws::SubUserOnlineStatusTips { subscribers })
}

fn decode<T: Message + Default>(request: &Request) -> Result<T> {
    T::decode(request.data.clone()).map_err(undecodable)
}

/// Every request has an answer, and the gateway gives it back without looking at it.
fn encode(message: &impl Message) -> Result<Option<Bytes>> {
    Ok(Some(Bytes::from(message.encode_to_vec())))
}
