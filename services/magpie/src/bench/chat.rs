//! One-to-one chat at a fixed rate: every message acknowledged, delivered once and in order, or counted as not.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use bytes::Bytes;
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use magpie_envelope::reqs;
use magpie_proto::openim::sdkws::{MsgData, PushMessages};
use prost::Message as _;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::client::{self, Socket};
use crate::admin::Api;

/// How long after the last send the generator waits for what is missing.
const TAIL: Duration = Duration::from_secs(10);
/// Between two looks whether anything is missing.
const LOOK: Duration = Duration::from_millis(20);
/// Before the first message of a run.
const LEAD: Duration = Duration::from_millis(200);
/// Sends after which the readers of the generator get a turn even if the pacing is behind.
const TURN: usize = 32;
/// A load is quiet when nothing has come for this long;
const QUIET: Duration = Duration::from_secs(1);
/// what still comes is waited for at most this often.
const QUIET_LOOKS: usize = 60;
/// Bytes of the JSON around a text.
const FRAME: usize = r#"{"content":""}"#.len();

/// Connections of pairs of users who write to each other in one direction.
pub(super) struct Load {
    senders: Vec<SplitSink<Socket, Message>>,
    tasks: Vec<JoinHandle<()>>,
    run: Rc<RefCell<Run>>,
    /// Random part of all client message ids of this load.
    tag: String,
    /// Messages sent in earlier runs.
    before: usize,
}

/// What became of each message, in microseconds from its intended time; `None` is not yet.
struct Run {
    start: Instant,
    gap: Duration,
    first: usize,
    acknowledged: Vec<Option<u32>>,
    delivered: Vec<Option<u32>>,
    missing: usize,
    last_seq: Vec<i64>,
    /// Answers and pushes of all runs.
    frames: u64,
    outcome: Outcome,
}

/// The result of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub(super) struct Outcome {
    pub(super) rate: u32,
    pub(super) seconds: u32,
    pub(super) pairs: usize,
    pub(super) bytes: usize,
    pub(super) sent: usize,
    pub(super) acknowledged: usize,
    pub(super) received: usize,
    pub(super) doubled: u64,
    pub(super) out_of_order: u64,
    pub(super) refused: u64,
    /// Frames that could not be decoded or belong to no message of the run.
    pub(super) invalid: u64,
    /// Connections that ended.
    pub(super) closed: u64,
    /// How late the generator itself sent, at the 99th percentile.
    pub(super) late_p99_ms: f64,
    pub(super) ack_p50_ms: f64,
    pub(super) ack_p99_ms: f64,
    pub(super) delivery_p50_ms: f64,
    pub(super) delivery_p99_ms: f64,
    pub(super) delivery_max_ms: f64,
}

impl Outcome {
    /// Every message acknowledged and received once, in order, and nothing else.
    pub(super) fn is_clean(&self) -> bool {
        let wrong = self.doubled + self.out_of_order + self.refused + self.invalid + self.closed;
        wrong == 0 && self.acknowledged == self.sent && self.received == self.sent
    }
}

