//! The task of one connection: reads, runs requests in order, writes what the socket did not take, keeps time.
//!
//! There is one future per connection and it is small: a thread's connections read into the same buffer, requests run boxed,
//! and one timer serves all deadlines. The timer is not moved when a frame arrives; when it fires it looks at what is due and
//! is set again, so a heartbeat costs a read and a write.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use magpie_envelope::{Limits, Request, reqs};
use magpie_proto::openim::sdkws::SetAppBackgroundStatusReq;
use magpie_types::{Error, Platform, ids};
use prost::Message as _;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::conn::Conn;
use crate::frame::{self, FrameError, Inbound, Message};
use crate::hub::Hub;
use crate::outgoing::Status;
use crate::rate::{Rate, Verdict};
use crate::requests::{self, Answer};
use crate::{metrics, sends, text};

/// Bytes that one read can bring. Smaller than the largest message, so that a too large one is refused before it was read.
const READ: usize = 16 << 10;
/// Reads that empty a socket before it is closed, so that the peer sees an end and not a reset.
const LAST_READS: usize = 8;
/// Distance of the moments at which timers of connections fire.
const BEAT: Duration = Duration::from_millis(250);
/// Largest envelope after decompression, in bytes.
const MAX_ENVELOPE: usize = 1 << 20;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ].into_boxed_slice());
}

/// What the task was woken for.
enum Event {
    Readable,
    /// Messages that were read before may go on.
    Resume,
    Writable,
    Answered(Answer),
    Timer,
    Ended,
}

/// No more requests are taken; the connection ends when those under way are answered.
struct Finishing {
    last: Option<Bytes>,
    reason: &'static str,
}

struct Task {
    hub: Arc<Hub>,
    conn: Arc<Conn>,
    inbound: Inbound,
    /// The request under way.
    busy: Option<BoxFuture<'static, Answer>>,
    finishing: Option<Box<Finishing>>,
    /// Messages may wait in `inbound` that were read already.
    unread: bool,
    /// Until then nothing is read.
    throttled: Option<Instant>,
    rate: Rate,
    last_frame: Instant,
    next_ping: Option<Instant>,
}

/// Serves a connection until it ends.
pub(crate) async fn run(hub: Arc<Hub>, conn: Arc<Conn>, early: Vec<u8>) {
    serve(Arc::clone(&hub), Arc::clone(&conn), early).await;
    metrics::closed(conn.reason().unwrap_or("unknown"));
    drain_socket(&conn);
    let socket = socket2::SockRef::from(&conn.stream);
    if let Err(e) = socket.shutdown(std::net::Shutdown::Both) {
        tracing::trace!(error = %e, "the socket was closed before");
    }
    Box::pin(hub.leave(&conn)).await;
}

async fn serve(hub: Arc<Hub>, conn: Arc<Conn>, early: Vec<u8>) {
    let now = Instant::now();
    let web = conn.platform == Platform::Web;
    let mut task = Task {
        rate: Rate::new(&hub.config, now),
        next_ping: web.then(|| now + hub.config.web_ping_interval()),
        inbound: Inbound::new(early),
        busy: None,
        finishing: None,
        unread: true,
        throttled: None,
        last_frame: now,
        hub,
        conn,
    };
    let mut timer = pin!(sleep_until(task.due(&task.conn.status())));
    loop {
        match poll_fn(|cx| task.poll(cx, timer.as_mut())).await {
            Event::Readable => task.read(),
            Event::Resume => task.process(&mut []),
            Event::Writable => task.conn.flush(),
            Event::Answered(answer) => task.answered(answer),
            Event::Timer => {
                task.tick(Instant::now());
                let due = task.due(&task.conn.status());
                timer.as_mut().reset(due);
            }
            Event::Ended => return,
        }
    }
}

impl Task {
    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<Event> {
        self.conn.register(cx.waker());
        let status = self.conn.status();
        if status.ended {
            return Poll::Ready(Event::Ended);
        }
        if let Some(busy) = &mut self.busy
            && let Poll::Ready(answer) = busy.as_mut().poll(cx)
        {
            self.busy = None;
            return Poll::Ready(Event::Answered(answer));
        }
        if status.waiting_since.is_some() && self.conn.stream.poll_write_ready(cx).is_ready() {
            return Poll::Ready(Event::Writable);
        }
        if self.conn.is_draining() && self.finishing.is_none() {
            self.finish(Some(frame::close(Some(1001))), "drained");
        }
        if let Some(finishing) = self
            .finishing
            .take_if(|_| self.busy.is_none() && status.sends == 0)
        {
            self.conn.end(finishing.last, finishing.reason);
            return self.poll(cx, timer);
        }
        if self.may_read(&status) {
            if self.unread {
                return Poll::Ready(Event::Resume);
            }
            if self.conn.stream.poll_read_ready(cx).is_ready() {
                return Poll::Ready(Event::Readable);
            }
        }
        let due = self.due(&status);
        if due < timer.deadline() {
            timer.as_mut().reset(due);
        }
        timer.poll(cx).map(|()| Event::Timer)
    }

