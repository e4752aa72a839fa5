//! One-to-one chat at a fixed rate: every message acknowledged, delivered once and in order, or counted as not.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use futures::{SinkExt as _, StreamExt as _, stream::SplitSink};
use magpie_envelope::reqs;
use magpie_proto::openim::sdkws::{MsgData, PushMessages};
use prost::Message as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use super::client::{self, Socket};
use crate::{admin::Api, cli::BenchChat};

/// How long after the last send the generator waits for what is missing.
const TAIL: Duration = Duration::from_secs(10);

/// What became of each message, in microseconds from its intended time; `None` is not yet.
#[derive(Default)]
struct Record {
    acknowledged: Vec<Option<u32>>,
    delivered: Vec<Option<u32>>,
    last_seq: Vec<i64>,
    doubled: u64,
    out_of_order: u64,
    refused: u64,
    invalid: u64,
}

struct Run {
    start: Instant,
    gap: Duration,
    record: RefCell<Record>,
}

impl Run {
    fn since_intended(&self, index: usize) -> u32 {
        let intended = self.start + self.gap * u32::try_from(index).unwrap_or(u32::MAX);
        u32::try_from(intended.elapsed().as_micros()).unwrap_or(u32::MAX)
    }

    fn acknowledge(&self, incr: &str, code: i32) {
        let mut record = self.record.borrow_mut();
        let Some(index) = incr.parse::<usize>().ok().filter(|i| *i < record.acknowledged.len()) else {
            record.invalid += 1;
            return;
        };
        if code != 0 {
            record.refused += 1;
            return;
        }
        match record.acknowledged.get_mut(index) {
            Some(slot @ None) => *slot = Some(self.since_intended(index)),
            _ => record.invalid += 1,
        }
    }

    fn deliver(&self, pair: usize, msg: &MsgData) {
        let mut record = self.record.borrow_mut();
        match record.last_seq.get_mut(pair) {
            Some(last) if msg.seq == *last + 1 || *last == 0 => *last = msg.seq,
            _ => record.out_of_order += 1,
        }
        let index = msg.client_msg_id.rsplit('-').next().and_then(|i| i.parse::<usize>().ok());
        match index.and_then(|i| record.delivered.get_mut(i).map(|slot| (i, slot))) {
            Some((i, slot @ None)) => *slot = Some(self.since_intended(i)),
            Some(_) => record.doubled += 1,
            None => record.invalid += 1,
        }
    }

    fn complete(&self) -> bool {
        let record = self.record.borrow();
        record.acknowledged.iter().all(Option::is_some) && record.delivered.iter().all(Option::is_some)
    }
}

pub(super) async fn run(api: &Api, ws: &str, args: &BenchChat) -> anyhow::Result<Value> {
    let pairs = args.pairs.max(1);
    let users: Vec<String> = (0..pairs * 2).map(|i| format!("bench{i}")).collect();
    let tokens = client::tokens(api, &users).await?;
    let mut sockets = Vec::with_capacity(users.len());
    for (user, token) in users.iter().zip(&tokens) {
        sockets.push(client::connect(ws, user, token).await?);
    }
    let total = args.rate * args.seconds;
    let count = usize::try_from(total)?;
    let run = Rc::new(Run {
        start: Instant::now() + Duration::from_millis(500),
        gap: Duration::from_nanos(1_000_000_000 / u64::from(args.rate.max(1))),
        record: RefCell::new(Record {
            acknowledged: vec![None; count],
            delivered: vec![None; count],
            last_seq: vec![0; pairs],
            ..Record::default()
        }),
    });
    let tag = format!("{:08x}", rand::random::<u32>());
    let local = tokio::task::LocalSet::new();
    let mut senders: Vec<SplitSink<Socket, Message>> = Vec::with_capacity(pairs);
    for (i, socket) in sockets.into_iter().enumerate() {
        let (sink, mut stream) = socket.split();
        let run = Rc::clone(&run);
        let is_receiver = i % 2 == 1;
        let held = if is_receiver { Some(sink) } else { senders.push(sink); None };
        local.spawn_local(async move {
            let _held = held;
            while let Some(Ok(frame)) = stream.next().await {
                if let Message::Binary(bytes) = frame {
                    take(&run, i / 2, is_receiver, &bytes);
                }
            }
        });
    }
    let pacer = Rc::clone(&run);
    let content = format!("{{\"content\":\"{}\"}}", "x".repeat(args.bytes.saturating_sub(14)));
    local
        .run_until(async move {
            for index in 0..count {
                let due = pacer.start + pacer.gap * u32::try_from(index)?;
                if due > Instant::now() {
                    tokio::time::sleep_until(due.into()).await;
                }
                let pair = index % pairs;
                let sender = senders.get_mut(pair).ok_or_else(|| anyhow!("no sender"))?;
                sender.send(message(pair, index, &tag, &content)).await?;
                if index % 64 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            let end = Instant::now() + TAIL;
            while !pacer.complete() && Instant::now() < end {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        })
        .await?;
    Ok(report(&run.record.borrow(), args, count))
}

fn message(pair: usize, index: usize, tag: &str, content: &str) -> Message {
    let sender = format!("bench{}", pair * 2);
    let msg = MsgData {
        recv_id: format!("bench{}", pair * 2 + 1),
        client_msg_id: format!("{tag}-{index}"),
        sender_platform_id: 2,
        session_type: 1,
        msg_from: 100,
        content_type: 101,
        content: bytes::Bytes::copy_from_slice(content.as_bytes()),
        status: 1,
        send_id: sender.clone(),
        ..MsgData::default()
    };
    client::request(&sender, reqs::SEND_MSG, index.to_string(), msg.encode_to_vec())
}

fn take(run: &Run, pair: usize, is_receiver: bool, frame: &bytes::Bytes) {
    let Ok(response) = client::response(frame) else {
        run.record.borrow_mut().invalid += 1;
        return;
    };
    match response.req_identifier {
        reqs::SEND_MSG => run.acknowledge(&response.msg_incr, response.err_code),
        reqs::PUSH_MSG if is_receiver => match PushMessages::decode(response.data.unwrap_or_default()) {
            Ok(push) => push.msgs.values().flat_map(|m| &m.msgs).for_each(|msg| run.deliver(pair, msg)),
            Err(_) => run.record.borrow_mut().invalid += 1,
        },
        _ => {}
    }
}

fn report(record: &Record, args: &BenchChat, sent: usize) -> Value {
    let latency = |list: &[Option<u32>]| {
        let mut known: Vec<u32> = list.iter().flatten().copied().collect();
        known.sort_unstable();
        let at = |p: usize| known.get((known.len() * p / 100).min(known.len().saturating_sub(1))).map(|us| f64::from(*us) / 1000.0);
        json!({ "count": known.len(), "p50_ms": at(50), "p99_ms": at(99), "max_ms": at(100) })
    };
    json!({
        "rate": args.rate, "seconds": args.seconds, "pairs": args.pairs, "bytes": args.bytes, "sent": sent,
        "ack": latency(&record.acknowledged), "delivery": latency(&record.delivered),
        "doubled": record.doubled, "out_of_order": record.out_of_order, "refused": record.refused, "invalid": record.invalid,
    })
}
