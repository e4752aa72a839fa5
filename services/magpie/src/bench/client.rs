//! A client connection of the load generator: gob frames over a WebSocket, users and tokens over REST.

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use futures::{StreamExt as _, stream};
use magpie_envelope::{Codec, Encoding, Limits, Request, Response};
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::admin::Api;

/// REST calls under way while users are made.
const CALLS: usize = 16;
/// Users registered by one call.
const CHUNK: usize = 500;
/// Platform of all clients: Android, so that the server sends no pings of its own.
const PLATFORM: i32 = 2;

pub(super) const CODEC: Codec = Codec { encoding: Encoding::Gob, compressed: false };

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Registers `users` (those of an earlier run are taken as they are) and issues a token each.
pub(super) async fn tokens(api: &Api, users: &[String]) -> anyhow::Result<Vec<String>> {
    for chunk in users.chunks(CHUNK) {
        let list: Vec<_> = chunk.iter().map(|u| json!({ "userID": u, "nickname": u })).collect();
        match api.post("/user/user_register", json!({ "users": list })).await {
            Err(e) if !e.to_string().contains("1102") => return Err(e),
            _ => {}
        }
    }
    let issued = stream::iter(users).map(async |user| {
        let answer = api.post("/auth/get_user_token", json!({ "userID": user, "platformID": PLATFORM })).await?;
        answer.get("token").and_then(|t| t.as_str()).map(ToOwned::to_owned).ok_or_else(|| anyhow!("no token for {user}"))
    });
    issued.buffered(CALLS).collect::<Vec<_>>().await.into_iter().collect()
}

/// Opens a connection and waits until its handshake is answered.
pub(super) async fn connect(ws: &str, user: &str, token: &str) -> anyhow::Result<Socket> {
    let url = format!("{ws}/?sendID={user}&token={token}&platformID={PLATFORM}&operationID=bench&isBackground=false&isMsgResp=true");
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await.with_context(|| format!("{user} can't connect"))?;
    match socket.next().await {
        Some(Ok(Message::Text(text))) if text.contains("\"errCode\":0") => Ok(socket),
        other => Err(anyhow!("{user}: handshake answered {other:?}")),
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

/// The envelope in a frame from the server.
pub(super) fn response(frame: &Bytes) -> anyhow::Result<Response> {
    CODEC.decode_response(frame, &Limits::CLIENT).context("a frame that can't be decoded")
}
