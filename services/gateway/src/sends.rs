//! Request 1003: sending a message.
//!
//! A send runs in a task of its own, so that conversations don't wait for each other; within a conversation the lanes of the
//! connection keep the client's order. The client gets the answer, or the error, before the push of its own message.

use std::sync::Arc;

use bytes::Bytes;
use magpie_envelope::{Request, Response, reqs};
use magpie_proto::openim::sdkws::MsgData;
use magpie_service::send;
use magpie_types::{Error, Result};
use prost::Message;
use tracing::{Instrument as _, Span, info_span};

use crate::conn::Conn;
use crate::frame;
use crate::hub::Hub;
use crate::requests;

/// Largest encoded message, in bytes: content and everything else as `msg.max_content_bytes` and `msg.max_fields_bytes` have it, and
/// some more.
const MAX_BODY: usize = 128 << 10;

/// A send that is under way or waits for its conversation.
pub(crate) struct Send {
    msg_incr: String,
    operation_id: String,
    body: MsgData,
    /// From the request to its answer, the wait in the lane included.
    span: Span,
}

/// Starts a send, or lets it wait for its conversation.
pub(crate) fn submit(hub: &Arc<Hub>, conn: &Arc<Conn>, request: Request) {
    let body = match decode(&request) {
        Ok(body) => body,
        Err(e) => return conn.respond(&requests::refusal(&request, &e)),
    };
    let stem = send::stem(&body);
    let span = info_span!(
        "gateway.send",
        operation.id = request.operation_id,
        connection.id = hub.connection_id(conn.number),
        error.code = tracing::field::Empty,
    );
    let send = Send {
        span,
        msg_incr: request.msg_incr,
        operation_id: request.operation_id,
        body,
    };
    let operation_id = send.operation_id.clone();
    if let Some(send) = conn.begin(&stem, &operation_id, send) {
        hub.deps
            .tasks
            .spawn(run(Arc::clone(hub), Arc::clone(conn), stem, send));
    }
}

/// The message, unless it is larger than any that the msg service takes: it is in memory until its turn comes.
fn decode(request: &Request) -> Result<MsgData> {
    if request.data.len() > MAX_BODY {
        return Err(Error::args("the message is too large"));
    }
    let body = MsgData::decode(request.data.clone()).map_err(requests::undecodable)?;
    send::check_lists(&body)?;
    Ok(body)
}

/// Works until the lane is empty.
async fn run(hub: Arc<Hub>, conn: Arc<Conn>, stem: Box<str>, mut send: Send) {
    loop {
        let span = std::mem::replace(&mut send.span, Span::none());
        let answer = answer(&hub, &conn, send).instrument(span.clone()).await;
        span.record("error.code", answer.err_code);
        match conn.finish(&stem, frame::binary(&conn.codec.encode_response(&answer))) {
            Some(next) => send = next,
            None => return,
        }
    }
}

async fn answer(hub: &Hub, conn: &Conn, send: Send) -> Response {
    let context = hub.context(conn, &send.operation_id);
    let mut client = hub.msg();
    let call = client.send_msg(send::request(&context, send.body));
    let result = hub.bounded(call).await;
    let (err_code, err_msg, data) = match result {
        Ok(sent) => (0, String::new(), Some(Bytes::from(sent.encode_to_vec()))),
        Err(e) => error_parts(&e),
    };
    Response {
        req_identifier: reqs::SEND_MSG,
        msg_incr: send.msg_incr,
        operation_id: send.operation_id,
        err_code,
        err_msg,
        data,
    }
}

fn error_parts(error: &Error) -> (i32, String, Option<Bytes>) {
    requests::log(error);
    (error.code().number(), error.message().to_owned(), None)
}