impl Load {
    /// Connects to the gateways `ws`, so that pairs within one and across two are equally many.
    pub(super) async fn connect(api: &Api, ws: &[String], pairs: usize) -> anyhow::Result<Self> {
        let pairs = pairs.max(1);
        let users: Vec<String> = (0..pairs * 2).map(user).collect();
        let tokens = client::tokens(api, &users).await?;
        let run = Rc::new(RefCell::new(Run::idle(pairs)));
        let (mut senders, mut receivers, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for (i, (user, token)) in users.iter().zip(&tokens).enumerate() {
            let receives = i % 2 == 1;
            let ws = ws
                .get(client::home(i / 2, receives, ws.len()))
                .ok_or_else(|| anyhow!("no gateway"))?;
            let (sink, stream) = client::connect(ws, user, token).await?.split();
            if receives {
                receivers.push(sink);
            } else {
                senders.push(sink);
            }
            let reader = read(Rc::clone(&run), stream, i / 2, receives);
            tasks.push(tokio::task::spawn_local(reader));
        }
        tasks.push(tokio::task::spawn_local(heartbeat(receivers)));
        Ok(Self {
            senders,
            tasks,
            run,
            tag: format!("{:08x}", rand::random::<u32>()),
            before: 0,
        })
    }

    /// Sends `rate` messages a second and waits for what they cause.
    pub(super) async fn run(
        &mut self,
        rate: u32,
        seconds: u32,
        bytes: usize,
    ) -> anyhow::Result<Outcome> {
        let count = usize::try_from(u64::from(rate) * u64::from(seconds))?;
        let pairs = self.senders.len();
        let gap = Duration::from_secs(1) / rate.max(1);
        let start = Instant::now() + LEAD;
        self.run.borrow_mut().begin(start, gap, self.before, count);
        let text = format!(
            "{{\"content\":\"{}\"}}",
            "x".repeat(bytes.saturating_sub(FRAME))
        );
        let mut late = Vec::with_capacity(count);
        for index in 0..count {
            let due = start + gap * u32::try_from(index)?;
            if due > Instant::now() {
                tokio::time::sleep_until(due.into()).await;
            } else if index % TURN == 0 {
                tokio::task::yield_now().await;
            }
            late.push(Some(micros(due)));
            let (pair, number) = (index % pairs, self.before + index);
            let sender = self
                .senders
                .get_mut(pair)
                .ok_or_else(|| anyhow!("no sender"))?;
            let id = format!("{}-{number}", self.tag);
            let message = client::message(&user(pair * 2), &user(pair * 2 + 1), &id, number, &text);
            sender.send(message).await?;
        }
        self.before += count;
        let end = Instant::now() + TAIL;
        while self.run.borrow().missing > 0 && Instant::now() < end {
            tokio::time::sleep(LOOK).await;
        }
        let outcome = Outcome {
            rate,
            seconds,
            pairs,
            bytes,
            sent: count,
            late_p99_ms: percentile(&late, 99),
            ..Outcome::default()
        };
        Ok(self.run.borrow_mut().finish(outcome))
    }

    /// Waits for what a run beyond the capacity has left on its way.
    pub(super) async fn quiet(&self) {
        for _ in 0..QUIET_LOOKS {
            let before = self.run.borrow().frames;
            tokio::time::sleep(QUIET).await;
            if self.run.borrow().frames == before {
                return;
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Run {
    fn idle(pairs: usize) -> Self {
        Self {
            start: Instant::now(),
            gap: Duration::ZERO,
            first: 0,
            acknowledged: Vec::new(),
            delivered: Vec::new(),
            missing: 0,
            last_seq: vec![0; pairs],
            frames: 0,
            outcome: Outcome::default(),
        }
    }

    fn begin(&mut self, start: Instant, gap: Duration, first: usize, count: usize) {
        let last_seq = std::mem::take(&mut self.last_seq);
        *self = Self {
            start,
            gap,
            first,
            acknowledged: vec![None; count],
            delivered: vec![None; count],
            missing: count * 2,
            last_seq,
            frames: self.frames,
            outcome: Outcome::default(),
        };
    }

    fn finish(&mut self, of: Outcome) -> Outcome {
        let known = |list: &[Option<u32>]| list.iter().flatten().count();
        let seen = std::mem::take(&mut self.outcome);
        Outcome {
            acknowledged: known(&self.acknowledged),
            received: known(&self.delivered),
            doubled: seen.doubled,
            out_of_order: seen.out_of_order,
            refused: seen.refused,
            invalid: seen.invalid,
            closed: seen.closed,
            ack_p50_ms: percentile(&self.acknowledged, 50),
            ack_p99_ms: percentile(&self.acknowledged, 99),
            delivery_p50_ms: percentile(&self.delivered, 50),
            delivery_p99_ms: percentile(&self.delivered, 99),
            delivery_max_ms: percentile(&self.delivered, 100),
            ..of
        }
    }

    /// Microseconds from the intended time of a message, if it is one of this run.
    fn age(&self, number: Option<usize>) -> Option<(usize, u32)> {
        let index = number?.checked_sub(self.first)?;
        let at = self.start + self.gap * u32::try_from(index).ok()?;
        (index < self.acknowledged.len()).then(|| (index, micros(at)))
    }

    fn acknowledge(&mut self, incr: &str, code: i32) {
        let age = self.age(incr.parse().ok());
        match age.and_then(|(i, age)| self.acknowledged.get_mut(i).map(|slot| (slot, age))) {
            Some((slot @ None, age)) if code == 0 => {
                *slot = Some(age);
                self.missing -= 1;
            }
            Some((None, _)) => self.outcome.refused += 1,
            _ => self.outcome.invalid += 1,
        }
    }

    fn deliver(&mut self, pair: usize, msg: &MsgData) {
        match self.last_seq.get_mut(pair) {
            Some(last) if msg.seq == *last + 1 || *last == 0 => *last = msg.seq,
            _ => self.outcome.out_of_order += 1,
        }
        let number = msg.client_msg_id.rsplit('-').next();
        let age = self.age(number.and_then(|n| n.parse().ok()));
        match age.and_then(|(i, age)| self.delivered.get_mut(i).map(|slot| (slot, age))) {
            Some((slot @ None, age)) => {
                *slot = Some(age);
                self.missing -= 1;
            }
            Some(_) => self.outcome.doubled += 1,
            None => self.outcome.invalid += 1,
        }
    }

    fn take(&mut self, pair: usize, receives: bool, frame: &Bytes) {
        self.frames += 1;
        let Ok(response) = client::response(frame) else {
            self.outcome.invalid += 1;
            return;
        };
        match response.req_identifier {
            reqs::SEND_MSG => self.acknowledge(&response.msg_incr, response.err_code),
            reqs::PUSH_MSG if receives => {
                match PushMessages::decode(response.data.unwrap_or_default()) {
                    Ok(push) => push
                        .msgs
                        .values()
                        .flat_map(|m| &m.msgs)
                        .for_each(|msg| self.deliver(pair, msg)),
                    Err(_) => self.outcome.invalid += 1,
                }
            }
            _ => {}
        }
    }
}

async fn read(run: Rc<RefCell<Run>>, mut stream: SplitStream<Socket>, pair: usize, receives: bool) {
    while let Some(Ok(frame)) = stream.next().await {
        if let Message::Binary(bytes) = frame {
            run.borrow_mut().take(pair, receives, &bytes);
        }
    }
    run.borrow_mut().outcome.closed += 1;
}

/// Keeps those connected who only receive.
async fn heartbeat(mut receivers: Vec<SplitSink<Socket, Message>>) {
    let mut beat = tokio::time::interval(client::HEARTBEAT);
    loop {
        beat.tick().await;
        for receiver in &mut receivers {
            // A connection that has ended is counted by its reader.
            drop(receiver.send(Message::Ping("1".into())).await);
        }
    }
}

fn user(i: usize) -> String {
    format!("bench{i}")
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}

/// In milliseconds.
fn percentile(list: &[Option<u32>], p: usize) -> f64 {
    let mut known: Vec<u32> = list.iter().flatten().copied().collect();
    known.sort_unstable();
    let at = (known.len() * p / 100).min(known.len().saturating_sub(1));
    known.get(at).map_or(0.0, |us| f64::from(*us) / 1000.0)
}
