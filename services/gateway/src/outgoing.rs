//! The writing side of one connection.
//!
//! Whoever has a frame writes it to the socket himself as long as nothing waits, so the usual frame costs one system call, no
//! copy and no wake-up. What the socket does not take waits here, bounded in bytes and age, and the connection's task writes
//! it on. Three things make frames wait although the socket is free: the handshake is not answered yet, the connection's
//! own send is not answered yet ([`Lanes`]), or others wait already.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{Buf, Bytes};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::lanes::{Finished, Lanes};
use crate::metrics;

/// Frames that go into one system call.
const BATCH: usize = 32;

/// Bytes that wait on all connections of the process.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Bytes that wait on all connections of the process.
pub(crate) fn waiting() -> usize {
    WAITING.load(Ordering::Relaxed)
}

/// A socket that takes what it has room for.
pub(crate) trait TryWrite {
    /// Bytes taken, or `WouldBlock`.
    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize>;
}

impl TryWrite for TcpStream {
    fn try_write(&self, frames: &[IoSlice<'_>]) -> io::Result<usize> {
        match frames {
            [one] => Self::try_write(self, one),
            many => self.try_write_vectored(many),
        }
    }
}

/// Where the connection is in its life, for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The handshake is not answered: everything waits.
    Opening,
    Open,
    /// What waits is written, nothing new is taken.
    Ending,
    /// Nothing is written any more.
    Ended,
}

/// What the connection's task needs to know.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    /// Since when the oldest frame waits for the socket.
    pub(crate) waiting_since: Option<Instant>,
    /// Nothing waits, and nothing will be written any more: close the socket.
    pub(crate) ended: bool,
    /// No new frame is taken, so there is no use in reading.
    pub(crate) ending: bool,
    /// Sends under way or waiting for their conversation.
    pub(crate) sends: usize,
}

/// See the module. `T` is a send that waits for its conversation.
pub(crate) struct Outgoing<T> {
    phase: Phase,
    queue: VecDeque<(Bytes, Instant)>,
    /// Bytes in the queue and held in lanes.
    bytes: usize,
    /// Some sends are still answered before the end.
    lanes: Lanes<T>,
    /// Why the connection ends, as a metric label.
    reason: Option<&'static str>,
}

impl<T> Default for Outgoing<T> {
    fn default() -> Self {
        Self {
            phase: Phase::Opening,
            queue: VecDeque::new(),
            bytes: 0,
            lanes: Lanes::default(),
            reason: None,
        }
    }
}

impl<T> Outgoing<T> {
    /// Answers the handshake; what was pushed meanwhile follows.
    pub(crate) fn open(&mut self, answer: Bytes, socket: &impl TryWrite, now: Instant) {
        if self.phase == Phase::Opening {
            self.phase = Phase::Open;
        }
        self.add(answer.len());
        self.queue.push_front((answer, now));
        self.flush(socket);
    }

    /// Writes a frame or lets it wait.
    pub(crate) fn send(&mut self, frame: Bytes, socket: &impl TryWrite, limit: usize) {
        match self.phase {
            Phase::Ending | Phase::Ended => {}
            Phase::Open if self.queue.is_empty() => self.write_or_queue(frame, socket),
            Phase::Open | Phase::Opening => self.enqueue(frame, limit),
        }
    }

    /// Writes a pushed message, or holds it until the answer that it must not overtake is written.
    pub(crate) fn push(
        &mut self,
        push: &Push<'_>,
        frame: Bytes,
        socket: &impl TryWrite,
        limit: usize,
    ) {
        let length = frame.len();
        match self
            .lanes
            .hold(push.stem, push.operation_id, push.own, frame)
        {
            Some(frame) => self.send(frame, socket, limit),
            None => {
                self.add(length);
                self.check(limit);
            }
        }
    }

    /// Adds a send; it comes back when it may start now.
    pub(crate) fn begin(&mut self, stem: &str, operation_id: &str, send: T) -> Option<T> {
        self.lanes.begin(stem, operation_id, send)
    }

