//! Idle connections: authenticated, heartbeating, doing nothing else.

use std::{cell::Cell, rc::Rc, time::Duration};

use futures::{SinkExt as _, StreamExt as _};
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::client::{self, Socket};
use crate::admin::Api;

/// Users with a token each.
pub(super) struct Tokens(Vec<(String, String)>);

impl Tokens {
    pub(super) async fn issue(api: &Api, count: usize) -> anyhow::Result<Self> {
        let users: Vec<String> = (0..count).map(|i| format!("idle{i}")).collect();
        let tokens = client::tokens(api, &users).await?;
        Ok(Self(users.into_iter().zip(tokens).collect()))
    }
}

/// Open connections that answer and ping until they are ended.
pub(super) struct Crowd {
    tasks: Vec<JoinHandle<()>>,
    seen: Rc<Seen>,
}

#[derive(Default)]
struct Seen {
    pongs: Cell<u64>,
    closed: Cell<usize>,
    unexpected: Cell<u64>,
}

/// What became of a crowd.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) connections: usize,
    pub(super) closed: usize,
    pub(super) pongs: u64,
    /// Frames that were neither pongs nor closing.
    pub(super) unexpected: u64,
}

impl Crowd {
    /// Connects one after the other; pings are spread evenly over the interval.
    pub(super) async fn connect(ws: &str, tokens: &Tokens) -> anyhow::Result<Self> {
        let seen = Rc::new(Seen::default());
        let mut tasks = Vec::with_capacity(tokens.0.len());
        for (i, (user, token)) in tokens.0.iter().enumerate() {
            let socket = client::connect(ws, user, token).await?;
            let first = client::HEARTBEAT * u32::try_from(i)? / u32::try_from(tokens.0.len())?;
            tasks.push(tokio::task::spawn_local(live(
                socket,
                first,
                Rc::clone(&seen),
            )));
        }
        Ok(Self { tasks, seen })
    }

    pub(super) fn end(self) -> Outcome {
        self.tasks.iter().for_each(JoinHandle::abort);
        Outcome {
            connections: self.tasks.len(),
            closed: self.seen.closed.get(),
            pongs: self.seen.pongs.get(),
            unexpected: self.seen.unexpected.get(),
        }
    }
}

async fn live(mut socket: Socket, first: Duration, seen: Rc<Seen>) {
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + first, client::HEARTBEAT);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                if socket.send(Message::Ping("1".into())).await.is_err() {
                    break;
                }
            }
            frame = socket.next() => match frame {
                Some(Ok(Message::Pong(_))) => seen.pongs.set(seen.pongs.get() + 1),
                Some(Ok(_)) => seen.unexpected.set(seen.unexpected.get() + 1),
                _ => break,
            },
        }
    }
    seen.closed.set(seen.closed.get() + 1);
}
