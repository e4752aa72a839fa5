//! Pairs of users who write on through kills, as a client does: what is refused is sent again with the same id, and a connection
//! that ends is opened again at the next gateway.
//!
//! A pair has recovered from an event when a message that was first sent after it has been acknowledged and pushed.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _, stream};
use magpie_envelope::reqs;
use magpie_proto::openim::sdkws::PushMessages;
use prost::Message as _;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::super::client::{self, Socket};
use crate::admin::Api;

/// Between two messages of a pair, and before what failed is tried again.
const PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for an answer or a connection before the next gateway is tried.
const ANSWER: Duration = Duration::from_secs(5);
/// Connections opened at a time at the start.
const CONNECTING: usize = 8;
/// Longest wait for a recovery.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(2);
/// A load is steady when, this long after the last event,
const SETTLE: Duration = Duration::from_secs(5);
/// every pair brings a new message through within this time.
const STEADY: Duration = Duration::from_millis(500);

/// The load; it ends with this.
pub(super) struct Talk {
    pairs: Vec<Pair>,
    tasks: Vec<JoinHandle<()>>,
}

type Pair = Rc<RefCell<Vec<Fate>>>;

/// Of the message whose number is the place in the list.
struct Fate {
    sent: Instant,
    acknowledged: Option<Instant>,
    delivered: Option<Instant>,
}

#[derive(Clone)]
struct Device {
    user: String,
    token: String,
    gateways: Rc<[String]>,
    at: usize,
}

impl Talk {
    pub(super) async fn start(
        api: &Api,
        gateways: &[String],
        pairs: usize,
    ) -> anyhow::Result<Self> {
        let users: Vec<String> = (0..pairs * 2).map(|i| format!("talk{i}")).collect();
        let tokens = client::tokens(api, &users).await?;
        let gateways: Rc<[String]> = gateways.into();
        let devices = users.into_iter().zip(tokens).enumerate();
        let devices = devices.map(async |(i, (user, token))| {
            let mut device = Device {
                user,
                token,
                gateways: Rc::clone(&gateways),
                at: client::home(i / 2, i % 2 == 1, gateways.len()),
            };
            let socket = device.connect().await;
            (device, socket)
        });
        let devices: Vec<_> = stream::iter(devices).buffered(CONNECTING).collect().await;
        let mut talk = Self {
            pairs: Vec::new(),
            tasks: Vec::new(),
        };
        let mut devices = devices.into_iter();
        while let (Some((from, out)), Some((to, back))) = (devices.next(), devices.next()) {
            let pair = Pair::default();
            let receiver = to.user.clone();
            let reader = read(to, back, Rc::clone(&pair));
            let writer = write(from, out, receiver, Rc::clone(&pair));
            talk.tasks.push(tokio::task::spawn_local(reader));
            talk.tasks.push(tokio::task::spawn_local(writer));
            talk.pairs.push(pair);
        }
        Ok(talk)
    }

    /// Seconds from `event` until every pair has recovered, and whether that came about at all.
    pub(super) async fn recovered(&self, event: Instant) -> (f64, bool) {
        let all = async {
            loop {
                let ends = self.pairs.iter().map(|pair| back(&pair.borrow(), event));
                if let Some(ends) = ends.collect::<Option<Vec<Instant>>>() {
                    let last = ends.into_iter().max().unwrap_or(event);
                    return last.duration_since(event);
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        match tokio::time::timeout(LIMIT, all).await {
            Ok(time) => (time.as_secs_f64(), true),
            Err(_) => (LIMIT.as_secs_f64(), false),
        }
    }

    /// Returns when nothing of an earlier event is left.
    pub(super) async fn steady(&self) -> anyhow::Result<()> {
        let end = Instant::now() + LIMIT;
        while Instant::now() < end {
            tokio::time::sleep(SETTLE).await;
            let (seconds, _) = self.recovered(Instant::now()).await;
            if seconds <= STEADY.as_secs_f64() {
                return Ok(());
            }
        }
        bail!("the pairs do not get their messages through in time; is the machine busy?")
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// When the first message sent after `event` had come through.
fn back(fates: &[Fate], event: Instant) -> Option<Instant> {
    let first = fates.partition_point(|fate| fate.sent <= event);
    let later = fates.get(first..).unwrap_or_default();
    later
        .iter()
        .filter_map(|fate| Some(fate.acknowledged?.max(fate.delivered?)))
        .min()
}

impl Device {
    /// Tries one gateway after the other until one takes it.
    async fn connect(&mut self) -> Socket {
        loop {
            let ws = self.gateways.get(self.at).map_or("", String::as_str);
            let attempt = client::connect(ws, &self.user, &self.token);
            if let Ok(Ok(socket)) = tokio::time::timeout(ANSWER, attempt).await {
                return socket;
            }
            self.at = (self.at + 1) % self.gateways.len();
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn write(mut device: Device, mut socket: Socket, receiver: String, pair: Pair) {
    let mut number = 0;
    loop {
        if pair.borrow().len() == number {
            pair.borrow_mut().push(Fate {
                sent: Instant::now(),
                acknowledged: None,
                delivered: None,
            });
        }
        match send(&mut socket, &device.user, &receiver, number).await {
            Ok(true) => {
                if let Some(fate) = pair.borrow_mut().get_mut(number) {
                    fate.acknowledged = Some(Instant::now());
                }
                number += 1;
            }
            Ok(false) => {}
            Err(_) => socket = device.connect().await,
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sends a message; whether the answer is a yes.
async fn send(socket: &mut Socket, from: &str, to: &str, number: usize) -> anyhow::Result<bool> {
    let (id, text) = (format!("{from}-{number}"), r#"{"content":"still there?"}"#);
    socket
        .send(client::message(from, to, &id, number, text))
        .await?;
    let answer = async {
        loop {
            let frame = socket.next().await.context("the connection has ended")??;
            if let Message::Binary(bytes) = frame {
                let response = client::response(&bytes)?;
                if response.req_identifier == reqs::SEND_MSG
                    && response.msg_incr == number.to_string()
                {
                    return Ok(response.err_code == 0);
                }
            }
        }
    };
    tokio::time::timeout(ANSWER, answer).await?
}

async fn read(mut device: Device, mut socket: Socket, pair: Pair) {
    let mut beat = tokio::time::interval(client::HEARTBEAT);
    loop {
        tokio::select! {
            _ = beat.tick() => {
                // A connection that has ended says so below.
                drop(socket.send(Message::Ping("1".into())).await);
            }
            frame = socket.next() => match frame {
                Some(Ok(Message::Binary(bytes))) => take(&bytes, &pair),
                Some(Ok(_)) => {}
                _ => socket = device.connect().await,
            },
        }
    }
}

fn take(frame: &bytes::Bytes, pair: &Pair) {
    let Ok(response) = client::response(frame) else {
        return;
    };
    if response.req_identifier != reqs::PUSH_MSG {
        return;
    }
    let push = PushMessages::decode(response.data.unwrap_or_default()).unwrap_or_default();
    for msg in push.msgs.values().flat_map(|m| &m.msgs) {
        let number = msg.client_msg_id.rsplit('-').next();
        let number: Option<usize> = number.and_then(|n| n.parse().ok());
        let mut fates = pair.borrow_mut();
        if let Some(fate) = number.and_then(|n| fates.get_mut(n)) {
            fate.delivered.get_or_insert_with(Instant::now);
        }
    }
}
