//! Devices that move from gateway to gateway as these come and go, and catch up each time, as applications do.
//!
//! After each handshake a device asks for the newest seq and pulls what it has not seen; from then on pushes must follow without
//! a hole as long as the connection lasts. A send that is refused or not answered is sent again; [`Way`] counts how often.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use magpie_proto::openim::sdkws::{
    GetMaxSeqReq, GetMaxSeqResp, MsgData, PullMessageBySeqsReq, PullMessageBySeqsResp, SeqRange,
};
use prost::Message as _;
use tokio::task::JoinHandle;

use super::{Device, decode, frames};
use crate::evidence::{Connection, Frame};
use crate::{Client, Event, Opcode};

/// Sends of a device that may be unanswered: enough for a load, few enough for many processes on few cores.
const WINDOW: usize = 4;
/// Messages of one pull.
const PAGE: i64 = 100;
/// Between two tries to connect.
const PAUSE: Duration = Duration::from_millis(50);
/// Tries to connect, one after the other, before a device gives up.
const TRIES: usize = 400;

/// The gateways that there are now.
#[derive(Debug, Clone, Default)]
pub struct Gateways(Arc<Mutex<Vec<String>>>);

impl Gateways {
    /// Says which there are from now on.
    pub fn set(&self, ws_urls: Vec<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = ws_urls;
    }

    fn pick(&self, turn: usize) -> Option<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(turn % all.len().max(1)).cloned()
    }
}

/// What a device did and saw.
#[derive(Debug, Default)]
pub struct Way {
    /// Its connections, in order.
    pub connections: Vec<Connection>,
    /// The codes of the close frames by which they ended, as far as there was one.
    pub closes: Vec<u16>,
    /// How often each message was sent, by its client id.
    pub sent: BTreeMap<String, usize>,
    /// At which place it was sent first.
    places: BTreeMap<String, usize>,
    /// Every push that did not come on a connection that was up to date.
    pub missed: Vec<String>,
    known: i64,
}

/// Devices on their way.
#[derive(Debug)]
pub struct Tour {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    tasks: Vec<JoinHandle<anyhow::Result<(Device, Way)>>>,
}

/// Lets devices move among gateways, beginning with different ones.
#[must_use]
pub fn roam(gateways: &Gateways, devices: Vec<Device>) -> Tour {
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let end = |device: &Device| format!("{}-{}-end", device.user, device.platform);
    let ends: Vec<(String, String)> = devices
        .iter()
        .map(|device| (device.conversation(), end(device)))
        .collect();
    let mut tasks = Vec::new();
    for (turn, device) in devices.into_iter().enumerate() {
        let conversation = device.conversation();
        let ends = ends.iter().filter(|(of, _)| *of == conversation);
        let roamer = Roamer {
            own_end: end(&device),
            ends: ends.map(|(_, id)| id.clone()).collect(),
            outbox: VecDeque::new(),
            device,
            way: Way::default(),
            stop: Arc::clone(&stop),
            acknowledged: Arc::clone(&acknowledged),
        };
        tasks.push(tokio::spawn(roamer.go(gateways.clone(), turn)));
    }
    Tour {
        stop,
        acknowledged,
        tasks,
    }
}

impl Tour {
    /// Acknowledged sends of all so far.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until so many more sends are acknowledged.
    ///
    /// # Panics
    /// That doesn't happen.
    pub async fn goes_on(&self, by: u64) {
        let before = self.acknowledged();
        super::eventually("further acknowledgements", || {
            self.acknowledged() >= before + by || self.tasks.iter().any(JoinHandle::is_finished)
        })
        .await;
    }

    /// Every device sends a last message and goes on until it has seen the last one of each device of its conversation.
    ///
    /// # Panics
    /// A device fails.
    pub async fn end(self) -> (Vec<Device>, Vec<Way>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut ended = (Vec::new(), Vec::new());
        for task in self.tasks {
            let result = task.await.expect("no device panics");
            let (device, way) = result.expect("every device finds a gateway");
            ended.0.push(device);
            ended.1.push(way);
        }
        ended
    }
}

struct Roamer {
    device: Device,
    way: Way,
    own_end: String,
    /// Last messages that it has not seen.
    ends: BTreeSet<String>,
    outbox: VecDeque<MsgData>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
}

/// A connection of a roamer.
struct Stay {
    client: Client,
    connection: Connection,
    open: VecDeque<(String, MsgData)>,
    /// Seqs that came by a push or a pull.
    seen: BTreeSet<i64>,
    /// The newest seq at the handshake, once it is known; all up to it was pulled if `caught_up`.
    newest: Option<i64>,
    caught_up: bool,
    closed: bool,
}

