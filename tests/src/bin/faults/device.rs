//! A client as real ones are: it keeps what was not acknowledged and sends it again, and pulls what it has missed.
//!
//! A device sends at its rate to its peer, reconnects to any gateway when its connection ends or falls silent, asks for the
//! newest seq after every connect and pulls what is missing, and pulls what a push leaves out. It never asks without such a reason:
//! what push forgets stays missing, and is found. Everything that it does and sees is kept in [`Log`] as evidence; `incoming` says how.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use magpie_envelope::Limits;
use magpie_proto::openim::msg::GetConversationsHasReadAndMaxSeqReq;
use magpie_tests::evidence::{Connection, Frame, Send};
use magpie_tests::{Client, Event, Opcode};
use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::identity::{Identity, Seat, Stage, pull_request};
use crate::log::{Log, Unacknowledged};

/// Sends under way at once.
const WINDOW: usize = 8;
/// Messages that wait for an acknowledgement; then nothing more is written.
const OUTBOX: usize = 64;
/// Pause before a refused message is sent again.
pub(crate) const REFUSED_PAUSE: Duration = Duration::from_millis(300);
/// Distance of the pings.
const PING: Duration = Duration::from_secs(3);
/// A connection on which nothing comes, not even an answer to a ping, is given up.
const SILENCE: Duration = Duration::from_secs(10);
/// So is one on which a request is not answered.
const ANSWER: Duration = Duration::from_secs(15);
/// Messages of one pull.
const PULL: i64 = 100;

/// See the module.
pub(crate) struct Device {
    pub(crate) identity: Identity,
    pub(crate) seat: Arc<Seat>,
    pub(crate) conversation: String,
    log: Mutex<Log>,
    stage: Arc<Stage>,
    pause: Duration,
}

