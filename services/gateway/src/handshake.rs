//! From an accepted socket to a connection: read the request, check it in the order that clients know, answer.
//!
//! The checks (gateway.md 1.3): free place, query, token, the token's user and platform, upgrade. What is wrong with the first
//! two is told over HTTP; later refusals go as the first message, if the client asked for one. A connection is made known
//! before it is answered, so that it misses nothing from then on, and what comes meanwhile waits behind the answer.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use magpie_envelope::handshake::{HandshakeError, HandshakeParams, SUCCESS};
use magpie_proto::openim::auth::ParseTokenReq;
use magpie_service::Context;
use magpie_types::{Code, Error, Platform, UserId, ids};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::conn::Conn;
use crate::head::{self, Head};
use crate::hub::{Hub, Slot};
use crate::{frame, metrics, task};

/// First size of the buffer for the request; most fit.
const HEAD: usize = 1024;

/// A client that may connect.
struct Accepted {
    params: HandshakeParams,
    platform: Platform,
    key: String,
    /// Bytes that came behind the request.
    early: Vec<u8>,
    /// Of its user, before the token was checked.
    kicks: u64,
    slot: Slot,
}

/// Serves a new socket: its handshake, then a task for the connection. `permit` is held during the handshake.
pub(crate) async fn run(hub: Arc<Hub>, mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let handshake = tokio::time::timeout(hub.config.handshake_timeout(), accept(&hub, &mut stream));
    let stopping = hub.deps.shutdown.clone();
    // One that is not done when the process stops is tried again elsewhere.
    let Some(accepted) = stopping.run_until_cancelled(handshake).await else {
        return;
    };
    match accepted {
        Ok(Ok(Some(accepted))) => begin(&hub, stream, accepted, permit).await,
        Ok(Ok(None)) => {}
        Ok(Err(e)) => tracing::debug!(error = %e, "a handshake ended early"),
        Err(_) => metrics::closed("handshake timeout"),
    }
}

/// The client, if it may connect; otherwise it has its answer.
async fn accept(hub: &Arc<Hub>, stream: &mut TcpStream) -> io::Result<Option<Accepted>> {
    let Some((head, early)) = read(hub, stream).await? else {
        return Ok(None);
    };
    let Some(slot) = hub.slot() else {
        let code = Code::CONN_OVER_MAX;
        let error = HandshakeError::new(code.number(), code.name(), "the gateway is full");
        return refuse(stream, &error).await;
    };
    let params = match HandshakeParams::parse(&head.query, head.compression.as_deref()) {
        Ok(params) => params,
        Err(error) => return refuse(stream, &error).await,
    };
    if !head.is_allowed(&hub.config.allowed_origins) {
        return answer(stream, head::FORBIDDEN.as_bytes()).await;
    }
    // A client that wants a message, but can't get one.
    if params.is_msg_resp && head.key.is_none() {
        return answer(stream, head::BAD_REQUEST.as_bytes()).await;
    }
    let kicks = hub.kicks(&params.send_id);
    let platform = match check(hub, &params).await {
        Ok(platform) => platform,
        Err(error) => {
            let Some(key) = head.key.filter(|_| params.is_msg_resp) else {
                return refuse(stream, &error).await;
            };
            metrics::handshake(error.code);
            let message = frame::text(error.to_json().as_bytes());
            return answer(
                stream,
                &[head::switching(&key).as_bytes(), &message].concat(),
            )
            .await;
        }
    };
    match head.key {
        Some(key) => Ok(Some(Accepted {
            params,
            platform,
            key,
            early,
            kicks,
            slot,
        })),
        None => answer(stream, head::BAD_REQUEST.as_bytes()).await,
    }
}

async fn read(hub: &Hub, stream: &mut TcpStream) -> io::Result<Option<(Head, Vec<u8>)>> {
    let mut bytes = Vec::with_capacity(HEAD);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
        match Head::parse(&bytes) {
            Ok(Some((head, length))) => return Ok(Some((head, bytes.split_off(length)))),
            Ok(None) if bytes.len() < hub.config.max_head_bytes => {}
            Ok(None) | Err(head::BadHead) => {
                answer(stream, head::BAD_REQUEST.as_bytes()).await?;
                return Ok(None);
            }
        }
    }
}

/// Whether the token is good and is that of the user and platform that the client names.
async fn check(hub: &Hub, params: &HandshakeParams) -> Result<Platform, HandshakeError> {
    ids::check_operation_id(&params.operation_id).map_err(|e| told(&e))?;
    let context = Context::internal(params.operation_id.as_str());
    let mut auth = hub.auth();
    let call = auth.parse_token(context.request(ParseTokenReq {
        token: params.token.clone(),
    }));
    let token = hub.bounded(call).await.map_err(|e| told(&e))?;
    let mismatch = |detail| {
        HandshakeError::new(
            Code::TOKEN_INVALID.number(),
            Code::TOKEN_INVALID.name(),
            detail,
        )
    };
    if token.user_id != params.send_id {
        return Err(mismatch(format!(
            "token uid {} != userID {}",
            token.user_id, params.send_id
        )));
    }
    if token.platform_id != params.platform_id {
        return Err(mismatch(format!(
            "token platform {} != platformID {}",
            token.platform_id, params.platform_id
        )));
    }
    UserId::new(params.send_id.as_str()).map_err(|e| told(&e.into()))?;
    Platform::from_number(params.platform_id)
        .ok_or_else(|| mismatch("platformID is unknown".to_owned()))
}

fn told(error: &Error) -> HandshakeError {
    if error.code() == Code::INTERNAL {
        tracing::warn!(error = error.report(), "a token could not be checked");
    }
    HandshakeError::new(error.code().number(), error.message(), error.detail())
}

/// Makes the connection known, answers, and gives it its task.
async fn begin(
    hub: &Arc<Hub>,
    stream: TcpStream,
    accepted: Accepted,
    permit: OwnedSemaphorePermit,
) {
    let Accepted {
        params,
        platform,
        key,
        early,
        kicks,
        slot,
    } = accepted;
    let mut answer = head::switching(&key).into_bytes();
    if params.is_msg_resp {
        answer.extend_from_slice(&frame::text(SUCCESS.as_bytes()));
    }
    let conn = Arc::new(Conn::new(
        hub.next_number(),
        params.send_id.as_str().into(),
        platform,
        params.codec(),
        params.token.as_str().into(),
        stream,
        &hub.config,
    ));
    hub.join(&conn, &params.operation_id).await;
    if hub.kicks(&params.send_id) != kicks {
        // Its token was good before; the kick may have missed the connection, which was not known yet.
        match check(hub, &params).await {
            Ok(_) => {}
            Err(error) if error.code == Code::INTERNAL.number() => conn.drain(),
            Err(_) => hub.end(&[Arc::clone(&conn)]),
        }
    }
    metrics::handshake(0);
    conn.open(Bytes::from(answer));
    let hub_of_task = Arc::clone(hub);
    hub.deps.tasks.spawn(async move {
        task::run(hub_of_task, conn, early).await;
        drop(slot);
    });
    drop(permit);
}

async fn refuse(stream: &mut TcpStream, error: &HandshakeError) -> io::Result<Option<Accepted>> {
    metrics::handshake(error.code);
    answer(stream, head::refusal(error).as_bytes()).await
}

async fn answer(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Option<Accepted>> {
    stream.write_all(bytes).await?;
    stream.shutdown().await?;
    Ok(None)
}