    fn may_read(&self, status: &Status) -> bool {
        self.busy.is_none()
            && self.finishing.is_none()
            && self.throttled.is_none()
            && !status.ending
            && status.sends < self.hub.config.max_sends
    }

    /// When the timer has to look again.
    fn due(&self, status: &Status) -> Instant {
        let config = &self.hub.config;
        let times = [
            Some(self.last_frame + config.read_timeout()),
            self.next_ping,
            status
                .waiting_since
                .map(|since| since + config.max_queue_age()),
        ];
        let due = times.into_iter().flatten().min().unwrap_or(self.last_frame);
        let due = on_the_beat(self.hub.started, due);
        self.throttled.map_or(due, |until| due.min(until))
    }

    fn tick(&mut self, now: Instant) {
        let config = &self.hub.config;
        let status = self.conn.status();
        if status
            .waiting_since
            .is_some_and(|since| since + config.max_queue_age() <= now)
        {
            return self.conn.abort("slow");
        }
        if self.throttled.is_some_and(|until| until <= now) {
            self.throttled = None;
            self.last_frame = now;
        }
        if self.next_ping.is_some_and(|at| at <= now) {
            self.next_ping = Some(now + config.web_ping_interval());
            self.conn.send(frame::ping());
        }
        if self.last_frame + config.read_timeout() <= now {
            if self.may_read(&status) {
                self.conn.end(None, "idle");
            }
            // It was us who did not read.
            self.last_frame = now;
        }
    }

    fn read(&mut self) {
        BUFFER.with_borrow_mut(|buffer| match read_some(&self.conn.stream, buffer) {
            Ok(0) => self.finish(None, "client"),
            Ok(n) => {
                self.last_frame = Instant::now();
                self.process(&mut buffer[..n]);
            }
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(_) => self.finish(None, "read"),
        });
    }

    /// Takes messages until one has to be waited for.
    fn process(&mut self, chunk: &mut [u8]) {
        let mut inbound = std::mem::take(&mut self.inbound);
        self.unread = false;
        let limit = self.hub.config.max_message_bytes;
        let result = inbound.feed(chunk, limit, &mut |message| {
            let flow = self.message(message);
            self.unread = flow.is_break();
            flow
        });
        self.inbound = inbound;
        self.unread &= self.inbound.has_bytes();
        match result {
            Ok(()) => {}
            Err(FrameError::TooLarge) => self.conn.end(Some(frame::close(Some(1009))), "too large"),
            Err(FrameError::Protocol) => self.conn.end(None, "protocol"),
        }
    }

    fn message(&mut self, message: Message<'_>) -> ControlFlow<()> {
        metrics::message_in();
        match self.rate.take(&self.hub.config, self.last_frame) {
            Verdict::Go => self.obey(message),
            Verdict::Wait(until) => {
                self.throttled = Some(until);
                self.obey(message)?;
                ControlFlow::Break(())
            }
            Verdict::Close => self.refuse("rate"),
        }
    }

    fn obey(&mut self, message: Message<'_>) -> ControlFlow<()> {
        match message {
            Message::Ping(payload) => self.conn.send(frame::pong(payload)),
            Message::Pong => {}
            Message::Close(code) => {
                let code = code.filter(|c| {
                    matches!(c, 1000..=1014 | 3000..=4999) && !matches!(c, 1004..=1006)
                });
                self.finish(Some(frame::close(code)), "client");
                return ControlFlow::Break(());
            }
            Message::Text(payload) => match text::answer(&payload) {
                Ok(answer) => answer.into_iter().for_each(|frame| self.conn.send(frame)),
                Err(text::BadText) => return self.refuse("text"),
            },
            Message::Binary(payload) => return self.request(&payload),
        }
        ControlFlow::Continue(())
    }

