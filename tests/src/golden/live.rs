//! A [`Target`] that is a running server.
//!
//! Events of all connections come out in the order in which they arrived, in the form of recorded lines: frames decoded
//! through the connection's codec and the contract's descriptors.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use anyhow::{Context as _, bail};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::select_all;
use magpie_envelope::{Codec, Request};
use serde_json::{Map, Value, json};

use super::frames::{gunzip, line_of};
use super::play::Target;
use crate::client::codec_of;
use crate::{Conn, Event, Handshake, Opcode, Query, Server, decode_message};

/// A running server and the connections of a case.
#[derive(Debug)]
pub struct LiveTarget {
    pub(super) server: Server,
    pub(super) conns: BTreeMap<String, Live>,
    pub(super) queue: VecDeque<(String, Value)>,
    pub(super) pairs: BTreeSet<(String, String)>,
}

#[derive(Debug)]
pub(super) struct Live {
    conn: Conn,
    codec: Codec,
    pub(super) user: String,
    pub(super) platform: i32,
    pub(super) background: bool,
    pub(super) subscriber: bool,
    pub(super) open: bool,
}

impl LiveTarget {
    /// Takes a fresh server.
    #[must_use]
    pub fn new(server: Server) -> Self {
        Self {
            server,
            conns: BTreeMap::new(),
            queue: VecDeque::new(),
            pairs: BTreeSet::new(),
        }
    }

    /// The server, for what a report wants to say about it.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    fn live(&mut self, conn: &str) -> anyhow::Result<&mut Live> {
        self.conns
            .get_mut(conn)
            .with_context(|| format!("no connection {conn}"))
    }

    /// The next event of any connection.
    pub(super) async fn arrive(&mut self, bound: Duration) -> Option<(String, Value)> {
        let mut ready = Vec::new();
        for (name, live) in self.conns.iter_mut().filter(|(_, live)| live.open) {
            ready.extend(live.conn.ready().map(|arrival| (name.clone(), arrival)));
        }
        if ready.is_empty() && self.queue.is_empty() && !bound.is_zero() {
            let waits: Vec<_> = self
                .conns
                .iter_mut()
                .filter(|(_, live)| live.open)
                .map(|(name, live)| {
                    live.conn
                        .next(bound)
                        .map(|arrival| arrival.map(|arrival| (name.clone(), arrival)))
                        .boxed()
                })
                .collect();
            if waits.is_empty() {
                return None;
            }
            let (first, ..) = select_all(waits).await;
            ready.extend(first);
        }
        ready.sort_by_key(|(_, arrival)| arrival.order);
        for (name, arrival) in ready {
            let line = self.line(&name, &arrival.event);
            self.queue.push_back((name, line));
        }
        self.queue.pop_front()
    }

    fn line(&mut self, name: &str, event: &Event) -> Value {
        let Some(live) = self.conns.get_mut(name) else {
            return Value::Null;
        };
        let line = line_of(live.codec, event);
        live.open &= line["event"] != "closed";
        for map in ["/data/msgs", "/data/notificationMsgs"] {
            let lists = line
                .pointer(map)
                .and_then(Value::as_object)
                .into_iter()
                .flat_map(Map::values);
            let messages = lists.filter_map(|list| list["Msgs"].as_array()).flatten();
            // A group's message names the group as its receiver.
            for message in messages.filter(|message| message["sessionType"] != 3) {
                if let (Some(from), Some(to)) =
                    (message["sendID"].as_str(), message["recvID"].as_str())
                {
                    self.pairs.insert(if from < to {
                        (from.to_owned(), to.to_owned())
                    } else {
                        (to.to_owned(), from.to_owned())
                    });
                }
            }
        }
        line
    }

    pub(super) async fn request(
        &mut self,
        conn: &str,
        req_identifier: i32,
        msg_incr: &str,
        data: Bytes,
    ) -> anyhow::Result<()> {
        let live = self.live(conn)?;
        let request = Request {
            req_identifier,
            send_id: live.user.clone(),
            operation_id: msg_incr.to_owned(),
            msg_incr: msg_incr.to_owned(),
            data,
            ..Request::default()
        };
        live.conn
            .send(Opcode::BINARY, &live.codec.encode_request(&request))
            .await
    }
}

#[async_trait]
impl Target for LiveTarget {
    fn secret(&self) -> String {
        self.server.secret().to_owned()
    }

    fn start_ms(&self) -> i64 {
        magpie_types::time::now_ms()
    }