impl Device {
    /// A device that sends once in every `pause`.
    pub(crate) fn new(
        identity: Identity,
        seat: &Arc<Seat>,
        stage: &Arc<Stage>,
        pause: Duration,
    ) -> Self {
        Self {
            conversation: identity.conversation(),
            identity,
            seat: Arc::clone(seat),
            log: Mutex::default(),
            stage: Arc::clone(stage),
            pause,
        }
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends and receives until it is aborted.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            if let Some(url) = self.any_gateway()
                && let Ok(client) = self.identity.connect(&url).await
            {
                // However it ended, the next connection goes on.
                drop(self.live(client, &url).await);
            }
            sleep(Duration::from_millis(rand::random_range(100..500))).await;
        }
    }

    fn any_gateway(&self) -> Option<String> {
        let gateways = self
            .stage
            .gateways
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let at = rand::random_range(0..gateways.len().max(1));
        gateways.get(at).cloned()
    }

    async fn live(&self, mut client: Client, gateway: &str) -> anyhow::Result<()> {
        let mut line = Line {
            trouble: false,
            asked: None,
            range: None,
            newest: 0,
            last_arrival: Instant::now(),
        };
        {
            let mut log = self.log();
            log.connects += 1;
            let piece = Connection {
                who: format!("{} #{}", self.identity.who(), log.connects),
                had: log.complete,
                stays: self.seat.stays,
                ..Connection::default()
            };
            log.pieces.push(piece);
            for message in &mut log.outbox {
                message.operation_id = None;
                message.not_before = Instant::now();
            }
        }
        self.ask(&mut client, &mut line).await?;
        let mut writing = interval(self.pause.mul_f64(rand::random_range(0.9..1.1)));
        writing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut pings = interval(PING);
        let mut resends = interval(Duration::from_millis(50));
        resends.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = client.conn().next(SILENCE) => {
                    let event = event.context("silence")?.event;
                    line.last_arrival = Instant::now();
                    self.take(&mut client, &mut line, event).await?;
                }
                _ = writing.tick() => self.compose(gateway),
                _ = resends.tick() => {
                    // A mark asks for a message of everybody.
                    if self.log().composed_mark < self.stage.mark.load(Ordering::Relaxed) {
                        self.compose(gateway);
                    }
                }
                _ = pings.tick() => {
                    if line.last_arrival.elapsed() > SILENCE || self.waits_too_long(&line) {
                        bail!("no answer");
                    }
                    timeout(PING, client.conn().send(Opcode::PING, b"")).await??;
                }
            }
            self.pump(&mut client).await?;
        }
    }

    fn compose(&self, gateway: &str) {
        let quiet = {
            let quiet = self.stage.quiet.lock();
            let quiet = quiet.unwrap_or_else(PoisonError::into_inner);
            quiet.as_deref() == Some(gateway)
        };
        let mut log = self.log();
        let idle = quiet || self.stage.paused.load(Ordering::Relaxed) || !self.seat.is_taken();
        if idle || log.outbox.len() >= OUTBOX {
            return;
        }
        log.counter += 1;
        log.composed_mark = self.stage.mark.load(Ordering::Relaxed);
        let Identity { user, platform, .. } = &self.identity;
        let id = format!("{user}-{platform}-m{}-{}", log.composed_mark, log.counter);
        let text = format!("message {}", log.counter);
        log.outbox.push_back(Unacknowledged {
            message: self.identity.message(id, &text),
            operation_id: None,
            not_before: Instant::now(),
            first_sent: None,
        });
    }

    /// Sends what is next, in order, as far as the window allows.
    async fn pump(&self, client: &mut Client) -> anyhow::Result<()> {
        while let Some((operation_id, body)) = self.next_send() {
            let sending = client.send_request_as(&operation_id, 1003, body);
            timeout(SILENCE, sending)
                .await
                .context("nothing can be written")??;
        }
        Ok(())
    }

    fn next_send(&self) -> Option<(String, Bytes)> {
        let mut guard = self.log();
        let log = &mut *guard;
        let under_way = log
            .outbox
            .iter()
            .filter(|m| m.operation_id.is_some())
            .count();
        let next = log.outbox.iter_mut().find(|m| m.operation_id.is_none())?;
        if under_way >= WINDOW || next.not_before > Instant::now() {
            return None;
        }
        let operation_id = format!("faults-{:016x}", rand::random::<u64>());
        next.operation_id = Some(operation_id.clone());
        if next.first_sent.is_none() {
            next.first_sent = Some(Instant::now());
            log.sent += 1;
        }
        let (id, body) = (
            next.message.client_msg_id.clone(),
            next.message.encode_to_vec(),
        );
        if let Some(piece) = log.pieces.last_mut() {
            piece.sends.push(Send {
                operation_id: operation_id.clone(),
                conversation: self.conversation.clone(),
                client_msg_id: id,
            });
        }
        Some((operation_id, body.into()))
    }

    fn waits_too_long(&self, line: &Line) -> bool {
        line.asked
            .as_ref()
            .is_some_and(|(_, since)| since.elapsed() > ANSWER)
    }

    async fn take(&self, client: &mut Client, line: &mut Line, event: Event) -> anyhow::Result<()> {
        let Event::Frame {
            opcode, payload, ..
        } = event
        else {
            bail!("closed");
        };
        if opcode != Opcode::BINARY {
            return Ok(());
        }
        let response = client.codec().decode_response(&payload, &Limits::CLIENT)?;
        let trouble = self.stage.trouble.load(Ordering::Relaxed);
        if trouble != line.trouble {
            line.trouble = trouble;
            self.log().frame(Frame::Trouble(trouble));
        }
        match response.req_identifier {
            1003 => self.answered(response)?,
            2001 => self.pushed(response)?,
            1006 | 1002 => {
                let is_pull = response.req_identifier == 1002;
                let is_asked = |(incr, _): &(String, Instant)| *incr == response.msg_incr;
                if line.asked.as_ref().is_some_and(is_asked) {
                    line.asked = None;
                }
                if response.err_code != 0 {
                    sleep(REFUSED_PAUSE).await;
                    return self.ask(client, line).await;
                }
                let before = self.log().complete;
                self.learnt(line, response)?;
                if is_pull && self.log().complete == before {
                    sleep(REFUSED_PAUSE).await;
                }
            }
            2002 => bail!("kicked"),
            _ => {}
        }
        let missing = {
            let log = self.log();
            line.newest = line.newest.max(log.beyond.last().copied().unwrap_or(0));
            line.newest > log.complete
        };
        if missing && line.asked.is_none() {
            let to = line.newest;
            self.pull(client, line, to).await?;
        }
        Ok(())
    }

    async fn ask(&self, client: &mut Client, line: &mut Line) -> anyhow::Result<()> {
        let body = GetConversationsHasReadAndMaxSeqReq {
            user_id: self.identity.user.clone(),
            conversation_i_ds: vec![self.conversation.clone()],
            return_pinned: false,
        };
        line.request(client, 1006, body.encode_to_vec().into())
            .await
    }

    async fn pull(&self, client: &mut Client, line: &mut Line, to: i64) -> anyhow::Result<()> {
        let begin = self.log().complete + 1;
        let end = to.min(begin + PULL - 1);
        line.range = Some((begin, end));
        let body = pull_request(&self.identity.user, &self.conversation, begin, end);
        line.request(client, 1002, body.encode_to_vec().into())
            .await
    }
}

/// What a connection is about to.
pub(crate) struct Line {
    trouble: bool,
    /// The request under way about what there is, and since when.
    asked: Option<(String, Instant)>,
    /// The range that it pulls.
    pub(crate) range: Option<(i64, i64)>,
    /// The newest seq that is known to be there.
    pub(crate) newest: i64,
    last_arrival: Instant,
}

impl Line {
    async fn request(&mut self, client: &mut Client, what: i32, body: Bytes) -> anyhow::Result<()> {
        let sending = client.send_request(what, body);
        let incr = timeout(SILENCE, sending)
            .await
            .context("nothing can be written")??;
        self.asked = Some((incr, Instant::now()));
        Ok(())
    }
}
