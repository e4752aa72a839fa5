//! Load: devices that send without waiting for answers, connection after connection, and remember every frame.
//!
//! A [`Device`] keeps a window of sends open and reads whatever comes. When its connection ends it does with unanswered sends
//! what its [`Habit`] says: it sends them again first thing on the next connection, with the same ids and in the same order, as
//! a client with an outbox does, or it forgets them. What it saw becomes [`Evidence`](crate::evidence::Evidence).

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Context as _;
use magpie_envelope::{Codec, Limits, Response};
use magpie_proto::openim::msg::SendMsgResp;
use magpie_proto::openim::sdkws::{MsgData, PushMessages};
use magpie_types::ConversationId;
use prost::Message as _;

mod roam;
mod run;

use crate::evidence::{Connection, Frame, Pull, Row, Send};
use crate::{Client, Event, Handshake, Opcode, text_message};

pub use roam::{Gateways, Tour, Way, roam};
pub use run::{Run, eventually, pair, settle};

/// Sends of a device that may be unanswered.
const WINDOW: usize = 16;
/// What happens to sends that were not answered when the connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// They are sent again.
    Resend,
    /// They are forgotten.
    Abandon,
}

/// How far a device has come on its present connection.
#[derive(Debug, Default)]
pub struct Gauge {
    acknowledged: AtomicU64,
    refused: AtomicU64,
    live: AtomicU64,
}

impl Gauge {
    /// Acknowledged sends.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Refused sends.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Pushed messages of others that were first sent in this life of the server.
    #[must_use]
    pub fn live(&self) -> u64 {
        self.live.load(Ordering::Relaxed)
    }
}

/// What a connection left behind.
#[derive(Debug)]
pub struct Life {
    /// Its sends and frames.
    pub connection: Connection,
    /// The code of the server's close frame, if it sent one.
    pub close_code: Option<u16>,
}

/// One device of a user.
#[derive(Debug)]
pub struct Device {
    /// The user.
    pub user: String,
    /// To whom it sends.
    pub peer: String,
    /// Its token.
    pub token: String,
    /// Bytes by which its texts are longer.
    pub padding: usize,
    /// Sends whose push it may wait for: with more, a server that is up only builds up a backlog.
    pub max_unpushed: usize,
    /// Platform of the device.
    pub platform: i32,
    habit: Habit,
    unanswered: VecDeque<MsgData>,
    sent: u64,
}

impl Device {
    /// A device that has sent nothing.
    #[must_use]
    pub fn new(user: &str, platform: i32, token: String, peer: &str, habit: Habit) -> Self {
        Self {
            user: user.to_owned(),
            peer: peer.to_owned(),
            token,
            padding: 0,
            max_unpushed: 2 * WINDOW,
            platform,
            habit,
            unanswered: VecDeque::new(),
            sent: 0,
        }
    }

    /// The conversation it writes in.
    #[must_use]
    pub fn conversation(&self) -> String {
        ConversationId::single(&self.user, &self.peer).into()
    }

    /// Connects.
    ///
    /// # Errors
    /// The handshake is refused.
    pub async fn connect(&self, ws_url: &str) -> anyhow::Result<Client> {
        let handshake = if self.platform == 5 {
            Handshake::js(&self.user, self.platform, &self.token)
        } else {
            Handshake::go(&self.user, self.platform, &self.token)
        };
        Client::connect(ws_url, &handshake).await
    }

    /// Everything that is stored of its conversation.
    ///
    /// # Errors
    /// It can't connect or pull.
    pub async fn pull(&self, ws_url: &str) -> anyhow::Result<Pull> {
        let conversation = self.conversation();
        let messages = self.connect(ws_url).await?.pull_all(&conversation).await?;
        Ok(Pull {
            who: format!("{} on {}", self.user, self.platform),
            conversation,
            rows: messages.iter().map(row).collect(),
        })
    }

