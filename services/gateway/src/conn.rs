//! One authenticated connection, as everybody sees it: who it is, and how to write to it.
//!
//! It is made for being idle: the socket, three short texts, and a writing side that allocates nothing while nothing waits.
//! Reading belongs to the connection's task alone (`task.rs`), which is woken only when it has something to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::task::AtomicWaker;
use magpie_envelope::{Codec, Response, reqs};
use magpie_types::Platform;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::config::Config;
use crate::frame;
use crate::outgoing::{self, Outgoing, Push, Status};
use crate::sends::Send;

/// See the module.
pub(crate) struct Conn {
    /// Unique in this process.
    pub(crate) number: u64,
    pub(crate) user: Arc<str>,
    pub(crate) platform: Platform,
    pub(crate) codec: Codec,
    pub(crate) token: Box<str>,
    pub(crate) stream: TcpStream,
    /// Bytes that may wait for this client.
    pub(crate) max_queue_bytes: usize,
    /// Bytes that may wait for all clients.
    max_queues_bytes: usize,
    background: AtomicBool,
    draining: AtomicBool,
    joined: AtomicBool,
    waker: AtomicWaker,
    out: Mutex<Outgoing<Send>>,
}

impl Conn {
    pub(crate) fn new(
        number: u64,
        user: Arc<str>,
        platform: Platform,
        codec: Codec,
        token: Box<str>,
        stream: TcpStream,
        config: &Config,
    ) -> Self {
        Self {
            number,
            user,
            platform,
            codec,
            token,
            stream,
            max_queue_bytes: config.max_queue_bytes,
            max_queues_bytes: config.max_queues_bytes,
            background: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            joined: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            out: Mutex::default(),
        }
    }

    /// Answers the handshake; what was pushed meanwhile follows.
    pub(crate) fn open(&self, answer: Bytes) {
        self.write(|out| out.open(answer, &self.stream, Instant::now()));
    }

    /// Writes a frame or lets it wait.
    pub(crate) fn send(&self, frame: Bytes) {
        self.write(|out| out.send(frame, &self.stream, self.max_queue_bytes));
    }

    /// Writes an envelope.
    pub(crate) fn respond(&self, response: &Response) {
        self.send(frame::binary(&self.codec.encode_response(response)));
    }

    /// Writes a pushed message, or holds it until the answer of the send that caused it is written.
    pub(crate) fn push(&self, push: &Push<'_>, frame: Bytes) {
        self.write(|out| out.push(push, frame, &self.stream, self.max_queue_bytes));
    }

    /// Adds a send; it comes back when it may start now.
    pub(crate) fn begin(&self, stem: &str, operation_id: &str, send: Send) -> Option<Send> {
        self.lock().begin(stem, operation_id, send)
    }

    /// Writes the answer of a send; the next one of its conversation comes back, to be started.
    pub(crate) fn finish(&self, stem: &str, answer: Bytes) -> Option<Send> {
        let next = {
            let mut out = self.lock();
            out.finish(stem, answer, &self.stream, self.max_queue_bytes)
        };
        self.waker.wake();
        next
    }

    /// Tells the client that its login was ended, and closes.
    pub(crate) fn kick(&self) {
        let kick = Response {
            req_identifier: reqs::KICK,
            ..Response::default()
        };
        self.end(
            Some(frame::binary(&self.codec.encode_response(&kick))),
            "kicked",
        );
    }

    /// Closes after everything that waits, and last this frame, is written.
    pub(crate) fn end(&self, last: Option<Bytes>, reason: &'static str) {
        self.lock().end(last, reason, &self.stream);
        self.waker.wake();
    }

    /// Closes at once.
    pub(crate) fn abort(&self, reason: &'static str) {
        self.lock().abort(reason);
        self.waker.wake();
    }

    /// Lets the client finish what it has asked for and sends it elsewhere then.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Its login is known to all gateways.
    pub(crate) fn set_joined(&self) {
        self.joined.store(true, Ordering::Release);
    }

    pub(crate) fn has_joined(&self) -> bool {
        self.joined.load(Ordering::Acquire)
    }

    /// Remembers whether the application is in the background.
    pub(crate) fn set_background(&self, background: bool) {
        self.background.store(background, Ordering::Relaxed);
    }

    pub(crate) fn is_background(&self) -> bool {
        self.background.load(Ordering::Relaxed)
    }

    /// Whether messages go by offline push instead: an iOS application in the background is asleep (gateway.md 10).
    pub(crate) fn is_asleep(&self) -> bool {
        self.platform == Platform::Ios && self.is_background()
    }

    pub(crate) fn status(&self) -> Status {
        self.lock().status()
    }

    /// Writes on what waits.
    pub(crate) fn flush(&self) {
        self.lock().flush(&self.stream);
    }

    /// Why it ends, once it does.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        self.lock().reason()
    }

    /// Whom to wake when there is something to do.
    pub(crate) fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    /// The task is needed only when frames begin to wait or the connection ends.
    fn write(&self, act: impl FnOnce(&mut Outgoing<Send>)) {
        let wake = {
            let mut out = self.lock();
            let before = out.status();
            act(&mut out);
            if out.status().waiting_since.is_some() && outgoing::waiting() > self.max_queues_bytes {
                out.abort("slow");
            }
            let after = out.status();
            (before.waiting_since.is_none() && after.waiting_since.is_some())
                || (after.ended && !before.ended)
        };
        if wake {
            self.waker.wake();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outgoing<Send>> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