impl Roamer {
    async fn go(mut self, gateways: Gateways, first: usize) -> anyhow::Result<(Device, Way)> {
        let mut failures = 0;
        for turn in first.. {
            let url = gateways.pick(turn).context("there is no gateway")?;
            match self.device.connect(&url).await {
                Ok(client) => {
                    failures = 0;
                    if self.stay(client).await? {
                        break;
                    }
                }
                Err(error) => {
                    failures += 1;
                    ensure!(
                        failures < TRIES,
                        "no gateway takes {}: {error:#}",
                        self.device.user
                    );
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        Ok((self.device, self.way))
    }

    /// One connection; true when everything is done.
    async fn stay(&mut self, client: Client) -> anyhow::Result<bool> {
        let (user, platform) = (&self.device.user, self.device.platform);
        let who = format!(
            "{user} on {platform}, connection {}",
            self.way.connections.len()
        );
        let mut stay = Stay {
            client,
            connection: Connection {
                who,
                ..Connection::default()
            },
            open: VecDeque::new(),
            seen: BTreeSet::new(),
            newest: None,
            caught_up: false,
            closed: false,
        };
        let max = GetMaxSeqReq {
            user_id: self.device.user.clone(),
        };
        stay.ask(1001, &max).await;
        loop {
            self.send(&mut stay).await;
            if self.ends.is_empty() && stay.open.is_empty() && self.outbox.is_empty() {
                break;
            }
            let event = stay.client.event().await;
            let event = event.with_context(|| {
                format!("{}: {} sends open", stay.connection.who, stay.open.len())
            })?;
            let Event::Frame {
                opcode, payload, ..
            } = event
            else {
                stay.closed = true;
                break;
            };
            match opcode {
                Opcode::CLOSE => {
                    let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                    self.way.closes.extend(code);
                }
                Opcode::BINARY => self.hear(&mut stay, &payload).await?,
                _ => {}
            }
        }
        self.leave(&mut stay);
        Ok(!stay.closed)
    }

    async fn send(&mut self, stay: &mut Stay) {
        while !stay.closed && stay.open.len() < WINDOW {
            let message = match self.outbox.pop_front() {
                Some(message) => message,
                None if !self.stop.load(Ordering::Relaxed) => self.device.compose("-"),
                None if !self.way.sent.contains_key(&self.own_end) => {
                    let mut message = self.device.compose("-");
                    message.client_msg_id.clone_from(&self.own_end);
                    message
                }
                None => break,
            };
            let id = &message.client_msg_id;
            *self.way.sent.entry(id.clone()).or_default() += 1;
            let place = self.way.places.len();
            self.way.places.entry(id.clone()).or_insert(place);
            let Stay {
                client,
                connection,
                open,
                ..
            } = stay;
            // What is wrong with the socket its events tell.
            self.device.submit(client, connection, message, open).await;
        }
    }

    async fn hear(&mut self, stay: &mut Stay, payload: &[u8]) -> anyhow::Result<()> {
        let response = decode(stay.client.codec(), payload)?;
        let conversation = self.device.conversation();
        match response.req_identifier {
            1001 => {
                let answer = GetMaxSeqResp::decode(response.data.unwrap_or_default())?;
                stay.newest = Some(answer.max_seqs.get(&conversation).copied().unwrap_or(0));
                self.pull(stay, self.way.known + 1).await;
            }
            1002 => {
                ensure!(
                    response.err_code == 0,
                    "a pull is refused: {}",
                    response.err_msg
                );
                let mut answer = PullMessageBySeqsResp::decode(response.data.unwrap_or_default())?;
                let rows = answer.msgs.remove(&conversation).unwrap_or_default().msgs;
                let last = rows.last().map_or(0, |row| row.seq);
                for row in &rows {
                    self.saw(stay, row.seq, &row.client_msg_id);
                }
                self.pull(stay, last + 1).await;
            }
            _ => {
                for frame in frames(response)? {
                    match &frame {
                        Frame::Push { row, .. } => self.saw(stay, row.seq, &row.client_msg_id),
                        Frame::Acknowledged { operation_id, .. } => {
                            stay.open.retain(|(operation, _)| operation != operation_id);
                            self.acknowledged.fetch_add(1, Ordering::Relaxed);
                        }
                        Frame::Refused { operation_id, .. } => {
                            let is_it = |(operation, _): &(String, _)| operation == operation_id;
                            let at = stay.open.iter().position(is_it);
                            let refused = at.and_then(|at| stay.open.remove(at));
                            self.outbox.extend(refused.map(|(_, message)| message));
                        }
                        Frame::Pulled { .. } | Frame::Trouble(_) => {}
                    }
                    stay.connection.frames.push(frame);
                }
            }
        }
        Ok(())
    }

    /// Asks for what is missing from this seq on.
    async fn pull(&self, stay: &mut Stay, begin: i64) {
        let Some(newest) = stay.newest else { return };
        if begin > newest {
            stay.caught_up = true;
            return;
        }
        let range = SeqRange {
            conversation_id: self.device.conversation(),
            begin,
            end: newest.min(begin + PAGE - 1),
            num: PAGE,
        };
        let pull = PullMessageBySeqsReq {
            user_id: self.device.user.clone(),
            seq_ranges: vec![range],
            order: 0,
        };
        stay.ask(1002, &pull).await;
    }

    fn saw(&mut self, stay: &mut Stay, seq: i64, id: &str) {
        stay.seen.insert(seq);
        self.ends.remove(id);
    }

    fn leave(&mut self, stay: &mut Stay) {
        for seq in &stay.seen {
            if *seq <= self.way.known {
                continue;
            }
            if *seq > self.way.known + 1 {
                if stay.caught_up {
                    let (who, after) = (&stay.connection.who, self.way.known);
                    let missed = format!("{who}: nothing between {after} and {seq} was pushed");
                    self.way.missed.push(missed);
                }
                break;
            }
            self.way.known = *seq;
        }
        let open = stay.open.drain(..).map(|(_, message)| message);
        let later = std::mem::take(&mut self.outbox);
        self.outbox = open.chain(later).collect();
        let place = |message: &MsgData| self.way.places.get(&message.client_msg_id).copied();
        self.outbox.make_contiguous().sort_by_key(place);
        self.way
            .connections
            .push(std::mem::take(&mut stay.connection));
    }
}

impl Stay {
    /// Asks; what is wrong with the socket its events tell.
    async fn ask(&mut self, number: i32, body: &impl prost::Message) {
        let body = body.encode_to_vec().into();
        self.client.send_request(number, body).await.ok();
    }
}
