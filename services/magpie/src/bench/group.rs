//! A group whose members are all online: one writes at a fixed rate, and everybody's connection checks what it is pushed.

use std::{cell::RefCell, rc::Rc, time::Duration};

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use magpie_envelope::reqs;
use magpie_proto::openim::sdkws::{MsgData, PushMessages};
use prost::Message as _;
use serde_json::json;
use tokio::{sync::mpsc, task::JoinHandle, time::Instant};
use tokio_tungstenite::tungstenite::Message;

use super::client::{self, Socket};
use crate::{admin::Api, output::say};

/// How long the last deliveries are waited for.
const TAIL: Duration = Duration::from_secs(10);
/// Between two looks whether any are missing.
const LOOK: Duration = Duration::from_millis(20);

/// Every member's connection; the first one's writes.
pub(super) struct Crowd {
    group: String,
    members: usize,
    /// Frames for the writer's connection.
    out: mpsc::UnboundedSender<Message>,
    seen: Rc<RefCell<Seen>>,
    tasks: Vec<JoinHandle<()>>,
    sent: usize,
}

/// What all connections have seen.
#[derive(Default)]
struct Seen {
    deliveries: u64,
    /// Pushes that are not the next of the chat, answers with an error, frames that can't be decoded, connections that ended.
    wrong: u64,
}

/// What a run came to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) deliveries: u64,
    /// Everybody was pushed everything, in order.
    pub(super) clean: bool,
}

impl Crowd {
    /// Makes a group of so many users and connects them all, shared among the gateways.
    pub(super) async fn connect(
        api: &Api,
        gateways: &[String],
        members: usize,
    ) -> anyhow::Result<Self> {
        let users: Vec<String> = (0..members).map(|i| format!("of{members}n{i}")).collect();
        let tokens = client::tokens(api, &users).await?;
        let (owner, others) = users.split_first().context("a group has members")?;
        let group = format!("bench{members}");
        let wish = json!({
            "ownerUserID": owner, "memberUserIDs": others,
            "groupInfo": { "groupID": group, "groupName": group, "groupType": 2 },
        });
        api.post("/group/create_group", wish).await?;
        let seen = Rc::new(RefCell::new(Seen::default()));
        let (out, frames) = mpsc::unbounded_channel();
        let mut frames = Some(frames);
        let mut tasks = Vec::with_capacity(members);
        for ((user, token), ws) in users.iter().zip(&tokens).zip(gateways.iter().cycle()) {
            let socket = client::connect(ws, user, token).await?;
            let frames = frames.take();
            tasks.push(tokio::task::spawn_local(live(
                socket,
                format!("sg_{group}"),
                frames,
                Rc::clone(&seen),
            )));
        }
        Ok(Self {
            group,
            members,
            out,
            seen,
            tasks,
            sent: 0,
        })
    }

    /// The owner writes `rate` messages a second.
    pub(super) async fn run(
        &mut self,
        rate: u32,
        seconds: u32,
        bytes: usize,
    ) -> anyhow::Result<Outcome> {
        *self.seen.borrow_mut() = Seen::default();
        let messages = rate * seconds;
        let mut tick = tokio::time::interval(Duration::from_secs(1) / rate.max(1));
        for _ in 0..messages {
            tick.tick().await;
            self.sent += 1;
            self.out
                .send(self.message(bytes))
                .map_err(|_ended| anyhow!("the writer's connection has ended"))?;
        }
        let wanted = u64::from(messages) * u64::try_from(self.members)?;
        let end = Instant::now() + TAIL;
        while self.seen.borrow().deliveries < wanted && Instant::now() < end {
            tokio::time::sleep(LOOK).await;
        }
        let seen = self.seen.borrow();
        if seen.wrong > 0 {
            say(&format!("  {} frames were wrong", seen.wrong));
        }
        Ok(Outcome {
            deliveries: seen.deliveries,
            clean: seen.deliveries == wanted && seen.wrong == 0,
        })
    }

    fn message(&self, bytes: usize) -> Message {
        let from = format!("of{}n0", self.members);
        let text = "x".repeat(bytes);
        let msg = MsgData {
            send_id: from.clone(),
            group_id: self.group.clone(),
            client_msg_id: format!("{}-{}", self.group, self.sent),
            sender_platform_id: client::PLATFORM,
            session_type: 3,
            msg_from: 100,
            content_type: 101,
            content: Bytes::from(json!({ "content": text }).to_string()),
            status: 1,
            create_time: magpie_types::time::now_ms(),
            ..MsgData::default()
        };
        client::request(
            &from,
            reqs::SEND_MSG,
            self.sent.to_string(),
            msg.encode_to_vec(),
        )
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// One member's connection: reads, pings, and sends what `frames` has.
async fn live(
    mut socket: Socket,
    chat: String,
    mut frames: Option<mpsc::UnboundedReceiver<Message>>,
    seen: Rc<RefCell<Seen>>,
) {
    let mut beat = tokio::time::interval(client::HEARTBEAT);
    let mut last = 0;
    loop {
        let next = async {
            match &mut frames {
                Some(frames) => frames.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(frame) = next => {
                if socket.send(frame).await.is_err() {
                    break;
                }
            }
            _ = beat.tick() => {
                if socket.send(Message::Ping("1".into())).await.is_err() {
                    break;
                }
            }
            frame = socket.next() => match frame {
                Some(Ok(Message::Binary(bytes))) => take(&seen, &chat, &mut last, &bytes),
                Some(Ok(_)) => {}
                _ => break,
            },
        }
    }
    seen.borrow_mut().wrong += 1;
}

fn take(seen: &RefCell<Seen>, chat: &str, last: &mut i64, frame: &Bytes) {
    let mut seen = seen.borrow_mut();
    let Ok(response) = client::response(frame) else {
        seen.wrong += 1;
        return;
    };
    if response.req_identifier != reqs::PUSH_MSG {
        if response.err_code != 0 {
            if seen.wrong == 0 {
                let (code, text) = (response.err_code, response.err_msg);
                say(&format!("  refused: {code} {text}"));
            }
            seen.wrong += 1;
        }
        return;
    }
    let Ok(push) = PushMessages::decode(response.data.unwrap_or_default()) else {
        seen.wrong += 1;
        return;
    };
    for msg in push.msgs.get(chat).into_iter().flat_map(|m| &m.msgs) {
        if *last != 0 && msg.seq != *last + 1 {
            if seen.wrong == 0 {
                say(&format!("  after number {last} came {}", msg.seq));
            }
            seen.wrong += 1;
        }
        *last = msg.seq;
        // The line that tells of the group's beginning is none of the run's.
        seen.deliveries += u64::from(msg.content_type == 101);
    }
}