    /// Writes the answer of a send and what was held for it. The lane's next send comes back, now under way.
    pub(crate) fn finish(
        &mut self,
        stem: &str,
        answer: Bytes,
        socket: &impl TryWrite,
        limit: usize,
    ) -> Option<T> {
        let Finished { held, next } = self.lanes.finish(stem);
        self.send(answer, socket, limit);
        for frame in held {
            self.remove(frame.len());
            self.send(frame, socket, limit);
        }
        next
    }

    /// Takes no more frames; the socket is closed when the waiting ones, and last this one, are written.
    pub(crate) fn end(
        &mut self,
        last: Option<Bytes>,
        reason: &'static str,
        socket: &impl TryWrite,
    ) {
        if matches!(self.phase, Phase::Ending | Phase::Ended) {
            return;
        }
        if let Some(last) = last {
            self.send(last, socket, usize::MAX);
        }
        if self.phase != Phase::Ended {
            self.phase = Phase::Ending;
            self.reason = Some(reason);
        }
    }

    /// Drops everything that waits; the socket is closed at once.
    pub(crate) fn abort(&mut self, reason: &'static str) {
        self.phase = Phase::Ended;
        self.reason.get_or_insert(reason);
        self.lanes.clear();
        self.queue = VecDeque::new();
        self.remove(self.bytes);
    }

    /// Writes on what waits.
    pub(crate) fn flush(&mut self, socket: &impl TryWrite) {
        while !self.queue.is_empty() && self.phase != Phase::Ended {
            let slices: Vec<IoSlice<'_>> = self
                .queue
                .iter()
                .take(BATCH)
                .map(|(f, _)| IoSlice::new(f))
                .collect();
            match socket.try_write(&slices) {
                Ok(0) => return self.abort("write"),
                Ok(n) => self.written(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.abort("write"),
            }
        }
        self.queue = VecDeque::new();
    }

    pub(crate) fn status(&self) -> Status {
        Status {
            waiting_since: self
                .queue
                .front()
                .filter(|_| self.phase != Phase::Opening)
                .map(|(_, since)| *since),
            ended: self.phase == Phase::Ended
                || (self.phase == Phase::Ending && self.queue.is_empty()),
            ending: matches!(self.phase, Phase::Ending | Phase::Ended),
            sends: self.lanes.sends(),
        }
    }

    /// Why the connection ends, once it does.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        self.reason
    }

    fn write_or_queue(&mut self, mut frame: Bytes, socket: &impl TryWrite) {
        match socket.try_write(&[IoSlice::new(&frame)]) {
            Ok(n) if n == frame.len() => return,
            Ok(n) => frame.advance(n),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(_) => return self.abort("write"),
        }
        self.add(frame.len());
        self.queue.push_back((frame, Instant::now()));
    }

    fn enqueue(&mut self, frame: Bytes, limit: usize) {
        self.add(frame.len());
        self.queue.push_back((frame, Instant::now()));
        self.check(limit);
    }

    fn check(&mut self, limit: usize) {
        if self.bytes > limit {
            self.abort("slow");
        }
    }

    fn written(&mut self, mut n: usize) {
        self.remove(n);
        while let Some((front, _)) = self.queue.front_mut() {
            if front.len() > n {
                front.advance(n);
                return;
            }
            n -= front.len();
            self.queue.pop_front();
        }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        WAITING.fetch_add(bytes, Ordering::Relaxed);
        metrics::queued(bytes as f64);
    }

    fn remove(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        if bytes > 0 {
            WAITING.fetch_sub(bytes, Ordering::Relaxed);
            metrics::queued(-(bytes as f64));
        }
    }
}

impl<T> Drop for Outgoing<T> {
    fn drop(&mut self) {
        self.remove(self.bytes);
    }
}

/// What decides whether a pushed frame must wait for an answer.
pub(crate) struct Push<'a> {
    /// The conversation's stem.
    pub(crate) stem: &'a str,
    /// Of the request that caused the message.
    pub(crate) operation_id: &'a str,
    /// The receiving connection made that request.
    pub(crate) own: bool,
}

#[cfg(test)]
mod tests;