    async fn rest(&mut self, request: &Value) -> anyhow::Result<Value> {
        let mut headers: Vec<(&str, &str)> = pairs(&request["headers"]).collect();
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(("Content-Type", "application/json"));
        }
        let body = match &request["body"] {
            Value::Null => Vec::new(),
            Value::String(text) => match text.strip_prefix("base64:") {
                Some(packed) => STANDARD.decode(packed)?,
                None => text.clone().into_bytes(),
            },
            json => json.to_string().into_bytes(),
        };
        let method = request["method"].as_str().unwrap_or("POST");
        let path = request["path"].as_str().unwrap_or("/");
        let answer = self
            .server
            .anonymous()
            .call(method, path, &headers, Bytes::from(body))
            .await?;
        let packed = answer
            .headers
            .get("content-encoding")
            .is_some_and(|encoding| encoding == "gzip");
        let body = if packed {
            gunzip(&answer.body)?
        } else {
            answer.body.to_vec()
        };
        let response =
            serde_json::from_slice(&body).unwrap_or_else(|_| json!(String::from_utf8_lossy(&body)));
        let headers: Map<String, Value> = answer
            .headers
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    json!(String::from_utf8_lossy(value.as_bytes())),
                )
            })
            .collect();
        Ok(
            json!({"status": answer.status.as_u16(), "response": response, "response_headers": headers}),
        )
    }

    async fn open(&mut self, conn: &str, request: &Value, upgrade: bool) -> anyhow::Result<Value> {
        let owned = |pairs: &mut dyn Iterator<Item = (&str, &str)>| {
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect::<Vec<_>>()
        };
        let query = match &request["query"] {
            Value::String(text) => Query::Raw(text.clone()),
            pairs_of => Query::Pairs(owned(&mut pairs(pairs_of))),
        };
        let path = request["path"].as_str().unwrap_or("/").to_owned();
        let handshake = Handshake {
            path,
            query,
            headers: owned(&mut pairs(&request["headers"])),
            upgrade,
        };
        let headers = |all: &[(String, String)]| -> Map<String, Value> {
            all.iter()
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect()
        };
        match Conn::open(self.server.ws_url(), &handshake).await? {
            Ok(opened) => {
                let response = json!({"status": 101, "headers": headers(opened.headers())});
                let live = Live {
                    conn: opened,
                    codec: codec_of(&handshake),
                    user: handshake.parameter("sendID").to_owned(),
                    platform: handshake
                        .parameter("platformID")
                        .parse()
                        .unwrap_or_default(),
                    background: false,
                    subscriber: false,
                    open: true,
                };
                self.conns.insert(conn.to_owned(), live);
                Ok(json!({"response": response}))
            }
            Err(refused) => {
                let body =
                    serde_json::from_slice(&refused.body).unwrap_or_else(|_| json!(refused.text()));
                Ok(
                    json!({"response": {"status": refused.status, "headers": headers(&refused.headers), "body": body}}),
                )
            }
        }
    }

    async fn send(&mut self, conn: &str, envelope: &Value, body: Vec<u8>) -> anyhow::Result<()> {
        let text = |name: &str| envelope[name].as_str().unwrap_or_default().to_owned();
        let req_identifier = envelope["reqIdentifier"].as_i64().unwrap_or_default();
        let live = self.live(conn)?;
        if req_identifier == 2004 {
            let decoded = decode_message("openim.sdkws.SetAppBackgroundStatusReq", &body);
            live.background = decoded.is_ok_and(|request| request["isBackground"] == true);
        }
        live.subscriber |= req_identifier == 2005;
        let request = Request {
            req_identifier: i32::try_from(req_identifier)?,
            token: text("token"),
            send_id: text("sendID"),
            operation_id: text("operationID"),
            msg_incr: text("msgIncr"),
            data: body.into(),
        };
        live.conn
            .send(Opcode::BINARY, &live.codec.encode_request(&request))
            .await
    }

    async fn send_frame(&mut self, conn: &str, opcode: &str, payload: &[u8]) -> anyhow::Result<()> {
        let opcode = match opcode {
            "text" => Opcode::TEXT,
            "binary" => Opcode::BINARY,
            "ping" => Opcode::PING,
            "pong" => Opcode::PONG,
            "close" => Opcode::CLOSE,
            other => bail!("unknown opcode {other}"),
        };
        let live = self.live(conn)?;
        live.conn.answer_control_frames(opcode != Opcode::CLOSE);
        live.conn.send(opcode, payload).await
    }

    async fn hang_up(&mut self, conn: &str) -> anyhow::Result<()> {
        self.live(conn)?.conn.hang_up().await
    }

    async fn next(&mut self, bound: Duration) -> Option<(String, Value)> {
        match self.queue.pop_front() {
            Some(event) => Some(event),
            None => self.arrive(bound).await,
        }
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let awaited = self.send_markers().await?;
        self.await_markers(awaited).await?;
        let (awaited, online) = self.send_presence_marker().await?;
        self.await_markers(awaited).await?;
        drop(online);
        Ok(())
    }
}

fn pairs(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    object
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
}
