//! A client connection of the load generator: gob frames over a WebSocket, users and tokens over REST.

use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _, stream};
use magpie_envelope::{Codec, Encoding, Limits, Request, Response, reqs};
use magpie_proto::openim::sdkws::MsgData;
use prost::Message as _;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::admin::Api;

/// REST calls under way while users are made.
const CALLS: usize = 16;
/// Users registered by one call.
const CHUNK: usize = 500;
/// Platform of all clients: Android, so that the server sends no pings of its own.
pub(super) const PLATFORM: i32 = 2;
/// How often a native client pings (gateway.md).
pub(super) const HEARTBEAT: Duration = Duration::from_secs(24);
/// Buffers of a connection, bytes: small, so that many connections fit beside the server.
const BUFFER: usize = 4096;

const CODEC: Codec = Codec {
    encoding: Encoding::Gob,
    compressed: false,
};

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Sends a request and waits for its answer's data; what else comes meanwhile is dropped.
pub(super) async fn ask(
    socket: &mut Socket,
    user: &str,
    (id, incr): (i32, String),
    data: Vec<u8>,
) -> anyhow::Result<Bytes> {
    socket.send(request(user, id, incr.clone(), data)).await?;
    loop {
        let frame = socket.next().await.context("the connection has ended")??;
        let Message::Binary(bytes) = frame else {
            continue;
        };
        let response = response(&bytes)?;
        if response.req_identifier == id && response.msg_incr == incr {
            if response.err_code != 0 {
                bail!("{id}: {} {}", response.err_code, response.err_msg);
            }
            return Ok(response.data.unwrap_or_default());
        }
    }
}

/// Registers `users`; those of an earlier run are taken as they are.
pub(super) async fn register(api: &Api, users: &[String]) -> anyhow::Result<()> {
    for chunk in users.chunks(CHUNK) {
        let known = api
            .post("/user/account_check", json!({ "checkUserIDs": chunk }))
            .await?;
        let missing: Vec<_> = known["results"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|found| found["accountStatus"] == 0)
            .map(|found| json!({ "userID": found["userID"], "nickname": found["userID"] }))
            .collect();
        if !missing.is_empty() {
            api.post("/user/user_register", json!({ "users": missing }))
                .await?;
        }
    }
    Ok(())
}

/// Registers `users` and issues a token each.
pub(super) async fn tokens(api: &Api, users: &[String]) -> anyhow::Result<Vec<String>> {
    register(api, users).await?;
    let issued = stream::iter(users).map(async |user| {
        let request = json!({ "userID": user, "platformID": PLATFORM });
        let answer = api.post("/auth/get_user_token", request).await?;
        answer["token"]
            .as_str()
            .map(ToOwned::to_owned)
            .ok_or_else(|| anyhow!("no token for {user}"))
    });
    let issued: Vec<_> = issued.buffered(CALLS).collect().await;
    issued.into_iter().collect()
}

/// Opens a connection and waits until its handshake is answered.
pub(super) async fn connect(ws: &str, user: &str, token: &str) -> anyhow::Result<Socket> {
    let url = format!(
        "{ws}/?sendID={user}&token={token}&platformID={PLATFORM}&operationID=bench&isBackground=false&isMsgResp=true"
    );
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER)
        .write_buffer_size(BUFFER);
    let (mut socket, _) = tokio_tungstenite::connect_async_with_config(url, Some(config), true)
        .await
        .with_context(|| format!("{user} can't connect"))?;
    match socket.next().await {
        Some(Ok(Message::Text(text))) if text.contains("\"errCode\":0") => Ok(socket),
        other => Err(anyhow!("{user}: the handshake was answered by {other:?}")),
    }
}

/// A request frame.
pub(super) fn request(user: &str, id: i32, incr: String, data: Vec<u8>) -> Message {
    let request = Request {
        req_identifier: id,
        token: String::new(),
        send_id: user.to_owned(),
        operation_id: format!("bench-{incr}"),
        msg_incr: incr,
        data: data.into(),
    };
    Message::Binary(CODEC.encode_request(&request))
}

/// A text from one user to another, answered under `number`.
pub(super) fn message(from: &str, to: &str, id: &str, number: usize, content: &str) -> Message {
    let msg = MsgData {
        send_id: from.to_owned(),
        recv_id: to.to_owned(),
        client_msg_id: id.to_owned(),
        sender_platform_id: PLATFORM,
        session_type: 1,
        msg_from: 100,
        content_type: 101,
        content: Bytes::copy_from_slice(content.as_bytes()),
        status: 1,
        create_time: magpie_types::time::now_ms(),
        ..MsgData::default()
    };
    request(
        from,
        reqs::SEND_MSG,
        number.to_string(),
        msg.encode_to_vec(),
    )
}

/// Which of the gateways a connection goes to: half of each gateway's senders write to its own receivers, half to others'.
pub(super) fn home(pair: usize, receives: bool, gateways: usize) -> usize {
    let shift = if receives { pair / gateways } else { 0 };
    (pair + shift) % gateways
}

/// The envelope in a frame from the server.
pub(super) fn response(frame: &Bytes) -> anyhow::Result<Response> {
    CODEC
        .decode_response(frame, &Limits::CLIENT)
        .context("a frame that can't be decoded")
}