    /// One connection: sends until `stop` is set and everything is answered, or until the connection ends.
    ///
    /// # Errors
    /// The handshake is refused, or the server falls silent.
    pub async fn live(
        &mut self,
        ws_url: &str,
        life: usize,
        stop: &AtomicBool,
        gauge: &Gauge,
    ) -> anyhow::Result<Life> {
        let mut client = self.connect(ws_url).await?;
        let mut open: VecDeque<(String, MsgData)> = VecDeque::new();
        let mut connection = Connection {
            who: format!("{} on {} in life {life}", self.user, self.platform),
            ..Connection::default()
        };
        let mark = format!("-life{life}-");
        let mut outbox = std::mem::take(&mut self.unanswered);
        let mut close_code = None;
        let mut writable = true;
        let mut unpushed: HashSet<String> = HashSet::new();
        loop {
            while writable && open.len() < WINDOW && unpushed.len() < self.max_unpushed {
                let message = match outbox.pop_front() {
                    Some(message) => message,
                    None if stop.load(Ordering::Relaxed) => break,
                    None => self.compose(&mark),
                };
                unpushed.insert(message.client_msg_id.clone());
                writable = self
                    .submit(&mut client, &mut connection, message, &mut open)
                    .await;
            }
            if open.is_empty() && outbox.is_empty() && stop.load(Ordering::Relaxed) {
                break;
            }
            let event = client.event().await.with_context(|| {
                format!("{} with {} unanswered sends", connection.who, open.len())
            })?;
            let Event::Frame {
                opcode, payload, ..
            } = event
            else {
                break;
            };
            if opcode == Opcode::CLOSE {
                close_code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
            if opcode != Opcode::BINARY {
                continue;
            }
            for frame in frames(decode(client.codec(), &payload)?)? {
                let settled = match &frame {
                    Frame::Push { row, .. } => Some(&row.client_msg_id),
                    Frame::Refused { operation_id, .. } => {
                        let of = open.iter().find(|(operation, _)| operation == operation_id);
                        of.map(|(_, message)| &message.client_msg_id)
                    }
                    Frame::Acknowledged { .. } | Frame::Pulled { .. } | Frame::Trouble(_) => None,
                };
                if let Some(id) = settled {
                    unpushed.remove(id);
                }
                self.note(&frame, &mark, &mut open, gauge);
                connection.frames.push(frame);
            }
        }
        if self.habit == Habit::Resend {
            self.unanswered = open.into_iter().map(|(_, message)| message).collect();
            self.unanswered.append(&mut outbox);
        }
        Ok(Life {
            connection,
            close_code,
        })
    }

    /// Sends one more message and waits for its push: then everything that was accepted before it is stored.
    ///
    /// # Errors
    /// The push doesn't come.
    pub async fn finish(&mut self, ws_url: &str) -> anyhow::Result<Connection> {
        let mut client = self.connect(ws_url).await?;
        let mut connection = Connection {
            who: format!("{} on {} at the end", self.user, self.platform),
            ..Connection::default()
        };
        let last = self.compose("-last-");
        let id = last.client_msg_id.clone();
        self.submit(&mut client, &mut connection, last, &mut VecDeque::new())
            .await;
        loop {
            if let Event::Frame {
                opcode: Opcode::BINARY,
                payload,
                ..
            } = client.event().await.context("the last push")?
            {
                connection
                    .frames
                    .extend(frames(decode(client.codec(), &payload)?)?);
            }
            let is_last =
                |f: &Frame| matches!(f, Frame::Push { row, .. } if row.client_msg_id == id);
            if connection.frames.iter().any(is_last) {
                return Ok(connection);
            }
        }
    }

    fn compose(&mut self, mark: &str) -> MsgData {
        self.sent += 1;
        let text = format!("message {} {}", self.sent, "x".repeat(self.padding));
        let mut message = text_message(&self.user, &self.peer, &text);
        message.client_msg_id = format!("{}-{}{mark}{}", self.user, self.platform, self.sent);
        message.sender_platform_id = self.platform;
        message
    }

    /// Sends; false when the socket is closed. Then the end of the stream follows, after what came before it.
    async fn submit(
        &self,
        client: &mut Client,
        connection: &mut Connection,
        message: MsgData,
        open: &mut VecDeque<(String, MsgData)>,
    ) -> bool {
        let operation_id = format!("test-{:016x}", rand::random::<u64>());
        connection.sends.push(Send {
            operation_id: operation_id.clone(),
            conversation: self.conversation(),
            client_msg_id: message.client_msg_id.clone(),
        });
        let body = message.encode_to_vec().into();
        open.push_back((operation_id.clone(), message));
        client
            .send_request_as(&operation_id, 1003, body)
            .await
            .is_ok()
    }

    fn note(
        &self,
        frame: &Frame,
        mark: &str,
        open: &mut VecDeque<(String, MsgData)>,
        gauge: &Gauge,
    ) {
        match frame {
            Frame::Acknowledged { operation_id, .. } => {
                open.retain(|(operation, _)| operation != operation_id);
                gauge.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Frame::Refused { operation_id, .. } => {
                open.retain(|(operation, _)| operation != operation_id);
                gauge.refused.fetch_add(1, Ordering::Relaxed);
            }
            Frame::Push { row, .. } => {
                let id = &row.client_msg_id;
                if id.contains(mark) && !id.starts_with(&format!("{}-", self.user)) {
                    gauge.live.fetch_add(1, Ordering::Relaxed);
                }
            }
            Frame::Pulled { .. } | Frame::Trouble(_) => {}
        }
    }
}

/// A message at its place.
#[must_use]
pub fn row(message: &MsgData) -> Row {
    Row {
        seq: message.seq,
        client_msg_id: message.client_msg_id.clone(),
        server_msg_id: message.server_msg_id.clone(),
    }
}

fn decode(codec: Codec, payload: &[u8]) -> anyhow::Result<Response> {
    Ok(codec.decode_response(payload, &Limits::CLIENT)?)
}

/// What a response says about messages.
fn frames(response: Response) -> anyhow::Result<Vec<Frame>> {
    let data = response.data.unwrap_or_default();
    let operation_id = response.operation_id;
    Ok(match response.req_identifier {
        1003 if response.err_code == 0 => vec![Frame::Acknowledged {
            operation_id,
            server_msg_id: SendMsgResp::decode(data)?.server_msg_id,
        }],
        1003 => vec![Frame::Refused {
            operation_id,
            code: response.err_code,
        }],
        2001 => {
            let pushed = PushMessages::decode(data)?;
            pushed
                .msgs
                .into_iter()
                .chain(pushed.notification_msgs)
                .flat_map(|(conversation, messages)| {
                    messages
                        .msgs
                        .into_iter()
                        .map(move |message| (conversation.clone(), message))
                })
                .map(|(conversation, message)| Frame::Push {
                    operation_id: operation_id.clone(),
                    conversation,
                    row: row(&message),
                })
                .collect()
        }
        _ => Vec::new(),
    })
}