    fn request(&mut self, payload: &[u8]) -> ControlFlow<()> {
        let limits = Limits {
            wire: self.hub.config.max_message_bytes,
            decoded: MAX_ENVELOPE,
        };
        let request = match self.conn.codec.decode_request(payload, &limits) {
            Ok(request) => request,
            Err(e) => {
                tracing::debug!(error = %e, "a frame is no envelope");
                return self.refuse("envelope");
            }
        };
        if request.send_id != *self.conn.user || !reqs::is_request(request.req_identifier) {
            return self.refuse("request");
        }
        // They are echoed, logged and pushed with what the request causes.
        if request.operation_id.len().max(request.msg_incr.len()) > ids::MAX_NAME_LEN {
            return self.refuse("names");
        }
        match request.req_identifier {
            reqs::SEND_MSG => {
                sends::submit(&self.hub, &self.conn, request);
                if self.conn.status().sends >= self.hub.config.max_sends {
                    return ControlFlow::Break(());
                }
            }
            reqs::SEND_SIGNAL => {
                let error = Error::args("signalling has no request of its own");
                self.conn.respond(&requests::refusal(&request, &error));
            }
            reqs::SET_BACKGROUND => self.set_background(&request),
            _ => {
                let answer =
                    requests::answer(Arc::clone(&self.hub), Arc::clone(&self.conn), request);
                self.busy = Some(Box::pin(answer));
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    fn set_background(&mut self, request: &Request) {
        let response = match SetAppBackgroundStatusReq::decode(request.data.clone()) {
            Ok(body) => {
                self.conn.set_background(body.is_background);
                requests::echo(request, None)
            }
            Err(e) => requests::refusal(request, &requests::undecodable(e)),
        };
        self.conn.respond(&response);
    }

    fn answered(&mut self, answer: Answer) {
        self.last_frame = Instant::now();
        self.conn.send(answer.frame);
        if let Some(reason) = answer.end {
            self.conn.end(None, reason);
        }
    }

    fn finish(&mut self, last: Option<Bytes>, reason: &'static str) {
        self.finishing
            .get_or_insert_with(|| Box::new(Finishing { last, reason }));
    }

    /// Ends without a word, as clients know it (corrections: a bare end of the stream).
    fn refuse(&mut self, reason: &'static str) -> ControlFlow<()> {
        self.conn.end(None, reason);
        ControlFlow::Break(())
    }
}

/// Reads what the socket has. A read that does not fill the buffer has emptied it, so the readiness is used up and no second
/// read has to find that out (the same rule as in tokio's `poll_read`, which needs the stream for itself).
fn read_some(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut short = None;
    let read = stream.try_io(Interest::READABLE, || {
        let n = (&*socket2::SockRef::from(stream)).read(buffer)?;
        if n > 0 && n < buffer.len() {
            short = Some(n);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(n)
    });
    short.map_or(read, Ok)
}

/// The next common beat at or after a time. Deadlines of whole seconds need not be exact, and timers that fire together wake
/// the process once.
fn on_the_beat(start: Instant, time: Instant) -> Instant {
    let beats = time
        .saturating_duration_since(start)
        .as_nanos()
        .div_ceil(BEAT.as_nanos());
    start + BEAT * u32::try_from(beats).unwrap_or(u32::MAX)
}

/// Reads away what the client has sent, because closing a socket with unread bytes resets it.
fn drain_socket(conn: &Conn) {
    if matches!(conn.reason(), Some("too large" | "slow")) {
        return;
    }
    BUFFER.with_borrow_mut(|buffer| {
        for _ in 0..LAST_READS {
            if !matches!(conn.stream.try_read(buffer), Ok(n) if n > 0) {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_fall_on_the_next_beat_and_never_before_their_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(on_the_beat(start, at(0)), at(0));
        assert_eq!(on_the_beat(start, at(1)), at(250));
        assert_eq!(on_the_beat(start, at(30_000)), at(30_000));
        assert_eq!(on_the_beat(start, at(30_001)), at(30_250));
    }

    /// The whole future of a connection, as tokio stores it.
    #[test]
    fn the_future_of_an_idle_connection_is_small() {
        fn size<F>(_: fn(Arc<Hub>, Arc<Conn>, Vec<u8>) -> F) -> usize {
            size_of::<F>()
        }
        let total = size(run) + size_of::<Conn>();
        assert!(total <= 1536, "{} and {}", size(run), size_of::<Conn>());
    }
}
